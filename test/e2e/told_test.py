# What a person is told: how much waits and why, what was done and what comes later, how far a script
# is, for how long to wait; on a terminal of 80 columns.
# ctest-timeout: 300
import json
import pathlib
import re
import subprocess
import sys

import rqtest
from cli import RQ, Cli, checks, ok, refused, script, terminal

COLUMNS = 80


def lease(server, queue):
    return server.post('/v1/reserve', {'queues': [queue], 'worker': 'w'}).json['messages'][0]['lease']['token']


def doctor(rq):
    return {c['check']: c for c in ok(rq('doctor', '--quick', '--json'), 'doctor').json['checks']}


def row_of(rq, queue):
    """The line of the queue in rq queue list, by the titles."""
    lines = [re.split(' {2,}', line.strip()) for line in ok(rq('queue', 'list'), 'queue list').out.splitlines()]
    return dict(zip(lines[0], next(line for line in lines if line[0] == queue)))


def test_tries(server, rq):
    """Only 50 queues and the newest 1,000 scheduled messages were looked at, and nobody was told."""
    later = '\n'.join(json.dumps({'payload': 'x', 'delay_s': 3600}) for _ in range(1100))
    for number in range(60):
        assert server.put(f'/v1/queues/t{number}', {'retries': 3, 'backoff': {'base_s': 3600}}).status == 201
        server.post(f'/v1/queues/t{number}/messages', {'payload': 'x', 'tags': ['vip']})
        server.post('/v1/err', {'token': lease(server, f't{number}'), 'reason': 'no disk'})
    server.post('/v1/queues/t59/messages', later, headers={'Content-Type': 'application/x-ndjson'})
    server.post('/v1/queues/t10/messages', {'payload': 'x'})
    server.post('/v1/resend', {'token': lease(server, 't10'), 'delay_s': 60, 'reason': 'gzip failed'})
    row = row_of(rq, 't59')
    checks.equal((row['RETRY'], row['LATER']), ('1', '1 100'), f'behind 1,100 newer ones: {row}')
    checks.equal(row_of(rq, 't10')['RETRY'], '2', 'one that was resent waits for another try, too')
    found = doctor(rq)
    checks.equal(found['failures of t10']['text'], '2 messages wait for another try', 'doctor')
    ran = ok(rq('list', 't10', '--by', 'reason'), 'by reason')
    checks.that('2 messages wait for another try: rq list --queue t10 --state scheduled' in ran.err, f'{ran}')
    checks.that('gzip failed' in ok(rq('list', 't10'), 'list').out, 'why it was resent')
    all = server.get('/v1/tries').json
    checks.equal((len(all['queues']), sum(q['count'] for q in all['queues']), all['cut']), (60, 61, False), 'all')
    checks.equal(server.get('/v1/tries?queue=t10&tag=vip').json['queues'], [{'name': 't10', 'count': 1}], 'a tag')
    checks.equal(server.get('/v1/tries?queue=nobody').status, 404, 'a queue that is not there')
    checks.equal(server.get('/v1/tries?state=err').status, 422, 'they are all scheduled')


def test_resent_too_often(server, rq):
    """What was resent too often had lost its reason."""
    assert server.put('/v1/queues/often', {'max_count': 2}).status == 201
    id = ok(rq('put', 'often', 'x'), 'put').out.strip()
    for _ in range(2):
        server.post('/v1/resend', {'token': lease(server, 'often'), 'reason': 'gzip failed'})
    words = 'resent 2 times, the most allowed; the last: gzip failed'
    checks.that(words in ok(rq('why', id), 'why').out, f'why: {rq("why", id)}')
    checks.that(words in ok(rq('list', 'often', '--by', 'reason'), 'by reason').out, 'by reason')


def test_lease_of_nobody(server, rq):
    """While the lease of a worker that was gone lasted, it was not told that there is none."""
    ok(rq('queue', 'create', 'lost', '--script', '/bin/true'), 'a queue with a script')
    first, second = (ok(rq('put', 'lost', 'x'), 'put').out.strip() for _ in range(2))
    lease(server, 'lost')
    words = 'there is no worker that runs scripts'
    for args in (('why', first), ('why', second), ('show', second), ('queue', 'show', 'lost'), ('queue', 'list')):
        checks.that(words in ok(rq(*args), f'{args}').out, f'{args}: {rq(*args)}')
    checks.that('waits again from' in rq('why', first).out, f'and what then: {rq("why", first)}')
    # The same is a hint of health, for whoever asks no more.
    health = server.get('/v1/health').json
    checks.equal((health['status'], health['hindrance']['text'], health['hindrance']['reason']),
                 ('ok', words, 'no_worker'), 'health')
    checks.that(health['hindrance']['waiting'] >= 1, f'so many wait: {health}')
    found = doctor(rq)
    checks.equal((found['health']['finding'], found['health']['text']), ('hint', f'ok, but {words}'), 'doctor')
    checks.equal(found['health']['remedy'], found['queue lost']['remedy'], 'and the same help')
    server.post('/v1/leases', {'worker': 'w2', 'version': '1', 'tokens': []})
    checks.equal(server.get('/v1/health').json['hindrance'], None, 'a worker has come')
    server.post('/v1/leases', {'worker': 'w2', 'gone': True})
    ok(rq('queue', 'pause', 'lost'), 'pause')
    checks.equal(server.get('/v1/health').json['hindrance'], None, 'nothing is to run')


def test_told_to_stop(server, rq):
    """What runs was counted as cancelled, while it went on."""
    assert server.put('/v1/queues/stop', {}).status == 201
    for _ in range(3):
        ok(rq('put', 'stop', 'x'), 'put')
    lease(server, 'stop')
    dry = ok(rq('cancel', '--queue', 'stop', '--dry-run'), 'dry run').out
    checks.that(dry.startswith('3 messages would be cancelled, 1 of them when its script has ended'), f'{dry!r}')
    checks.equal(ok(rq('cancel', '--queue', 'stop', '-y'), 'cancel').out,
                 '3 matched, 2 cancelled, 1 running: told to stop, 0 refused\n', 'both kinds')
    checks.equal(ok(rq('cancel', '--queue', 'stop', '--state', 'run', '-y', '--json'), 'again').json['told_to_stop'],
                 1, 'in the answer of the API')
    ok(rq('put', 'stop', 'x'), 'put')
    lease(server, 'stop')
    ran = rq('kill', '--queue', 'stop', '-y')
    checks.equal(ran.out, '2 matched, 1 told to stop, 1 refused\n', f'kill: {ran}')


def test_meant_queue(server, rq):
    """A queue that is not there, in each verb that names one."""
    assert server.put('/v1/queues/mail', {}).status == 201
    meant = "did you mean 'mail'?"
    for args in (('queue', 'show', 'mial'), ('queue', 'set', 'mial', '--retries', '1'), ('queue', 'pause', 'mial'),
                 ('queue', 'resume', 'mial'), ('queue', 'drain', 'mial'), ('queue', 'down', 'mial'),
                 ('queue', 'delete', 'mial'), ('queue', 'delete', 'mial', '--force', '-y'), ('put', 'mial', 'x'),
                 ('list', 'mial'), ('cancel', '--queue', 'mial', '-y')):
        refused(rq(*args), 'not_found', 3, f'{args}', meant)
    id = ok(rq('put', 'mail', 'x'), 'put').out.strip()
    checks.that(meant in rq('move', id, '--to', 'mial').err, 'the target of a move')
    checks.that('did you mean' not in rq('move', '99999', '--to', 'mail').err, 'it is the message that is not there')


def test_timeout(server, rq):
    """Who waits may say for how long."""
    ok(rq('queue', 'create', 'slow'), 'nobody works here')
    for args in (('put', 'slow', 'x', '--wait'), ('put', 'slow', 'x', '--follow'),
                 ('run', '--queue', 'slow-run', '--wait')):
        command = ('--', 'true') if args[0] == 'run' else ()
        ran = rq(*args, '--wait-timeout', '100ms', *command)
        checks.equal(ran.code, 124, f'{args}: {ran}')
        checks.that('has not ended within 100 ms' in ran.err and 'rq tail -f' in ran.err, f'{args}: {ran}')
        said = rq(args[0], '--help').out
        checks.that('exit with 124' in ' '.join(said.split()), f'{args[0]} --help: {said}')
    id = ok(rq('put', 'slow', 'x'), 'put').out.strip()
    checks.equal(rq('tail', '-f', id, '--wait-timeout', '100ms').code, 124, 'tail -f')
    refused(rq('tail', id, '--wait-timeout', '1s'), 'bad_value', 2, 'nothing is waited for', '-f')
    refused(rq('put', 'slow', 'x', '--wait-timeout', '1s'), 'bad_value', 2, 'nor here', '--wait')
    refused(rq('run', '--wait-timeout', '1s', '--', 'true'), 'bad_value', 2, 'nor here', '--wait')
    refused(rq('tail', '-f', id, '--timeout', '1s'), 'bad_value', 2, 'its name', "did you mean '--wait-timeout'?")
    checks.equal(rq('show', id, '--json').json['state'], 'que', 'the message is not touched')


def test_waits_for_nothing(server, rq):
    """Who waits for what nobody runs is told how to wait for a while only."""
    ok(rq('queue', 'create', 'still', '--script', '/bin/true'), 'nobody works here')
    for bound in ((), ('--wait-timeout', '1h')):
        with subprocess.Popen([RQ, 'put', 'still', 'x', '--wait', *bound], env=rq.env, stderr=subprocess.PIPE,
                              text=True) as put:
            said = [put.stderr.readline(), put.stderr.readline()][1]
            put.terminate()
        checks.that('does not run yet' in said and 'rq cancel takes it out' in said, f'{bound}: {said!r}')
        checks.equal('--wait-timeout bounds the wait' in said, not bound, f'{bound}: {said!r}')
    ok(rq('queue', 'delete', 'still', '--force', '-y'), 'deleted')


def test_was(server, rq):
    """A failure that was cancelled, or work that was done again, looked like any other."""
    assert server.put('/v1/queues/was', {}).status == 201
    ids = [ok(rq('put', 'was', 'x'), 'put').out.strip() for _ in range(3)]
    server.post('/v1/err', {'token': lease(server, 'was'), 'reason': 'no disk'})
    server.post('/v1/done', {'token': lease(server, 'was')})
    checks.equal(ok(rq('cancel', ids[0], ids[2]), 'cancel').out,
                 f'{ids[0]} cancelled (was in err)\n{ids[2]} cancelled (was in que)\n', 'cancel')
    checks.equal(ok(rq('retry', ids[1]), 'retry').out, f'{ids[1]} retried: que (was in done)\n', 'retry')
    lease(server, 'was')
    checks.equal(ok(rq('cancel', ids[1]), 'cancel').out,
                 f'{ids[1]} told to stop, cancelled when its script has ended\n', 'it runs')
    answer = ok(rq('retry', ids[0], '--json'), 'as JSON').json
    checks.equal((answer['state'], answer['was']), ('que', 'cancelled'), 'as JSON')
    copy = ok(rq('cancel', ids[0]), 'cancel') and ok(rq('clone', ids[0], '--json'), 'clone').json
    checks.equal('was' in copy, False, f'a copy was nothing: {copy}')
    checks.that('failures in err' in ' '.join(rq('cancel', '--help').out.split()), 'the help says what it does')


def test_remedies(server, rq):
    """An error that names no way on."""
    assert server.put('/v1/queues/full', {}).status == 201
    for _ in range(2):
        ok(rq('put', 'full', 'x'), 'put')
    refused(rq('queue', 'delete', 'full'), 'wrong_state', 4, 'with messages', 'rq queue delete full --force')
    lease(server, 'full')
    for force in ((), ('--force', '-y')):
        refused(rq('queue', 'delete', 'full', *force), 'wrong_state', 4, f'what runs {force}',
                'rq cancel --queue full --state run')
    for args, word in ((('list', '-s', 'x'), "did you mean '--server'?"), (('list', '-q', 'x'), "did you mean '--queue'?"),
                       (('queue', 'create', 'q', '-s', 'x'), "did you mean '--script'?"),
                       (('queue', 'create', 'q', '--force'), "did you mean '--replace'?"),
                       (('remove', '1', '--force'), "did you mean '--yes'?"),
                       (('-s', 'x', 'list'), '--server WHERE'),
                       (('list', '--server', 'localhost:3333'), 'write http://localhost:3333'),
                       (('list', '--server', 'var'), '--dir DIR')):
        refused(rq(*args), 'bad_value', 2, f'{args}', word)
    refused(rq('list', '--server', server.dir), 'unreachable', 9, 'a folder', f'--dir {server.dir}')
    refused(Cli(server.dir, RQ_SERVER='nowhere')('list'), 'bad_value', 2, 'from where it is', 'RQ_SERVER', "'nowhere'")
    ran = ok(rq('queue', 'create', 'bare'), 'no script')
    checks.that('it has no script' in ran.err and 'rq queue set bare --script PATH' in ran.err, f'{ran}')
    checks.equal(ok(rq('queue', 'create', 'with', '--script', '/bin/true'), 'a script').err, '', 'nothing to say')
    checks.equal(ok(rq('queue', 'create', 'json', '--json'), 'as JSON').err, '', 'nor to a program')


def test_seldom(server, rq):
    """What was cancelled stood in no column."""
    assert server.put('/v1/queues/seldom', {}).status == 201
    before = ok(rq('queue', 'list'), 'queue list').out.split('\n')[0]
    checks.that('PREP' not in before, f'no column for what there is none of: {before}')
    ok(rq('cancel', ok(rq('put', 'seldom', 'x'), 'put').out.strip()), 'cancel')
    ok(rq('put', 'seldom', 'x', '--prep'), 'put --prep')
    row = row_of(rq, 'seldom')
    checks.equal((row['PREP'], row['CANCELLED'], row['QUE']), ('1', '1', '0'), f'{row}')
    for columns, wide in ((80, False), (120, True)):
        seen = terminal(rq, ['queue', 'list'], b'', b'', columns=columns)[1]
        checks.equal(b'CANCELLED' in seen, wide, f'{columns} columns')


def test_top(server, rq):
    """The reason why a queue waits, and the progress of a script, were cut while the screen had room."""
    text = 'step 3 of 7: compressing /srv/photos/2026/holiday.gz, which takes the longest of all'
    assert server.put('/v1/queues/top', {}).status == 201
    ok(rq('put', 'top', 'x'), 'put')
    server.post('/v1/progress', {'token': lease(server, 'top'), 'progress': text})
    seen = terminal(rq, ['top'], b'q', b'\x1b[J', env={'NO_COLOR': '1'}, columns=COLUMNS)[1].decode()
    shown = ' '.join(re.sub(r'\x1b\[[^a-zA-Z]*[a-zA-Z]', '', seen).split())
    checks.that(text in shown, f'all of it: {shown}')
    for number in range(30):
        assert server.put(f'/v1/queues/top{number}', {}).status == 201
    seen = terminal(rq, ['top'], b'q', b'\x1b[J', env={'NO_COLOR': '1'}, columns=COLUMNS)[1].decode()
    picture = re.sub(r'\x1b\[[^a-zA-Z]*[a-zA-Z]', '', seen.split('\x1b[J')[0])
    checks.that(len(picture.splitlines()) <= 24, f'no more than the screen has: {picture}')


def fits(rq, *args):
    """What is shown on a terminal of 80 columns."""
    code, seen = terminal(rq, list(map(str, args)), b'', b'', env={'NO_COLOR': '1'}, columns=COLUMNS)
    checks.equal(code, 0, f'{args}')
    text = seen.decode().replace('\r\n', '\n')
    for line in text.splitlines():
        if re.search(r'(^ +|: )rq (retry|list) --queue', line):
            continue  # a command is on one line, so that it can be copied
        checks.that(len(line) <= COLUMNS, f'{args}: {len(line)} columns: {line!r}')
    return ' '.join(text.split())


def test_columns(server, rq):
    """On a terminal of 80 columns nothing is wider, and no reason is cut."""
    queue = 'a-queue-with-a-name-that-is-rather-long-but-says-what-it-is-for'
    assert server.put(f'/v1/queues/{queue}', {'retries': 3, 'backoff': {'base_s': 3600}}).status == 201
    reason = 'exit 3: gzip: cannot write to /srv/photos/2026/holiday.gz: no space left on device, and no other disk'
    for more in ({}, {'priority': 7}):
        server.post(f'/v1/queues/{queue}/messages', {'payload': 'x', **more})
        server.post('/v1/err', {'token': lease(server, queue), 'reason': reason, 'retry': not more})
    server.post(f'/v1/queues/{queue}/messages', {'payload': '{"a":"' + 'b' * 300 + '"}'})
    for args in (('list', queue), ('list', queue, '--state', 'err'), ('list', queue, '--by', 'reason')):
        shown = fits(rq, *args)
        checks.that(reason in shown, f'{args} shows all of the reason: {shown}')
    waiting = rq('list', queue, '--state', 'que', '--json').json['id']
    fits(rq, 'why', waiting)
    failed = rq('list', queue, '--state', 'err', '--json').json['id']
    checks.that(reason in fits(rq, 'why', failed), 'why')
    checks.that(reason in fits(rq, 'show', failed), 'show')
    fits(rq, 'queue', 'list')
    fits(rq, 'stats')
    fits(rq, 'help')
    fits(rq, 'queue', '--help')
    for verb in re.findall(r'^  ([a-z-]+(?: [a-z]+)?)  +\S', rq('help').out, re.M):
        fits(rq, *verb.split(), '--help')


def test_resent(server, rq):
    """The seconds of a resend stood before its reason, and alone where there was none."""
    said = script(server.dir, 'resends.sh', 'echo "no disk"; echo "resend $RQ_PARAM1" >&3\n')
    ok(rq('queue', 'create', 'resent', '--script', said), 'a queue')
    for text, shown in (('3600-gzip failed', 'gzip failed'), ('3600', 'no disk')):
        id = ok(rq('put', 'resent', 'x', '--param1', text), 'put').out.strip()
        rqtest.eventually(lambda: server.get(f'/v1/messages/{id}').json['state'] == 'scheduled', 'it waits')
        checks.equal(rq('show', id, '--json').json['progress'], shown, f'resend {text}')


def test_follow(server, rq):
    """put --follow shows how far the script is, as tail -f does."""
    go = pathlib.Path(server.dir, 'go')
    half = script(server.dir, 'half.sh', f'''
echo 'run half way' >&3
until [ -e {go} ]; do sleep 0.02; done
echo 'done all of it' >&3
''')
    ok(rq('queue', 'create', 'half', '--script', half), 'a queue')
    with subprocess.Popen([RQ, 'put', 'half', 'x', '--follow'], env=rq.env, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as put:
        said = []
        while not any('half way' in line for line in said):
            said.append(put.stderr.readline())
            if not said[-1]:
                break
        go.touch()
        rest = put.communicate(timeout=60)[1]
    checks.equal(said[-1:], ['-- run: half way\n'], f'how far it is: {said}')
    checks.equal((put.returncode, rest), (0, 'done: all of it\n'), 'and its end, once')


def test_events(server, rq):
    """What the events of a queue say has changed is what the pages promise."""
    with server.connect() as sock:
        events = rqtest.EventStream(sock, '/v1/events?queue=ev&kinds=queue,queue_removed')
        events.until('hello')
        server.put('/v1/queues/ev', {})
        server.patch('/v1/queues/ev', {'retries': 3, 'keep_done': {'count': 5}})
        server.post('/v1/queues/ev/pause')
        server.post('/v1/queues/ev/script-error', {'error': 'it is gone'})
        server.post('/v1/queues/ev/script-error', {'error': None})
        many = '\n'.join('{"payload":"x"}' for _ in range(2500))  # so that it takes steps
        server.post('/v1/queues/ev/messages', many, headers={'Content-Type': 'application/x-ndjson'})
        server.delete('/v1/queues/ev?force=1')
        told = []
        for event, data in events:
            if event == 'queue_removed':
                break
            told.append(data['text'])
    checks.equal(told, ['it is new', 'settings: retries, keep_done.count', 'admin: pause', 'it is gone',
                        'the script can run again', 'it is being deleted'], 'what has changed')
    page = (rqtest.ROOT / 'docs' / 'API.md').read_text()
    schema = server.get('/v1/openapi.json').json['components']['schemas']['Event']['properties']['text']['description']
    for text in told:
        if text != 'it is gone':
            checks.that(f'`{text}`' in page, f'API.md knows {text!r}')
            checks.that(f"'{text}'" in schema, f'the OpenAPI document knows {text!r}')


def main():
    with rqtest.Server(manual_clock=False) as server:
        rq = Cli(server.dir)
        for test in [test_tries, test_resent_too_often, test_lease_of_nobody, test_told_to_stop, test_meant_queue,
                     test_timeout, test_waits_for_nothing, test_was, test_remedies, test_seldom, test_columns,
                     test_events]:
            test(server, rq)
    with rqtest.Server(manual_clock=False, worker=True) as server:
        test_top(server, Cli(server.dir))
        test_resent(server, Cli(server.dir))
        test_follow(server, Cli(server.dir))
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
