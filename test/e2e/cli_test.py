# The command line against a real server: every verb, exit codes, JSON shapes, the README's block,
# the completions, and what is said when no server is there.
# ctest-timeout: 600
import concurrent.futures
import http.server
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import rqtest
from cli import RQ, Cli, checks, ok, refused, script, terminal


def verbs_of(rq):
    """Names of all verbs, from the overview."""
    out = rq('help').out
    return re.findall(r'^  ([a-z-]+(?: [a-z]+)?)  +\S', out, re.M)


def test_help():
    rq = Cli('/nonexistent')
    overview = ok(rq('help'), 'help')
    checks.equal(ok(rq('--help'), '--help').out, overview.out, '--help is help')
    checks.equal(rq().code, 2, 'no verb at all is wrong use')
    names = verbs_of(rq)
    checks.that(len(names) >= 32, f'the overview lists the verbs: {names}')
    for name in names:
        ran = ok(rq(*name.split(), '--help'), f'{name} --help')
        checks.that('Examples:' in ran.out and f'rq {name}' in ran.out,
                    f'{name} --help teaches: {ran.out[-200:]}')
    checks.equal(ok(rq('help', 'put'), 'help put').out, rq('put', '--help').out, 'help put')
    checks.that('queue create' in ok(rq('queue', '--help'), 'queue --help').out, 'family help')
    refused(rq('lsit'), 'bad_value', 2, 'a verb that is not there', 'lsit', 'rq list')
    refused(rq('queue', 'creat', 'x'), 'bad_value', 2, 'a verb of a family', 'queue creat')
    refused(rq('put', 'q', '--colour'), 'bad_value', 2, 'an option that is not there', '--colour')
    refused(rq('list', '--sate', 'err'), 'bad_value', 2, 'a misspelt option', "did you mean '--state'")
    refused(rq('show', '1', ''), 'bad_value', 2, 'an empty argument', 'ID')
    refused(rq('list', 'a', 'b'), 'bad_value', 2, 'an argument too many', "'b'")
    for args in (('put', 'q', 'x', '--priority', 'abc'), ('run', '-j', '0', '--', 'true'),
                 ('list', '-n', '0'), ('cancel', '--all', '--limit', '0'), ('tail', '1', '-n', '-1'),
                 ('tail', '1', '--from', 'abc'), ('priority', '1', '--priority', '1.5')):
        ran = rq(*args)
        refused(ran, 'bad_value', 2, f'a number: {args}', 'is not a whole number', '--')
        checks.that('onvert' not in ran.err and len(ran.err) < 200, f'in plain words: {ran}')
    refused(rq('list', 'a', '--queue', 'b'), 'bad_value', 2, 'two queues', "'a'", "'b'")
    refused(rq('retry', '1', '2', 'abc'), 'bad_value', 2, 'one id that is none, before all', 'abc')
    told = re.search(r'by themselves: (.*?LC_\*)', ' '.join(rq('run', '--help').out.split()))
    page = (rqtest.ROOT / 'docs' / 'SCRIPTS.md').read_text()
    page = re.search(r'only these go along: `(.*?)`', page, re.S).group(1)
    checks.equal(sorted(told.group(1).split() if told else []), sorted(page.split()), 'what run carries')
    refused(rq('put'), 'bad_value', 2, 'an argument that is missing', 'queue')
    refused(rq('put', 'q', 'x', '--delay', 'soon'), 'bad_value', 2, 'a delay', 'soon')
    refused(rq('--dir'), 'bad_value', 2, 'a common option without a value', '--dir')
    refused(rq('list', '--server', 'ftp://x'), 'bad_value', 2, 'an address', 'ftp://x')


def test_meant():
    """faults.md C7, relative: a wrong guess, most of all of a verb that runs something."""
    rq = Cli('/nonexistent')
    for said, verb in (('rm', 'remove'), ('delete', 'remove'), ('log', 'tail'), ('logs', 'tail'),
                       ('ps', 'list'), ('jobs', 'list'), ('add', 'put'), ('enqueue', 'put'),
                       ('stop', 'cancel'), ('queues', 'queue list'), ('hlep', 'help'),
                       ('qeue list', 'queue list'), ('pause q', 'queue pause'), ('qeue', 'queue'),
                       ('queue lsit', 'queue list'), ('canel 1', 'cancel'), ('sevrer', 'server'),
                       ('start', 'server'), ('get 1', 'show'), ('follow 1', 'tail -f'),
                       ('queue add q', 'queue create'), ('queue rm q', 'queue delete'),
                       ('queue stop q', 'queue pause'), ('queue start q', 'queue resume'),
                       ('drain q', 'queue drain'), ('create q', 'queue create'), ('wait 1', 'tail -f'),
                       ('watch', 'top'), ('health', 'doctor'), ('queue edit q', 'queue set'),
                       ('queue config q', 'queue set'), ('queue update q', 'queue set'),
                       ('queue info q', 'queue show')):
        ran = rq(*said.split())
        refused(ran, 'bad_value', 2, said, f"did you mean 'rq {verb}'?")
    for said, option in (('run --queu x -- true', '--queue'), ('put q x --retry 3', '--retries'), ('put q x -w', '--wait'),
                         ('list --since 2h', '--after'), ('queue create q --workers 2', '--num-workers'),
                         ('put q x --prio 3', '--priority'), ('run --prio 3 -- true', '--priority')):
        refused(rq(*said.split()), 'bad_value', 2, said, f"did you mean '{option}'?")
    for said in ('error', 'failed'):
        refused(rq('list', '--state', said), 'bad_value', 2, f'--state {said}', 'did you mean err?', '--mark')
    refused(rq('retry', 'pack2'), 'bad_value', 2, 'a queue in place of an id', 'rq retry --queue pack2')
    for said, word in (('backup', 'sqlite3'), ('purge', 'rq remove'), ('queue purge q', 'rq remove'), ('restart', 'TERM'), ('shutdown', 'TERM'), ('queue rename a b', 'rq move --queue OLD --to NEW')):
        refused(rq(*said.split()), 'bad_value', 2, said, word)
    for said in ('rn', 'xyz', 'tpo', 'queue frobnicate', 'restart'):
        ran = rq(*said.split())
        checks.that("did you mean 'rq run" not in ran.err, f'{said}: {ran}')
        checks.that(said == 'tpo' or 'did you mean' not in ran.err, f'{said}: {ran}')


def test_moved_to_itself(server, rq):
    """faults.md C5, relative: the question promised what the act refused."""
    for queue in ('from', 'into'):
        server.put(f'/v1/queues/{queue}', {})
        for _ in range(2):
            server.post(f'/v1/queues/{queue}/messages', {'payload': 'x', 'tags': ['moves']})
    refused(rq('move', '--queue', 'into', '--to', 'into', '-y'), 'bad_value', 2, 'to itself', "'into'")
    for said in ([], ['-y']):
        ran = rq('move', '--tag', 'moves', '--to', 'into', *said)
        checks.that('2 messages will be moved' in ran.err or ran.out.startswith('2 matched, 2 moved, 0'),
                    f'those that can be: {ran}')
    checks.equal(rq('queue', 'show', 'into', '--json').json['counts']['que'], 4, 'moved')


def test_why_and_doctor(server, rq):
    """faults.md B15, relative: only the first of a line was told why nothing of it moves."""
    ok(rq('queue', 'create', 'idle', '--script', '/bin/true', '-j', '0'), 'num_workers 0')
    ok(rq('queue', 'create', 'plain'), 'no script')
    for queue, word in (('idle', 'rq queue set idle -j 1'), ('plain', 'has no script')):
        ids = [ok(rq('put', queue, 'x'), 'put').out.strip() for _ in range(2)]
        for id in ids:
            checks.that(word in ok(rq('why', id), 'why').out, f'why of {id}: {rq("why", id)}')
    server.post('/v1/reserve', {'queues': ['plain'], 'worker': 'w'})
    more = ok(rq('put', 'plain', 'x'), 'put').out.strip()
    checks.that('1 message' in rq('why', more).out, f'behind, where somebody works: {rq("why", more)}')
    assert server.put('/v1/queues/backs', {'retries': 3, 'backoff': {'base_s': 3600}}).status == 201
    backs = ok(rq('put', 'backs', 'x'), 'put').out.strip()
    token = server.post('/v1/reserve', {'queues': ['backs'], 'worker': 'w'}).json['messages'][0]['lease']['token']
    server.post('/v1/finish', {'items': [{'token': token, 'outcome': 'failed', 'reason': 'exit 3: no disk'}]})
    checks.that('; attempt 1 has ended: exit 3: no disk' in rq('why', backs).out,
                f'what it waits for, and after what: {rq("why", backs)}')
    found = {c['check']: c for c in rq('doctor', '--json').json['checks']}
    checks.that(found['queue idle']['remedy'].endswith('rq queue set idle -j 1'), f'doctor: {found}')
    names = [c['check'] for c in rq('doctor', '--json').json['checks']]
    checks.equal(len(set(names)), len(names), f'one line for each check: {names}')
    # What is no id may be a queue; what is not there is told at once.
    for verb in ('show', 'tail', 'why', 'cancel'):
        refused(rq(verb, 'idle'), 'bad_value', 2, verb, 'key:KEY', 'rq list idle')
    refused(rq('events', '--message', '99999', timeout=20), 'not_found', 3, 'events of none', '99999')
    # An empty text takes a setting away.
    ok(rq('queue', 'set', 'idle', '--user', 'nobody', '--exec-prefix', 'env'), 'user')
    ok(rq('queue', 'set', 'idle', '--user', '', '--script', '', '--exec-prefix', ''), 'none')
    settings = rq('queue', 'show', 'idle', '--json').json['settings']
    checks.equal([settings[k] for k in ('user', 'script', 'exec_prefix')], ['', '', ''], 'cleared')


def told_alike(rq, queue, id, words):
    """Why `id` waits: the reason stands in `words` at why, show, the queue, the list and doctor."""
    for args in (('why', id), ('show', id), ('queue', 'show', queue), ('queue', 'list'), ('doctor', '--quick')):
        said = ok(rq(*args), f'{args}').out
        checks.that(words in said, f'{args} says "{words}": {said}')


def test_told_alike(server, rq):
    """faults.md B15, relative: doctor knew neither that nobody runs scripts nor what drain means."""
    quick = ('doctor', '--quick', '--json')
    for queue in ('night', 'day'):
        ok(rq('queue', 'create', queue, '--script', '/bin/true'), queue)
        id = ok(rq('put', queue, 'x'), 'put').out.strip()
        told_alike(rq, queue, id, 'there is no worker that runs scripts')
        checks.that(f'rq worker --dir {server.dir}' in rq('why', id).out, f'and what helps: {rq("why", id)}')
    ok(rq('queue', 'drain', 'day'), 'drain')
    found = [c for c in rq(*quick).json['checks']
             if 'no worker that runs' in c['text'] and c['check'] != 'health']
    checks.that([c['check'] for c in found] == ['2 queues'] and found[0]['text'].startswith('2 messages wait: '),
                f'one line for all of them: {found}')
    held = {'text': '7 quick failures in a row, the last: exit 1', 'for_s': 600}
    checks.equal(server.post('/v1/leases', {'worker': 'w', 'version': '1', 'tokens': []}).status, 200, 'a worker')
    checks.equal(server.post('/v1/queues/night/held-back', held).status, 200, 'held back')
    told_alike(rq, 'night', rq('list', 'night', '--json').json['id'], held['text'] + '; the next start is at')
    found = {c['check']: c['remedy'] for c in rq(*quick).json['checks']}
    checks.that('resume' not in found.get('queue day', ''), f'a drain works off what is there: {found}')
    ok(rq('queue', 'pause', 'night'), 'pause')
    told_alike(rq, 'night', rq('list', 'night', '--json').json['id'], 'pause')
    server.post('/v1/leases', {'worker': 'w', 'gone': True})
    for queue in ('night', 'day'):
        ok(rq('queue', 'delete', queue, '--force', '-y'), 'deleted')


def test_waits_for_another_try(server, rq):
    """faults.md C, relative: what fails all night with many retries was in no list of failures."""
    assert server.put('/v1/queues/tries', {'retries': 3, 'backoff': {'base_s': 3600}}).status == 201
    ids = [ok(rq('put', 'tries', 'x'), 'put').out.strip() for _ in range(2)]
    ok(rq('put', 'tries', 'x', '--delay', '1h'), 'one that has not failed')
    for _ in ids:
        leased = server.post('/v1/reserve', {'queues': ['tries'], 'worker': 'w'}).json['messages'][0]
        server.post('/v1/err', {'token': leased['lease']['token'], 'reason': 'exit 3: no disk'})
    said = '2 messages wait for another try: rq list --queue tries --state scheduled'
    for args in (('--by', 'reason'), ('--state', 'err'), ('--mark', 'failed')):
        ran = ok(rq('list', 'tries', *args), f'{args}')
        checks.that(said in ran.err and 'no such messages' in ran.err + ran.out, f'{args}: {ran}')
    checks.equal(rq('list', 'tries', '--state', 'scheduled').err, '', 'where they stand')
    checks.equal(len(rq(*said[said.index('rq') + 3:].split(), '--json').out.splitlines()), 3, 'what it names')
    # Doctor said that all was well, and the list showed them as if they had been put with a delay.
    found = {c['check']: c for c in rq('doctor', '--quick', '--json').json['checks']}
    hint = found['failures of tries']
    checks.equal((hint['finding'], hint['text'], hint['remedy']),
                 ('hint', '2 messages wait for another try', 'rq list tries --state scheduled'), 'doctor')
    ok(rq('doctor', '--quick'), 'that is no fault of the system')
    shown = [line.split() for line in rq('queue', 'list').out.splitlines()]
    row = next(line for line in shown if line[0] == 'tries')
    checks.equal({n: row[shown[0].index(n)] for n in ('LATER', 'RETRY', 'ERR')},
                 {'LATER': '1', 'RETRY': '2', 'ERR': '0'}, 'queue list')
    ok(rq('queue', 'set', 'tries', '--retries', '0'), 'no more tries')
    ok(rq('run-now', '--queue', 'tries', '--state', 'scheduled', '-y'), 'now')
    leased = server.post('/v1/reserve', {'queues': ['tries'], 'worker': 'w'}).json['messages'][0]
    server.post('/v1/err', {'token': leased['lease']['token'], 'reason': 'exit 3: no disk'})
    found = {c['check']: c for c in rq('doctor', '--quick', '--json').json['checks']}
    checks.equal((found['failures of tries']['text'], found['failures of tries']['remedy']),
                 ('1 message in err', 'rq list tries --by reason'), 'doctor')
    checks.that(server.get('/v1/health').json['failures'] >= 1, 'health counts them')
    for by in ((), ('--by', 'reason')):
        refused(rq('list', 'trise', *by), 'not_found', 3, 'a queue that is not there', "did you mean 'tries'?")
    refused(rq('put', 'trise', 'x'), 'not_found', 3, 'a put into it', "did you mean 'tries'?")
    # What is said with an act is the text until the attempt has ended, and the help says so.
    checks.that('until their next attempt has ended' in ' '.join(rq('retry', '--help').out.split()), 'retry --help')
    ran = rq('list', 'tries', '--fingerprint', "exit 3: no row '7'")
    checks.that('of this one it is ' in ran.err and '#' in ran.err, f'a reason is no fingerprint: {ran}')
    ok(rq('queue', 'delete', 'tries', '--force', '-y'), 'deleted')


def test_values_without_sense(server, rq):
    """faults.md C, relative: numbers that cannot be meant were taken silently."""
    dir = server.dir / 'scripts'
    dir.mkdir(exist_ok=True)
    (dir / 'mail.py').write_text('import os\n')
    (dir / 'mail.py').chmod(0o755)
    create = ('queue', 'create', 'odd', '--script', '/bin/true')
    for args, words in ((('--memory', '1'), ('too little for any program', '--memory 50M')),
                        (('--backoff', 'exponential:5s..1s'), ('the longest is shorter', 'exponential:1s..5s')),
                        (('--keep-done', '1.5'), ("'1.5'", '7d,1000')),
                        (('--script', '@exec'), ("'@exec'", '@exec-payload'))):
        refused(rq(*create, *args), 'bad_value', 2, f'{args}', *words)
    refused(rq('queue', 'show', 'odd'), 'not_found', 3, 'nothing is made')
    checks.equal(ok(rq(*create, '--memory', '1M', '--backoff', 'fixed:2h'), 'the least').err, '', 'no word')
    backoff = rq('queue', 'show', 'odd', '--json').json['settings']['backoff']
    checks.equal((backoff['base_s'], backoff['max_s']), (7200, 7200), 'a wait that is not cut to the default')
    checks.equal(server.patch('/v1/queues/odd', {'limits': {'memory_bytes': 5}}).status, 422, 'over HTTP')
    ran = ok(rq('queue', 'set', 'odd', '--script', 'mail.py'), 'no interpreter')
    checks.that("does not begin with '#!', so /bin/sh runs it" in ran.err, f'a word of it: {ran}')
    ok(rq('queue', 'delete', 'odd'), 'deleted')
    ok(rq('queue', 'create', 'odd'), 'a queue')
    refused(rq('put', 'odd', 'x', '--at', '2020-01-01T00:00:00Z'), 'bad_value', 2, 'past', 'that is past')
    checks.equal(server.get('/v1/messages?queue=odd').json['messages'], [], 'nothing is put')
    ok(rq('put', 'odd', 'x', '--at', f'@{int(time.time())}'), 'now')
    ok(rq('queue', 'delete', 'odd', '--force', '-y'), 'deleted')


def every_verb(file):
    """What asks the server for something."""
    return [
        ('put', 'q', 'x'), ('put', 'q', '--ndjson', file), ('run', '--', 'true'),
        ('show', '1'), ('list',), ('tail', '1'), ('tail', '-f', '1'), ('why', '1'),
        ('stats',), ('top',), ('events',), ('retry', '1'), ('requeue', '1'),
        ('run-now', '1'), ('commit', '1'), ('cancel', '1'), ('kill', '1'), ('clone', '1'),
        ('move', '1', '--to', 'b'), ('priority', '1', '--priority', '2'), ('remove', '1'),
        ('cancel', '--queue', 'q', '-y'), ('queue', 'create', 'q'), ('queue', 'list'),
        ('queue', 'show', 'q'), ('queue', 'set', 'q', '--retries', '1'),
        ('queue', 'pause', 'q'), ('queue', 'resume', 'q'), ('queue', 'drain', 'q'),
        ('queue', 'down', 'q'), ('queue', 'delete', 'q')]


def test_no_server():
    with tempfile.TemporaryDirectory() as dir:
        rq = Cli(dir)
        file = pathlib.Path(dir) / 'm.ndjson'
        file.write_text('{}\n')
        wanted = every_verb(file)
        for args in wanted:
            refused(rq(*args), 'unreachable', 9, f'no server: {args}', f'{dir}/run/rq.sock',
                    f'rq server --dir {dir}')
        for args in wanted[:3]:
            error = json.loads(rq(*args, '--json').err if args[0] != 'run'
                               else rq('--json', *args).err)['error']
            checks.equal(error['code'], 'unreachable', f'as JSON: {args}')
        doctor = rq('doctor', '--json')
        checks.equal(doctor.code, 9, 'doctor without a server')
        checks.that(any(c['check'] == 'server' and c['finding'] == 'bad'
                        for c in doctor.json['checks']), f'doctor says so: {doctor}')
        version = ok(rq('version', '--json'), 'version without a server')
        checks.equal(version.json['server'], None, 'there is no server to tell of')
        # A port where nobody listens, and one where somebody else does.
        port = rqtest.free_port()
        refused(rq('stats', '--server', f'http://127.0.0.1:{port}'), 'unreachable', 9, 'a port',
                f'127.0.0.1:{port}')


class NotRq(http.server.BaseHTTPRequestHandler):
    """Answers `said` to everything."""
    said = b'{}'

    def answer(self):
        self.rfile.read(int(self.headers.get('Content-Length', 0)))
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(self.said)))
        self.end_headers()
        self.wfile.write(self.said)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def log_message(self, *_):
        pass


def test_not_rq():
    """faults.md C2, relative: something else listens there, and answers JSON."""
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), NotRq)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rq = Cli('/nonexistent', RQ_SERVER=f'http://127.0.0.1:{server.server_port}')
    with tempfile.TemporaryDirectory() as dir:
        file = pathlib.Path(dir) / 'm.ndjson'
        file.write_text('{}\n')
        more = [('show', '1', '--payload'), ('put', 'q', 'x', '--wait'), ('put', 'q', 'x', '--follow'),
                ('list', '--by', 'reason'), ('version',)]
        for said in (b'{}', b'[]', b'{"ok":true}'):
            NotRq.said = said
            for args in every_verb(file) + more:
                if said != b'{"ok":true}' or args[:2] != ('queue', 'delete'):  # it is told no more
                    refused(rq(*args), 'internal', 10, f'{said}: {args}', 'really an rq server')
            checks.equal(rq('doctor').code, 10, f'{said}: doctor')
    server.shutdown()


def test_silent_server(server):
    """One that is stopped: it accepts connections, and answers nothing."""
    rq = Cli(server.dir)
    assert server.put('/v1/queues/silent', {}).status == 201
    # faults.md C2, relative: a stream that does not begin took 45 s and more, up to the time-out.
    wanted = [('put', 'silent', 'x'), ('list',), ('queue', 'list'), ('show', '1'), ('events',),
              ('put', 'silent', 'x', '--follow'), ('put', 'silent', 'x', '--wait'), ('tail', '-f', '1')]
    server.process.send_signal(signal.SIGSTOP)
    try:
        with concurrent.futures.ThreadPoolExecutor(len(wanted)) as pool:
            for args, ran in zip(wanted, pool.map(lambda args: rq(*args, timeout=40), wanted)):
                refused(ran, 'unreachable', 9, f'it is silent: {args}', 'run/rq.sock', 'kill -CONT')
    finally:
        server.process.send_signal(signal.SIGCONT)


def test_doctor_without_files():
    """A pipe in the place of a file is told, not read."""
    for name in ('db/rq.db', 'db/rq.db-wal', 'db/rq.db.identity', 'run/undeleted'):
        with tempfile.TemporaryDirectory() as dir:
            path = pathlib.Path(dir) / name
            for folder in ('db', 'run'):
                (pathlib.Path(dir) / folder).mkdir()
            (pathlib.Path(dir) / 'db' / 'rq.db').touch()
            path.unlink(missing_ok=True)
            os.mkfifo(path)
            ran = Cli(dir)('doctor', timeout=30)
            checks.equal(ran.code, 9, f'doctor: {ran}')
            checks.that(f'{path} is not a file' in ran.out, f'doctor names it: {ran}')


def test_doctor_of_many():
    """faults.md D17, relative: a line for each of very many queues, and a remedy that does not fit."""
    tubes, plain = 40, 25
    with rqtest.Server(beanstalk=True) as server:
        rq = Cli(server.dir)
        with socket.create_connection(('127.0.0.1', server.beanstalk_port), 60) as client:
            client.sendall(b''.join(b'use t%d\r\nput 0 0 60 1\r\nx\r\n' % i for i in range(tubes)))
            replies = client.makefile('rb')
            said = [replies.readline().split()[0] for _ in range(2 * tubes)]
            checks.equal(said, [b'USING', b'INSERTED'] * tubes, 'jobs in tubes')
            found = [c for c in rq('doctor', '--json').json['checks'] if 'queue' in c['check']]
        checks.that([c['check'] for c in found] == ['queues on demand', 'queues'], f'one line for all tubes: {found}')
        checks.that(f'in {tubes} queues' in found[0]['text'] and '--script' not in str(found), f'{found}')
        for i in range(plain):
            server.put(f'/v1/queues/p{i}', {})
            server.post(f'/v1/queues/p{i}/messages', {'payload': 'x'})
        found = [c for c in rq('doctor', '--json').json['checks'] if 'queue' in c['check']]
        checks.equal(len(found), 20 + 3, f'a bound: {len(found)} lines')
        checks.that('… and 5 more' in str(found), f'and how many more: {found[-3:]}')


def test_completion():
    rq = Cli('/nonexistent')
    bash = ok(rq('completion', 'bash'), 'completion bash').out
    zsh = ok(rq('completion', 'zsh'), 'completion zsh').out
    refused(rq('completion', 'fish'), 'bad_value', 2, 'a shell', 'fish')
    for name in verbs_of(rq):
        options = set(re.findall(r'^  (?:(-\w),)?(--[a-z0-9-]+)',
                                 rq(*name.split(), '--help').out, re.M))
        for short, long in options:
            for shell, text in (('bash', bash), ('zsh', zsh)):
                section = text[text.index(f"    '{name}')\n"):]
                section = section[:section.index('\n      ;;\n')]
                checks.that(long in section and (not short or short in section),
                            f'{shell}: {name} {short} {long}')
    with tempfile.NamedTemporaryFile('w', suffix='.bash') as file:
        file.write(bash)
        file.flush()

        def complete(*words):
            listed = ' '.join(f"'{word}'" for word in words)
            ran = subprocess.run(
                ['bash', '-c', f'source {file.name}; COMP_WORDS=({listed}); '
                 f'COMP_CWORD={len(words) - 1}; _rq; echo "${{COMPREPLY[@]}}"'],
                capture_output=True, text=True)
            checks.equal(ran.stderr, '', f'bash completes {words} in silence')
            return ran.stdout.split()

        checks.equal(complete('rq', 'comp'), ['completion'], 'a verb')
        checks.equal(complete('rq', 'queue', 'cr'), ['create'], 'a verb of a family')
        checks.equal(complete('rq', 'put', '--nd'), ['--ndjson'], 'an option')
        checks.equal(complete('rq', 'queue', 'set', 'q', '--num'), ['--num-workers'],
                     'an option of a family')
        checks.equal(complete('rq', 'list', '--state', 'sch'), ['scheduled'], 'a value')
        checks.equal(complete('rq', '--dir', '/x', 'version', '--js'), ['--json'],
                     'after a common option')
        checks.equal(complete('rq', 'run', '--', 'l'), [], 'nothing of ours after --')
    if shutil.which('zsh'):
        with tempfile.NamedTemporaryFile('w') as file:
            file.write(zsh)
            file.flush()
            checks.equal(subprocess.run(['zsh', '-n', file.name]).returncode, 0, 'zsh -n')


def test_queues(server):
    rq = Cli(server.dir)
    checks.that('no queues' in ok(rq('queue', 'list'), 'no queues').err, 'says that there are none')
    path = script(server.dir, 'a.sh', 'echo "done" >&3\n')
    ran = ok(rq('queue', 'create', 'mail', '--script', './a.sh', '--num-workers', '2', '--retries',
                '3', '--timeout', '60s', '--env', 'A=B', '--backoff', 'exponential:15s..1h',
                '--memory', '64M', '--keep-done', '2d,50', '--set', 'limits.open_files=64',
                '--json', cwd=server.dir), 'queue create')
    settings = ran.json['settings']
    wanted = {'script': str(path), 'num_workers': 2, 'retries': 3, 'timeout_s': 60,
              'env_vars': {'A': 'B'}}
    checks.equal({k: settings[k] for k in wanted}, wanted, 'settings')
    checks.equal(settings['limits']['memory_bytes'], 64 << 20, '--memory')
    checks.equal(settings['limits']['open_files'], 64, '--set with a dot')
    checks.equal(settings['keep_done'], {'age_s': 172800, 'count': 50}, '--keep-done')
    checks.equal(settings['backoff']['max_s'], 3600, '--backoff')
    ran = ok(rq('queue', 'create', 'told', '--script', str(path)), 'a new queue')
    checks.equal((ran.out, ran.err), (f'created queue told, its script: {path}\n', ''), 'created')
    ran = ok(rq('queue', 'create', 'told', '--script', str(path)), 'the same queue')
    checks.that('told was there already, with these settings' in ran.out, f'there already: {ran}')
    ran = ok(rq('queue', 'create', 'told', '--replace', '--script', 'no-such.sh', '--retries', '1'), 'replace')
    checks.that('settings are replaced' in ran.out and str(path) not in ran.out, f'replaced: {ran}')
    checks.that("cannot run yet: there is no script 'no-such.sh'" in ran.err, f'no such script: {ran}')
    (server.dir / 'scripts').mkdir(exist_ok=True)
    below = script(server.dir / 'scripts', 'below.sh', 'exit 0\n')
    ran = ok(rq('queue', 'set', 'told', '--script', 'below.sh'), 'a script of the server')
    checks.equal((ran.out, ran.err), (f'changed queue told: script below.sh (was no-such.sh), its script: {below}\n', ''), 'its path')
    below.chmod(0o644)
    ran = ok(rq('queue', 'set', 'told', '--retries', '2'), 'not executable')
    checks.that(f'chmod +x {below}' in ran.err, f'not executable: {ran}')
    below.chmod(0o755)
    # faults.md B15, relative: all that the worker would find is told at once.
    for name, text, said in (('dos', b'#!/bin/sh\r\nexit 0\r\n', 'DOS line ends'), ('empty', b'', 'is empty'),
                             ('strange', b'#!/no/such/program\n', '/no/such/program'), ('', b'', 'is not a file')):
        wrong = server.dir / 'scripts' / name
        if name:
            wrong.write_bytes(text)
            wrong.chmod(0o755)
        ran = ok(rq('queue', 'create', f'wrong-{name}', '--script', wrong), f'a script: {name}')
        checks.that('cannot run yet' in ran.err and said in ran.err, f'{name}: {ran}')
        ok(rq('queue', 'delete', f'wrong-{name}'), 'deleted')
    ran = ok(rq('queue', 'set', 'told', '--user', 'no-such-user'), 'no such user')
    checks.that("there is no user 'no-such-user'" in ran.err, f'no such user: {ran}')
    # Relative: values that are taken, and are most often not what was meant.
    ok(rq('queue', 'set', 'told', '--set', 'user='), 'any user')
    for args, *words in ((('-j', '0'), 'num_workers is 0', '-j 1'),
                         (('-j', '0', '--retries', '1'), 'num_workers is 0', '-j 1')):
        said = ok(rq('queue', 'set', 'told', *args), f'{args}').err
        checks.that(said.count('cannot run yet: ') == 1 and all(word in said for word in words), f'{args}: {said}')
    ran = ok(rq('queue', 'set', 'told', '-j', '2', '--memory', '50M', '--keep-done', '1d'), 'a useful bound')
    checks.equal(ran.err, '', 'no word')
    checks.that(f', limits.memory_bytes {50 << 20} (was 0), keep_done.age_s 86400 (was 604800), its' in ran.out,
                f'changes inside of a setting: {ran}')
    ok(rq('put', 'told', 'x'), 'a message')
    refused(rq('queue', 'delete', 'told', '--force'), 'bad_value', 2, 'nobody to ask', '-y', '1 que')
    ok(rq('queue', 'delete', 'told', '--force', '-y'), 'deleted')
    ok(rq('queue', 'create', 'mail', '--json', *['--script', str(path), '--num-workers', '2',
       '--retries', '3', '--timeout', '60s', '--env', 'A=B', '--backoff', 'exponential:15s..1h',
       '--memory', '64M', '--keep-done', '2d,50', '--set', 'limits.open_files=64']),
       'the same once more')
    refused(rq('queue', 'create', 'mail', '--retries', '9'), 'exists', 4, 'other settings', 'mail')
    refused(rq('queue', 'create', 'a/b'), 'bad_name', 2, 'a bad name', 'a/b')
    refused(rq('queue', 'create', 'x', '--set', 'colour=1'), 'unknown_field', 2, 'a bad key',
            'colour')
    refused(rq('queue', 'set', 'mail', '--retries', 'many'), 'bad_value', 2, 'a bad value',
            'retries')
    refused(rq('queue', 'set', 'mail'), 'bad_value', 2, 'no setting', '--retries')
    changed = ok(rq('queue', 'set', 'mail', '--env', 'C=D', '--grace', '1500ms', '--json'),
                 'queue set').json['settings']
    checks.equal(changed['env_vars'], {'A': 'B', 'C': 'D'}, '--env adds')
    checks.equal(changed['grace_s'], 1.5, 'half seconds')
    shown = ok(rq('queue', 'show', 'mail'), 'queue show').out
    checks.that('mail' in shown and '64' in shown and str(path) in shown, f'queue show: {shown}')
    for verb, admin in (('pause', 'pause'), ('drain', 'drain'), ('down', 'down'), ('resume', 'up')):
        ran = ok(rq('queue', verb, 'mail', '--json'), f'queue {verb}')
        checks.equal(ran.json['admin'], admin, f'queue {verb}')
    ran = ok(rq('queue', 'pause', 'mail', '--for', '10m', '--json'), 'pause --for')
    checks.that(ran.json['paused_until'], f'a time to resume: {ran}')
    ok(rq('queue', 'resume', 'mail'), 'resume')
    checks.equal(ok(rq('queue', 'list', '--names'), 'names').out, 'mail\n', 'names')
    table = ok(rq('queue', 'list'), 'queue list').out.splitlines()
    checks.that(table[0].split()[:2] == ['QUEUE', 'STATUS'] and table[1].startswith('mail'),
                f'a table: {table}')
    checks.that('\x1b' not in '\n'.join(table), 'no colours into a pipe')
    # faults.md C22, relative: lists are one object a line, all of them.
    checks.equal([q['name'] for q in ok(rq('queue', 'list', '--json'), 'json').lines], ['mail'],
                 'queue list --json')
    ran = ok(rq('queue', 'set', 'mail', '--retries', '4', '--env', 'C=D'), 'queue set says what it did')
    checks.that('retries 4 (was 3)' in ran.out and 'timeout_s' not in ran.out, f'what is changed: {ran}')
    ran = ok(rq('queue', 'set', 'mail', '--retries', '4'), 'the same again')
    checks.that('has these settings already' in ran.out, f'nothing is changed: {ran}')
    # faults.md C, relative: what a value means, where it may not be what was meant.
    ran = ok(rq('queue', 'set', 'mail', '--keep-done', '7'), 'a bare number')
    checks.that('keep_done: at most 7 messages, each for 7 d' in ran.err, f'it is said: {ran}')
    ran = ok(rq('queue', 'create', 'kept', '--keep-done', 'any'), 'any number')
    checks.that('keep_done: any number of messages, each for 7 d' in ran.err, f'it is said: {ran}')
    checks.equal(ok(rq('queue', 'set', 'kept', '--keep-done', '1d'), 'a length').err, '', 'is plain')
    ran = ok(rq('queue', 'set', 'kept', '--script', 'zero.sh --flag'), 'a script with arguments')
    checks.that('without arguments' in ran.err, f'it is said: {ran}')
    ran = ok(rq('queue', 'set', 'kept', '--script', '@exec-payload'), 'commands')
    checks.that('TCP' not in ran.err, f'commands come over the socket: {ran}')
    checks.that('rights of kept' not in rq('doctor', '--quick').out, 'and doctor has nothing to say')
    ran = ok(rq('queue', 'set', 'kept', '--set', 'put_over_tcp=true'), 'commands over TCP')
    checks.that('whoever reaches the server over TCP may run any command' in ran.err, f'it is said: {ran}')
    found = {c['check']: c for c in rq('doctor', '--quick', '--json').json['checks']}
    checks.equal((found['rights of kept']['finding'], found['rights of kept']['remedy']),
                 ('warning', 'rq queue set kept --set put_over_tcp=false'), 'doctor')
    ok(rq('queue', 'delete', 'kept'), 'deleted')
    help = ' '.join(ok(rq('queue', 'set', '--help'), 'help').out.split())
    checks.that('20 % shorter or longer' in help, 'what a wait of fixed:10s is')
    refused(rq('queue', 'show', 'nope'), 'not_found', 3, 'no such queue', 'nope')
    ok(rq('queue', 'delete', 'mail', '--force'), 'queue delete')
    refused(rq('queue', 'delete', 'mail'), 'not_found', 3, 'deleted already', 'mail')


def test_put(server):
    rq = Cli(server.dir)
    ok(rq('queue', 'create', 'in'), 'a queue without a script')

    def put(*args, **more):
        ran = ok(rq('put', 'in', *args, **more), f'put {args}')
        return ran.out.strip()

    def message(id):
        return ok(rq('show', id, '--json'), f'show {id}').json

    def payload(id):
        return subprocess.run([RQ, 'show', id, '--payload'], env=rq.env, capture_output=True).stdout

    a = put('hello')
    checks.that(re.fullmatch(r'\d{8}\.\d{4}\.\d{2}\.\d{3}\.\d+', a), f'the id: {a}')
    checks.equal(payload(a), b'hello', 'argument')
    checks.equal(payload(put('-', input=b'dash')), b'dash', 'a dash')
    checks.equal(payload(put('')), b'', 'an empty payload')
    # faults.md C9: standard input belongs to the loop around us.
    refused(rq('put', 'in', input=b'from a pipe'), 'bad_value', 2, 'no payload', '@FILE', '-')
    ran = ok(rq('put', 'in', '--key', 'piped', input=b'not read'), 'a key and a pipe')
    checks.that('payload is empty' in ran.err, f'it is said that the pipe was not read: {ran}')
    loop = subprocess.run(['sh', '-c', f'while read -r k; do {RQ} put in --key "$k"; done'], env=rq.env,
                          input=b'l1\nl2\nl3\nl4\n', capture_output=True)
    checks.equal(len(loop.stdout.split()), 4, f'a loop that puts from a list: {loop}')
    fifo = pathlib.Path(server.dir) / 'fifo'
    os.mkfifo(fifo)
    holder = os.open(fifo, os.O_RDWR)
    never = subprocess.run([RQ, 'put', 'in', '--key', 'open fifo'], env=rq.env, stdin=holder,
                           capture_output=True, timeout=60)
    os.close(holder)
    checks.equal(never.returncode, 0, f'an open pipe that says nothing: {never}')
    file = pathlib.Path(server.dir) / 'bytes'
    file.write_bytes(bytes(range(256)))
    checks.equal(payload(put(f'@{file}')), bytes(range(256)), '@file, every byte')
    checks.equal(payload(put('--file', file)), bytes(range(256)), '--file')
    checks.equal(payload(put('@@x')), b'@x', '@@')
    checks.equal(payload(put('--', '-x')), b'-x', 'a payload with a dash in front')
    checks.equal(payload(put('--param1', 'p', input=b'not read')), b'', 'params only')
    # faults.md C9, relative: texts of others are taken as they stand.
    for text in ('@/etc/passwd', '-', '--help', '-x', '--', '', ' ', '[a,b]', '"q"', 'a=b', '%%'):
        checks.equal(payload(put('--text', text, input=b'not read')), text.encode(), f'--text {text!r}')
    lines = b'-\n@/etc/passwd\n--help\nb\xff\nplain\n'
    loop = subprocess.run(['bash', '-c', f'while IFS= read -r l; do {RQ} put in --text "$l"; done'],
                          env=rq.env, input=lines, capture_output=True)
    checks.equal([payload(id) for id in loop.stdout.decode().split()], lines.splitlines(), f'{loop}')
    refused(rq('put', 'in', 'a', '--text', 'b'), 'bad_value', 2, 'two payloads', '--text')
    refused(rq('put', 'in', '-dash'), 'bad_value', 2, 'a payload like an option', '-dash', '--text')
    refused(rq('put', 'in', '@at'), 'not_found', 3, 'a payload like a file', "'at'", '--text')
    prep = put('--prep', 'held back')
    checks.equal(message(prep)['state'], 'prep', '--prep')
    ok(rq('commit', prep), 'commit')
    checks.equal(message(prep)['state'], 'que', 'committed')
    # Relative: bytes that are no text are refused by the name of the option.
    for args in (('put', 'in', 'x', '--tag'), ('put', 'in', 'x', '--param1'), ('put', 'in', 'x', '--key'),
                 ('list', '--text'), ('cancel', '1', '--reason'), ('queue', 'create', 'x', '--script'),
                 ('queue', 'set', 'in', '--env'), ('run', '--queue'), ('run', '--env')):
        refused(rq(*args, os.fsdecode(b'b\xff=1')), 'bad_value', 2, f'{args}', args[-1], 'b\\xff', 'UTF-8')
    refused(rq('show', os.fsdecode(b'key:b\xff')), 'bad_value', 2, 'an id', 'b\\xff', 'UTF-8')
    for args, said in ((('in', '@/no/such'), '/no/such'), (('in', 'a', '--file', str(file)), '--file')):
        ran = rq('put', *args)
        checks.that(ran.code in (2, 3) and said in ran.err, f'put {args}: {ran}')
    all_fields = ('all', '--priority', '-5', '--key', 'k/ 1', '--tag', 'x', '--tag', 'y', '--param1',
                  'one', '--param4', 'four', '--header', 'h=v=w', '--src', 'shop', '--delay', '90m',
                  '--retries', '2', '--timeout', '1m', '--content-type', 'text/plain')
    b = put(*all_fields)
    m = message('key:k/ 1')
    wanted = {'id': b, 'state': 'scheduled', 'priority': -5, 'key': 'k/ 1', 'tags': ['x', 'y'],
              'param1': 'one', 'param4': 'four', 'headers': {'h': 'v=w'}, 'src': 'shop',
              'retries': 2, 'timeout_s': 60, 'content_type': 'text/plain'}
    checks.equal({k: m[k] for k in wanted}, wanted, 'all fields')
    again = ok(rq('put', 'in', *all_fields, '--json'), 'the key again').json
    checks.that(again['id'] == b and again['repeated'] is True, f'finds the first: {again}')
    other = ['5s' if word == '90m' else word for word in all_fields]
    ran = ok(rq('put', 'in', *other), 'a repeat with another delay')
    checks.that('nothing of it is changed' in ran.err, f'it is said: {ran}')
    refused(rq('put', 'in', 'other', '--key', 'k/ 1'), 'exists', 4, 'the key of another message', 'payload')
    # faults.md C10, relative: whoever repeats its key believed that all was well.
    ok(rq('queue', 'create', 'keyed'), 'keyed')
    keyed = ok(rq('put', 'keyed', 'x', '--key', 'nightly'), 'the first').out.strip()
    checks.that('its state is que' in rq('put', 'keyed', 'x', '--key', 'nightly').err, 'it waits')
    leased = server.post('/v1/reserve', {'queues': ['keyed'], 'worker': 'w'}).json['messages'][0]
    server.post('/v1/err', {'token': leased['lease']['token'], 'reason': 'exit 3'})
    ran = ok(rq('put', 'keyed', 'x', '--key', 'nightly'), 'the key of what has failed')
    checks.that('its state is err' in ran.err and f'rq retry {keyed}' in ran.err, f'it is said: {ran}')
    ran = ok(rq('put', 'keyed', '--ndjson', '-', input=b'{"payload":"x","key":"nightly"}\n'), 'in a list')
    checks.equal(ran.out, '0 put, 1 there already (1 in err), 0 refused\n', 'in a list')
    # faults.md C, relative: only somebody else's commit could end the wait.
    for wait in ('--wait', '--follow'):
        refused(rq('put', 'in', 'x', '--prep', wait), 'bad_value', 2, f'--prep {wait}', wait, 'rq commit')
    c = put('later', '--at', '2099-01-01T00:00:00Z')
    checks.equal(message(c)['due'], '2099-01-01T00:00:00.000Z', '--at')
    refused(rq('put', 'in', 'x', '--at', '08:00', '--delay', '1s'), 'bad_value', 2, 'both',
            '--at')
    refused(rq('put', 'in', 'x', '--header', 'h'), 'bad_value', 2, 'a header', "'h'")
    refused(rq('put', 'nope', 'x'), 'not_found', 3, 'no such queue', 'nope')
    refused(rq('put', 'in', 'x', '--tag', ''), 'bad_value', 2, 'an empty tag')
    # faults.md C, relative: an option that may be repeated takes one value each time.
    ran = ok(rq('put', 'in', '--tag', 'one', '--header', 'a=b', '--tag', 'two', 'behind'), 'tags')
    tagged = message(ran.out.strip())
    checks.equal((tagged['tags'], tagged['headers'], payload(ran.out.strip())),
                 (['one', 'two'], {'a': 'b'}, b'behind'), 'the payload stands behind its tags')
    big = pathlib.Path(server.dir) / 'big'
    big.write_bytes(b'x' * (5 << 20))
    refused(rq('put', 'in', f'@{big}'), 'too_large', 2, 'too large', 'big')

    many = pathlib.Path(server.dir) / 'many.ndjson'
    many.write_text(''.join(json.dumps({'payload': f'm{i}', 'key': f'n{i}'}) + '\n\n'
                            for i in range(2500)))
    ran = ok(rq('put', 'in', '--ndjson', many, '--tag', 'bulk'), 'ndjson')
    checks.equal(ran.out, '2 500 put, 0 there already, 0 refused\n', 'ndjson')
    checks.equal(message('key:n2499')['tags'], ['bulk'], 'options hold for each line')
    ran = ok(rq('put', 'in', '--ndjson', '-', input=many.read_bytes()), 'ndjson again')
    checks.equal(ran.out, '0 put, 2 500 there already, 0 refused\n', 'again, from a pipe')
    # Nothing of a line is written anew: numbers stay as they came.
    numbers = '[19.990,123456789012345678901234567890,1.0,1e400]'
    line = f' {{"key":"exact","payload_json": {numbers} }} \r\n{{}}\n'
    ok(rq('put', 'in', '--ndjson', '-', '--tag', 'exact', '--param1', 'it\'s "1"', input=line.encode()), 'exact')
    checks.equal(payload('key:exact').decode(), numbers, 'put --ndjson carries JSON as it came')
    checks.equal(message('key:exact')['param1'], 'it\'s "1"', 'and the options with it')
    checks.equal(len(ok(rq('list', '--tag', 'exact', '--json'), 'list').lines), 2, 'an empty line object too')
    mixed = b'{"payload":"a"}\n{"payload":"b","priority":"high"}\n{"payload":"c"}\n'
    ran = rq('put', 'in', '--ndjson', '-', input=mixed)
    checks.equal(ran.code, 2, f'one is refused: {ran}')
    checks.that(ran.out.startswith('2 put') and 'line 2' in ran.err, f'the others are put: {ran}')
    ran = rq('put', 'in', '--ndjson', '-', '--json', input=mixed)
    checks.equal([('error' in item) for item in ran.lines], [False, True, False], 'as JSON')
    refused(rq('put', 'in', '--ndjson', '-', input=b'{"payload":"a"}\n[1]\n'), 'bad_value', 2,
            'no object', 'line 2', '[1]')
    ok(rq('queue', 'create', 'marked'), 'a queue')
    marked = '\ufeff{"payload":"a"}\n{"payload":"b"}\n'.encode()
    checks.equal(rq('put', 'marked', '--ndjson', '-', input=marked).out,
                 '2 put, 0 there already, 0 refused\n', 'a byte order mark before the first line')
    refused(rq('put', 'marked', '--ndjson', '-', input=b'{"payload":"a"}\n' + b'x' * (33 << 20)),
            'too_large', 2, 'a line without end', 'standard input, line 2: a line has more than 32 MiB')
    refused(rq('run', '--env', '=x', '--', 'true'), 'bad_value', 2, 'no name', '--env =x: it has no name')
    refused(rq('put', 'in', 'x', '--ndjson', many), 'bad_value', 2, 'two payloads', '--ndjson')
    # faults.md C10, relative: what became of the others is said, and where it was read.
    ran = rq('put', 'in', '--ndjson', '-', input=b'{"payload":"a"}\nnot json\n')
    checks.that('standard input, line 2' in ran.err and 'nothing is put' in ran.err, f'{ran}')
    ran = rq('put', 'in', '--ndjson', '-', input=b'{}\n' * 1000 + b'not json\n')
    checks.that('line 1001' in ran.err and '1000 are put' in ran.err, f'{ran}')
    # faults.md C10: what holds for all is said once.
    ran = rq('put', 'nowhere', '--ndjson', many)
    checks.equal(ran.code, 3, f'a queue that is not there: {ran}')
    checks.equal(ran.err.count('nowhere'), 2, f'said once, with the remedy: {ran.err[:500]}')
    ok(rq('queue', 'down', 'in'), 'down')
    ran = rq('put', 'in', '--ndjson', many)
    checks.that(ran.code == 5 and len(ran.err.splitlines()) <= 2, f'a queue that is down: {ran}')
    ok(rq('queue', 'resume', 'in'), 'up')
    # Relative: what is wrong with each message is told of the first ones only.
    ran = rq('put', 'in', '--ndjson', '-', input=b'{"priority":"x"}\n' * 500)
    checks.that(ran.code == 2 and ran.out.endswith('500 refused\n'), f'all wrong: {ran.out}')
    checks.that(len(ran.err.splitlines()) < 50, f'{len(ran.err.splitlines())} lines of errors')


def test_list_and_act(server):
    rq = Cli(server.dir)
    ok(rq('queue', 'create', 'a'), 'a')
    ok(rq('queue', 'create', 'b'), 'b')
    ids = [ok(rq('put', 'a', f'text {i}', '--tag', 'even' if i % 2 == 0 else 'odd'),
              'put').out.strip() for i in range(6)]
    later = ok(rq('put', 'a', 'later', '--delay', '1h'), 'put').out.strip()

    def listed(*args):
        return [m['id'] for m in ok(rq('list', *args, '--json'), f'list {args}').lines]

    checks.equal(listed('a', '--oldest'), ids + [later], 'all of a queue, oldest first')
    checks.equal(listed('--queue', 'a', '--tag', 'even', '--oldest'), ids[::2], 'by tag')
    checks.equal(listed('--state', 'scheduled'), [later], 'by state')
    checks.equal(listed('--text', 'TEXT 3'), [ids[3]], 'by text')
    checks.equal(listed('--after', '1d', '--oldest')[:1], ids[:1], 'after: a day ago')
    checks.equal(listed('--before', '1d'), [], 'before')
    # A clock alone is the last time that it showed this, not the next.
    past, ahead = (time.strftime('%H:%M', time.gmtime(time.time() + m * 60)) for m in (-5, 5))
    checks.equal(listed('--before', past), [], f'--before {past}: nothing is so old')
    checks.equal(len(listed('--after', past)), 7, f'--after {past}: all')
    checks.equal(len(listed('--after', ahead)), 7, f'--after {ahead}: since yesterday')
    checks.that(re.search(r'scheduled, in (59|60) min', rq('list', '--state', 'scheduled').out), 'when it is due')
    first = rq('list', 'a', '-n', '4', '--oldest', '--json')
    cursor = re.search(r'--cursor (\S+)', first.err).group(1)
    checks.equal([m['id'] for m in first.lines] + listed('a', '--oldest', '--cursor', cursor),
                 ids + [later], 'page by page')
    checks.equal(listed('a', '--all', '--oldest'), ids + [later], 'all pages')
    table = ok(rq('list', 'a'), 'table').out.splitlines()
    checks.that(table[0].split() == ['ID', 'QUEUE', 'STATE', 'AGE', 'ATTEMPTS', 'TEXT']
                and 'text 5' in table[2], f'table: {table}')
    checks.that('no such' in ok(rq('list', 'b'), 'empty').err, 'says that there is nothing')
    refused(rq('list', '--state', 'flying'), 'bad_value', 2, 'a state', 'flying')
    refused(rq('list', '--after', 'soon'), 'bad_value', 2, 'a time', 'soon')

    def state(id):
        return ok(rq('show', id, '--json'), 'show').json['state']

    shown = ok(rq('show', ids[0], later), 'show two').out
    checks.that('even' in shown and '(in ' in shown, f'show: {shown}')
    got, = server.post('/v1/reserve', {'queues': ['a'], 'worker': 'w'}).json['messages']
    server.post('/v1/finish', {'token': got['lease']['token'], 'outcome': 'release'})
    shown = ok(rq('show', got['id']), 'show one that was handed back').out
    checks.that('1, 0 failed, 0 lost, 1 handed back' in shown, f'show: {shown}')
    attempts_kept = 100
    for _ in range(attempts_kept):
        got, = server.post('/v1/reserve', {'queues': ['a'], 'worker': 'w'}).json['messages']
        server.post('/v1/finish', {'token': got['lease']['token'], 'outcome': 'release'})
    shown = ok(rq('show', got['id']), 'show one that was handed back very often').out
    checks.that(f'{attempts_kept + 1}, at least {attempts_kept} handed back' in shown,
                f'show: {shown}')
    # Issue 10, stranger: the counters must not contradict the list below them.
    ok(rq('queue', 'create', 'tries'), 'a queue for it')
    tried = ok(rq('put', 'tries', 'x'), 'put one to fail').out.strip()
    for outcome in ('failed', 'lost'):
        if outcome == 'lost':
            ok(rq('retry', tried), 'retry it')
        got, = server.post('/v1/reserve', {'queues': ['tries'], 'worker': 'w'}).json['messages']
        server.post('/v1/finish', {'token': got['lease']['token'], 'outcome': outcome})
    shown = ok(rq('show', tried), 'show one that failed, was retried, and lost').out
    checks.that('2, 1 failed (0 since the retry), 1 lost, 0 handed back' in shown, f'show: {shown}')
    ok(rq('queue', 'delete', 'tries', '--force', '-y'), 'it is not needed any more')
    why = ok(rq('why', ids[2]), 'why').out
    checks.that(ids[2] in why and 'que' in why, f'why: {why}')
    checks.equal(ok(rq('why', later, '--json'), 'why').json['state'], 'scheduled', 'why --json')
    ok(rq('run-now', later), 'run-now')
    checks.equal(state(later), 'que', 'run-now')
    # faults.md C7, relative: the form is shown where it is not met.
    ran = rq('priority', later, '7')
    refused(ran, 'bad_value', 2, 'a priority without its name', f'rq priority {later} --priority 7')
    refused(rq('move', later, '-y'), 'bad_value', 2, 'no --to', '--to', 'rq move 123 --to slow')
    refused(rq('completion'), 'bad_value', 2, 'no shell', 'rq completion bash')
    refused(rq('list', '--tag='), 'bad_value', 2, 'no tag', '--tag needs a value')
    ok(rq('priority', later, '--priority', '7'), 'priority')
    table = ok(rq('list', 'a'), 'table').out.splitlines()
    checks.that('PRIORITY' in table[0] and table[1].split()[-2] == '7', f'shown when it differs: {table}')
    checks.equal(ok(rq('show', later, '--json'), 'show').json['priority'], 7, 'priority')
    ok(rq('move', later, '--to', 'b'), 'move')
    checks.equal(listed('b'), [later], 'moved')
    refused(rq('move', later, '--to', 'b'), 'wrong_state', 4, 'moved to where it is', "'b'")
    ran = ok(rq('cancel', ids[0], ids[1], '--reason', 'no need'), 'cancel')
    checks.that(ran.out.count('cancelled') >= 2, f'each is told of: {ran}')
    checks.equal(state(ids[0]), 'cancelled', 'cancel')
    checks.that('no need' in rq('why', ids[0]).out, 'and why tells the reason')
    ran = rq('cancel', '999999', ids[2])
    checks.equal((ran.code, state(ids[2])), (3, 'cancelled'), 'one bad id does not stop the rest')
    checks.that('/v1' not in ran.err.replace('GET /v1/messages', '') and 'rq list' in ran.err, f'plain: {ran}')
    checks.equal(rq('priority', ids[3], 'abc', '--priority', '4').code, 2, 'what is no id')
    checks.equal(rq('show', ids[3], '--json').json['priority'], 0, 'is seen before anything is done')
    refused(rq('run-now', ids[2]), 'wrong_state', 4, 'words', 'rq run-now:', 'cannot run message', 'early')
    refused(rq('kill', ids[3]), 'wrong_state', 4, 'kill what does not run', ids[3])
    ok(rq('retry', ids[0]), 'retry')
    checks.equal(state(ids[0]), 'que', 'retry')
    ok(rq('requeue', ids[1]), 'requeue')
    checks.equal(state(ids[1]), 'que', 'requeue')
    clone = ok(rq('clone', ids[2], '--to', 'b'), 'clone').out.strip()
    checks.equal(ok(rq('show', clone, '--json'), 'show').json['cloned_from'], ids[2], 'clone')
    ok(rq('remove', ids[2]), 'remove')
    refused(rq('show', ids[2]), 'not_found', 3, 'removed', ids[2].split('.')[-1])
    refused(rq('show', 'not-an-id'), 'bad_value', 2, 'no id', 'not-an-id')

    # faults.md B15, relative: failures are counted by what their reasons have in common.
    server.put('/v1/queues/failing', {'retries': 0})
    for i, reason in enumerate(['exit 3: no row 17', 'exit 3: no row 18', 'exit 4: gone', 'exit 3: no row 9']):
        server.post('/v1/queues/failing/messages', {'payload': str(i), 'tags': [f'f{i}']})
        got, = server.post('/v1/reserve', {'queues': ['failing'], 'worker': 'w'}).json['messages']
        server.post('/v1/err', {'token': got['lease']['token'], 'reason': reason, 'retry': False})
    failed = listed('failing')
    answer = ok(rq('list', 'failing', '--by', 'reason', '--json'), 'list --by reason').json
    checks.equal((answer['others'], answer['looked_at'], answer['cut']), (0, 4, False), 'what is left out')
    kinds = answer['failures']
    checks.equal([(k['count'], k['text'], k['newest'], k['oldest'], k['queue']) for k in kinds],
                 [(3, 'exit 3: no row 9', failed[0], failed[3], 'failing'),
                  (1, 'exit 4: gone', failed[1], failed[1], 'failing')], f'{kinds}')
    table = ok(rq('list', '--by', 'reason', '--tag', 'f2'), 'as a table').out.splitlines()
    checks.that(len(table) == 5 and table[4].startswith('  rq retry --tag f2 --fingerprint ')
                and table[1].split()[:3] == ['1', 'failing', failed[1]], f'{table}')
    checks.that('no such' in ok(rq('list', 'a', '--by', 'reason'), 'none').err, 'there are none')
    refused(rq('list', '--by', 'reason', '-n', '5'), 'bad_value', 2, 'it counts all', '--limit')
    refused(rq('list', '--by', 'reason', '--state', 'done'), 'bad_value', 2, 'of another state', 'done')
    refused(rq('list', '--by', 'worker'), 'bad_value', 2, 'by what it is not', 'worker', 'reason')
    reply = server.get('/v1/failures?queue=failing&state=err')
    checks.equal((reply.status, reply.code), (422, 'bad_value'), f'{reply}')
    reply = server.get('/v1/failures?queue=failing').json
    checks.equal((reply['others'], reply['looked_at'], reply['cut']), (0, 4, False), f'{reply}')
    # Which of them are meant is said by their kind, and --reason is not taken for that.
    table = ok(rq('list', 'failing', '--by', 'reason'), 'as a table').out
    command = re.search(r"^  (rq retry --queue failing --fingerprint 'exit 3: .*')$", table, re.M)
    checks.that(command, f'how to go on: {table}')
    words = shlex.split(command.group(1))[1:] if command else ['retry', '--queue', 'failing']
    checks.equal([m['id'] for m in ok(rq('list', *words[1:], '--json'), 'one kind').lines],
                 [failed[0], failed[2], failed[3]], 'a list of one kind')
    refused(rq('list', *words[1:], '--state', 'done'), 'bad_value', 2, 'of another state', 'err')
    for args in (['--dry-run'], []):
        ran = rq(*words, '--reason', 'no row', *args)
        checks.that('3 messages' in ran.out + ran.err and '--reason chooses none' in ran.out + ran.err,
                    f'--reason is no filter: {ran}')
    ran = ok(rq(*words, '--reason', 'table is mended', '-y'), 'retry of one kind')
    checks.that(ran.out.startswith('3 matched, 3 retried'), f'{ran}')
    checks.equal((state(failed[1]), state(failed[0])), ('err', 'que'), 'no other')
    shown = ok(rq('show', failed[0]), 'show').out
    checks.that('table is mended' in shown, f'faults.md C6, relative: the reason is kept: {shown}')
    ok(rq('queue', 'delete', 'failing', '--force', '-y'), 'they go')

    # In bulk.
    dry = ok(rq('cancel', '--queue', 'a', '--tag', 'odd', '--dry-run', '--json'), 'dry').json
    checks.that(dry['matched'] == 3 and dry['dry_run'] is True and len(dry['sample']) == 3,
                f'dry run: {dry}')
    checks.equal(state(ids[5]), 'que', 'a dry run changes nothing')
    refused(rq('cancel', '--queue', 'a', '--tag', 'odd'), 'bad_value', 2, 'nobody to ask', '-y',
            '3 messages')
    done = ok(rq('cancel', '--queue', 'a', '--tag', 'odd', '-y'), 'bulk')
    checks.that(done.out.startswith('3 matched, 3 cancelled, 0 refused'), f'bulk: {done}')
    ok(rq('retry', '--queue', 'a', '--state', 'cancelled', '-y'), 'bulk retry')
    checks.equal(state(ids[5]), 'que', 'bulk retry')
    ok(rq('move', '--queue', 'a', '--tag', 'odd', '--to', 'b', '-y'), 'bulk move')
    checks.equal(len(listed('b')), 5, 'bulk move')
    refused(rq('cancel'), 'bad_value', 2, 'neither ids nor filter', '--queue')
    refused(rq('cancel', ids[5], '--queue', 'a'), 'bad_value', 2, 'both', 'more than one')
    refused(rq('cancel', ids[5], '--dry-run'), 'bad_value', 2, 'dry run of an id', '--dry-run')
    refused(rq('move', ids[5]), 'bad_value', 2, 'where to?', '--to')
    checks.equal(ask(rq, ['cancel', '--queue', 'b', '--tag', 'odd'], b'n\n'), 0, 'asked: no')
    checks.equal(state(ids[5]), 'que', 'no is no')
    checks.equal(ask(rq, ['cancel', '--queue', 'b', '--tag', 'odd'], b'y\n'), 0, 'asked: yes')
    checks.equal(state(ids[5]), 'cancelled', 'yes is yes')

    stats = ok(rq('stats', '--json'), 'stats').json
    checks.that('engine' in stats and 'messages' in stats, f'stats: {stats}')
    checks.that('commands' in ok(rq('stats'), 'stats').out, 'stats for people')
    top = ok(rq('top'), 'top into a pipe').out
    checks.that('QUEUE' in top and '\x1b' not in top, f'a plain picture: {top}')
    checks.that({'stats', 'queues', 'running'} <= set(ok(rq('top', '--json'), 'top').json),
                'top --json')
    version = ok(rq('version', '--json'), 'version').json
    checks.equal(version['server']['dir'], str(server.dir), 'version')
    over_tcp = ok(rq('queue', 'list', '--names', '--server', f'http://127.0.0.1:{server.port}'),
                  'over TCP')
    checks.equal(over_tcp.out, 'a\nb\n', 'over TCP')
    # faults.md D2: what runs is not decided over TCP; a clear word of where else.
    remote = Cli('/nonexistent', RQ_SERVER=f'http://127.0.0.1:{server.port}')
    for args in (('queue', 'create', 'c'), ('queue', 'set', 'a', '--retries', '1'),
                 ('queue', 'delete', 'a'), ('run', '--queue', 'c', '--', 'true')):
        refused(remote(*args), 'forbidden', 6, f'over TCP: {args}', 'over TCP', 'define_over_tcp',
                str(server.socket_path))
    # A relative: a message of rq run is a command line.
    ok(rq('run', '--queue', 'lines', '--', 'true'), 'run, over the socket')
    refused(remote('run', '--queue', 'lines', '--', 'true'), 'forbidden', 6, 'run over TCP', 'unix socket')
    refused(remote('put', 'lines', '{"argv":["id"]}'), 'forbidden', 6, 'put of a command line over TCP',
            'lines', 'put_over_tcp')
    ok(rq('queue', 'delete', 'lines', '--force', '--yes'), 'lines')
    socket = f'unix:{server.socket_path}'
    checks.equal(ok(Cli('/nonexistent', RQ_SERVER=socket)('queue', 'list', '--names'),
                    'RQ_SERVER').out, 'a\nb\n', 'RQ_SERVER')
    checks.equal(ok(Cli('/nonexistent')('--dir', server.dir, 'queue', 'list', '--names'),
                    '--dir before the verb').out, 'a\nb\n', '--dir before the verb')


def ask(rq, args, answer):
    return terminal(rq, args, answer, b'[y/N]')[0]


def test_terminal(server):
    rq = Cli(server.dir)
    code, seen = terminal(rq, ['top', '--every', '100ms'], b'q', b'QUEUE')
    checks.equal(code, 0, 'q quits top')
    checks.that(b'\x1b[?1049h' in seen and seen.rstrip().endswith(b'\x1b[?1049l'),
                'top gives the screen back')
    checks.equal(terminal(rq, ['top'], b'\x03', b'QUEUE')[0], 0, 'so does Ctrl-C')
    checks.that(b'\x1b[' in terminal(rq, ['queue', 'list'], b'', b'')[1], 'colours on a terminal')
    plain = terminal(rq, ['queue', 'list'], b'', b'', env={'NO_COLOR': '1'})[1]
    checks.that(b'\x1b[' not in plain, f'NO_COLOR: {plain}')


def test_scripts(server):
    rq = Cli(server.dir)
    good = script(server.dir, 'good.sh', r'''
read -r name
echo "run half way" >&3
printf '\033[31mred\033[0m line 1\n'
echo "line 2 for $name $RQ_PARAM1"
echo "done greeted $name" >&3
''')
    bad = script(server.dir, 'bad.sh', 'echo "oh no" >&2; echo "err broken" >&3; exit 3\n')
    slow = script(server.dir, 'slow.sh', 'echo started; sleep 300\n')
    for name, path in (('good', good), ('bad', bad), ('slow', slow)):
        ok(rq('queue', 'create', name, '--script', path, '--grace', '1s'), name)

    ran = ok(rq('put', 'good', 'world', '--param1', 'P', '--key', 'w', '--wait'), 'put --wait')
    checks.equal((ran.out, ran.err.splitlines()[-1]), ('greeted world\n', 'done'), '--wait: what it came to')
    ran = ok(rq('put', 'good', 'you', '--follow'), 'put --follow')
    checks.that('line 2 for you' in ran.out, f'--follow shows the log: {ran}')
    ended = ok(rq('put', 'good', 'json', '--wait', '--json'), 'put --wait --json').json
    checks.equal(ended['state'], 'done', 'put --wait --json')
    ran = rq('put', 'bad', 'x', '--wait', '--key', 'bad')
    checks.equal(ran.code, 1, f'--wait of one that fails: {ran}')
    checks.equal((ran.out, ran.err.splitlines()[-1]), ('', 'err: broken'), f'why, and no result: {ran}')

    log = ok(rq('tail', 'key:w'), 'tail').out
    checks.that('RQ START' in log and '\x1b[31mred\x1b[0m line 1\nline 2 for world P\n' in log,
                f'tail, colours as they are: {log!r}')
    checks.equal(ok(rq('tail', '-n', '1', 'key:w'), 'tail -n').out, 'line 2 for world P\n',
                 'tail -n 1')
    ran = ok(rq('tail', '-f', 'key:w'), 'tail -f of a finished one')
    checks.that('line 2 for world P' in ran.out and 'done' in ran.err, f'tail -f: {ran}')
    checks.equal(ok(rq('tail', 'key:w', '--json'), 'tail --json').json['text'], log, 'as JSON')
    events = ok(rq('tail', '-f', 'key:w', '--json'), 'tail -f --json').lines
    checks.equal((events[0]['event'] in ('log', 'message'), events[-1]['event']), (True, 'end'),
                 'tail -f --json')
    screen = terminal(rq, ['tail', 'key:w'], b'', b'')[1]
    checks.that(b'\x1b[31mred\x1b[0m' in screen, f'colours kept on a terminal: {screen}')
    # faults.md C12: a log of any size.
    large = script(server.dir, 'large.sh', 'seq 3000000; echo "done" >&3\n')
    ok(rq('queue', 'create', 'large', '--script', large), 'large')
    ok(rq('put', 'large', 'x', '--key', 'large', '--wait'), 'put large')
    ran = ok(rq('tail', 'key:large'), 'tail of a large log')
    checks.that(ran.out.splitlines()[-1] == '3000000' and len(ran.out.splitlines()) == 1000
                and '--all' in ran.err, f'its last lines, and it is said: {ran.err}')
    whole = ok(rq('tail', 'key:large', '--all'), 'tail --all').out
    wanted = ''.join(f'{n}\n' for n in range(1, 3000001))
    checks.that(len(whole) > 16 << 20 and whole.endswith(wanted), f'--all: {len(whole)} bytes')
    at = len(whole) - 100
    checks.equal(ok(rq('tail', 'key:large', '--from', at), 'tail --from').out, whole[at:], '--from')
    ran = ok(rq('tail', '-f', 'key:large'), 'tail -f of a large log')
    checks.equal(ran.out.splitlines(), wanted.splitlines()[-1000:], 'tail -f: its last lines')
    ran = ok(rq('tail', '-f', 'key:large', '--from', at), 'tail -f --from')
    checks.equal(ran.out, whole[at:], 'tail -f --from')
    refused(rq('tail', 'key:large', '--all', '-n', '1'), 'bad_value', 2, 'two of them', '--lines')
    # faults.md C23: what a terminal would act on is shown by its code.
    nasty = 'a\u202etxt.exe \u009b2J \u2066'
    ok(rq('put', 'good', nasty, '--key', 'nasty', '--param1', nasty, '--wait'), 'put nasty')
    for words in (['tail', 'key:nasty'], ['show', 'key:nasty'], ['show', 'key:nasty', '--payload'],
                  ['list', '--queue', 'good']):
        screen = terminal(rq, words, b'', b'')[1].decode()
        checks.that(not re.search('[\u0080-\u009f\u202a-\u202e\u2066-\u2069]', screen),
                    f'{words}: {screen!r}')
        checks.that(words[0] == 'list' or '\\u{202e}' in screen, f'{words}: {screen!r}')
    checks.equal(ok(rq('show', 'key:nasty', '--payload'), 'into a pipe').out, nasty, 'byte for byte')
    # faults.md C12, relative: the last no lines of a log that is there.
    ran = ok(rq('tail', '-n', '0', 'key:large'), 'tail -n 0')
    checks.equal((ran.out, ran.err), ('', ''), 'tail -n 0')
    refused(rq('tail', '424242'), 'not_found', 3, 'tail of none', '424242')
    refused(rq('tail', '-f', '424242'), 'not_found', 3, 'tail -f of none', '424242')

    shown = ok(rq('show', 'key:bad'), 'show with a post-mortem').out
    checks.that('exit 3' in shown and 'oh no' in shown and 'broken' in shown,
                f'post-mortem: {shown}')
    attempts = ok(rq('show', 'key:bad', '--json'), 'show --json').json['attempts_list']
    checks.equal(attempts[0]['post_mortem']['exit_code'], 3, 'post-mortem as JSON')

    # Live: tail -f sees the log grow, and kill ends it.
    id = ok(rq('put', 'slow', 'x'), 'put').out.strip()
    follow = subprocess.Popen([RQ, 'tail', '-f', id], env=rq.env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    watch = subprocess.Popen([RQ, 'events', '--message', id, '--json'], env=rq.env,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    checks.equal(json.loads(watch.stdout.readline())['event'], 'hello', 'events begin with hello')
    line = b''
    while line and not line.startswith(b'started') or not line:
        line = follow.stdout.readline()
        if not line:
            break
    checks.equal(line, b'started\n', 'tail -f while it runs')
    checks.equal(ok(rq('why', id, '--json'), 'why of a running one').json['state'], 'run', 'why')
    checks.that(id in ok(rq('top'), 'top').out, 'top shows what runs')
    ok(rq('kill', id, '--reason', 'enough'), 'kill')
    out, err = follow.communicate(timeout=60)
    checks.equal(follow.returncode, 0, f'tail -f ends with the message: {err}')
    event = {}
    while event.get('to') != 'err':
        line = watch.stdout.readline()
        if not line:
            break
        event = json.loads(line)['data']
    checks.equal((event.get('to'), event.get('id')), ('err', id), 'events tell of the end')
    watch.kill()
    watch.communicate()
    checks.equal(ok(rq('show', id, '--json'), 'show').json['mark'], 'killed', 'killed')

    # A script that is not there: why and doctor say so.
    ok(rq('queue', 'create', 'broken', '--script', '/no/such/script'), 'broken')
    stuck = ok(rq('put', 'broken', 'x'), 'put').out.strip()
    rqtest.eventually(lambda: rq('queue', 'show', 'broken', '--json').json['script_error'],
                      'the worker tells of the script')
    checks.that('/no/such/script' in ok(rq('why', stuck), 'why').out, 'why names the script')
    doctor = rq('doctor')
    checks.equal(doctor.code, 10, f'doctor finds it: {doctor}')
    checks.that('queue broken' in doctor.out and '/no/such/script' in doctor.out,
                f'doctor names it: {doctor}')
    ok(rq('queue', 'delete', 'broken', '--force', '--yes'), 'delete --force')
    doctor = ok(rq('doctor', '--json'), 'doctor')
    found = {c['check']: c['finding'] for c in doctor.json['checks']}
    checks.that(found.get('worker') == 'ok' and found.get('health') == 'ok', f'doctor: {found}')


def run_apart(rq):
    """faults.md C16: the two outputs of `rq run --wait`."""
    # Much of both: all of each, in its order; the log has both as one text.
    command = 'for i in $(seq 3000); do echo "out $i"; echo "err $i" >&2; done; exit 3'
    ran = rq('run', '--wait', '--tag', 'apart', '--', 'sh', '-c', command)
    checks.equal(ran.code, 3, 'exits as the command does')
    checks.equal(ran.out, ''.join(f'out {i}\n' for i in range(1, 3001)), 'all of the output')
    checks.equal(ran.err, ''.join(f'err {i}\n' for i in range(1, 3001)), 'all of the errors')
    id = ok(rq('list', '--tag', 'apart', '--json'), 'list').json['id']
    log = rq('tail', id, '--all').out.splitlines()
    checks.equal(sorted(log[2:]), sorted((ran.out + ran.err).splitlines()), 'both are in the log')
    # Two outputs have no order between them: the log ends with the last line of either.
    checks.that(rq('show', id, '--json').json['progress'] in ('exit 3: err 3000', 'exit 3: out 3000'),
                'the reason')
    # Each attempt of a message; the second one has another exit code.
    marks = tempfile.mkdtemp()
    command = f'echo "out $1" ; echo "err $1" >&2; mkdir {marks}/ran || exit 0; exit 5'
    ran = rq('run', '--queue', 'again', '--wait', '--retries', '1', '--', 'sh', '-c', command, 'sh', 'x')
    checks.equal(ran.code, 0, f'the second attempt is well: {ran}')
    checks.equal((ran.out, ran.err.replace(f"mkdir: cannot create directory ‘{marks}/ran’: File exists\n", '')),
                 ('out x\nout x\n', 'err x\nerr x\n'), 'both attempts')
    # What the command leaves behind does not hold it up; a reader that ends does not end it.
    ran = ok(rq('run', '--wait', '--', 'sh', '-c', 'sleep 300 & echo over'), 'with a leftover')
    checks.equal(ran.out, 'over\n', 'with a leftover')
    waiting = subprocess.Popen([RQ, 'run', '--wait', '--tag', 'left', '--', 'sh', '-c',
                                f'echo up; until test -e {marks}/gone; do sleep 0.05; done; seq 100000; echo end'],
                               env=rq.env, stdout=subprocess.PIPE)
    checks.equal(waiting.stdout.readline(), b'up\n', 'it is shown as it comes')
    waiting.kill()
    waiting.wait()
    waiting.stdout.close()
    id = ok(rq('list', '--tag', 'left', '--json'), 'list').json['id']
    pathlib.Path(marks, 'gone').touch()
    rqtest.eventually(lambda: rq('show', id, '--json').json['state'] == 'done', 'it goes on alone')
    checks.equal(rq('tail', id, '-n', '1').out, 'end\n', 'and its log is whole')
    shutil.rmtree(marks)


def test_run(server):
    rq = Cli(server.dir, MINE='mine', OTHER='other')
    home = tempfile.mkdtemp()
    ran = rq('run', '--env', 'MINE', '--env', 'X=a b', '--wait', '--', 'sh', '-c',
             'pwd; echo "$MINE|$X|$OTHER|$1"; cat', 'sh', "it's two  words", cwd=home)
    checks.equal(ran.code, 0, f'run --wait: {ran}')
    checks.equal(ran.out, f"{home}\nmine|a b||it's two  words\n", 'folder, environment, words')
    settings = ok(rq('queue', 'show', 'run', '--json'), 'queue run').json['settings']
    checks.equal(settings['num_workers'], 1, 'one at a time')
    # faults.md C7, relative: what is no command line is refused before it runs.
    refused(rq('put', 'run', 'echo hi'), 'bad_value', 2, 'put', 'argv', 'rq run --queue run -- COMMAND')
    ran = rq('run', '-j', '3', '--wait', 'sh', '-c', 'echo out; echo err >&2; exit 7')
    checks.equal((ran.code, ran.out, ran.err), (7, 'out\n', 'err\n'), f'exits as the command does: {ran}')
    checks.equal(ok(rq('queue', 'show', 'run', '--json'), 'queue run').json['settings']
                 ['num_workers'], 3, '-j changes the queue')
    # faults.md C16, relative: both into one place, in their order.
    ran = subprocess.run([rqtest.RQ_BIN, '--dir', str(server.dir), 'run', '--wait', '--', 'sh', '-c',
                          'for i in 1 2 3; do echo o$i; echo e$i >&2; done'],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    checks.equal(ran.stdout, 'o1\ne1\no2\ne2\no3\ne3\n', 'the outputs keep their order')
    checks.equal(rq('run', '--wait', '--', 'sh', '-c', 'kill -USR1 $$').code, 128 + 10, 'a signal')
    ran = rq('run', '--wait', '--', '/no/such/program')
    checks.equal(ran.code, 127, f'no such program: {ran}')
    checks.that('/no/such/program' in ran.err and not ran.out, f'says which: {ran}')
    checks.that('sh -c' not in ran.err, f'a path is no line for a shell: {ran}')
    # faults.md C7, relative: what only a shell knows.
    for words, line in ((['echo a | cat'], "'echo a | cat'"), (['cd', '/tmp'], "'cd /tmp'")):
        ran = rq('run', '--wait', '--', *words)
        checks.equal(ran.code, 127, f'{words}: {ran}')
        checks.that(f'rq run -- sh -c {line}' in ran.err, f'{words}: {ran}')
    # Relative: a remedy that fails alike.
    ran = rq('run', '--wait', '--', 'nosuchcmd-x', '-v')
    checks.that(ran.code == 127 and 'sh -c' not in ran.err and 'in the folders of PATH; ' in ran.err, f'no program: {ran}')
    checks.that(os.environ['PATH'] not in ran.err, f'and not what PATH is: {ran}')
    plain = pathlib.Path(home, 'plain.txt')
    plain.write_text('x')
    for program, said in ((home, 'it is a folder'), (str(plain), f'chmod +x {plain}')):
        ran = rq('run', '--wait', '--', program)
        checks.that(ran.code == 126 and said in ran.err, f'what is no program: {ran}')
    # Relative: words, folders and variables of any bytes.
    odd = os.fsdecode(b'b\xffd')
    folder = pathlib.Path(home, odd)
    folder.mkdir()
    ran = subprocess.run([RQ, 'run', '--env', 'ODD', '--wait', '--', 'sh', '-c', 'pwd; echo "$ODD$1"', 'sh', odd],
                         cwd=folder, env={**rq.env, 'ODD': odd}, stdin=subprocess.DEVNULL, capture_output=True)
    checks.equal(ran.stdout, os.fsencode(f'{folder}\n{odd}{odd}\n'), f'bytes that are not UTF-8: {ran}')
    ran = subprocess.run([RQ, 'run', '--env', f'ODD={odd}', '--wait', '--', 'sh', '-c', 'echo "$ODD"'],
                         env=rq.env, stdin=subprocess.DEVNULL, capture_output=True)
    checks.equal(ran.stdout, os.fsencode(f'{odd}\n'), f'--env NAME=VALUE likewise: {ran}')
    id = ok(rq('run', '--', 'sh', '-c', 'exit 4'), 'run').out.strip()
    ended = rqtest.eventually(
        lambda: (m := rq('show', id, '--json').json)['state'] == 'err' and m, 'the end')
    checks.that('exit 4' in ended['progress'], f'the reason: {ended["progress"]}')
    checks.equal(ended['param1'], "sh -c 'exit 4'", 'the command line, for people')
    started = time.monotonic()
    ran = rq('run', '--wait', '--timeout', '1s', '--', 'sh', '-c', 'sleep 300')
    checks.that(ran.code != 0 and time.monotonic() - started < 60, f'--timeout: {ran}')
    checks.that('timed out after' in ran.err, f'C16: the end is told: {ran}')
    ended = ok(rq('run', '--queue', 'other', '--json', '--wait', '--', 'true'), 'another queue').json
    checks.equal((ended['queue'], ended['state']), ('other', 'done'), '--queue')
    refused(rq('run'), 'bad_value', 2, 'no command', 'rq run --')
    # faults.md C1: a command that exits badly is run again.
    count = f'echo x >> {home}/count; test $(wc -l < {home}/count) = 3'
    ok(rq('run', '--queue', 'again', '--wait', '--', 'true'), 'makes the queue')
    ok(rq('queue', 'set', 'again', '--backoff', 'fixed:10ms'), 'a short backoff')
    ran = ok(rq('run', '--queue', 'again', '--retries', '3', '--wait', '--', 'sh', '-c', count), 'C1')
    checks.equal(pathlib.Path(home, 'count').read_text(), 'x\n' * 3, 'run until it is well')
    id = ok(rq('run', '--queue', 'again', '--retries', '1', '--', 'false'), 'C1, false').out.strip()
    ended = rqtest.eventually(
        lambda: (m := rq('show', id, '--json').json)['state'] == 'err' and m, 'the end')
    checks.equal((ended['attempts'], ended['failures']), (2, 2), 'tried twice')
    # Relatives: a signal, and a program that is not there.
    for command in (['sh', '-c', 'kill -9 $$'], ['/no/such/program']):
        ended = rq('run', '--queue', 'again', '--retries', '1', '--json', '--wait', '--', *command).json
        checks.equal(ended['failures'], 2, f'{command} is tried again')
    # faults.md C7: options before the command are ours, known or not.
    for word in ('--retires', '-x', '--at-night'):
        refused(rq('run', word, '3', '--', 'true'), 'bad_value', 2, f'run {word}', word, 'rq run --help')
    refused(rq('run', '--at', 'soon', '--', 'true'), 'bad_value', 2, '--at', 'soon')
    id = ok(rq('run', '--at', '2099-01-01T00:00:00Z', '--', 'true'), 'run --at').out.strip()
    checks.equal(rq('show', id, '--json').json['due'], '2099-01-01T00:00:00.000Z', 'run --at')
    checks.equal(rq('run', '--wait', '--', '-not-there').code, 127, 'a command with a dash, behind --')
    ran = ok(rq('run', '--wait', 'printf', '%s', '--wait'), 'options behind the command are its own')
    checks.equal(ran.out, '--wait', 'options behind the command are its own')
    # faults.md C9: standard input is carried when that is asked for, and else it is said.
    ran = ok(rq('run', '--wait', '--stdin', '--', 'cat', input=b'\x00\xffa\n'), 'run --stdin')
    checks.that(ran.err.find('--stdin') < 0, f'nothing to say: {ran}')
    ran = ok(rq('run', '--wait', '--stdin', '--', 'wc', '-c', input=b'x' * 70000), 'much of it')
    checks.equal(ran.out.strip(), '70000', 'all of it')
    ran = ok(rq('run', '--wait', '--', 'wc', '-c', input=b'lost'), 'without --stdin')
    checks.that(ran.out.strip() == '0' and '--stdin' in ran.err, f'it is said: {ran}')
    loop = subprocess.run(['bash', '-c', f'while read -r l; do {RQ} run -- true "$l"; done'], env=rq.env,
                          input=b'a\nb\n', capture_output=True)
    checks.equal((len(loop.stdout.split()), loop.stderr), (2, b''), 'it is not the input of this command')
    refused(rq('run', '--env', 'NOT_SET_HERE', '--', 'true'), 'bad_value', 2, 'a variable',
            'NOT_SET_HERE')
    ok(rq('queue', 'create', 'plain'), 'plain')
    refused(rq('run', '--queue', 'plain', '--', 'true'), 'wrong_state', 4, 'another kind of queue',
            'plain')
    run_apart(rq)
    ran = rq('exec-payload', input=b'{"argv":[]}')
    checks.that(ran.code == 2 and 'argv' in ran.err, f'a payload that is no command: {ran}')
    ran = rq('put', 'run', 'echo hi', '--wait')
    checks.that(ran.code == 2 and 'rq run --queue run -- ' in ran.err, f'a line that is put: {ran}')
    shutil.rmtree(home)


def test_waiting(server):
    """Who waits for a message is told its end, and meanwhile why it does not run."""
    rq = Cli(server.dir)
    quick = script(server.dir, 'quick.sh', 'echo said; [ "$RQ_PARAM1" != bad ] && echo "done well" >&3\n')
    ok(rq('queue', 'create', 'fleeting', '--script', quick, '--keep-done', '0', '--keep-err', '0'),
       'a queue that keeps nothing')
    for _ in range(5):
        ran = ok(rq('put', 'fleeting', 'x', '--wait'), 'put --wait')
        checks.equal((ran.out, ran.err.splitlines()[-1]), ('well\n', 'done'), f'its end: {ran}')
    ran = rq('put', 'fleeting', 'x', '--param1', 'bad', '--wait')
    checks.equal((ran.code, ran.err.splitlines()[-1][:11]), (1, 'err: exit 1'), f'a failure: {ran}')
    ran = rq('put', 'fleeting', 'x', '--wait', '--json')
    checks.equal((ran.code, ran.json['state'], ran.json['progress']), (0, 'done', 'well'), f'{ran}')
    ok(rq('run', '--queue', 'brief', '--', 'true'), 'makes the queue')
    ok(rq('queue', 'set', 'brief', '--keep-done', '0', '--keep-err', '0'), 'brief keeps nothing')
    ran = ok(rq('run', '--queue', 'brief', '--wait', '--', 'echo', 'hi'), 'run --wait')
    checks.equal((ran.out, ran.err), ('hi\n', ''), f'run --wait: {ran}')
    ran = rq('run', '--queue', 'brief', '--wait', '--', 'sh', '-c', 'exit 3')
    checks.that(ran.code == 1 and 'exit 3' in ran.err, f'a command that fails: {ran}')

    ok(rq('queue', 'create', 'keys', '--script', quick), 'keys')
    checks.that('there already' not in rq('put', 'keys', 'x', '--key', 'k-1', '--wait').err, 'the first')
    ran = ok(rq('put', 'keys', 'x', '--key', 'k-1', '--wait'), 'the second')
    checks.that("there already, with the key 'k-1'" in ran.err, f'nothing has run: {ran}')

    ok(rq('queue', 'pause', 'brief'), 'pause')
    waiting = subprocess.Popen([RQ, 'run', '--queue', 'brief', '--wait', '--', 'true'], env=rq.env,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = waiting.stderr.readline()
    id = ok(rq('list', '--queue', 'brief', '--state', 'que', '--json'), 'list').json['id']
    checks.that(said.startswith(f'rq run: message {id} does not run yet: ') and 'paused' in said
                and 'cancel' in said, f'it says why: {said!r}')
    waiting.send_signal(signal.SIGINT)
    said = waiting.communicate(timeout=60)[1]
    checks.equal(waiting.returncode, 130, 'Ctrl-C')
    checks.that(f'rq cancel {id}' in said, f'and what that means: {said!r}')
    checks.equal(rq('show', id, '--json').json['state'], 'que', 'the message is not touched')

    # The program that made the queue may be gone: the script of rq run is in the worker's own.
    copy = pathlib.Path(server.dir, 'rq-copy')
    shutil.copy(RQ, copy)
    made = [str(copy), 'run', '--queue', 'made', '--wait', '--', 'echo']
    subprocess.run([*made, 'one'], env=rq.env, check=True, capture_output=True)
    copy.unlink()
    checks.equal(ok(rq('run', '--queue', 'made', '--wait', '--', 'echo', 'two'), 'gone').out, 'two\n',
                 'it runs without it')
    # As older versions made them.
    ok(rq('queue', 'set', 'made', '--script', copy, '--exec-prefix', f'{copy} exec-payload'), 'old')
    checks.equal(ok(rq('run', '--queue', 'made', '--wait', '--', 'echo', 'three'), 'old').out,
                 'three\n', 'an old queue is renewed')
    ran = ok(rq('queue', 'set', 'made', '--set', 'script=@no-such'), 'another name')
    rqtest.eventually(lambda: '@exec-payload' in rq('queue', 'show', 'made').out,
                      'what there is inside is told')


def test_no_address():
    """Without HTTP on an address scripts are told of none."""
    dir = tempfile.mkdtemp(prefix='rqtest-')
    server = subprocess.Popen([RQ, 'server', '--dir', dir, '--http', ''], stderr=subprocess.DEVNULL)
    rq = Cli(dir)
    rqtest.eventually(lambda: rq('stats').code == 0, 'a server')
    ran = ok(rq('run', '--wait', '--', 'sh', '-c',
                'echo "[$RQ_HOST] $RQ_DEST ${RQ_FULL_MSG_ID%/*} $RQ_SERVER"'), 'run')
    checks.equal(ran.out, f'[] /q/run /q/run unix:{dir}/run/rq.sock\n', 'the truth')
    server.terminate()
    checks.equal(server.wait(60), 0, 'it ends')
    shutil.rmtree(dir, ignore_errors=True)


def test_restart(server):
    """tail -f outlives a restart of the server."""
    rq = Cli(server.dir)
    gate = pathlib.Path(server.dir) / 'gate'
    os.mkfifo(gate)
    path = script(server.dir, 'gated.sh', f'echo before; read -r x < {gate}; echo "after $x"; '
                                          'echo "done" >&3\n')
    ok(rq('queue', 'create', 'gated', '--script', path), 'gated')
    id = ok(rq('put', 'gated', 'x'), 'put').out.strip()
    follow = subprocess.Popen([RQ, 'tail', '-f', id], env=rq.env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lines = [b'']
    while lines[-1] != b'before\n':
        lines.append(follow.stdout.readline())
        if not lines[-1]:
            break
    server.kill()
    server.start()
    with open(gate, 'w') as pipe:
        pipe.write('it\n')
    out, err = follow.communicate(timeout=120)
    checks.equal((follow.returncode, out), (0, b'after it\n'), f'nothing lost or doubled: {err}')


def example_is_safe(block):
    """faults.md B17: the README's script reads a payload without a newline, under set -e too."""
    hello = re.search(r"<<'END'\n(.*?)\nEND\n", block, re.S).group(1)
    with tempfile.TemporaryDirectory() as dir:
        said = pathlib.Path(dir) / 'said'
        ran = subprocess.run(['bash', '-c', 'exec 3> "$1"; exec bash -e -c "$2"', 'sh', said, hello],
                             input=b'world', capture_output=True)
        checks.equal((ran.returncode, ran.stdout, said.read_text()),
                     (0, b'Hello, world\n', 'run greeting world\ndone greeted world\n'), 'B17')
    page = (rqtest.ROOT / 'docs' / 'SCRIPTS.md').read_text()
    checks.that('`read -r x` sets `x` but returns 1' in page and 'x=$(cat)' in page, 'B17: it is warned of')
    for example in re.findall(r'```(?:sh|bash)\n(#!.*?)```', page, re.S):
        checks.that(not re.search(r'^\s*(while )?(IFS=\S* )?read ', example, re.M) or '<&' in example,
                    f'B17: an example reads lines: {example}')


def test_readme():
    text = (rqtest.ROOT / 'README.md').read_text()
    block = re.search(r'<!-- test/e2e/cli_test\.py runs this block.*?-->\n```bash\n(.*?)```', text,
                      re.S)
    checks.that(block, 'the README has a block to run')
    with tempfile.TemporaryDirectory() as dir:
        bin = pathlib.Path(dir) / 'bin'
        bin.mkdir()
        (bin / 'rq').symlink_to(RQ)
        commands = block.group(1).replace('$PWD/build/release', str(bin))
        env = {**os.environ, 'TMPDIR': dir}
        env.pop('RQ_BIN', None)
        # What a person types line by line stops at the first line that fails.
        ran = subprocess.run(['bash', '-c', f'set -e -m\n{commands}\nwait %1'], cwd=rqtest.ROOT,
                             env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
        out = ran.stdout.decode()
        checks.equal(ran.returncode, 0, f'README: {ran.stderr.decode()[-500:]}')
        for wanted in ('created queue hello', 'Hello, world', 'greeted world', 'Linux', 'done'):
            checks.that(wanted in out or wanted in ran.stderr.decode(), f'README shows {wanted!r}: {out}')
        for pid_file in pathlib.Path(dir).glob('*/run/worker.pid'):
            try:
                pid = int(pid_file.read_text().split()[0])
                if dir.encode() in pathlib.Path(f'/proc/{pid}/cmdline').read_bytes():
                    rqtest.kill_tree(pid)
            except (OSError, ValueError, IndexError):
                pass
    example_is_safe(block.group(1))
    for link in re.findall(r'\]\(([^)]+)\)', text):
        checks.that((rqtest.ROOT / link).exists(), f'README links to {link}')


def main():
    test_help()
    test_meant()
    test_no_server()
    test_not_rq()
    test_doctor_of_many()
    test_completion()
    with rqtest.Server(manual_clock=False) as server:
        test_queues(server)
        test_put(server)
        test_terminal(server)
    with rqtest.Server(manual_clock=False) as server:
        test_list_and_act(server)
        test_moved_to_itself(server, Cli(server.dir))
        test_why_and_doctor(server, Cli(server.dir))
        test_told_alike(server, Cli(server.dir))
        test_waits_for_another_try(server, Cli(server.dir))
        test_values_without_sense(server, Cli(server.dir))
        test_silent_server(server)
    test_doctor_without_files()
    with rqtest.Server(manual_clock=False, worker=True) as server:
        test_scripts(server)
        test_run(server)
        test_waiting(server)
        test_restart(server)
    test_no_address()
    test_readme()
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
