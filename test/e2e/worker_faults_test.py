"""Faults that were seen with queue scripts, each with the smallest input for it (faults.md, B and D). What
concerns the death of a worker is in worker_lives_test.py."""
# ctest-timeout: 600
import datetime
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import rqtest
from rqtest import eventually
from workers import Worker, alive, attempts, finished, get, log_of, loop_of, put

checks = rqtest.Checks()


def queue(server, name, text, head='#!/bin/bash\n', **settings):
    """A queue whose script has that text."""
    script = server.dir / 'scripts' / name
    script.parent.mkdir(exist_ok=True)
    script.write_text(head + text)
    script.chmod(0o755)
    reply = server.put(f'/v1/queues/{name}', {'script': name, **settings})
    assert reply.status in (200, 201), reply


def script_error(server, name):
    return server.get(f'/v1/queues/{name}').json['script_error'] or ''


def words(server):
    """faults.md B4, B6, B8."""
    queue(server, 'tee', 'exec 3> >(exec cat >&3); echo "done fine" >&3\n', num_workers=2)
    ids = [put(server, 'tee') for _ in range(20)]
    checks.equal({(finished(server, m)['state'], get(server, m)['progress']) for m in ids},
                 {('done', 'fine')}, 'B4: a word through another process counts')

    queue(server, 'texts', 'echo run half >&3; until [ -e "$RQ_PARAM1" ]; do sleep .02; done; '
                           'echo done >&3\n')
    flag = server.dir / 'texts'
    message = put(server, 'texts', param1=str(flag))
    eventually(lambda: get(server, message)['progress'] == 'half', 'the first text is shown')
    flag.touch()
    checks.equal(finished(server, message)['progress'], None, 'B6: a done without a text clears it')

    queue(server, 'last', 'echo "done nearly" >&3; until [ -e "$RQ_PARAM1" ]; do sleep .02; done\n')
    flag = server.dir / 'last'
    message = put(server, 'last', param1=str(flag))
    eventually(lambda: get(server, message)['progress'] == 'nearly',
               'B6: the text of a done shows at once')
    checks.equal(get(server, message)['state'], 'run', 'while it runs')
    flag.touch()
    finished(server, message)

    assert server.put('/v1/queues/copies', {}).status == 201
    queue(server, 'many', 'for i in {1..3000}; do echo "dup 0-X-copies" >&3; done\n'
                          'for i in {1..3000}; do read -r -u 4 word id; [ $word = ok ] || exit 1; done\n'
                          'echo "done $i" >&3\n')
    checks.equal(finished(server, put(server, 'many'))['progress'], '3000',
                 'B8: all answers arrive')
    checks.equal(server.get('/v1/queues/copies').json['counts']['que'], 3000, 'of all copies')


def what_runs(server):
    """faults.md B5, B12."""
    queue(server, 'plain', 'echo "done by $0" >&3\n', head='')
    checks.equal(finished(server, put(server, 'plain'))['progress'],
                 f'by {server.dir}/scripts/plain', 'B12: a script without #! is run by the shell')

    for version in ('v1', 'v2'):
        (server.dir / 'scripts' / version).mkdir()
    one = server.dir / 'scripts' / 'v1' / 'job.sh'
    one.write_text('#!/bin/sh\necho "done $0 $RQ_REALSCRIPT" >&3\n')
    one.chmod(0o755)
    os.link(one, server.dir / 'scripts' / 'v2' / 'job.sh')
    current = server.dir / 'scripts' / 'current'
    current.symlink_to('v1')
    assert server.put('/v1/queues/linked', {'script': 'scripts/current/job.sh'}).status == 201
    seen = []
    for version in ('v1', 'v2'):
        following = server.dir / 'scripts' / 'next'
        following.symlink_to(version)
        following.rename(current)
        seen.append(finished(server, put(server, 'linked'))['progress'])
    checks.equal(seen, [' '.join([f'{server.dir}/scripts/{version}/job.sh'] * 2)
                        for version in ('v1', 'v2')], 'B5: a link is followed anew each time')


def other_users(server):
    """faults.md B1: the directory is as a server makes it, and the worker is root."""
    if os.geteuid() != 0:
        print('(not root: the tests of `user` are left out)')
        return
    queue(server, 'nobody', 'echo payload: "$(cat)"; pwd; cat "$RQ_REALSCRIPT" >copy && id -un >&2\n'
                            'echo "done $(id -un) $(stat -c %U .)" >&3\n', user='nobody')
    message = put(server, 'nobody', payload='x')
    found = finished(server, message)
    checks.equal((found['state'], found['progress']), ('done', 'nobody nobody'),
                 f'B1: a script of another user runs: {log_of(server, message)}')
    checks.that('payload: x' in log_of(server, message), 'and reads its payload')
    checks.equal(oct((server.dir / 'queue').stat().st_mode & 0o777), '0o711',
                 'what it has to get through can be entered, not listed')

    secret = server.dir / 'scripts' / 'secret'
    queue(server, 'secret', 'echo done >&3\n', user='nobody')
    checks.equal(finished(server, put(server, 'secret'))['state'], 'done', 'another one runs')
    secret.chmod(0o700)
    message = put(server, 'secret')
    eventually(lambda: 'cannot be read and executed by user' in script_error(server, 'secret'),
               'B1: what lies in the settings is an error of the queue')
    checks.equal((get(server, message)['state'], get(server, message)['failures']), ('que', 0),
                 'and no message is spent on it')
    secret.chmod(0o755)
    checks.equal(finished(server, message)['state'], 'done', 'it goes on when that is mended')

    server.dir.chmod(0o700)
    queue(server, 'late', 'echo done >&3\n', user='nobody')
    checks.equal(finished(server, put(server, 'late'))['state'], 'done',
                 'a directory that was closed again is opened by the next such queue')


def limits(server):
    """faults.md B13, B19, D16."""
    queue(server, 'files', 'echo done >&3\n', limits={'open_files': 2_000_000_000})
    message = put(server, 'files')
    eventually(lambda: 'limits of the queue cannot be set' in script_error(server, 'files'),
               'B19: limits that the machine does not give are told')
    since = server.get('/v1/queues/files').json['revision']
    mark = server.dir / 'mended'
    queue(server, 'other', f'sleep 1; touch {mark}; echo done >&3\n')
    finished(server, put(server, 'other'))  # two looks at the first one later
    checks.equal(server.get('/v1/queues/files').json['revision'], since, 'B19: once')
    assert server.patch('/v1/queues/files', {'limits': {'open_files': 64}}).status == 200
    checks.equal(finished(server, message)['state'], 'done', 'until the setting is another')

    shared = ('import mmap, os, signal\n'
              'block = mmap.mmap(-1, 100 << 20)\n'
              'for at in range(0, len(block), 4096): block[at] = 1\n'
              'children = []\n'
              'for _ in range(5):\n'
              '    child = os.fork()\n'
              '    if child == 0:\n'
              '        sum(block[at] for at in range(0, len(block), 4096))\n'
              '        signal.pause()\n'
              '    children.append(child)\n'
              'import time; time.sleep(1.2)\n'
              'for child in children: os.kill(child, 9); os.wait()\n'
              "os.write(3, b'done shared\\n')\n")
    queue(server, 'shared', shared, head='#!/usr/bin/env python3\n',
          limits={'memory_bytes': 300 << 20})
    found = finished(server, put(server, 'shared'))
    checks.equal((found['state'], found['progress']), ('done', 'shared'),
                 'B13: what processes share counts once')

    queue(server, 'forks', 'for i in {1..60}; do sleep 1000 & done; wait\n',
          limits={'processes': 10})
    found = finished(server, put(server, 'forks'))
    checks.equal(found['state'], 'err', 'D16: more processes than allowed end it')
    checks.that(found['progress'].startswith('too many processes: killed with '),
                f'and say so: {found["progress"]}')


    queue(server, 'burns', 'while :; do :; done\n', limits={'cpu_s': 1})
    found = finished(server, put(server, 'burns'))
    checks.that(found['progress'].startswith('out of CPU time: killed by SIG')
                and 'limit of 1 s' in found['progress'], f'the limit is named: {found["progress"]}')


def hostile(server):
    """faults.md D1."""
    queue(server, 'fifo', 'echo hi; rm stdio.log; mkfifo stdio.log; echo "done $RQ_ATTEMPT" >&3\n'
                          '[ $RQ_ATTEMPT = 2 ]\n', retries=1, backoff={'base_s': 0.01})
    found = finished(server, put(server, 'fifo'))
    checks.equal((found['state'], found['progress']), ('done', '2'),
                 f'D1: a pipe in the place of the log blocks nobody: {found}')


def reasons_of_stops(server):
    """faults.md C6."""
    queue(server, 'stopped', 'echo run here >&3; sleep 1000\n')
    for verb, state in (('kill', 'err'), ('cancel', 'cancelled')):
        message = put(server, 'stopped')
        eventually(lambda: get(server, message)['progress'] == 'here', 'it runs')
        assert server.post(f'/v1/messages/{message}/{verb}', {'reason': 'by mistake'}).status == 200
        found = finished(server, message)
        checks.equal(found['state'], state, f'{verb} ends it')
        checks.that(found['progress'].startswith('by mistake - stopped after'),
                    f'C6: the reason is kept: {found["progress"]}')


def run_times_out(server):
    """faults.md C16."""
    run = subprocess.run([rqtest.RQ_BIN, '--dir', str(server.dir), 'run', '--wait', '--timeout', '0.3s',
                          '--', 'sh', '-c', 'echo out; sleep 1000'], text=True, capture_output=True,
                         timeout=60)
    checks.equal((run.returncode, run.stdout), (124, 'out\n'), f'C16: a time-out has its own code: {run}')
    checks.that('timed out after 0.' in run.stderr, 'and is said')
    # Relative: a command that ends with 0 when it hears TERM has been stopped, and not done its work.
    run = subprocess.run([rqtest.RQ_BIN, '--dir', str(server.dir), 'run', '--wait', '--timeout', '0.3s',
                          '--', 'sh', '-c', 'trap "exit 0" TERM; sleep 1000 & wait'], text=True,
                         capture_output=True, timeout=60)
    checks.equal(run.returncode, 124, f'exit 0 after TERM is a time-out: {run}')
    queue(server, 'stays', "trap '' TERM; while :; do sleep .1; done\n", timeout_s=0.5, grace_s=1)
    found = finished(server, put(server, 'stays'))
    checks.that(found['progress'].startswith('timed out after 0.'),
                f'without the grace: {found["progress"]}')


def names(server):
    """faults.md D4."""
    script = server.dir / 'scripts' / 'named'
    for text in ('one', 'two'):
        script.write_text(f'#!/bin/sh\necho "done {text}" >&3\n')
        script.chmod(0o755)
        reply = server.put('/v1/queues/a%252Fb', {'script': 'named', 'env_vars': {'V': text}})
        assert reply.status in (200, 201), reply
        reply = server.post('/v1/queues/a%252Fb/messages', {})
        checks.equal(finished(server, reply.json['id'])['progress'], text,
                     'D4: a queue with an escaped name runs the script that it has')
    name = '%252F' * 150
    assert server.put(f'/v1/queues/{name}', {'script': 'named'}).status == 201
    reply = server.post(f'/v1/queues/{name}/messages', {})
    checks.equal(finished(server, reply.json['id'])['progress'], 'two',
                 'D4: a name that is too long for a folder gets one')


def storms(server):
    """faults.md B18."""
    queue(server, 'storm', 'echo no disk; exit 3\n')
    ids = [put(server, 'storm') for _ in range(40)]

    def held():
        return server.get('/v1/queues/storm').json['held_back']
    found = eventually(held, 'B18: a queue that is held back says so')
    checks.that('quick failures in a row, the last: exit 3: no disk' in found['text'],
                f'and why: {found}')
    checks.that(found['until'].endswith('Z'), f'and until when: {found}')
    last = ids[-1]

    def why():
        reply = server.get(f'/v1/messages/{last}/why').json
        return reply if reply['reason'] == 'held_back' else None
    checks.that('the next start is at' in eventually(why, 'why says so too')['text'], 'with the time')

    def doctor():
        said = subprocess.run([rqtest.RQ_BIN, '--dir', str(server.dir), 'doctor'], text=True,
                              capture_output=True, timeout=60).stdout
        return 'quick failures in a row' in said
    eventually(doctor, 'and doctor: it looks between two starts, if it does not hit one')
    assert server.delete('/v1/queues/storm?force=1').status in (200, 409)

    # Relative: a success ends the wait, also one that began before the last failure.
    flag = server.dir / 'brake.flag'
    queue(server, 'brake', '[ "$RQ_PARAM1" = fails ] && exit 3\n'
                           f'until [ -e {flag} ]; do sleep .02; done; echo done >&3\n', num_workers=2)
    works = put(server, 'brake')
    failing = [put(server, 'brake', param1='fails') for _ in range(11)]
    eventually(lambda: all(get(server, m)['state'] == 'err' for m in failing), 'all have failed')

    def hold():
        return server.get('/v1/queues/brake').json['held_back']
    until = datetime.datetime.fromisoformat(
        eventually(hold, 'starts are held back for some seconds')['until'].replace('Z', '+00:00'))
    flag.touch()
    checks.equal(finished(server, works)['state'], 'done', 'the one beside them does its work')
    eventually(lambda: hold() is None, 'the server knows that the wait is over')
    checks.that(datetime.datetime.now(datetime.timezone.utc) < until, 'before its time')

    # Relative: so does a change of its settings.
    failing = [put(server, 'brake', param1='fails') for _ in range(12)]
    eventually(lambda: sum(get(server, m)['state'] == 'err' for m in failing) > 8, 'many have failed')
    eventually(hold, 'starts are held back again')
    server.unix.patch('/v1/queues/brake', {'num_workers': 1, 'script': '/bin/true'})
    eventually(lambda: hold() is None, 'the server knows that other settings have ended the wait')
    checks.equal(finished(server, put(server, 'brake'))['state'], 'done', 'and the next starts')


def folders_cannot_be_made(server):
    """faults.md B18, relative: with a full disk all messages of a queue were tried, one after the other and again
    and again: each with an attempt that is kept and a line in the log."""
    queue(server, 'homeless', 'echo "done" >&3\n')
    place = server.dir / 'queue' / 'homeless'
    place.write_text('')  # no folder of a message can be made there
    ids = [put(server, 'homeless') for _ in range(50)]

    def tried():
        return [m for m in ids if get(server, m)['attempts'] > 0]
    eventually(lambda: len(tried()) > 1, 'one after another is tried')
    checks.that(len(tried()) < 10, 'and most wait with their queue')
    checks.that('cannot make' in get(server, tried()[0])['progress'], 'why')
    place.unlink()
    checks.equal({finished(server, m)['state'] for m in ids}, {'done'}, 'then all run')


def resends(server):
    """faults.md B16, relative: a resend without a number of seconds was run again at once, 15 times."""
    for text in ('soon', '', '-5-x', '99999999999-x'):
        queue(server, 'resends', f'echo "resend {text}" >&3\n')
        found = finished(server, put(server, 'resends'))
        checks.equal((found['state'], found['attempts'], found['count']), ('err', 1, 0),
                     f'resend {text}: a failure')
        checks.that(found['progress'].startswith(f"resend: '{text}' does not begin with a whole number")
                    and found['progress'].endswith('write resend 60-REASON'),
                    f'that says what to write: {found["progress"]}')


def told_to_end(server):
    """faults.md B18, relative: what was told to end says so, a message and a worker."""
    flag = server.dir / 'ending.flag'
    queue(server, 'ending', f'trap "" TERM; echo run here >&3; until [ -e {flag} ]; do sleep .02; done\n',
          grace_s=60)

    def why(message):
        return server.get(f'/v1/messages/{message}/why').json
    with Worker(server, '--name', 'local') as worker:
        message = put(server, 'ending')
        eventually(lambda: get(server, message)['progress'] == 'here', 'it runs')
        assert server.post(f'/v1/messages/{message}/kill', {'reason': 'by mistake'}).status == 200
        checks.that('; it was told to stop (kill), and ends when its script has: by mistake'
                    in why(message)['text'], f'a message that was told to stop: {why(message)}')
        worker.terminate()
        waits = put(server, 'ending')
        found = eventually(lambda: why(waits) if why(waits)['reason'] == 'worker_draining' else None,
                           'a message that waits for the next worker')
        checks.that(found['text'].startswith("worker 'local' was told to end: it takes nothing more"),
                    f'says so: {found}')
        checks.equal([w['draining'] for w in server.get('/v1/workers').json['workers']], [True],
                     'and so does the list of workers')
        doctor = subprocess.run([rqtest.RQ_BIN, '--dir', str(server.dir), 'doctor'], text=True,
                                capture_output=True, timeout=60).stdout
        checks.that(re.search(r'worker local +warning +version \S+; it was told to end', doctor),
                    f'and doctor, with its version: {doctor}')
        flag.touch()
        checks.equal(worker.process.wait(30), 0, 'it ends')
    checks.equal(why(waits)['reason'] == 'worker_draining', False, 'then nobody is draining')


def silence():
    """faults.md D17."""
    with rqtest.Server(manual_clock=True, worker=False) as server:
        with Worker(server) as worker:
            def workers():
                return server.get('/v1/workers').json['workers']
            eventually(workers, 'D17: a worker is known')
            checks.equal([(w['name'], w['silent']) for w in workers()], [('local', False)],
                         'and not silent')
            loop = loop_of(worker.process.pid)
            os.kill(loop, signal.SIGSTOP)
            server.advance(40)
            checks.equal([w['silent'] for w in workers()], [True], 'D17: a stopped one is silent')
            checks.equal(server.get('/v1/health').json['silent_workers'], ['local'],
                         'health names it')
            doctor = subprocess.run([rqtest.RQ_BIN, '--dir', str(server.dir), 'doctor'], text=True,
                                    capture_output=True, timeout=60).stdout
            checks.that('it has said nothing since' in doctor, f'and doctor: {doctor}')
            os.kill(loop, signal.SIGCONT)
            worker.terminate()
            worker.process.wait(30)
            checks.equal(workers(), [], 'one that ends is not missed')


def chains(server):
    """faults.md B10, C14."""
    queue(server, 'first', 'echo "dup 0-X-second" >&3; read -r -u 4 answer; echo done >&3\n')
    queue(server, 'second', 'echo "done $RQ_ORIG_MSG_ID" >&3\n')
    message = put(server, 'first')
    full = f'http://127.0.0.1:{server.port}/q/first/{message}'
    finished(server, message)
    copy = server.get('/v1/messages?queue=second').json['messages'][0]
    checks.equal(finished(server, copy['id'])['progress'], full,
                 'B10: a copy knows the full id of the first message')
    checks.equal(get(server, copy['id'])['orig_id'], full, 'and so does the API')
    reply = server.post(f'/v1/messages/{copy["id"]}/clone', {'queue': 'second'})
    checks.equal(finished(server, reply.json['id'])['progress'], full, 'and a clone of the copy')
    reply = server.post(f'/v1/messages/{message}/clone', {'queue': 'second'})
    checks.equal(finished(server, reply.json['id'])['progress'], full, 'and a clone of the first')


def restarts(server):
    """faults.md B9, B11."""
    assert server.put('/v1/queues/kept', {}).status == 201
    flag = server.dir / 'down'
    queue(server, 'asks', f'echo run ready >&3; until [ -e {flag} ]; do sleep .02; done\n'
                          'echo "dup 0-X-kept" >&3; read -r -u 4 word id; echo "done $word" >&3\n')
    message = put(server, 'asks')
    eventually(lambda: get(server, message)['progress'] == 'ready', 'it runs')
    server.kill()
    flag.touch()
    time.sleep(0.3)  # no event tells that the script has asked: nobody is there to ask
    server.start()
    checks.equal(finished(server, message)['progress'], 'ok', 'B9: a dup is told to the next server')
    checks.equal(server.get('/v1/queues/kept').json['counts']['que'], 1, 'once')

    queue(server, 'shortly', 'echo done >&3\n', num_workers=8, lease_s=600)
    for _ in range(8):
        ids = [put(server, 'shortly') for _ in range(40)]
        server.kill()
        server.start()
        states = [finished(server, m)['state'] for m in ids]
        checks.equal(set(states), {'done'}, 'B11: nothing waits for the end of a long lease')


def asks_its_server(server, dir=None):
    """A script finds its server: what comes next is put by the script itself."""
    assert server.put('/v1/queues/next', {}).status == 201
    rq = f'env -u RQ_BIN {rqtest.RQ_BIN}'
    queue(server, 'first', f'cd /; id=$({rq} put next "after $RQ_MSG_ID") && echo "done $id" >&3\n')
    message = put(server, 'first')
    found = finished(server, message)
    checks.equal(found['state'], 'done', f'rq put in a script: {found} {log_of(server, message)}')
    checks.equal(get(server, found['progress'])['payload'], f'after {message}', 'it is there')
    ran = subprocess.run([rqtest.RQ_BIN, '--dir', str(server.dir), 'run', '--wait', '--', 'sh', '-c',
                          f'cd /; {rq} put next "by a command"; echo "$RQ_DIR"'],
                         text=True, capture_output=True, timeout=60)
    checks.equal((ran.returncode, ran.stdout.splitlines()[-1:]), (0, [dir or str(server.dir)]),
                 f'and in a command of rq run: {ran}')
    if os.geteuid() == 0:
        queue(server, 'guest', 'echo "done $RQ_SERVER" >&3\n', user='nobody')
        checks.equal(finished(server, put(server, 'guest'))['progress'],
                     f'http://127.0.0.1:{server.port}/', 'the socket is not for another user')
    for field in ({'env_vars': {'RQ_DIR': '/x'}}, {'env_allow': ['RQ_DIR']}):
        reply = server.put('/v1/queues/refused', field)
        checks.equal((reply.status, 'RQ_DIR' in reply.body.decode()), (422, True),
                     f'{field}: refused by name')


def distant():
    """A directory whose path is longer than the address of a socket: all of rq finds its server there."""
    with tempfile.TemporaryDirectory(prefix='rqtest-') as base:
        far = pathlib.Path(base, *['d' * 120] * 2)
        far.mkdir(parents=True)
        os.chmod(base, 0o755)  # scripts of another user go through it
        near = pathlib.Path(base, 'near')
        near.symlink_to(far)
        with rqtest.Server(manual_clock=False, worker=True, dir=near) as server:
            asks_its_server(server, str(far))
            for dir in (near, far):
                listed = subprocess.run([rqtest.RQ_BIN, '--dir', str(dir), 'queue', 'list'],
                                        text=True, capture_output=True, timeout=60)
                checks.equal((listed.returncode, 'first' in listed.stdout), (0, True),
                             f'{dir}: {listed.stderr}')
        with rqtest.Server(manual_clock=False, dir=near, start=False) as server:
            server.dir = far
            with subprocess.Popen(server.command(), stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                eventually(lambda: (near / 'run/rq.sock').is_socket() and subprocess.run(
                    [rqtest.RQ_BIN, '--dir', str(far), 'queue', 'list'],
                    capture_output=True, timeout=60).returncode == 0, 'named by its long path')
                process.terminate()


def ends_quietly():
    """faults.md B18, relative: a server that ends in good order leaves no warning of its worker."""
    with rqtest.Server(manual_clock=False, worker=True) as server:
        queue(server, 'quick', 'echo done >&3\n')
        finished(server, put(server, 'quick'))
        worker = server.worker_pid()
        server.terminate()
        eventually(lambda: not alive(worker), 'its worker ends as well')
        log = (server.dir / 'server.log').read_text()
        checks.equal([line for line in log.splitlines() if 'warn' in line or 'is gone' in line], [],
                     'nothing is wrong')


def copied():
    """A server on a copy of a directory does nothing to the scripts of the original."""
    with rqtest.Server(manual_clock=False, worker=True) as server:
        flag = server.dir / 'flag'
        queue(server, 'waits', f'echo run $$ >&3; until [ -e {flag} ]; do sleep .02; done\n'
                               'echo done >&3\n')
        message = put(server, 'waits')
        pid = int(eventually(lambda: get(server, message)['progress'], 'it runs'))
        copy = tempfile.mkdtemp(prefix='rqtest-')
        subprocess.run(['cp', '-a', f'{server.dir}/.', copy], check=True)
        with rqtest.Server(manual_clock=False, worker=True, dir=copy) as other:
            eventually(lambda: "'local' has its server" in
                       (other.dir / 'server.log').read_text().rpartition(f' serves {copy} ')[2],
                       'its worker is at work')
            checks.that(alive(pid), 'the script of the original lives')
            flag.touch()
            checks.equal(finished(server, message)['state'], 'done', 'and ends well')
        shutil.rmtree(copy, ignore_errors=True)


def stopped_together():
    """faults.md B2: server, worker and script hear TERM at once."""
    unit = (rqtest.ROOT / 'tools' / 'rq.service').read_text()
    checks.that('KillMode=process\n' in unit, 'B2: the unit file tells only the server')
    with rqtest.Server(manual_clock=False, worker=True) as server:
        # The first ends by the signal, the second as a shell tells it, the third in its own way.
        for name, text in (('signal', 'exec sleep 1000'), ('shell', 'sleep 1000; exit $?'),
                           ('trap', 'trap "exit 1" TERM; sleep 1000 & wait')):
            queue(server, name, f'echo run here $$ >&3; {text}\n', retries=0)
        ids = [put(server, name) for name in ('signal', 'shell', 'trap')]
        eventually(lambda: all((get(server, m)['progress'] or '').startswith('here') for m in ids),
                   'they run')
        scripts = [int(get(server, m)['progress'].split()[1]) for m in ids]
        worker = server.worker_pid()
        loop = loop_of(worker)
        # In the order of systemd: its main process, then those of the group from the oldest on.
        server.process.terminate()
        os.kill(worker, signal.SIGTERM)
        os.kill(loop, signal.SIGTERM)
        for pid in scripts:
            os.killpg(pid, signal.SIGTERM)
        server.process.wait(30)
        eventually(lambda: not alive(worker), 'the worker ends')
        server.args.append('--no-worker')
        server.start()
        with Worker(server):
            eventually(lambda: all(get(server, m)['state'] == 'run' and
                                   get(server, m)['attempts'] == 1 for m in ids),
                       'B2: they run again, at once')
            for message in ids:
                found = get(server, message)
                checks.equal((found['failures'], found['losses']), (0, 0), 'B2: uncounted')
                server.post(f'/v1/messages/{message}/kill')
                finished(server, message)


def appended():
    """faults.md C18, relative: whoever opened the log, nobody writes over what another has written."""
    with rqtest.Server(manual_clock=False, worker=False) as server:
        log = server.dir / 'own.log'
        with open(log, 'wb') as plain:
            worker = subprocess.Popen([rqtest.RQ_BIN, 'worker', '--dir', str(server.dir)],
                                      stdin=subprocess.DEVNULL, stdout=plain, stderr=plain)
        eventually(lambda: 'has its server' in log.read_text(), 'it writes its log')
        with open(log, 'ab') as another:
            another.write(b'a line of somebody else\n')
        server.kill()
        eventually(lambda: log.read_text().endswith('the server is gone\n'), 'and goes on')
        lines = log.read_text().splitlines()
        checks.equal(lines[-2], 'a line of somebody else', 'behind what was written meanwhile')
        worker.terminate()
        worker.wait(30)

        log.write_bytes(b'')
        with open(log, 'wb') as plain:
            other = subprocess.Popen([rqtest.RQ_BIN, 'server', '--dir', str(server.dir), '--http', '',
                                      '--no-worker'],
                                     stdin=subprocess.DEVNULL, stdout=plain, stderr=plain)
        eventually(lambda: ' serves ' in log.read_text(), 'a server as well')
        with open(log, 'ab') as another:
            another.write(b'a line of somebody else\n')
        other.terminate()
        other.wait(30)
        found = log.read_text().partition('a line of somebody else\n')
        checks.that(' serves ' in found[0] and 'SIGTERM: ending' in found[2],
                    f'writes behind it: {found}')
        server.start()


def untold():
    """faults.md B2, relative: a script that has ended does not run again because server and worker
    went before the one could tell the other."""
    with rqtest.Server(manual_clock=False, worker=False) as server:
        runs = server.dir / 'runs'

        def ends_without_server(how):
            flag = server.dir / f'{how}.flag'
            queue(server, how, f'echo $RQ_MSG_ID >>{runs}; echo run here >&3; until [ -e {flag} ]; do '
                               'sleep .02; done; echo done well >&3\n', lease_s=600)
            message = put(server, how)
            eventually(lambda: get(server, message)['progress'] == 'here', 'it runs')
            server.kill()
            flag.touch()
            return message

        def told(message, how):
            server.start()
            with Worker(server):
                found = finished(server, message)
                checks.equal((found['state'], found['progress'], found['attempts'], found['losses']),
                             ('done', 'well', 1, 0), f'{how}: the next worker tells its end')
                eventually(lambda: not file.exists(), 'nothing is left to tell')

        file = server.dir / 'run' / 'worker-local.untold'
        with Worker(server) as worker:
            message = ends_without_server('killed')
            eventually(file.exists, 'what cannot be told is kept')
            worker.kill()
        told(message, 'a worker that is killed')
        with Worker(server) as worker:
            message = ends_without_server('ended')
            worker.terminate()
            checks.equal(worker.process.wait(60), 0, 'the worker ends by itself')
        told(message, 'a worker that ends')
        checks.equal(len(runs.read_text().split()), 2, 'each has run once')

        # Of an end that was cut from the file nobody knows any more: but it has run.
        with Worker(server) as worker:
            message = ends_without_server('cut')
            eventually(file.exists, 'what cannot be told is kept')
            worker.kill()
        os.truncate(file, file.stat().st_size // 2)
        server.start()
        with Worker(server):
            finished(server, message)
            checks.equal([a['outcome'] for a in attempts(server, message)], ['lost', 'done'],
                         'cut: it is lost, not released')

        # One that cannot even be kept holds its worker back.
        for how in ('kept-later', 'told-later', 'forced'):
            file.unlink(missing_ok=True)
            file.mkdir()
            log = server.dir / f'{how}.log'
            with Worker(server, log=log) as worker:
                message = ends_without_server(how)
                checks.that("worker-local.untold' is not a file; remove it" in worker.log(),
                            f'{how}: what is in the way is said at the start')
                worker.terminate()
                for told in (1, 2):
                    eventually(lambda: worker.log().count('this worker stays until') == told,
                               f'{how}: it stays, and says why')
                    checks.equal(worker.process.poll(), None, f'{how}: it lives')
                    if told == 1:
                        worker.terminate()
                if how == 'kept-later':
                    file.rmdir()
                elif how == 'told-later':
                    server.start()
                else:
                    worker.terminate()
                checks.equal(worker.process.wait(60), 0, f'{how}: then it goes')
            if how != 'kept-later':
                file.rmdir()
            if how != 'told-later':
                server.start()
            with Worker(server):
                finished(server, message)
                checks.equal([a['outcome'] for a in attempts(server, message)],
                             ['lost', 'done'] if how == 'forced' else ['done'], how)


def unconfirmed():
    """faults.md B2, relative: one process of a worker dies, when scripts have ended that no server has
    confirmed: they do not run again."""
    with rqtest.Server(manual_clock=False, worker=False) as server:
        file = server.dir / 'run' / 'worker-local.untold'
        file.mkdir()  # it cannot be written
        for how in ('away', 'hung'):
            flag = server.dir / f'{how}.flag'
            queue(server, how, f'echo "run here $$" >&3; until [ -e {flag} ]; do sleep .02; done\n'
                               'echo "out $RQ_MSG_ID"; echo done well >&3\n', lease_s=600, num_workers=5)
            with Worker(server) as worker:
                ids = [put(server, how) for _ in range(5)]
                pids = [int(eventually(lambda m=m: get(server, m)['progress'], 'it runs').split()[1])
                        for m in ids]
                if how == 'away':
                    server.kill()
                else:
                    server.process.send_signal(signal.SIGSTOP)
                flag.touch()
                eventually(lambda: not any(os.path.exists(f'/proc/{pid}') for pid in pids),
                           'the scripts have ended')
                loops = []
                for _ in range(2):
                    loops.append(loop_of(worker.process.pid))
                    os.kill(loops[-1], signal.SIGKILL)
                    eventually(lambda: loop_of(worker.process.pid) not in loops, 'another goes on')
                if how == 'hung':
                    server.kill()
                server.start()
                for message in ids:
                    found = finished(server, message)
                    checks.equal((found['state'], found['progress'], found['attempts'], found['losses']),
                                 ('done', 'well', 1, 0), f'{how}: it has run once: {found}')
                    known = attempts(server, message)[0]['post_mortem'] or {}
                    checks.equal(known.get('last_output'), f'out {message}\n',
                                 f'{how}: all is known of its end')


def main():
    with rqtest.Server(manual_clock=False, worker=False) as server:
        with Worker(server):
            for part in (words, what_runs, other_users, limits, hostile, reasons_of_stops,
                         run_times_out, names, storms, folders_cannot_be_made, resends, chains,
                         asks_its_server, restarts):
                part(server)
                print(f'{part.__name__}: done', flush=True)
    with rqtest.Server(manual_clock=False, worker=False) as server:
        told_to_end(server)
    appended()
    silence()
    stopped_together()
    untold()
    unconfirmed()
    ends_quietly()
    distant()
    copied()
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
