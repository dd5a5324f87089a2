"""Every option of every verb is used once, and what it does is looked at: not what is said of it.

Which options there are is read from the helps; one that no call has used fails the test.
"""
# ctest-timeout: 600
import json
import os
import pathlib
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import rqtest

RQ = os.path.abspath(rqtest.RQ_BIN)
checks = rqtest.Checks()
equal, that = checks.equal, checks.that
COMMON = {'--help', '--dir', '--server', '--json'}
# Of the verbs that stay: config_test.py runs the server's, and these are the worker's.
BEGIN_BEFORE = ('server', 'worker')


class Cli:
    """Runs rq, and remembers which options each verb was given."""

    def __init__(self, server):
        self.env = {k: v for k, v in os.environ.items() if not k.startswith('RQ_')}
        self.env.update(RQ_DIR=str(server.dir), TERM='dumb')
        self.used = {}

    def note(self, args):
        words = [str(a) for a in args]
        if '--' in words:
            words = words[:words.index('--')]
        verb = ' '.join(words[:2]) if words[0] == 'queue' else words[0]
        for word in words:
            if re.match('--?[a-z]', word):
                self.used.setdefault(verb, set()).add(word.split('=')[0])

    def run(self, *args, input=None, env=None):
        self.note(args)
        feed = {'stdin': subprocess.DEVNULL} if input is None else {'input': input}
        return subprocess.run([RQ, *map(str, args)], capture_output=True, timeout=120,
                              env={**self.env, **(env or {})}, **feed)

    def __call__(self, *args, **more):
        """Standard output, of what must go well."""
        ran = self.run(*args, **more)
        equal(ran.returncode, 0, f'rq {args}: {ran.stderr[-400:]}')
        return ran.stdout.decode(errors='replace')

    def json(self, *args, **more):
        return json.loads(self(*args, '--json', **more))

    def code(self, *args, **more):
        return self.run(*args, **more).returncode

    def message(self, id):
        return self.json('show', id)

    def ended(self, id):
        return rqtest.eventually(
            lambda: (m := self.message(id))['state'] in ('done', 'err', 'cancelled') and m,
            f'{id} ends')


def script(server, name, text):
    path = server.dir / name
    path.write_text('#!/bin/bash\n' + text)
    path.chmod(0o755)
    return path


def options_of(rq, verb):
    """The names of each option, as its help lists them."""
    out = rq('help', *verb.split())
    return [set(re.findall(r'(--?[a-z][a-z-]*\d?)', line))
            for line in re.findall(r'^  (-[-a-z0-9, ]+?)(?:  | [A-Z=]|$)', out, re.M)]


def test_put(s, rq):
    rq('queue', 'create', 'in')
    file = s.dir / 'payload'
    file.write_bytes(b'\x00\xff')
    ran = subprocess.run([RQ, 'show', rq('put', 'in', '--file', file).strip(), '--payload'],
                         env=rq.env, capture_output=True)
    rq.note(('show', '--payload'))
    equal(ran.stdout, b'\x00\xff', 'put --file, show --payload')
    many = s.dir / 'many'
    many.write_text('{"payload":"n1"}\n{"payload":"n2"}\n')
    rq('put', 'in', '--ndjson', many)
    listed = s.get('/v1/messages?queue=in&text=n&payloads=1').json['messages']
    equal(sorted(m['payload'] for m in listed), ['n1', 'n2'], 'put --ndjson')
    m = rq.message(rq('put', 'in', 'x', '--delay', '1h', '--priority', '7', '--key', 'k1', '--tag', 't1',
                      '--tag', 't2', '--header', 'h=v', '--dest', 'there', '--src', 'here',
                      '--content-type', 'text/plain', '--retries', '2', '--timeout', '90s',
                      '--param1', '1', '--param2', '2', '--param3', '3', '--param4', '4').strip())
    equal(m['state'], 'scheduled', '--delay')
    m = rq.message(rq('put', 'in', 'x', '--at', '2099-01-01').strip())
    equal(m['due'], '2099-01-01T00:00:00.000Z', '--at')
    m = rq.message(rq('put', 'in', '--text', '-x', '--prep').strip())
    equal((m['payload'], m['state']), ('-x', 'prep'), 'put --text, --prep')
    # The rest, as a script sees it.
    sees = script(s, 'sees.sh', 'env | grep ^RQ_PARAM | sort; echo "$RQ_DEST"; echo "done" >&3\n')
    rq('queue', 'create', 'sees', '--script', sees)
    out = rq('put', 'sees', '-', '--param1', '1', '--param2', '2', '--param3', '3', '--param4', '4',
             '--dest', 'there', '--follow', input=b'')
    for n in '1234':
        that(f'RQ_PARAM{n}={n}' in out, f'--param{n}: {out}')
    that('there' in out, f'--dest, --follow: {out}')
    fails = script(s, 'fails.sh', 'echo tried; exit 1\n')
    rq('queue', 'create', 'fails', '--script', fails, '--backoff', 'fixed:10ms')
    equal(rq.code('put', 'fails', 'x', '--retries', '2', '--wait', '--key', 'f'), 1, '--wait')
    equal(rq.message('key:f')['attempts'], 3, '--retries')
    slow = script(s, 'slow.sh', 'echo up; sleep 300\n')
    rq('queue', 'create', 'slow', '--script', slow, '--grace', '100ms')
    equal(rq.code('put', 'slow', 'x', '--timeout', '300ms', '--wait', '--key', 's'), 1, 'put --timeout')
    equal(rq.message('key:s')['mark'], 'timed_out', 'put --timeout')
    rq('queue', 'create', 'never')
    late = ('--wait-timeout', '50ms')
    equal(rq.code('put', 'never', 'x', '--wait', *late, '--key', 'n'), 124, 'put --wait-timeout')
    equal(rq.code('tail', '-f', 'key:n', *late), 124, 'tail --wait-timeout')
    equal(rq.code('run', '--queue', 'late', '--wait', *late, '--', 'sleep', '1'), 124, 'run --wait-timeout')
    low, high = (rq('put', 'in', word, '--priority', n).strip() for word, n in (('l', -1), ('h', 9)))
    taken = s.post('/v1/reserve', {'queues': ['in']}).json['messages'][0]
    equal(taken['id'], high, 'put --priority')
    del low
    reply = s.get('/v1/messages/key:k1/payload')
    equal(reply.headers['content-type'], 'text/plain', 'put --content-type')
    equal((m := rq.message('key:k1'))['headers'], {'h': 'v'}, 'put --header')
    equal(m['src'], 'here', 'put --src')
    for tag in ('t1', 't2'):
        equal(len(s.get(f'/v1/messages?tag={tag}').json['messages']), 1, f'put --tag {tag}')


def test_run(s, rq):
    out = rq('run', '--queue', 'cmd', '--env', 'A=b', '--wait', '--', 'sh', '-c', 'echo $A; cat')
    equal(out, 'b\n', 'run --queue, --env, --wait')
    equal(rq('run', '--queue', 'cmd', '--stdin', '-w', 'cat', input=b'in'), 'in', 'run --stdin')
    m = rq.message(rq('run', '--queue', 'cmd', '--delay', '1h', '--priority', '3', '--tag', 'cmdtag',
                      '--', 'true').strip())
    equal((m['state'], m['priority'], m['tags']), ('scheduled', 3, ['cmdtag']), '--delay')
    m = rq.message(rq('run', '--queue', 'cmd', '--at', '2099-01-01', 'true').strip())
    equal(m['due'], '2099-01-01T00:00:00.000Z', 'run --at')
    rq('queue', 'set', 'cmd', '--backoff', 'fixed:10ms')
    m = rq.ended(rq('run', '--queue', 'cmd', '--retries', '2', 'false').strip())
    equal(m['failures'], 3, 'run --retries')
    m = rq.ended(rq('run', '--queue', 'cmd', '--timeout', '200ms', '--', 'sleep', '300').strip())
    equal(m['mark'], 'timed_out', 'run --timeout')
    # Two at a time: each waits for the other.
    a, b = s.dir / 'a', s.dir / 'b'
    for path in (a, b):
        os.mkfifo(path)
    first = rq('run', '--queue', 'cmd', '-j', '2', '--', 'sh', '-c', f'echo x > {a}; cat {b}').strip()
    second = rq('run', '--queue', 'cmd', '--', 'sh', '-c', f'cat {a}; echo y > {b}').strip()
    equal([rq.ended(id)['state'] for id in (first, second)], ['done', 'done'], 'run --num-workers')


def test_look(s, rq):
    for i in range(3):
        s.post('/v1/queues/looked/messages', {'payload': f'p{i}', 'tags': [f'lt{i}'], 'key': f'lk{i}'})
    rq('queue', 'create', 'looked')
    for i in range(3):
        s.post('/v1/queues/looked/messages', {'payload': f'p{i}', 'tags': [f'lt{i}'], 'key': f'lk{i}'})

    def listed(*args):
        out = rq('list', *args, '--json')
        value = json.loads(out.splitlines()[0]) if out.startswith('{"messages"') else None
        rows = value['messages'] if value else [json.loads(line) for line in out.splitlines()]
        return rows

    def seqs(*args):
        return [m['seq'] for m in listed(*args)]

    all_of_it = seqs('--queue', 'looked')
    equal(len(all_of_it), 3, 'list --queue')
    equal(seqs('looked', '-n', '2'), all_of_it[:2], 'list --limit')
    equal(seqs('looked', '--oldest'), all_of_it[::-1], 'list --oldest')
    equal(seqs('looked', '--all'), all_of_it, 'list --all')
    equal(rq.code('list', 'looked', '--all', '--limit', '1'), 2, 'list --all is no page')
    equal(rq.code('list', 'looked', '--payloads'), 2, 'list --payloads is for programs')
    page = s.get('/v1/messages?queue=looked&limit=1').json
    equal(seqs('looked', '--cursor', page['cursor']), all_of_it[1:], 'list --cursor')
    equal(sorted(m['payload'] for m in listed('looked', '--payloads')), ['p0', 'p1', 'p2'], '--payloads')
    equal([m.get('payload') for m in listed('looked')], [None] * 3, 'list without --payloads')
    equal([m['payload_bytes'] for m in listed('looked')], [2] * 3, 'it says how large they are')
    equal(seqs('looked', '--tag', 'lt1'), all_of_it[1:2], 'list --tag')
    equal([k['count'] for k in listed('fails', '--by', 'reason')[0]['failures']], [1], 'list --by')
    equal(seqs('looked', '--key', 'lk2'), all_of_it[:1], 'list --key')
    equal(seqs('looked', '--text', 'p0'), all_of_it[2:], 'list --text')
    equal((seqs('looked', '--state', 'err'), seqs('looked', '--state', 'que')), ([], all_of_it), '--state')
    kind = s.get('/v1/failures?queue=fails').json['failures'][0]['fingerprint']
    equal((len(seqs('fails', '--fingerprint', kind)), seqs('fails', '--fingerprint', 'x')), (1, []),
          'list --fingerprint')
    equal(seqs('looked', '--mark', 'failed'), [], 'list --mark')
    equal(seqs('--queue', 'fails', '--mark', 'exhausted')[:1] != [], True, 'list --mark')
    equal((seqs('looked', '--after', '1h'), seqs('looked', '--before', '1h')), (all_of_it, []), 'times')

    lines = script(s, 'lines.sh', 'seq 100; echo "done" >&3\n')
    rq('queue', 'create', 'lines', '--script', lines)
    rq('put', 'lines', 'x', '--key', 'lines', '--wait')
    equal(rq('tail', 'key:lines', '-n', '2'), '99\n100\n', 'tail --lines')
    whole = rq('tail', 'key:lines', '--all')
    equal(rq('tail', 'key:lines', '--from', len(whole) - 4), '100\n', 'tail --from')
    that(rq('tail', '-f', 'key:lines').endswith('99\n100\n'), 'tail --follow')
    that('looked' in rq('top', '--once'), 'top --once')
    rq.note(('top', '--every'))
    screen = rq('top', '--every', '100ms', '--once')
    that('looked' in screen, f'top --every: {screen}')

    for option, value, wanted in (('--queue', 'looked', True), ('--queue', 'in', False),
                                  ('--message', all_of_it[0], True), ('--message', all_of_it[1], False),
                                  ('--kinds', 'message', True), ('--kinds', 'queue', False)):
        follower = subprocess.Popen([RQ, 'events', option, str(value)], env=rq.env,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        rq.note(('events', option))

        heard = []
        reader = threading.Thread(target=lambda: heard.extend(iter(follower.stdout.readline, b'')))
        reader.start()

        def heard_more_than(lines):
            # Again until the stream has begun, and once more when it has: then each has been tried.
            for path, body in ((f'messages/{all_of_it[0]}/priority', {'priority': 1}),
                               (f'messages/{all_of_it[1]}/priority', {'priority': 1}),
                               (f'messages/{all_of_it[0]}/cancel', {}),
                               (f'messages/{all_of_it[0]}/retry', {}),
                               (f'messages/{all_of_it[1]}/cancel', {}),
                               (f'messages/{all_of_it[1]}/retry', {}),
                               ('queues/in/pause', {}), ('queues/in/resume', {}),
                               ('queues/looked/pause', {}), ('queues/looked/resume', {})):
                s.post(f'/v1/{path}', body)
            return len(heard) > lines

        short = rq.message(all_of_it[0])['id'].encode()
        rqtest.eventually(lambda: heard_more_than(0), f'events {option} {value}')
        lines = len(heard)
        rqtest.eventually(lambda: heard_more_than(lines + 10), f'events {option} {value}, all of a round')
        if wanted:
            rqtest.eventually(lambda: any(short in line for line in heard), f'events {option} {value}')
        follower.kill()
        reader.join()
        follower.wait()
        equal(any(short in line for line in heard), wanted, f'events {option} {value}: {heard[-3:]}')


BULK = ('retry', 'requeue', 'run-now', 'commit', 'cancel', 'kill', 'clone', 'move', 'priority', 'remove')
# A state that the verb takes and in which no message is; prep for the others. kill takes one only.
NONE_IN = {'retry': 'done', 'requeue': 'done', 'clone': 'done', 'run-now': 'que', 'remove': 'done'}
MORE = {'clone': ['--to', 'b-clone2'], 'move': ['--to', 'b-move2'], 'priority': ['--priority', '5']}


def bulk_messages(s, queue, verb):
    """Two messages on which the verb does something, and their state."""
    s.put(f'/v1/queues/{queue}', {})
    s.put(f'/v1/queues/{queue}2', {})
    seqs = []
    for i in (1, 2):
        put = {'payload': f'{queue} text{i}', 'tags': [f'{queue}-{i}'], 'key': f'{queue}-{i}'}
        if verb == 'run-now':
            put['delay_s'] = 3600
        if verb == 'commit':
            put['prep'] = True
        seqs.append(s.post(f'/v1/queues/{queue}/messages', put).json['seq'])
    if verb in ('retry', 'requeue', 'clone', 'remove', 'kill'):
        for m in s.post('/v1/reserve', {'queues': [queue], 'limit': 2}).json['messages']:
            if verb != 'kill':
                s.post('/v1/err', {'token': m['lease']['token'], 'reason': 'no', 'retry': False})
    return seqs, s.get(f'/v1/messages/{seqs[0]}').json


def test_bulk(s, rq):
    for verb in BULK:
        queue = f'b-{verb}'
        seqs, first = bulk_messages(s, queue, verb)
        more = MORE.get(verb, [])

        def matched(*filters):
            if verb == 'remove' and '--state' not in filters:
                filters = (*filters, '--state', state)   # it takes no filter without
            return rq.json(verb, *more, '--queue', queue, *filters, '--dry-run', '-y')['matched']

        state = first['state']
        equal(matched(), 2, f'{verb} --queue, --dry-run')
        equal(matched('--state', state), 2, f'{verb} --state')
        if verb not in ('kill', 'commit'):
            equal(matched('--state', NONE_IN.get(verb, 'prep')), 0, f'{verb} --state of none')
        if verb == 'remove':
            equal(rq.code(verb, '--all', '--dry-run', '-y'), 2, 'remove --all: it wants a state')
        else:
            everywhere = rq.json(verb, *more, '--all', '--dry-run', '-y')['matched']
            that(everywhere >= 2, f'{verb} --all: {everywhere}')
        in_state = rq.json(verb, *more, '--all', '--state', state, '--dry-run', '-y')['matched']
        that(in_state >= 2, f'{verb} --all --state: {in_state}')
        equal(rq.code(verb, *more, '--all', '--tag', 'x', '--dry-run', '-y'), 2, f'{verb} --all, a filter')
        equal(matched('--tag', f'{queue}-1'), 1, f'{verb} --tag')
        equal(matched('--key', f'{queue}-2'), 1, f'{verb} --key')
        equal(matched('--text', 'text2'), 1, f'{verb} --text')
        equal(matched('--mark', first['mark']) if first['mark'] != 'none' else 2, 2, f'{verb} --mark')
        equal(matched('--mark', 'exhausted'), 0, f'{verb} --mark of none')
        # faults.md B15, relative: one kind of failure, which only messages in err have.
        if verb in ('retry', 'requeue', 'cancel', 'clone', 'move', 'remove'):
            of = 2 if first['state'] == 'err' else 0
            equal((matched('--fingerprint', 'no'), matched('--fingerprint', 'n')) if verb != 'remove' else
                  (rq.json(verb, '--fingerprint', 'no', '--queue', queue, '--dry-run')['matched'], 0),
                  (of, 0), f'{verb} --fingerprint')
        else:
            equal(rq.code(verb, *more, '--fingerprint', 'no', '--dry-run'), 2, f'{verb} --fingerprint')
        equal((matched('--after', '1h'), matched('--before', '1h')), (2, 0), f'{verb} --after, --before')
        equal(s.get(f'/v1/messages/{seqs[0]}').json, first, f'{verb} --dry-run does nothing')
        states = ('--state', state) if verb == 'remove' else ()
        limited = rq.json(verb, *more, '--queue', queue, *states, '--limit', '1', '--yes')
        equal(limited['changed'], 1, f'{verb} --limit, --yes: {limited}')
        that(rq.run(verb, *more, '--queue', queue).returncode != 0, f'{verb}: not without --yes')
    for verb, state in (('cancel', 'cancelled'), ('kill', 'run')):
        seqs, _ = bulk_messages(s, f'reason-{verb}', verb)
        rq(verb, seqs[0], '--reason', 'because of me')
        m = s.get(f'/v1/messages/{seqs[0]}').json
        equal(m['state'], state, verb)
        that('because of me' in json.dumps(m), f'{verb} --reason: {m}')
        if verb == 'cancel':
            that('cancelled: because of me' in rq('why', seqs[0]), 'why tells the reason')
    for verb in ('retry', 'requeue'):
        seqs, _ = bulk_messages(s, f'reason-{verb}', verb)
        rq(verb, seqs[0], '--reason', 'because of me')
        m = s.get(f'/v1/messages/{seqs[0]}').json
        # faults.md C6, relative: kept, as of cancel and kill.
        equal((m['state'], m['progress']), ('que', 'because of me'), f'{verb} --reason')
    seqs, _ = bulk_messages(s, 'committed', 'commit')
    that(f'rq commit {rq.message(seqs[0])["id"]}' in rq('why', seqs[0]), 'why says how')
    rq('commit', seqs[0])
    equal(s.get(f'/v1/messages/{seqs[0]}').json['state'], 'que', 'commit')
    seqs, _ = bulk_messages(s, 'deeds', 'move')
    rq('move', seqs[0], '--to', 'deeds2')
    equal(s.get(f'/v1/messages/{seqs[0]}').json['queue'], 'deeds2', 'move --to')
    rq('priority', seqs[1], '--priority', '-9')
    equal(s.get(f'/v1/messages/{seqs[1]}').json['priority'], -9, 'priority --priority')
    seqs, _ = bulk_messages(s, 'copied', 'clone')
    new = rq('clone', seqs[0], '--to', 'copied2').split()[0]
    equal(rq.message(new)['queue'], 'copied2', 'clone --to')


NICER = str(min(19, os.nice(0) + 5))  # anybody may be nicer
SHOWS = r'''
echo "user=$(id -un) nice=$(nice) files=$(ulimit -n) size=$(ulimit -f) cpu=$(ulimit -t) procs=$(ulimit -u)"
echo "A=$A HANDED=$HANDED prefix=$PREFIX"
echo "done" >&3
'''


def test_settings(s, rq):
    """Each by its effect; through `queue create`, then changed by `queue set`."""
    shows = script(s, 'shows.sh', SHOWS)
    root = os.getuid() == 0
    user = ['--user', 'nobody'] if root else []
    if root:
        s.dir.chmod(0o755)

    def shown(name):
        return rq('put', name, 'x', '--param1', 'p', '--follow')

    for verb in ('create', 'set'):
        name = f'shows-{verb}'
        if verb == 'set':
            rq('queue', 'create', name)
        rq('queue', verb, name, '--script', shows, '--exec-prefix', 'env PREFIX=here', '--nice', NICER,
           '--open-files', '100', '--file-size', '1M', '--cpu', '77s', '--env', 'A=b',
           '--env-allow', 'HANDED', '--processes', '5000')
        out = shown(name)
        for text in (f'nice={NICER}', 'files=100', 'size=1024', 'cpu=77', 'A=b', 'HANDED=on', 'prefix=here'):
            that(text in out, f'queue {verb}: {text}: {out}')
        rq.used[f'queue {verb}'].add('--processes')
        if root:
            rq('queue', verb if verb == 'set' else 'set', name, *user)
            rq('queue', 'create', f'{name}-user', '--script', shows, *user)
        else:
            rq.note(('queue', verb, '--user'))
        rq.note(('queue', verb, *user))

        greedy = script(s, 'greedy.py', '')
        greedy.write_text('#!/usr/bin/python3\nimport time\nx = "x" * (200 << 20)\ntime.sleep(300)\n')
        stubborn = script(s, 'stubborn.sh', 'trap "" TERM; echo up; while :; do sleep 1; done\n')
        fails = script(s, f'fails-{verb}.sh', 'exit 1\n')
        resends = script(s, 'resends.sh', 'echo "resend 0 again" >&3\n')

        def queue(name, *options):
            """A queue that got its settings by the verb."""
            name = f'{name}-{verb}'
            if verb == 'set':
                rq('queue', 'create', name)
            rq('queue', verb, name, *options)
            return name

        q = queue('greedy', '--script', greedy, '--memory', '50M')
        that('memory' in rq.ended(rq('put', q, 'x').strip())['progress'], f'queue {verb} --memory')
        q = queue('stubborn', '--script', stubborn, '--timeout', '300ms', '--grace', '200ms')
        m = rq.ended(rq('put', q, 'x').strip())
        equal(m['mark'], 'timed_out', f'queue {verb} --timeout')
        that(m['attempts_list'][0]['post_mortem'].get('killed_after_grace'), f'queue {verb} --grace')
        q = queue('fails', '--script', fails, '--retries', '1', '--backoff', 'fixed:10ms')
        equal(rq.ended(rq('put', q, 'x').strip())['failures'], 2, f'queue {verb} --retries, --backoff')
        q = queue('resends', '--script', resends, '--max-count', '2')
        equal(rq.ended(rq('put', q, 'x').strip())['count'], 2, f'queue {verb} --max-count')
        a, b = s.dir / f'{verb}-a', s.dir / f'{verb}-b'
        for path in (a, b):
            os.mkfifo(path)
        pair = script(s, f'pair-{verb}.sh', f'read -r x; if [ "$x" = 1 ]; then echo x > {a}; cat {b}; '
                                            f'else cat {a}; echo y > {b}; fi; echo "done" >&3\n')
        q = queue('pair', '--script', pair, '-j', '2')
        both = [rq('put', q, n + '\n').strip() for n in '12']
        equal([rq.ended(id)['state'] for id in both], ['done'] * 2, f'queue {verb} --num-workers')

        q = queue('leases', '--lease', '300ms', '--losses', '1')
        id = rq('put', q, 'x').strip()
        lease = s.post('/v1/reserve', {'queues': [q]}).json['messages'][0]['lease']
        that(lease['until'] > lease['since'], f'queue {verb} --lease')
        equal(rq.ended(id)['mark'], 'lost', f'queue {verb} --lease, --losses')
        q = queue('cancels', '--keep-cancelled', '1')
        for _ in range(2):
            rq('cancel', rq('put', q, 'x').strip())
        rqtest.eventually(lambda: len(s.get(f'/v1/messages?queue={q}').json['messages']) == 1,
                          f'queue {verb} --keep-cancelled')
        silent = script(s, f'silent-{verb}.sh', 'exit 0\n')
        q = queue('judged', '--script', silent, '--success', 'word')
        equal(rq.ended(rq('put', q, 'x').strip())['state'], 'err', f'queue {verb} --success')
        for option, end in (('--keep-done', 'done'), ('--keep-err', 'err')):
            q = queue('keeps' + option[2:], option, '1')
            for _ in range(2):
                rq('put', q, 'x')
            for m in s.post('/v1/reserve', {'queues': [q], 'limit': 2}).json['messages']:
                body = {'token': m['lease']['token'], **({'retry': False} if end == 'err' else {})}
                s.post(f'/v1/{end}', body)
            rqtest.eventually(lambda: len(s.get(f'/v1/messages?queue={q}').json['messages']) == 1,
                              f'queue {verb} {option}')
            that(True, option)
        q = queue('bounds', '--max-messages', '1', '--max-payload', '3', '--priority', '4')
        equal(rq.code('put', q, 'four'), 2, f'queue {verb} --max-payload')
        m = rq.message(rq('put', q, 'x').strip())
        equal(m['priority'], 4, f'queue {verb} --priority')
        equal(rq.code('put', q, 'x'), 5, f'queue {verb} --max-messages')
        q = queue('any', '--set', 'priority=6')
        equal(rq.message(rq('put', q, 'x').strip())['priority'], 6, f'queue {verb} --set')
        q = queue('relaxed', '--sync', 'relaxed')
        before = s.get('/v1/stats').json['engine']['syncs']
        for _ in range(5):
            s.post(f'/v1/queues/{q}/messages', {'payload': 'x'})
        relaxed = s.get('/v1/stats').json['engine']['syncs'] - before
        that(relaxed < 5, f'queue {verb} --sync: {relaxed} syncs for 5 puts')
    if root:
        that('user=nobody' in shown('shows-create-user'), 'queue create --user')
        that('user=nobody' in shown('shows-set'), 'queue set --user')


def test_queues(s, rq):
    rq('queue', 'create', 'again', '--retries', '1')
    equal(rq.code('queue', 'create', 'again', '--retries', '2'), 4, 'queue create, of one that is there')
    rq('queue', 'create', 'again', '--retries', '2', '--replace')
    equal(rq.json('queue', 'show', 'again')['settings']['retries'], 2, 'queue create --replace')
    that('again' in rq('queue', 'list', '--names').split(), 'queue list --names')
    rq('queue', 'pause', 'again', '--for', '300ms')
    equal(s.post('/v1/reserve', {'queues': ['again']}).json['messages'], [], 'paused')
    rqtest.eventually(lambda: rq.json('queue', 'show', 'again')['admin'] == 'up', 'queue pause --for')
    rq('put', 'again', 'x')
    that(rq.code('queue', 'delete', 'again') == 4, 'queue delete, with a message in it')
    rq('queue', 'delete', 'again', '--force', '--yes')
    equal(rq.code('queue', 'show', 'again'), 3, 'queue delete --force')


def test_doctor(_, rq):
    """A damaged store, without a server that would mend it: only a check of all of it finds that."""
    with rqtest.Server() as other:
        other.put('/v1/queues/q', {})
        seq = other.post('/v1/queues/q/messages', {'payload': 'x'}).json['seq']
        other.terminate()
        with sqlite3.connect(other.dir / 'db' / 'rq.db') as db:
            db.execute('UPDATE message SET priority = priority + 1')
        db.close()

        def store(*more):
            done = rq.run('doctor', '--dir', other.dir, '--json', *more)
            return [(c['finding'], c['text']) for c in json.loads(done.stdout)['checks']
                    if c['check'] == 'store']

        whole = store()
        that(whole[0][0] == 'bad' and str(seq) in whole[0][1], f'doctor reads the whole store: {whole}')
        equal(store('--quick'), [('ok', 'not read (--quick)')], 'doctor --quick')


def test_common(s, rq):
    """--dir, --server, --json and --help, of every verb that ends by itself."""
    elsewhere = {'RQ_DIR': '/no/such/dir'}
    for where in (['--dir', s.dir], ['--server', f'http://127.0.0.1:{s.port}'],
                  ['--server', f'unix:{s.socket_path}']):
        that('looked' in rq('queue', 'list', *where, env=elsewhere), f'{where}')
    for verb in verbs_of(rq):
        that(rq(*verb.split(), '--help').startswith(rq('help', *verb.split())[:40]), f'{verb} --help')
    for verb in ('stats', 'version', 'queue list', 'doctor'):
        out = rq.run(*verb.split(), '--json').stdout
        that(all(json.loads(line) for line in out.splitlines()) and out, f'{verb} --json')


def test_those_that_stay(s, rq):
    """server --http, --beanstalk, --log-level, --no-worker, --manual-clock; worker --name and so on."""
    with rqtest.Server(beanstalk=True, args=['--log-level', 'debug']) as other:
        equal(other.get('/v1/clock/advance').status in (404, 405), True, 'a clock that is told')
        other.advance(30)
        that(other.beanstalk_port and other.worker_pid() is None, '--beanstalk, --no-worker')
        rq.note(['server', *(a for a in other.command() if a.startswith('--'))])
        told = script(other, 'told.sh', 'echo "$RQ_HOST $RQ_ENV"; echo "done" >&3\n')
        other.put('/v1/queues/told', {'script': str(told)})
        env = {**rq.env, 'RQ_DIR': str(other.dir)}
        words = ['worker', '--name', 'second', '--base-url', 'http://told.example/', '--env', 'trial']
        rq.note(words)
        worker = subprocess.Popen([RQ, *words], env=env, stderr=subprocess.DEVNULL)
        try:
            seq = other.post('/v1/queues/told/messages', {'payload': 'x'}).json['seq']
            m = rqtest.eventually(
                lambda: (m := other.get(f'/v1/messages/{seq}').json)['state'] == 'done' and m, 'it runs')
            log = other.get(f'/v1/messages/{seq}/log').body.decode()
            that('http://told.example/ trial' in log, f'worker --base-url, --env: {log}')
            attempts = other.get(f'/v1/messages/{seq}/attempts').json['attempts']
            that('second' in attempts[0]['worker'], f'worker --name: {attempts}')
            del m
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)


def verbs_of(rq):
    return re.findall(r'^  ([a-z-]+(?: [a-z]+)?)  +\S', rq('help'), re.M)


def main():
    os.environ['HANDED'] = 'on'
    with rqtest.Server(manual_clock=False, worker=True) as s:
        rq = Cli(s)
        for test in (test_put, test_run, test_look, test_bulk, test_settings, test_queues, test_doctor,
                     test_common, test_those_that_stay):
            began = time.monotonic()
            test(s, rq)
            print(f'{test.__name__}: {time.monotonic() - began:.0f} s', flush=True)
        for verb in verbs_of(rq):
            names = options_of(rq, verb)
            that(len(names) >= 4, f'the options of {verb} are read: {names}')
            for option in names:
                if not option & COMMON:
                    that(option & rq.used.get(verb, set()), f'{verb} {sorted(option)}: no call has used it')
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
