"""The store, or a part of it, disappears under a running server, also while nobody asks for anything:
the server ends and says why. faults.md D14"""
import http.client
import os
import shutil
import subprocess
import sys
import threading

import rqtest

checks = rqtest.Checks()
ROUNDS_MAX = 10


def ends(what, take_away, word='is not there any more'):
    text = what_it_says(what, take_away)
    checks.that(word in text, f'{what}: it says why: {text[-500:]}')


def what_it_says(what, take_away, then=lambda server: None):
    with rqtest.Server(manual_clock=False) as server:
        server.put('/v1/queues/q', {})
        checks.equal(server.post('/v1/queues/q/messages', {'payload': 'x'}).status, 201, what)
        log = open(server.log_path, encoding='utf-8')
        take_away(server.dir)
        then(server)
        code = server.process.wait(rqtest.REPLY_SECONDS)
        checks.that(code != 0, f'{what}: it ends with {code}')
        text = log.read()
        log.close()
        return text


def replace(directory):
    store = directory / 'db' / 'rq.db'
    shutil.copy(store, f'{store}.copy')
    os.rename(f'{store}.copy', store)


ends('the directory is deleted', shutil.rmtree)
ends('the directory is moved', lambda d: os.rename(d, f'{d}-moved'))
ends('db is deleted', lambda d: shutil.rmtree(d / 'db'))
ends('the file is deleted', lambda d: (d / 'db' / 'rq.db').unlink())
ends('the file is replaced', replace)
ends('the file is emptied', lambda d: os.truncate(d / 'db' / 'rq.db', 0), 'was cut from')
ends('the log is emptied', lambda d: os.truncate(d / 'db' / 'rq.db-wal', 0), 'was cut from')
ends('the log is deleted', lambda d: (d / 'db' / 'rq.db-wal').unlink(), 'has been copied into')
ends('the index is deleted', lambda d: (d / 'db' / 'rq.db-shm').unlink())


def put_without_answer(server):
    """The server may end before it answers."""
    client = rqtest.Client(lambda: http.client.HTTPConnection('127.0.0.1', server.port))
    try:
        client.post('/v1/queues/q/messages', {'payload': 'x'})
    except (OSError, http.client.HTTPException):
        pass


def the_index_is_cut():
    """Whoever touches it gets a bus error, unless the server has looked at its files before that."""
    what = 'the index is cut'
    bus_error, seen = 'bus error', 'under the running server'
    for _ in range(ROUNDS_MAX):
        text = what_it_says(what, lambda d: os.truncate(d / 'db' / 'rq.db-shm', 0), put_without_answer)
        said = [line for line in text.splitlines() if 'rq.db-shm' in line and 'was cut' in line]
        checks.that(said and all(bus_error in line or seen in line for line in said), f'{what}: {text[-500:]}')
        if any(bus_error in line for line in said):
            return
    checks.that(False, f'{what}: no bus error in {ROUNDS_MAX} rounds')


the_index_is_cut()


def all_is_saved(what, take_away):
    """faults.md D14, relative: the log goes away under load. The server ends, and the next one has
    all that was acknowledged."""
    with rqtest.Server(manual_clock=False) as server:
        server.put('/v1/queues/q', {})
        acknowledged, begun, done = [], threading.Event(), threading.Event()

        def put():
            client = rqtest.Client(lambda: http.client.HTTPConnection('127.0.0.1', server.port))
            while not done.is_set():
                try:
                    reply = client.post('/v1/queues/q/messages', {'payload': 'x'})
                except (OSError, http.client.HTTPException):
                    return
                if reply.status == 201:
                    acknowledged.append(reply.json['seq'])
                if len(acknowledged) == 200:
                    begun.set()

        clients = [threading.Thread(target=put) for _ in range(3)]
        for client in clients:
            client.start()
        checks.that(begun.wait(rqtest.REPLY_SECONDS), f'{what}: it is under load')
        take_away(server.dir / 'db' / 'rq.db-wal')
        code = server.process.wait(rqtest.REPLY_SECONDS)
        done.set()
        for client in clients:
            client.join()
        checks.that(code != 0, f'{what}: it ends with {code}')
        log = server.log()
        checks.that('is not there any more' in log and 'has been copied into' in log, f'{what}: {log[-800:]}')
        server.start()
        there = {m['seq'] for m in all_messages(server)}
        lost = [seq for seq in acknowledged if seq not in there]
        checks.equal(lost, [], f'{what}: lost of {len(acknowledged)}')
        checks.equal(server.get('/v1/health').json['status'], 'ok', what)


def all_messages(server):
    cursor = ''
    while cursor is not None:
        page = server.get(f'/v1/messages?limit=1000{cursor and "&cursor=" + str(cursor)}').json
        yield from page['messages']
        cursor = page['cursor']


def replace_log(log):
    shutil.copy(log, f'{log}.copy')
    os.rename(f'{log}.copy', log)


all_is_saved('the log is deleted', lambda log: log.unlink())
all_is_saved('the log is moved', lambda log: os.rename(log, f'{log}.moved'))
all_is_saved('the log is replaced', replace_log)

def doctor_knows():
    """What the server refuses at its start, rq doctor names."""
    with rqtest.Server(manual_clock=False) as one, rqtest.Server(manual_clock=False) as other:
        for server in (one, other):
            server.terminate()
        for what, change in (('is another one', lambda path: shutil.copy(other.dir / 'db' / 'rq.db', path)),
                             ('is gone or empty', lambda path: open(path, 'w').close())):
            change(one.dir / 'db' / 'rq.db')
            for more in ([], ['--quick']):
                ran = subprocess.run([rqtest.RQ_BIN, 'doctor', '--dir', one.dir, *more],
                                     capture_output=True, text=True)
                checks.that(what in ran.stdout and 'rq.db.identity' in ran.stdout, f'doctor: {what}: {ran}')
            ran = subprocess.run(one.command(), capture_output=True, text=True)
            checks.that(ran.returncode != 0 and what in ran.stdout + ran.stderr, f'the server: {what}: {ran}')


def a_bad_bit_in_the_log():
    """faults.md D3, relative: what is behind it is not lost, and it is told."""
    with rqtest.Server(manual_clock=False) as server:
        server.put('/v1/queues/q', {})
        put = [server.post('/v1/queues/q/messages', {'payload': f'{i:0900}'}).json['seq'] for i in range(100)]
        server.kill()
        log = server.dir / 'db' / 'rq.db-wal'
        data = bytearray(log.read_bytes())
        data[len(data) // 2] ^= 1
        log.write_bytes(data)
        damaged = 'rq.db-wal is damaged behind byte'
        ran = subprocess.run([rqtest.RQ_BIN, 'doctor', '--dir', server.dir], capture_output=True, text=True)
        checks.that(damaged in ran.stdout and ran.returncode != 0, f'doctor names it: {ran}')
        server.start()
        checks.that(damaged in server.log(), f'so does the server: {server.log()[-800:]}')
        checks.equal(server.get('/v1/health').json['status'], 'damaged', 'health')
        there = {m['seq'] for m in all_messages(server)}
        checks.equal([seq for seq in put if seq not in there], [], 'lost')
        checks.that((server.dir / 'db' / 'rq.db.damaged-1-wal').read_bytes() == data, 'the log is kept')


def a_log_that_was_cut():
    """faults.md D3, relative: after a kill, the index of the log knows how long it was. Doctor does not
    make the start forget that."""
    with rqtest.Server(manual_clock=False) as server:
        server.put('/v1/queues/q', {})
        put = [server.post('/v1/queues/q/messages', {'payload': f'{i:0900}'}).json['seq'] for i in range(50)]
        server.kill()
        log = server.dir / 'db' / 'rq.db-wal'
        os.truncate(log, log.stat().st_size // 2)
        for _ in range(2):
            ran = subprocess.run([rqtest.RQ_BIN, 'doctor', '--dir', server.dir], capture_output=True, text=True)
            checks.that('as its index tells' in ran.stdout and ran.returncode != 0, f'doctor names it: {ran}')
        server.start()
        checks.that('as its index tells' in server.log(), f'so does the server: {server.log()[-800:]}')
        checks.equal(server.get('/v1/health').json['status'], 'damaged', 'health')
        checks.that(len(list(all_messages(server))) < len(put), 'it was cut')
        checks.equal(server.post('/v1/queues/q/messages', {'payload': 'x'}).status, 201, 'it goes on')


def a_bad_bit_beside_the_server():
    """faults.md D3, relative: one that only readers would meet. The engine still has the message in
    memory: it is saved, without a restart."""
    with rqtest.Server(manual_clock=False) as server:
        server.put('/v1/queues/q', {})
        words = [f'{i:04} {"x" * 900}' for i in range(40)]
        put = [server.post('/v1/queues/q/messages', {'payload': word}).json['seq'] for word in words]
        with open(server.dir / 'db' / 'rq.db-wal', 'r+b') as log:
            data = log.read()
            at = -1
            while (at := data.find(b'0009 xxx', at + 1)) >= 0:
                log.seek(at)
                log.write(b'1')
        server.get(f'/v1/messages/{put[9]}')
        got = rqtest.eventually(
            lambda: (lambda r: r if r.status != 500 else None)(server.get(f'/v1/messages/{put[9]}')), 'it is mended')
        checks.equal(got.status, 200, 'it is saved')
        checks.equal(server.get(f'/v1/messages/{put[9]}/payload').body, words[9].encode(), 'its payload')
        checks.equal(len(list(all_messages(server))), len(put), 'the others')


def a_bad_bit_that_a_start_meets():
    """faults.md D3, relative: nobody has the message in memory: it is set aside, and health says so."""
    with rqtest.Server(manual_clock=False) as server:
        server.put('/v1/queues/q', {})
        words = [f'{i:04} {"x" * 900}' for i in range(40)]
        put = [server.post('/v1/queues/q/messages', {'payload': word}).json['seq'] for word in words]
        server.terminate()
        store = server.dir / 'db' / 'rq.db'
        data = store.read_bytes()
        checks.that(b'0009 xxx' in data, 'it is in the store')
        store.write_bytes(data.replace(b'0009 xxx', b'1009 xxx'))
        server.start()
        server.get(f'/v1/messages/{put[9]}')
        got = rqtest.eventually(
            lambda: (lambda r: r if r.status != 500 else None)(server.get(f'/v1/messages/{put[9]}')), 'it is mended')
        checks.equal(got.status, 404, 'it is set aside')
        checks.equal(server.get('/v1/health').json['status'], 'damaged', 'health')
        checks.equal(len(list(all_messages(server))), len(put) - 1, 'the others')


def a_bad_bit_that_is_not_copied():
    """faults.md D3, relative: what is mended from memory is checked at once, not hours later."""
    with rqtest.Server(manual_clock=False) as server:
        server.terminate()
        with open(server.dir / 'rq.toml', 'a', encoding='utf-8') as config:
            config.write('wal_bytes = 1048576\n')
        server.start()
        passes = lambda: server.log().count('the whole store has been checked')
        server.put('/v1/queues/q', {})
        put = [server.post('/v1/queues/q/messages', {'payload': f'{i:04} {"x" * 900}'}).json['seq'] for i in range(20)]
        rqtest.eventually(passes, 'the first pass')
        before = passes()
        with open(server.dir / 'db' / 'rq.db-wal', 'r+b') as log:
            data = log.read()
            at = data.rindex(b'0009 xxx')
            log.seek(at)
            log.write(b'1')
        while 'written anew' not in server.log() and len(put) < 2000:
            put.append(server.post('/v1/queues/q/messages', {'payload': 'y' * 900}).json['seq'])
        checks.that('written anew' in server.log(), f'it is mended: {server.log()[-800:]}')
        rqtest.eventually(lambda: passes() > before, 'it is checked')
        checks.equal(server.get(f'/v1/messages/{put[9]}/payload').body[:4], b'0009', 'it is as it was')
        checks.equal(len(list(all_messages(server))), len(put), 'all are there')


doctor_knows()
a_bad_bit_in_the_log()
a_bad_bit_that_is_not_copied()
a_log_that_was_cut()
a_bad_bit_beside_the_server()
a_bad_bit_that_a_start_meets()
sys.exit(checks.report())
