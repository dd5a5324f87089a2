"""rq worker end to end: real scripts in four languages, stopped, timed out, mended, and kept running
over restarts of the server and deaths of the worker. The scripts are those of docs/SCRIPTS.md."""
# ctest-timeout: 600
import pathlib
import shutil
import subprocess
import sys
import time

import rqtest
from rqtest import eventually
from workers import SCRIPTS, Worker, alive, attempts, finished, get, in_state, log_of, put, queue

checks = rqtest.Checks()


# --- The examples of docs/SCRIPTS.md ---------------------------------------------------------------

def languages(server):
    queue(server, 'shrink', 'shrink.sh')
    message = put(server, 'shrink', param1=str(SCRIPTS / 'words.py'))
    found = finished(server, message)
    checks.equal(found['state'], 'done', 'bash: compresses a file')
    checks.that(found['progress'].endswith(' bytes'), f'bash: its last text is kept: {found}')
    folder = server.dir / found['folder']
    checks.that((folder / 'job' / 'words.py.gz').exists(), 'the job folder holds what it made')
    checks.that('RQ START - ' + str(SCRIPTS / 'shrink.sh') in log_of(server, message),
                'the log has the header line')

    queue(server, 'words', 'words.py')
    message = put(server, 'words', payload='to be or not to be\n' * 1500)
    checks.equal(finished(server, message)['progress'], '9000 words, 4 different',
                 'Python: reads the payload on standard input')
    checks.that('3000 to' in log_of(server, message), 'its output is in the log')
    message = put(server, 'words', payload=' ')
    found = finished(server, message)
    checks.equal((found['state'], found['progress']), ('err', 'the payload has no words'),
                 'Python: err is final, its text kept')

    if shutil.which('ruby'):
        queue(server, 'fetch', 'fetch.rb')
        message = put(server, 'fetch', param1='2', param2='0')
        found = finished(server, message)
        checks.equal((found['state'], found['count'], found['progress']),
                     ('done', 2, 'after 3 tries'), 'Ruby: resend runs it again')
        checks.equal(log_of(server, message).count('RQ START'), 3, 'one log over all attempts')

    if shutil.which('node'):
        queue(server, 'split', 'split.js')
        for name in ('left', 'right'):
            assert server.put(f'/v1/queues/{name}', {}).status == 201
        message = put(server, 'split', payload='["left", "right"]', param1='copied')
        checks.equal(finished(server, message)['progress'], '2 copies', 'Node: dup is answered')
        for name in ('left', 'right'):
            found = server.get(f'/v1/messages?queue={name}').json['messages']
            checks.equal([m.get('param1') for m in found], ['copied'], f'the copy is in {name}')
        message = put(server, 'split', payload='["nowhere"]')
        checks.equal(finished(server, message)['progress'], 'no copy for nowhere',
                     'dup into no queue is refused')
        checks.that("fail couldn't connect to queue - nowhere" in log_of(server, message),
                    "with RQ's words")
        message = put(server, 'split', payload='["http://127.0.0.1:9/q/x"]')
        checks.that('fail relaying is not configured' in (finished(server, message) and
                                                          log_of(server, message)),
                    'dup to another machine says why not')
        message = put(server, 'split', payload='["split"]', retries=0)
        finished(server, message)
        checks.that('ok ' in log_of(server, message), 'dup into its own queue does no harm')


def environment(server):
    queue(server, 'env', 'showenv.sh', env_vars={'COLOR': 'blue'},
          env_allow=['PASSED_ON'])
    message = put(server, 'env', param1='one', param3='drei ü', tags=['a', 'b'], key='order-7',
                  priority=4, content_type='text/plain', payload='x')
    found = finished(server, message)
    lines = log_of(server, message).splitlines()
    base = f'http://127.0.0.1:{server.port}/'
    for line in (f'RQ_MSG_ID={message}', f'RQ_FULL_MSG_ID={base}q/env/{message}',
                 f'RQ_ORIG_MSG_ID={base}q/env/{message}', f'RQ_HOST={base}', f'RQ_DEST={base}q/env',
                 'RQ_DEST_QUEUE=env', f'RQ_MSG_DIR={server.dir}/{found["folder"]}/job',
                 f'RQ_SCRIPT={SCRIPTS}/showenv.sh', f'RQ_REALSCRIPT={SCRIPTS}/showenv.sh',
                 'RQ_WRITE=3', 'RQ_READ=4', 'RQ_PIPE=3', 'RQ_COUNT=0', 'RQ_PARAM1=one',
                 'RQ_PARAM2=', 'RQ_PARAM3=drei ü', 'RQ_PARAM4=', 'RQ_ENV=production',
                 'RQ_QUEUE=env', 'RQ_ATTEMPT=1', 'RQ_CONTENT_TYPE=text/plain', 'RQ_TAGS=a,b',
                 f'RQ_DIR={server.dir}', f'RQ_SERVER=unix:{server.socket_path}', 'RQ_PRIORITY=4', 'RQ_KEY=order-7', 'COLOR=blue', 'PASSED_ON=yes',
                 f'{server.dir}/{found["folder"]}/job'):
        checks.that(line in lines, f'{line!r} in the environment')
    checks.that(not any('KEPT_BACK' in line for line in lines), 'nothing else of the worker gets in')
    checks.that('RQ_FORCE_REMOTE=1' not in lines, 'no RQ_FORCE_REMOTE unless asked')
    checks.equal([line for line in lines if line.isdigit()], list('012345'),
                 'descriptors 0 to 4 (and that of ls)')


def exit_rules(server):
    """faults.md B15, B16."""
    no_word = 'exit 0 without a final word on fd 3: write "done TEXT"'
    rows = [
        # What is said on fd 3, what is printed, the exit code; state and text by `auto`, `word`, `exit`.
        ('done fine', '', '0', ('done', 'fine'), ('done', 'fine'), ('done', 'fine')),
        ('relayed http://h/q/x/1', '', '0', *[('relayed', 'http://h/q/x/1')] * 3),
        ('err bad', '', '0', *[('err', 'bad')] * 3),
        ('fails bad', '', '1', *[('err', 'bad')] * 3),
        ('fail soft', '', '0', ('err', 'soft - exit 0'), ('err', 'soft - exit 0'), ('done', 'soft')),
        ('run half', '', '0', ('err', 'half - exit 0'), ('err', 'half - exit 0'), ('done', 'half')),
        ('', '', '0', ('done', None), ('err', no_word), ('done', None)),
        ('done fine', 'no disk 7', '1', *[('err', "exit 1 after 'done': no disk 7")] * 3),
        ('run half', 'no disk 7', '3', *[('err', 'exit 3: no disk 7')] * 3),
        ('', '', '3', *[('err', 'exit 3')] * 3),
    ]
    for column, success in enumerate(('auto', 'word', 'exit')):
        name = f'status-{success}'
        queue(server, name, 'status.sh', num_workers=4, **({} if success == 'auto' else
                                                            {'success': success}))
        ids = [put(server, name, param1=word, param3=printed, param2=code)
               for word, printed, code, *_ in rows]
        for message, (word, printed, code, *ends) in zip(ids, rows):
            found = finished(server, message)
            state, text = ends[column]
            what = f'{success}: {word!r}, {printed!r} and exit {code}'
            checks.equal(found['state'], state, what)
            if text is None:
                checks.equal(found['progress'], None, what)
            else:
                checks.that((found['progress'] or '').startswith(text),
                            f'{what}: text {found["progress"]!r}')
    checks.equal(found['fingerprint'], 'exit 3', 'a failure has a fingerprint')
    one = get(server, ids[8])
    checks.equal(one['fingerprint'], 'exit 3: no disk #', 'without numbers, but the exit code')
    one = attempts(server, ids[8])[0]
    checks.equal((one['reason'], one['fingerprint']), ('exit 3: no disk 7', 'exit 3: no disk #'),
                 'and so has its attempt')
    checks.equal(one['post_mortem']['exit_code'], 3, 'the post-mortem has the exit code')
    checks.equal(one['post_mortem']['script'], str(SCRIPTS / 'status.sh'), 'and the script')
    checks.equal(len(one['post_mortem']['script_sha256']), 64, 'and which version of it')
    reply = server.put('/v1/queues/wrong', {'success': 'perhaps'})
    checks.that(reply.status == 422 and 'auto, word or exit' in reply.body.decode(),
                f'another rule is refused: {reply}')

    queue(server, 'again', 'status.sh', retries=2,
          backoff={'kind': 'fixed', 'base_s': 0.01, 'jitter_percent': 0})
    message = put(server, 'again', param2='1')
    found = finished(server, message)
    checks.equal((found['state'], len(attempts(server, message))), ('err', 3),
                 'a bad exit is tried again as often as the queue allows')


# --- Stopping -------------------------------------------------------------------------------------

def family(server, name):
    """Puts a message for the script with a family; gives id and process numbers when they run."""
    folder = server.dir / f'family-{name}-{time.monotonic_ns()}'
    folder.mkdir()
    message = put(server, name, param1=str(folder))
    eventually(lambda: get(server, message)['progress'] == 'family is here', 'the family is here')
    return message, [int((folder / who).read_text()) for who in ('script', 'child', 'daemon')]


def stopping(server):
    queue(server, 'family', 'family.sh', grace_s=0.3)
    for action, state, mark in (('kill', 'err', 'killed'), ('cancel', 'cancelled', None)):
        message, pids = family(server, 'family')
        checks.that(all(map(alive, pids)), 'the family lives')
        assert server.post(f'/v1/messages/{message}/{action}').status == 200
        found = finished(server, message)
        checks.equal(found['state'], state, f'{action} ends it')
        if mark:
            checks.equal(found['mark'], mark, f'{action} is its mark')
        eventually(lambda: not any(map(alive, pids)), 'nobody of the family is left')
        checks.that(attempts(server, message)[0]['post_mortem']['killed_after_grace'],
                    'TERM was ignored, so KILL came')

    queue(server, 'slow', 'family.sh', grace_s=0.2, timeout_s=0.5)
    message, pids = family(server, 'slow')
    found = finished(server, message)
    checks.equal((found['state'], found['mark']), ('err', 'timed_out'), 'the time limit ends it')
    eventually(lambda: not any(map(alive, pids)), 'nobody of the family is left')
    checks.that(found['progress'].startswith('timed out after '), 'and says so')


def requeued(server):
    """A stop is meant for one attempt: the next one of the same message may be here already.

    faults.md A2.
    """
    flag = server.dir / 'requeued'
    started = server.dir / 'requeued.started'
    queue(server, 'requeued', 'await.sh', num_workers=3)
    message = put(server, 'requeued', param1=str(flag))
    for runs in range(1, 6):
        eventually(lambda: started.exists() and len(started.read_text().splitlines()) == runs,
                   f'it begins, for time {runs}')
        if runs < 5:
            assert server.post(f'/v1/messages/{message}/requeue').status == 200
    flag.touch()
    checks.equal(finished(server, message)['state'], 'done', 'the last attempt gets it done')
    checks.equal([a['outcome'] for a in attempts(server, message)], ['requeued'] * 4 + ['done'],
                 'and the others were taken from it')


def workers_and_storms(server):
    flag = server.dir / 'go'
    queue(server, 'three', 'await.sh', num_workers=3)
    ids = [put(server, 'three', param1=str(flag)) for _ in range(7)]
    eventually(lambda: sum(get(server, m)['state'] == 'run' for m in ids) == 3, 'three run')
    started = server.dir / 'go.started'
    eventually(lambda: started.exists() and len(started.read_text().splitlines()) == 3, 'three began')
    checks.equal(sum(get(server, m)['state'] == 'que' for m in ids), 4, 'the others wait')
    assert server.patch('/v1/queues/three', {'num_workers': 5}).status == 200
    eventually(lambda: sum(get(server, m)['state'] == 'run' for m in ids) == 5, 'now five run')
    flag.touch()
    checks.that(all(finished(server, m)['state'] == 'done' for m in ids), 'all get done')

    queue(server, 'storm', 'status.sh')
    ids = [put(server, 'storm', param2='1') for _ in range(9)]
    begun = time.monotonic()
    for message in ids:
        finished(server, message)
    # 100 + 200 + 400 + 800 ms before the last four.
    checks.that(time.monotonic() - begun >= 1.4, 'quick failures in a row are slowed down')


def leased_ahead(server):
    """Short scripts have their next messages in stock, but never keep them from anybody else."""
    flag = server.dir / 'ahead'
    at_once = server.dir / 'at-once'
    at_once.touch()
    queue(server, 'stock', 'await.sh', num_workers=2)
    assert server.post('/v1/queues/stock/pause').status == 200
    quick = [put(server, 'stock', param1=str(at_once)) for _ in range(30)]
    long = [put(server, 'stock', param1=str(flag)) for _ in range(2)]
    behind = [put(server, 'stock', param1=str(at_once)) for _ in range(5)]
    assert server.post('/v1/queues/stock/resume').status == 200
    for message in quick:
        finished(server, message)
    eventually(lambda: all(get(server, m)['progress'] == 'waiting' for m in long), 'the long ones run')
    eventually(lambda: all(get(server, m)['state'] == 'que' for m in behind),
               'what waits behind a long script is given back')
    flag.touch()
    checks.that(all(finished(server, m)['state'] == 'done' for m in [*long, *behind]),
                'and gets done in its turn')
    for message in behind:
        outcomes = [a['outcome'] for a in attempts(server, message)]
        checks.equal(set(outcomes[:-1]) | {'release'}, {'release'}, 'nothing else happened to it')
        checks.equal(outcomes[-1], 'done', 'before it was done')


def in_order(server):
    """faults.md B14: with one at a time, each runs in its turn, and nothing else counts as running."""
    script = server.dir / 'scripts' / 'one'
    script.parent.mkdir(exist_ok=True)
    script.write_text('#!/bin/sh\necho "$RQ_PARAM1 $RQ_ATTEMPT" >>"$RQ_PARAM2"\n'
                      'case $RQ_PARAM1 in *5) sleep 0.15;; esac\n'
                      'case $RQ_PARAM1 in *7) exit 1;; esac\n')
    script.chmod(0o755)
    assert server.put('/v1/queues/one', {'script': 'one', 'num_workers': 1}).status == 201
    seen = server.dir / 'order'
    ids, most = [], 0
    for n in range(40):
        ids.append(put(server, 'one', param1=str(n), param2=str(seen)))
        if n % 10 == 3:
            assert server.post('/v1/queues/one/pause').status == 200
            assert server.post('/v1/queues/one/resume').status == 200
        most = max(most, server.get('/v1/queues/one').json['counts']['run'])
    while get(server, ids[-1])['state'] not in ('done', 'err'):
        most = max(most, server.get('/v1/queues/one').json['counts']['run'])
    for message in ids:
        finished(server, message)
    checks.equal(seen.read_text().split(), [text for n in range(40) for text in (str(n), '1')],
                 'B14: they run in their order, each in its first attempt')
    checks.equal(most, 1, 'B14: nothing is shown as running that does not run')


def mended(server, worker):
    script = server.dir / 'scripts' / 'late.sh'
    script.parent.mkdir(exist_ok=True)
    assert server.put('/v1/queues/late', {'script': 'late.sh'}).status == 201

    def error():
        return server.get('/v1/queues/late').json['script_error'] or ''
    eventually(lambda: 'does not exist' in error(), 'a missing script is told')
    checks.equal(server.get('/v1/queues/late').json['status'], 'script_error', 'and is its status')
    message = put(server, 'late')
    script.write_text('echo done >&3\n')
    eventually(lambda: 'not executable' in error(), 'what is wrong now is told')
    checks.equal((get(server, message)['state'], get(server, message)['attempts']), ('que', 0),
                 'the message waits untouched')
    script.write_text('#!/no/such/shell\necho done >&3\n')
    script.chmod(0o755)
    eventually(lambda: '/no/such/shell' in error(), 'a missing interpreter is told')
    script.write_text('#!/bin/sh\necho done mended >&3\n')
    checks.equal(finished(server, message)['progress'], 'mended', 'a mended script runs by itself')
    eventually(lambda: error() == '', 'the error is gone')
    # Gone while the queue works.
    script.unlink()
    message = put(server, 'late')
    eventually(lambda: 'does not exist' in error(), 'a vanished script is told')
    script.write_text('#!/bin/sh\necho done back >&3\n')
    script.chmod(0o755)
    checks.equal(finished(server, message)['progress'], 'back', 'and runs when it is back')

    # Its size is not its version: the same length, another content.
    first = attempts(server, message)[-1]['post_mortem']['script_sha256']
    script.write_text('#!/bin/sh\necho done here >&3\n')
    message = put(server, 'late')
    checks.equal(finished(server, message)['progress'], 'here', 'the new version runs')
    checks.that(attempts(server, message)[0]['post_mortem']['script_sha256'] != first,
                'and is another version')


# --- Restarts --------------------------------------------------------------------------------------

def server_restart(server, worker):
    flag = server.dir / 'restart'
    queue(server, 'restart', 'await.sh', num_workers=2)
    ends_before = put(server, 'restart', param1=str(server.dir / 'meanwhile'))
    ends_after = put(server, 'restart', param1=str(flag))
    for message in (ends_before, ends_after):
        eventually(lambda: get(server, message)['progress'] == 'waiting', 'it runs')
    before = len(worker.log())
    server.kill()
    (server.dir / 'meanwhile').touch()  # ends while there is no server
    pid = int((server.dir / 'meanwhile.started').read_text().split()[0])
    eventually(lambda: not alive(pid), 'the script ends without a server')
    server.start()
    checks.equal(finished(server, ends_before)['state'], 'done', 'its end is told to the next server')
    checks.equal(get(server, ends_after)['state'], 'run', 'the other one goes on')
    # A restart is no fault, so nothing of it is a warning.
    eventually(lambda: "'local' has its server; its scripts have run on" in worker.log()[before:],
               'it says how it goes on')
    checks.that(' info the server is gone: scripts that run go on' in worker.log()[before:],
                'and what happened')
    flag.touch()
    checks.equal(finished(server, ends_after)['state'], 'done', 'and ends as done')
    for message, name in ((ends_before, 'meanwhile'), (ends_after, 'restart')):
        checks.equal(len(attempts(server, message)), 1, 'in one attempt')
        checks.equal(len((server.dir / f'{name}.started').read_text().splitlines()), 1,
                     'begun once')
    said = worker.log()[before:]
    checks.that(' warning ' not in said and ' error ' not in said, f'nothing is wrong: {said}')


def worker_death(server, worker):
    queue(server, 'orphan', 'family.sh', grace_s=0.2)
    flag = server.dir / 'second-life'
    queue(server, 'life', 'await.sh')
    message, pids = family(server, 'orphan')
    other = put(server, 'life', param1=str(flag))
    eventually(lambda: get(server, other)['progress'] == 'waiting', 'it runs')
    worker.kill()
    checks.that(alive(pids[0]) and alive(pids[2]), 'a script does not die with its worker')
    with Worker(server) as second:
        eventually(lambda: not any(alive(pid) for pid in pids), 'the next worker ends what was left')
        eventually(lambda: get(server, other)['attempts'] >= 1, 'the lease is handed back')
        flag.touch()
        checks.equal(finished(server, other)['state'], 'done', 'and the message runs again')
        assert server.post(f'/v1/messages/{message}/kill').status in (200, 409)
        assert server.post(f'/v1/messages/{message}/cancel').status in (200, 409)
        finished(server, message)

        # A second one of the same name is refused; the first SIGTERM drains, the second stops.
        twin = subprocess.run([rqtest.RQ_BIN, 'worker', '--dir', str(server.dir)],
                              capture_output=True, text=True, timeout=60)
        checks.that(twin.returncode != 0 and "'local'" in twin.stderr + twin.stdout,
                    f'a second worker is refused: {twin}')
        drain = server.dir / 'drain'
        running = put(server, 'life', param1=str(drain))
        eventually(lambda: get(server, running)['progress'] == 'waiting', 'it runs')
        second.terminate()
        eventually(lambda: 'taking no more' in second.log(), 'the worker drains')
        waiting = put(server, 'life', param1=str(drain))
        drain.touch()
        checks.equal(second.process.wait(30), 0, 'drained, it ends with 0')
        checks.equal(finished(server, running)['state'], 'done', 'what ran has been done')
        checks.equal(get(server, waiting)['state'], 'que', 'what came later waits')
    with Worker(server) as third:
        checks.equal(finished(server, waiting)['state'], 'done', 'for the next worker')
        message, pids = family(server, 'orphan')
        third.terminate()
        eventually(lambda: third.log().count('taking no more') == 2, 'it drains')
        third.terminate()
        checks.equal(third.process.wait(30), 0, 'stopped, it ends with 0')
        checks.that(not any(map(alive, pids)), 'and its scripts are gone')
        found = get(server, message)
        checks.equal(found['state'], 'que', f'the message has been handed back: {found}')


def main():
    env = {'PASSED_ON': 'yes', 'KEPT_BACK': 'yes'}
    with rqtest.Server(manual_clock=False, worker=False) as server:
        with Worker(server, env=env) as worker:
            for part in (languages, environment, exit_rules, stopping, requeued, workers_and_storms,
                         leased_ahead, in_order):
                part(server)
                print(f'{part.__name__}: done', flush=True)
            mended(server, worker)
            server_restart(server, worker)
            worker_death(server, worker)
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
