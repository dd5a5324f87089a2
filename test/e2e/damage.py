"""Damages a store of thousands of messages, a round at a time: bits of its pages are flipped, or rows
are edited. Then, in each round: `rq doctor` names what matters; the server starts; every queue takes
messages and gives them; no payload is told that was not put; and after the check of the server and
another start the store is sound again.

    damage.py --rounds 100 --edits 100 [--seed N] [--messages 10000]
"""
import argparse
import contextlib
import json
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile

import rqtest

QUEUES = [f'q{i}' for i in range(8)]
PAGE = 4096
CHECK_SECONDS = 120
FLIPS_MOST = 5    # of a round
# What these tables hold is told by no other row, and no message depends on it: counts over time, the
# history of attempts, when to look at something.
UNGUARDED = {'counter', 'attempt', 'timer', 'lease', 'meta', 'sqlite_sequence', 'waste', 'corrupt'}
CHECKED = 'the whole store has been checked: 0 findings'

checks = rqtest.Checks()


def fill(server, count, rng):
    """Messages in every state, some with details; gives {seq: payload}."""
    payloads = {}
    for queue in QUEUES:
        server.put(f'/v1/queues/{queue}', {})
    each = count // len(QUEUES)
    for queue in QUEUES:
        for start in range(0, each, 500):
            batch = []
            for i in range(min(500, each - start)):
                size = rng.choice([0, 10, 100, 300, 900] + ([9000] if i % 50 == 0 else []))
                item = {'payload': ''.join(rng.choices('abcdefgh0123456789', k=size)),
                        'priority': rng.choice([0, 0, 0, 5, -3])}
                if i % 7 == 0:
                    item.update(param1=f'p{i}', tags=['t'], headers={'h': str(i)})
                if i % 11 == 0:
                    item['key'] = f'{queue}-{start + i}'
                if i % 5 == 0:
                    item['delay_s'] = 100_000 + i
                if i % 13 == 0:
                    item['prep'] = True
                    item.pop('delay_s', None)
                batch.append(item)
            reply = server.post(f'/v1/queues/{queue}/messages', batch)
            assert reply.status == 200, reply
            for item, done in zip(batch, reply.json['items']):
                payloads[done['seq']] = item['payload']
        for outcome in ('done', 'err', None):
            got = server.post('/v1/reserve', {'queues': [queue], 'limit': each // 10,
                                              'lease_s': 1_000_000}).json['messages']
            if outcome is None:
                continue
            for start in range(0, len(got), 100):
                items = [{'token': m['lease']['token'], 'outcome': outcome}
                         for m in got[start:start + 100]]
                assert server.post('/v1/finish', {'items': items}).status == 200
    return payloads


# --- Damage ---

EDITS = [
    # (a message of this place, or None; what is done; {seq} is its number)
    ('scheduled', "UPDATE message SET rest_state = 'x' WHERE seq = {seq}"),
    ('any', "UPDATE message SET payload = x'6368616e676564' WHERE seq = {seq}"),
    ('any', 'UPDATE message SET priority = priority + 1 WHERE seq = {seq}'),
    ('any', 'UPDATE message SET queue = 77 WHERE seq = {seq}'),
    ('any', 'UPDATE message SET crc = NULL WHERE seq = {seq}'),
    ('any', 'UPDATE message SET crc = crc + 1 WHERE seq = {seq}'),
    ('any', 'UPDATE message SET attempts = 999 WHERE seq = {seq}'),
    ('any', 'UPDATE message SET created = created + 1 WHERE seq = {seq}'),
    ('any', "UPDATE message SET mark = 'nonsense' WHERE seq = {seq}"),
    ('any', 'DELETE FROM message WHERE seq = {seq}'),
    ('detail', "UPDATE detail SET param1 = 'changed' WHERE seq = {seq}"),
    ('detail', "UPDATE detail SET headers = '[' WHERE seq = {seq}"),
    ('detail', 'DELETE FROM detail WHERE seq = {seq}'),
    ('detail', 'UPDATE message SET detailed = 0 WHERE seq = {seq}'),
    ('lease', 'DELETE FROM lease WHERE seq = {seq}'),
    ('lease', 'DELETE FROM message WHERE seq = {seq}'),
    ('finished', 'INSERT INTO lease VALUES ({seq}, 1, 5, 1, 1, 1, 1, NULL, NULL, NULL, NULL)'),
    ('scheduled', 'DELETE FROM scheduled WHERE seq = {seq}'),
    ('scheduled', 'UPDATE scheduled SET due = due + 1 WHERE seq = {seq}'),
    ('scheduled', 'UPDATE scheduled SET queue = queue + 1 WHERE seq = {seq}'),
    ('finished', 'DELETE FROM finished WHERE seq = {seq}'),
    ('finished', 'UPDATE finished SET at = at + 1 WHERE seq = {seq}'),
    ('finished', "UPDATE finished SET kind = 'held' WHERE seq = {seq}"),
    ('scheduled', "INSERT INTO finished VALUES (1, 'kept', 5, {seq})"),
    ('parked', 'DELETE FROM parked WHERE seq = {seq}'),
    ('parked', 'UPDATE parked SET queue = queue + 1 WHERE seq = {seq}'),
    ('ready', 'UPDATE ready SET first_seq = first_seq + 1 WHERE first_seq = {seq}'),
    ('ready', 'DELETE FROM ready WHERE first_seq = {seq}'),
    ('ready', 'INSERT INTO scheduled VALUES (5, {seq}, 1)'),
]
# Those that are about no single message, with a word that doctor must say.
WIDE_EDITS = [
    ("UPDATE queue SET settings = '{' WHERE name = 'q1'", 'queue'),
    ("UPDATE queue SET settings = json_set(settings, '$.retries', 77) WHERE name = 'q2'", 'queue'),
    ("UPDATE queue SET admin = 'zzz' WHERE name = 'q3'", 'admin'),
    ("DELETE FROM queue WHERE name = 'q4'", 'not there'),
    ("UPDATE counter SET que = que + 5 WHERE queue = 2", 'in que'),
    ("DELETE FROM counter WHERE queue = 3", 'counter'),
    ("UPDATE ready SET first_seq = last_seq + 1 WHERE queue = 1 AND rank = 0", 'line'),
]
PLACES = {
    'any': 'SELECT seq FROM message', 'detail': 'SELECT seq FROM detail WHERE param1 IS NOT NULL',
    'lease': 'SELECT seq FROM lease', 'scheduled': 'SELECT seq FROM scheduled',
    'finished': 'SELECT seq FROM finished', 'parked': 'SELECT seq FROM parked',
    'ready': 'SELECT first_seq FROM ready WHERE first_seq < last_seq',
}


def edit(file, rng, many):
    """Edits so many rows; gives [(statement, a pattern that doctor must name)]."""
    done = []
    db = sqlite3.connect(file)
    used = set()
    with db:
        for _ in range(many):
            if rng.random() < 0.1:
                statement, word = rng.choice(WIDE_EDITS)
                if statement in used:
                    continue
                used.add(statement)
            else:
                place, statement = rng.choice(EDITS)
                seqs = [seq for seq, in db.execute(PLACES[place]) if seq not in used]
                seq = rng.choice(seqs)
                used.add(seq)
                statement, word = statement.format(seq=seq), str(seq)
            db.execute(statement)
            done.append((statement, word))
    db.close()
    return done


def flip(file, rng, many):
    """Flips bits; gives where."""
    data = bytearray(pathlib.Path(file).read_bytes())
    places = []
    for _ in range(many):
        at, bit = rng.randrange(len(data)), rng.randrange(8)
        data[at] ^= 1 << bit
        places.append(f'byte {at} (page {at // PAGE + 1}) bit {bit}')
    pathlib.Path(file).write_bytes(data)
    return places


def content(file):
    """{table: rows}, or None where it cannot be read."""
    out = {}
    db = sqlite3.connect(f'file:{file}?mode=ro', uri=True)
    db.text_factory = bytes
    try:
        if db.execute('PRAGMA integrity_check').fetchall() != [(b'ok',)]:
            return None
        for name, in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            out[name.decode()] = db.execute(f'SELECT * FROM {name.decode()}').fetchall()
        return out
    except (sqlite3.Error, UnicodeDecodeError, OverflowError):
        return None
    finally:
        db.close()


def matters(before, after):
    if after is None or before.keys() != after.keys():
        return True
    return any(before[name] != after[name] for name in before if name not in UNGUARDED)


# --- One round ---

def doctor(server):
    done = subprocess.run([rqtest.RQ_BIN, 'doctor', '--json', '--dir', str(server.dir)],
                          capture_output=True, text=True, timeout=CHECK_SECONDS)
    return json.loads(done.stdout)['checks']


def findings(server):
    return [c['text'] for c in doctor(server) if c['check'] == 'store' and c['finding'] != 'ok']


def told(server):
    """{seq: payload} of all messages that the server tells of."""
    out, cursor = {}, None
    while True:
        path = '/v1/messages?payloads=1&limit=1000' + (f'&cursor={cursor}' if cursor else '')
        # While a page cannot be read yet, a list may fail.
        reply = rqtest.eventually(lambda: (lambda r: r if r.status == 200 else None)(
            server.get(path)), 'a list', CHECK_SECONDS)
        for message in reply.json['messages']:
            if not message.get('payload_cut'):
                out[message['seq']] = message.get('payload')
        cursor = reply.json['cursor']
        if cursor is None:
            return out


def again(ask):
    """Once more for each damaged page that the batch has met: that mends the store, and says to repeat it."""
    for _ in range(FLIPS_MOST):
        reply = ask()
        if reply.code != 'unknown_outcome':
            return reply
    return ask()


def use(server, what):
    """Every queue takes a message; gives {seq: payload} of what it gives."""
    out = {}
    for queue in [*QUEUES, 'fresh']:
        if server.get(f'/v1/queues/{queue}').status == 404:
            server.put(f'/v1/queues/{queue}', {})
        put = {'payload': 'after', 'priority': -9}
        reply = again(lambda: server.post(f'/v1/queues/{queue}/messages', put))
        checks.equal(reply.status, 201, f'{what}: a put to {queue}')
        reserve = {'queues': [queue], 'limit': 50}
        reply = again(lambda: server.post('/v1/reserve', reserve))
        checks.equal(reply.status, 200, f'{what}: a reserve of {queue}: {reply.body}')
        for message in reply.json.get('messages', []):
            out[message['seq']] = message.get('payload', '')
    fresh = server.get('/v1/queues/fresh').json['counts']
    checks.that(fresh['que'] + fresh['run'] >= 1, f'{what}: the new queue is served')
    return out


def play(base, before, payloads, what, damage):
    directory = pathlib.Path(tempfile.mkdtemp(prefix='damage-'))
    shutil.copytree(base, directory, dirs_exist_ok=True)
    (directory / 'server.log').unlink()
    file = directory / 'db' / 'rq.db'
    damaged = damage(file)
    what = f'{what}: {damaged}'
    server = rqtest.Server(manual_clock=False, dir=directory, start=False)
    failed = checks.failed
    try:
        found = findings(server)
        words = [word for _, word in damaged] if isinstance(damaged[0], tuple) else []
        for word in words:
            checks.that(any(word in text for text in found), f'{what}: doctor does not name {word}')
        must = bool(words) or matters(before, content(file))
        if must:
            checks.that(found, f'{what}: doctor finds nothing')
        server.start()
        for when in ('at once', 'after the check', 'after another start'):
            got = use(server, f'{what}, {when}')
            got.update(told(server))
            wrong = {seq: text for seq, text in got.items()
                     if seq in payloads and text != payloads[seq]}
            checks.that(not wrong, f'{what}, {when}: payloads were changed: {list(wrong)[:3]}')
            checks.equal(server.process.poll(), None, f'{what}, {when}: the server runs')
            if when == 'at once':
                rqtest.eventually(lambda: CHECKED in server.log(), 'the check', CHECK_SECONDS)
                server.get('/v1/stats')  # behind what the check has asked of the engine
            elif when == 'after the check':
                server.terminate(30)
                server.start()
        left = findings(server)
        checks.equal(left, [], f'{what}: the store at the end')
        # A row in a wrong place is put right, and nothing is lost with it.
        with contextlib.closing(sqlite3.connect(f'file:{file}?mode=ro', uri=True)) as db:
            lost = db.execute('SELECT count(*) FROM corrupt').fetchone()[0]
        checks.equal(server.get('/v1/health').json['status'], 'damaged' if lost else 'ok',
                     f'{what}: what health says, {lost} set aside')
    except (AssertionError, OSError, subprocess.TimeoutExpired, ValueError) as error:
        checks.that(False, f'{what}: {error!r}')
    if checks.failed > failed:
        print(f'--- {what}\n{server.log()[-3000:]}', flush=True)
    server.stop()
    shutil.rmtree(directory, ignore_errors=True)


def run(rounds, edits, seed, messages):
    print(f'seed {seed}', flush=True)
    rng = random.Random(seed)
    with rqtest.Server(manual_clock=False) as server:
        payloads = fill(server, messages, rng)
        server.terminate(60)
        base = server.dir
        before = content(base / 'db' / 'rq.db')
        assert before is not None
        checks.equal(findings(server), [], 'doctor before any damage')
        for n in range(rounds):
            many = FLIPS_MOST if n % 10 == 9 else 1
            play(base, before, payloads, f'seed {seed}, flips {n}',
                 lambda file, many=many: flip(file, rng, many))
        for n in range(0, edits, 10):
            play(base, before, payloads, f'seed {seed}, edits {n}',
                 lambda file, many=min(10, edits - n): edit(file, rng, many))
    return checks.report()


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--rounds', type=int, default=100, help='stores in which bits are flipped')
    parser.add_argument('--edits', type=int, default=100, help='rows that are edited, ten a store')
    parser.add_argument('--seed', type=int, default=random.randrange(1_000_000))
    parser.add_argument('--messages', type=int, default=10_000)
    args = parser.parse_args()
    sys.exit(run(args.rounds, args.edits, args.seed, args.messages))
