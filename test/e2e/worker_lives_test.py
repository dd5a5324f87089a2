"""Scripts go on when the process that runs them dies, or makes way for another program (issue 10, item 6;
faults.md B3, D5)."""
# ctest-timeout: 300
import fcntl
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
from workers import Worker, alive, attempts, finished, get, log_of, loop_of, parent, put

checks = rqtest.Checks()


def queue(server, name, text, **settings):
    """A queue whose script has that text."""
    script = server.dir / 'scripts' / name
    script.parent.mkdir(exist_ok=True)
    script.write_text('#!/bin/bash\n' + text)
    script.chmod(0o755)
    reply = server.put(f'/v1/queues/{name}', {'script': name, **settings})
    assert reply.status in (200, 201), reply


def until(flag):
    return f'until [ -e {flag} ]; do sleep .02; done\n'


def started(server, name, **message):
    """A message whose script has said "here PID"; and that pid."""
    message = put(server, name, **message)
    text = eventually(lambda: get(server, message)['progress'], f'{name} runs')
    assert text.startswith('here '), (text, get(server, message))
    return message, int(text.split()[1])


def pending(pid, which):
    """Has a process not looked at that signal yet?"""
    status = open(f'/proc/{pid}/status', encoding='utf-8').read()
    return int(status.partition('ShdPnd:')[2].split()[0], 16) >> (which - 1) & 1 == 1


def struck(server, how):
    """kill -9 of one of the two processes of the worker; returns when another is in its place."""
    holder = server.worker_pid()
    loop = loop_of(holder)
    if how == 'loop':
        os.kill(loop, signal.SIGKILL)
        eventually(lambda: loop_of(holder) != loop, 'another loop')
    else:
        os.kill(holder, signal.SIGKILL)
        eventually(lambda: server.worker_pid() == loop, 'the loop takes the place of the holder')
        loop_of(loop)


def killed(server):
    """kill -9 of the worker while scripts run."""
    assert server.put('/v1/queues/copies', {}).status == 201
    for how in ('loop', 'holder'):
        go, flag = server.dir / f'{how}.go', server.dir / f'{how}.flag'
        ends = {  # what the script does after the death: state and text
            'exits': ('echo gone wrong >&2; exit 3\n', 'err', 'exit 3: gone wrong'),
            'says': ('echo "run on" >&3; echo "done well" >&3\n', 'done', 'well'),
            'asks': ('echo "dup 0-X-copies" >&3; read -r -u 4 word id; echo "done $word" >&3\n',
                     'done', 'ok'),
            'killed': ('echo >&3; kill -SEGV $$\n', 'err', 'killed by SIGSEGV'),
        }
        before = {  # what the script has said before
            'word': ('echo "done early" >&3\n', 'done', 'early'),
            'half': ('printf "done ha" >&3; ' + until(flag) + 'echo lf >&3\n', 'done', 'half'),
        }
        for name, (text, _, _) in ends.items():
            queue(server, how + name, f'echo "run here $$" >&3; {until(flag)}{text}')
        for name, (text, _, _) in before.items():
            queue(server, how + name, f'echo "run here $$" >&3; {until(go)}{text}{until(flag)}')
        expected = {**ends, **before}
        runs = {name: started(server, how + name) for name in expected}
        go.touch()
        eventually(lambda: get(server, runs['word'][0])['progress'] == 'early', 'it has said its word')
        struck(server, how)
        eventually(lambda: server.get('/v1/workers').json['workers'], 'the worker is back')
        for name, (message, pid) in runs.items():
            checks.that(alive(pid), f'{how}, {name}: the script goes on')
            checks.equal((get(server, message)['state'], get(server, message)['attempts']), ('run', 0),
                         f'{how}, {name}: its message runs')
        flag.touch()
        for name, (_, state, text) in expected.items():
            message, pid = runs[name]
            found = finished(server, message)
            checks.equal((found['state'], found['progress'], found['attempts'], found['losses']),
                         (state, text, 1, 0), f'{how}, {name}: its end is told by the next one')
            checks.equal([a['post_mortem']['pid'] for a in attempts(server, message)], [pid],
                         f'{how}, {name}: of the same process')
        checks.equal(log_of(server, runs['exits'][0]).count('RQ START'), 1, 'begun once')


def copies(server):
    """A copy that is asked for just before the worker dies is made once, and answered."""
    flag = server.dir / 'copies.flag'
    queue(server, 'asks', f'echo "run here $$" >&3; {until(flag)}'
                          'for i in 1 2 3; do echo "dup 0-X-made" >&3; done\n'
                          'for i in 1 2 3; do read -r -u 4 word id; echo "$word $id" >>answers; done\n'
                          'echo "done $(sort -u answers | grep -c ^ok)" >&3\n')
    assert server.put('/v1/queues/made', {}).status == 201
    message, _ = started(server, 'asks')
    server.process.send_signal(signal.SIGSTOP)
    flag.touch()
    time.sleep(0.3)  # no event tells that the worker has read them: nobody answers
    struck(server, 'loop')
    server.process.send_signal(signal.SIGCONT)
    checks.equal(finished(server, message)['progress'], '3', 'all are answered')
    checks.equal(server.get('/v1/queues/made').json['counts']['que'], 3, 'and made once')


def wishes(server):
    """What a server wants of a script reaches it through the next worker, and so does its timeout."""
    queue(server, 'stopped', 'echo "run here $$" >&3; sleep 1000\n', grace_s=0.2)
    queue(server, 'late', 'echo "run here $$" >&3; sleep 1000\n', timeout_s=4)
    queue(server, 'forks', 'sleep 1000 & echo "run here $$" >&3; sleep 1000\n', grace_s=0.2)
    stopped, late, forks = (started(server, name) for name in ('stopped', 'late', 'forks'))
    struck(server, 'loop')
    for message, reason in ((stopped, 'stopped after'), (forks, 'stopped after')):
        assert server.post(f'/v1/messages/{message[0]}/kill').status == 200
        checks.that(reason in finished(server, message[0])['progress'], 'a kill reaches it')
    eventually(lambda: not alive(forks[1]), 'with all that it has started')
    found = finished(server, late[0])
    checks.that('timed out after 4.' in found['progress'],
                f'its timeout is that of its start: {found["progress"]}')


def many(server):
    """A worker that is killed again and again, each time with other scripts under way."""
    queue(server, 'many', 'sleep 0.0$((RANDOM % 9)); echo "done $RQ_ATTEMPT" >&3\n', num_workers=4)
    ids = [put(server, 'many') for _ in range(150)]

    def dones():
        return server.get('/v1/queues/many').json['counts']['done']

    for how in ('loop', 'holder', 'loop'):
        struck(server, how)
        # No message meets each of the deaths: that would be held back, as one that kills workers.
        before = dones()
        eventually(lambda: dones() >= min(before + 12, len(ids)), 'they go on')
    found = [finished(server, message) for message in ids]
    checks.equal([m['progress'] for m in found if m['state'] != 'done'], [], 'all are done')


def ends_with_both(server):
    """Both processes at once: what is left is ended, and handed back."""
    queue(server, 'lost', 'echo "run here $$" >&3; [ $RQ_ATTEMPT = 1 ] && sleep 1000; echo done >&3\n')
    with Worker(server) as worker:
        message, pid = started(server, 'lost')
        worker.kill()
    with Worker(server):
        found = finished(server, message)
        checks.that(not alive(pid), 'what was left is killed')
        checks.equal((found['state'], [a['outcome'] for a in attempts(server, message)]),
                     ('done', ['lost', 'done']), 'and the message runs again')


def told_at_once(server):
    """A terminal and a service manager tell both processes: that is one word, not two."""
    flag = server.dir / 'told'
    queue(server, 'told', f'echo "run here $$" >&3; {until(flag)}echo "done well" >&3\n')
    for last in ('loop', 'holder', 'nobody'):
        # Whichever of them is the last to look at it; and both when they like.
        log = server.dir / f'told.{last}.log'
        with Worker(server, new_session=True, log=log) as worker:
            message, pid = started(server, 'told')
            holder, loop = worker.process.pid, loop_of(worker.process.pid)
            first, stopped = {'loop': (holder, loop), 'holder': (loop, holder)}.get(last, (None, None))
            if stopped:
                os.kill(stopped, signal.SIGSTOP)
            os.killpg(holder, signal.SIGTERM)
            if stopped:
                eventually(lambda: not pending(first, signal.SIGTERM), 'the first has heard it')
                os.kill(stopped, signal.SIGCONT)
            eventually(lambda: 'taking no more' in worker.log(), f'{last}: the worker drains')
            eventually(lambda: not pending(loop, signal.SIGTERM), 'both have heard it')
            checks.that(alive(pid), f'{last}: the script may end')
            flag.touch()
            checks.equal(finished(server, message)['progress'], 'well', f'{last}: and does')
            checks.equal(worker.process.wait(30), 0, f'{last}: then the worker ends')
            checks.equal(worker.log().count('taking no more'), 1, f'{last}: told once')
            flag.unlink()

    with Worker(server) as worker:
        message, pid = started(server, 'told')
        worker.terminate()
        eventually(lambda: 'taking no more' in worker.log(), 'the worker drains')
        # What it was told holds for the one that goes on, too.
        os.kill(loop_of(worker.process.pid), signal.SIGKILL)
        eventually(lambda: worker.log().count('taking no more') == 2, 'and so does the next')
        checks.that(alive(pid), 'the script may end')
        flag.touch()
        checks.equal(finished(server, message)['progress'], 'well', 'and does')
        checks.equal(worker.process.wait(30), 0, 'then the worker ends')


def poison(server):
    """faults.md D5: a script that kills its worker, and one that has nothing to do with it."""
    flag = server.dir / 'calm'
    with Worker(server) as worker:
        queue(server, 'bystander', f'echo "run here $$" >&3; {until(flag)}echo "done calm" >&3\n')
        bystander, pid = started(server, 'bystander')
        queue(server, 'killer', 'kill -9 $PPID; exit 1\n', retries=100, backoff={'base_s': 0.01})
        killer = put(server, 'killer')
        found = finished(server, killer)
        checks.equal((found['state'], found['mark'], found['attempts']), ('err', 'held', 3),
                     f'D5: it is held back: {found}')
        checks.that('died 3 times while this message ran' in found['progress'],
                    f'and says why: {found["progress"]}')
        checks.that(alive(pid), 'D5: the bystander is not touched')
        flag.touch()
        found = finished(server, bystander)
        checks.equal((found['state'], found['progress'], found['attempts'], found['losses']),
                     ('done', 'calm', 1, 0), 'and ends as if nothing had been')
        checks.equal(worker.process.poll(), None, 'it is the same worker')

        # One that does not stop.
        queue(server, 'stubborn', 'while read -r _ _ _ up _ </proc/$$/stat; do kill -9 $up\n'
                                  f'pkill -9 -f "worker --dir {server.dir}"; sleep 2; done\n',
              retries=0)
        stubborn = put(server, 'stubborn')
        eventually(lambda: worker.process.poll() is not None, 'it kills both')
    others = []

    def is_held():
        if get(server, stubborn)['state'] == 'err':
            return True
        if not alive(server.worker_pid() or 0):
            others.append(Worker(server))
        return False
    eventually(is_held, 'the message is held back, however often it kills them')
    os.kill(server.worker_pid(), signal.SIGTERM)
    for other in others:
        eventually(lambda one=other: one.process.poll() is not None, 'the worker ends')
    found = get(server, stubborn)
    checks.equal((found['state'], found['mark']), ('err', 'held'),
                 f'D5: it is held back as well: {found}')


def record_is_cut(server):
    """faults.md B2, relative: the file that says which scripts run is cut beside the worker."""
    flag = server.dir / 'cut.flag'
    queue(server, 'cut', f'echo "run here $$" >&3; {until(flag)}echo "done well" >&3\n', num_workers=4)
    first, _ = started(server, 'cut')
    holder = server.worker_pid()
    loop = loop_of(holder)
    record = server.dir / 'run' / 'worker-local.running'
    os.truncate(record, 0)
    second, _ = started(server, 'cut')
    record.unlink()
    third, _ = started(server, 'cut')
    checks.equal((server.worker_pid(), loop_of(holder)), (holder, loop), 'the worker lives')
    struck(server, 'loop')
    flag.touch()
    for message in (first, second, third):
        found = finished(server, message)
        checks.equal((found['state'], found['progress'], found['attempts'], found['losses']),
                     ('done', 'well', 1, 0), 'each script goes on, and runs once')


def record_is_lost(server):
    """faults.md B2, relative: an attempt that has run is lost, not released, whatever is known of it."""
    flag = server.dir / 'unknown.flag'
    queue(server, 'unknown', f'echo "run here $$" >&3; {until(flag)}echo done >&3\n')
    with Worker(server) as worker:
        message, pid = started(server, 'unknown')
        worker.kill()
        (server.dir / 'run' / 'worker-local.running').unlink()
    flag.touch()
    with Worker(server):
        found = finished(server, message)
        checks.equal((found['state'], [a['outcome'] for a in attempts(server, message)]),
                     ('done', ['lost', 'done']), 'nobody knows how it ended: lost')
        checks.that('nobody knows how it ended' in attempts(server, message)[0]['reason'],
                    f'and so it says: {attempts(server, message)[0]}')
    eventually(lambda: not alive(pid), 'the first one has ended')


def orphans(server, deaths):
    """faults.md D5, relative: deaths one after the other, until the scripts are nobody's children. Nobody sees
    their exit code then; their words count."""
    assert server.put('/v1/queues/copies', {}).status == 201
    name = '-'.join(deaths)
    go, flag = server.dir / 'go', server.dir / 'flag'
    expected = {  # what the script does before and after the deaths, and how its message ends
        'says': ('', 'echo "run on" >&3; echo "done well" >&3\n', 'done', 'well', ['done']),
        'early': ('echo "done early" >&3\n', 'exit 3\n', 'done', 'early', ['done']),
        'half': ('printf "done ha" >&3\n', 'echo lf >&3\n', 'done', 'half', ['done']),
        'asks': ('', 'echo "dup 0-X-copies" >&3; read -r -u 4 word id; echo "done $word" >&3\n',
                 'done', 'ok', ['done']),
        'fails': ('', 'echo "err gone wrong" >&3\n', 'err', 'gone wrong', ['err']),
        'mute': ('', 'exit 0\n', 'done', None, ['lost', 'done']),
    }
    for queued, (before, after, *_) in expected.items():
        queue(server, queued, f'echo "run here $$" >&3; {until(go)}{before}{until(flag)}{after}',
              success='exit' if queued == 'mute' else 'auto')
    # One that is to be stopped, with a process of it that has lost its parent and left its session.
    queue(server, 'stopped', '( setsid sleep 1000 & echo $! >orphan )\n'
                             'echo "run here $$ $(cat orphan)" >&3; sleep 1000\n', grace_s=0.2)
    runs = {queued: started(server, queued) for queued in expected}
    stopped, pid = started(server, 'stopped')
    orphan = int(get(server, stopped)['progress'].split()[2])
    go.touch()
    eventually(lambda: get(server, runs['early'][0])['progress'] == 'early', 'it has said its word')
    for how in deaths:
        struck(server, how)
    eventually(lambda: server.get('/v1/workers').json['workers'], 'the worker is back')
    for queued, (message, script) in runs.items():
        checks.that(alive(script), f'{name}, {queued}: the script goes on')
    checks.equal((alive(pid), alive(orphan)), (True, True), f'{name}: all of them')
    assert server.post(f'/v1/messages/{stopped}/kill').status == 200
    checks.that('stopped after' in finished(server, stopped)['progress'], f'{name}: a kill reaches it')
    eventually(lambda: not alive(pid) and not alive(orphan), 'with all that it has started')
    flag.touch()
    for queued, (_, _, state, text, outcomes) in expected.items():
        found = finished(server, runs[queued][0])
        checks.equal((found['state'], [a['outcome'] for a in attempts(server, found['id'])]),
                     (state, outcomes), f'{name}, {queued}: its end is known')
        if text is not None:
            checks.equal(found['progress'], text, f'{name}, {queued}: with its text')
    lost = attempts(server, runs['mute'][0])[0]
    checks.that('nobody saw its exit code' in lost['reason'], f'{name}: and why is told: {lost}')
    checks.equal(server.get('/v1/queues/copies').json['counts']['que'], 1, f'{name}: one copy')


def drains_alone(server):
    """faults.md D5, relative: the upper process of a worker dies that was told to end, and waits for a script
    that a loop before this one has started."""
    flag = server.dir / 'alone'
    queue(server, 'alone', f'echo "run here $$" >&3; {until(flag)}echo "done well" >&3\n')
    with Worker(server, log=server.dir / 'alone.log') as worker:
        message, pid = started(server, 'alone')
        os.kill(loop_of(worker.process.pid), signal.SIGKILL)
        eventually(lambda: 'has its server' in worker.log().partition('started again')[2],
                   'another loop works')
        loop = loop_of(worker.process.pid)
        worker.terminate()
        eventually(lambda: 'taking no more' in worker.log(), 'the worker drains')
        worker.process.kill()
        worker.process.wait()
        checks.that(alive(pid), 'the script may end')
        flag.touch()
        found = finished(server, message)
        checks.equal((found['progress'], found['attempts'], found['losses']), ('well', 1, 0), 'and does')
        eventually(lambda: not alive(loop), 'then the worker ends')


def fails_long_after(server):
    """faults.md B2, relative: a script fails by itself while its worker, long since told to end, waits for it."""
    flag = server.dir / 'late'
    queue(server, 'late', f'echo "run here $$" >&3; {until(flag)}exit 3\n', retries=0)
    with Worker(server, log=server.dir / 'late.log') as worker:
        message, _ = started(server, 'late')
        worker.terminate()
        eventually(lambda: 'taking no more' in worker.log(), 'the worker drains')
        time.sleep(10.5)  # longer than what happens together
        flag.touch()
        found = finished(server, message)
        checks.equal((found['state'], found['failures']), ('err', 1), f'a failure as any other: {found}')


def server_hangs(server):
    """faults.md D17, relative: ends of scripts that a server has not confirmed, because it hangs, outlive both
    processes of the worker."""
    for deaths in (('holder', 'loop'), ('both',)):
        name = '-'.join(deaths)
        flag = server.dir / f'{name}.flag'
        queue(server, name, f'echo "run here $$" >&3; {until(flag)}echo "done well" >&3\n', num_workers=3)
        with Worker(server, log=server.dir / f'{name}.log') as worker:
            runs = [started(server, name) for _ in range(3)]
            server.process.send_signal(signal.SIGSTOP)
            flag.touch()
            eventually(lambda: not any(alive(pid) for _, pid in runs), 'the scripts end')
            if deaths == ('both',):
                eventually((server.dir / 'run' / 'worker-local.untold').exists, 'their ends are kept')
                worker.kill()
            else:
                last = loop_of(worker.process.pid)
                worker.process.kill()
                worker.process.wait()
                eventually(lambda: server.worker_pid() == last, 'the loop takes its place at once')
                os.kill(loop_of(last), signal.SIGKILL)
                eventually(lambda: 'started again' in worker.log(), 'and the next loop its own')
            server.process.send_signal(signal.SIGCONT)
            with Worker(server) if deaths == ('both',) else worker:
                found = [finished(server, message) for message, _ in runs]
            checks.equal([(m['state'], m['progress'], m['attempts'], m['losses']) for m in found],
                         [('done', 'well', 1, 0)] * 3, f'{name}: none runs again')
            checks.equal(worker.log().count('was refused'), 0, f'{name}: nobody complains')
            if deaths != ('both',):
                os.kill(server.worker_pid(), signal.SIGTERM)
                eventually(lambda: not alive(last), 'the worker ends')


def folder_is_gone(server):
    """faults.md C18, relative: run/ is removed, or moved away, under a server and its worker."""
    run = server.dir / 'run'

    def held(name):
        try:
            with open(run / name, 'rb') as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, FileNotFoundError) as error:
            return isinstance(error, BlockingIOError)
        return False

    for how in ('removed', 'moved'):
        flag = server.dir / how
        queue(server, how, f'echo "run here $$" >&3; {until(flag)}echo "done well" >&3\n')
        message, _ = started(server, how)
        worker, names = server.worker_pid(), sorted(os.listdir(run))
        loop = loop_of(worker)
        if how == 'removed':
            shutil.rmtree(run)
        else:
            run.rename(server.dir / 'run.old')
        eventually(lambda: run.exists() and sorted(os.listdir(run)) == names, f'{how}: all is made anew')
        eventually(lambda: held('server.lock') and held('worker.lock'), f'{how}: and locked')
        checks.equal(server.worker_pid(), worker, f'{how}: by the same worker')
        server.kill()
        server.start()
        queue(server, 'quick', 'echo done >&3\n')
        checks.equal(finished(server, put(server, 'quick'))['state'], 'done', f'{how}: it works on')
        checks.equal((server.worker_pid(), loop_of(worker)), (worker, loop), f'{how}: no second one')
        flag.touch()
        found = finished(server, message)
        checks.equal((found['progress'], found['attempts'], found['losses']), ('well', 1, 0),
                     f'{how}: the script has run once')


def folder_and_holder_are_gone(server):
    """faults.md C18, relative: run/ is removed, and at once the upper process of the worker dies: the server
    starts no second one beside the lower one."""
    flag = server.dir / 'flag'
    queue(server, 'gone', f'echo "run here $$" >&3; {until(flag)}echo "done well" >&3\n')
    message, pid = started(server, 'gone')
    worker = server.worker_pid()
    loop = loop_of(worker)
    os.kill(loop, signal.SIGSTOP)
    shutil.rmtree(server.dir / 'run')
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: f'worker {worker} has ended' in server.log(), 'the server sees it')
    time.sleep(0.5)  # no event tells that it has looked for the lock
    os.kill(loop, signal.SIGCONT)
    eventually(lambda: server.worker_pid() == loop, 'the loop takes its place')
    eventually(lambda: f'worker {loop} is at work already' in server.log(), 'and the server knows it')
    checks.that(alive(pid), 'the script goes on')
    flag.touch()
    found = finished(server, message)
    checks.equal((found['progress'], found['attempts'], found['losses']), ('well', 1, 0), 'and runs once')
    checks.equal(re.findall(r'worker (\d+) started', server.log()), [str(worker)], 'no other was begun')


def name_is_taken(server):
    """faults.md C18, relative: a worker that finds its name taken makes way: it takes nothing more, and ends
    with its scripts."""
    flag = server.dir / 'taken'
    queue(server, 'taken', f'echo "run here $$" >&3; {until(flag)}echo "done well" >&3\n')
    with Worker(server, log=server.dir / 'taken.log') as worker:
        message, pid = started(server, 'taken')
        taken(server, 'worker.lock', lambda: eventually(lambda: 'taking no more' in worker.log(), 'it drains'))
        checks.that('another process has the name of this worker' in worker.log(), 'and says why')
        time.sleep(2.5)  # as often as it looks, it is told once
        checks.that(alive(pid) and 'stopping' not in worker.log(), 'the script may end')
        flag.touch()
        found = finished(server, message)
        checks.equal((found['progress'], found['attempts'], found['losses']), ('well', 1, 0), 'and does')
        checks.equal(worker.process.wait(30), 0, 'then the worker ends')


def taken(server, name, then):
    """Another process, this one, holds a lock in the place of the one that is there, while `then` runs."""
    lock = server.dir / 'run' / name
    with open(server.dir / 'lock', 'wb') as mine:
        fcntl.flock(mine, fcntl.LOCK_EX)
        os.rename(server.dir / 'lock', lock)
        then()
        lock.unlink()


def lock_of_server_is_taken(server):
    """faults.md C18, relative: the server says that another process holds its lock, until it does no more."""
    def status():
        return server.get('/v1/health').json['status']
    checks.equal(status(), 'ok', 'all is well')
    # Another fault before it is told as well, and neither hides the other.
    lock = server.dir / 'run' / 'server.lock'
    lock.unlink()
    lock.mkdir()
    eventually(lambda: re.search(r'error.* the lock of this server is gone .* is not a file', server.log()),
               'something else is in its place')
    checks.equal(status(), 'ok', 'nobody else has it')
    lock.rmdir()
    taken(server, 'server.lock', lambda: eventually(lambda: status() == 'lock_taken', 'health tells it'))
    checks.that(re.search(r'critical.* the lock of this server is gone .*server.lock. is locked by', server.log()),
                f'and the log: {server.log()[-500:]}')
    eventually(lambda: status() == 'ok', 'and when it is well again')


def removed(directory):
    """Also when somebody makes files in it meanwhile: then at the next time."""
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def ends_when_removed(running):
    """faults.md D14, relative: the directory is removed. Its worker, which is nobody's by now, ends when no
    script runs."""
    with rqtest.Server(manual_clock=False, worker=True, env={'COLOUR': 'red'}) as server, \
         tempfile.TemporaryDirectory() as elsewhere:
        flag = pathlib.Path(elsewhere) / 'flag'
        queue(server, 'q', f'echo "run here $$" >&3; {until(flag)}echo "done $COLOUR" >&3\n',
              env_allow=['COLOUR'])
        message, pid = started(server, 'q')
        worker = server.worker_pid()
        loop = loop_of(worker)
        server.kill()
        server.env['COLOUR'] = 'blue'
        server.start()
        eventually(lambda: not alive(loop), 'it is handed over')
        loop = loop_of(worker)
        if not running:
            flag.touch()
            finished(server, message)
        server.kill()
        eventually(lambda: removed(server.dir), 'the directory is removed')
        if running:
            time.sleep(3)  # longer than it takes to be seen
            checks.that(alive(pid) and alive(worker) and alive(loop), 'the script goes on')
            flag.touch()
        eventually(lambda: not alive(worker) and not alive(loop), f'the worker ends; running: {running}')


def moved_away(killed):
    """faults.md D14, relative: the directory is moved away, and a copy restored in its place. The worker of the
    old one does not speak to the server of the new one, nor does the next program of that worker."""
    with rqtest.Server(manual_clock=False, worker=True) as server, tempfile.TemporaryDirectory() as elsewhere:
        flag = pathlib.Path(elsewhere) / 'flag'
        queue(server, 'q', f'echo "run here $$" >&3; {until(flag)}echo "done well" >&3\n')
        message, pid = started(server, 'q')
        worker = server.worker_pid()
        server.kill()
        before = pathlib.Path(elsewhere) / 'before'
        os.rename(server.dir, before)
        shutil.copytree(before, server.dir, ignore=shutil.ignore_patterns('run', 'server.log'))
        if killed:
            os.kill(loop_of(worker), signal.SIGKILL)
        server.start()
        eventually(lambda: (get(server, message)['progress'] or '') not in ('', f'here {pid}'), 'it runs again')
        said = before / 'server.log'
        eventually(lambda: 'is not the directory any more' in said.read_text() and
                   'taking no more' in said.read_text(), 'the old worker takes nothing more, and says why')
        checks.that(alive(pid) and alive(worker), 'its script may end')
        checks.that(server.worker_pid() not in (worker, None), 'the new server has a worker of its own')
        flag.touch()
        found = finished(server, message)
        checks.equal([a['outcome'] for a in attempts(server, message)], ['lost', 'done'],
                     f'the new one runs it in peace: {found}')
        eventually(lambda: not alive(worker), 'the old one ends')
        checks.equal('has its server' in said.read_text().partition('is not the directory')[2], False,
                     'and has met nobody')


def forced(server):
    """faults.md D5, relative: a script that makes its worker leave at once, by three TERMs."""
    queue(server, 'forces', 'trap "" TERM; read -r _ _ _ up _ </proc/$PPID/stat\n'
                            'for i in 1 2 3; do kill $up; sleep .3; done; sleep 1000\n')
    message = put(server, 'forces')
    found = finished(server, message)
    checks.equal((found['state'], found['mark']), ('err', 'held'), f'it is held back: {found}')
    checks.equal([a['outcome'] for a in attempts(server, message)], ['lost', 'lost', 'hold'],
                 'each attempt counts as lost')
    queue(server, 'after', 'echo done >&3\n')
    checks.equal(finished(server, put(server, 'after'))['state'], 'done', 'and the others go on')


def asked(text):
    """faults.md B11, relative: a script that makes its worker end in good order, by one or two TERMs."""
    with rqtest.Server(manual_clock=False, worker=True) as server:
        queue(server, 'asks', 'read -r _ _ _ up _ </proc/$PPID/stat\n' + text, retries=100,
              backoff={'base_s': 0.01})
        message = put(server, 'asks')
        found = finished(server, message)
        checks.equal((found['state'], found['mark']), ('err', 'held'), f'{text}: held back: {found}')
        # Nothing is leased to a worker that was told to end, either.
        checks.equal([a['outcome'] for a in attempts(server, message)], ['release', 'release', 'hold'],
                     f'{text}: at the third time: {attempts(server, message)}')
        checks.that('was told to end 3 times while this message ran' in found['progress'],
                    f'{text}: and says why: {found["progress"]}')


def restarted(server):
    """The same, by somebody else: that is no fault of the message."""
    flag = server.dir / 'restarted.flag'
    queue(server, 'long', f'echo "run here $$" >&3; {until(flag)}echo "done well" >&3\n')
    message = put(server, 'long')
    for times in range(4):
        with Worker(server, log=server.dir / f'restarted.{times}.log') as worker:
            eventually(lambda: get(server, message)['attempts'] == times and
                       (get(server, message)['progress'] or '').startswith('here'), 'it runs')
            # As people do: the program that sends it has ended when the worker looks who it was.
            subprocess.run(['/bin/kill', str(worker.process.pid)], check=True)
            eventually(lambda: 'taking no more' in worker.log(), 'told once')
            worker.terminate()
            checks.equal(worker.process.wait(30), 0, 'the worker ends')
    flag.touch()
    with Worker(server):
        found = finished(server, message)
        checks.equal([a['outcome'] for a in attempts(server, message)], ['release'] * 4 + ['done'],
                     f'it goes back each time: {found}')


def stray_signals(server):
    """faults.md C17, relative: signals that mean nothing end nothing, and are not kept from scripts."""
    queue(server, 'quick', 'echo done >&3\n')
    checks.equal(finished(server, put(server, 'quick'))['state'], 'done', 'it works')
    holder = server.worker_pid()
    loop = loop_of(holder)
    stray = [signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO,
             signal.SIGPWR, signal.SIGRTMIN, signal.SIGRTMAX]
    for each in stray:
        for pid in (server.process.pid, holder, loop):
            os.kill(pid, each)
    for pid in (holder, loop):
        os.kill(pid, signal.SIGUSR1)
    queue(server, 'hears', 'trap "echo done heard >&3; exit 0" USR2; kill -USR2 $$; exit 3\n')
    found = finished(server, put(server, 'hears'))
    checks.equal((found['state'], found['progress']), ('done', 'heard'), f'a script hears them: {found}')
    checks.equal((server.worker_pid(), loop_of(holder)), (holder, loop), 'all live')


def handed_over():
    """faults.md B3: a worker that outlives its server becomes what the next server would start."""
    with rqtest.Server(manual_clock=False, worker=True, env={'COLOUR': 'red'}) as server:
        flag = server.dir / 'flag'
        queue(server, 'slow', f'echo "run here $$" >&3; {until(flag)}echo "done $COLOUR" >&3\n',
              env_allow=['COLOUR'], num_workers=9)
        old, pid = started(server, 'slow')
        worker = server.worker_pid()
        loop = loop_of(worker)

        def follows(what):
            nonlocal loop
            before = loop
            eventually(lambda: not alive(before), f'{what}: the old loop makes way at once')
            eventually(lambda: server.worker_pid() == worker, f'{what}: to another of the same worker')
            loop = loop_of(worker)
            checks.that(alive(pid), f'{what}: the script goes on')
            checks.that(parent(pid) == worker, f'{what}: with the worker above it')
            checks.equal((get(server, old)['state'], get(server, old)['attempts']), ('run', 0),
                         f'{what}: in the same attempt')

        os.kill(worker, signal.SIGURG)
        queue(server, 'quick', 'echo done >&3\n')
        checks.equal(finished(server, put(server, 'quick'))['state'], 'done', 'it works on')
        checks.equal(loop_of(worker), loop, 'nobody but its server makes it another program')
        server.kill()
        server.start()
        checks.equal(finished(server, put(server, 'quick'))['state'], 'done', 'B3: the same again')
        checks.equal((server.worker_pid(), loop_of(worker)), (worker, loop),
                     'B3: nothing is handed over when nothing is new')
        server.kill()
        server.env['COLOUR'] = 'blue'
        server.start()
        follows('B3: another environment')
        new, _ = started(server, 'slow')
        copy = server.dir / 'rq-copy'
        shutil.copy2(rqtest.RQ_BIN, copy)
        server.kill()
        old_binary, server.binary = server.binary, str(copy)
        server.start()
        follows('B3: another program')
        checks.equal(os.readlink(f'/proc/{worker}/exe'), str(copy), 'B3: which runs now')
        flag.touch()
        checks.equal([(finished(server, m)['progress'], get(server, m)['attempts'])
                      for m in (old, new)], [('red', 1), ('blue', 1)],
                     'B3: each script has the environment that it was started with')
        server.binary = old_binary


def main():
    for part in (killed, copies, wishes, many, record_is_cut, forced, stray_signals, folder_is_gone,
                 folder_and_holder_are_gone, lock_of_server_is_taken):
        with rqtest.Server(manual_clock=False, worker=True) as server:
            part(server)
            print(f'{part.__name__}: done', flush=True)
    with rqtest.Server(manual_clock=False, worker=False) as server:
        for part in (ends_with_both, told_at_once, restarted, record_is_lost, drains_alone, fails_long_after,
                     server_hangs, name_is_taken, poison):
            part(server)
            print(f'{part.__name__}: done', flush=True)
    for deaths in (('loop', 'holder'), ('holder', 'holder'), ('holder', 'loop', 'holder', 'holder')):
        with rqtest.Server(manual_clock=False, worker=True) as server:
            orphans(server, deaths)
            print(f'orphans, {deaths}: done', flush=True)
    for text in ('kill $up; sleep .3; kill $up; sleep 1000\n', 'kill $up; sleep .3; exit 1\n'):
        asked(text)
    handed_over()
    for given in (True, False):
        ends_when_removed(running=given)
        moved_away(killed=given)
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
