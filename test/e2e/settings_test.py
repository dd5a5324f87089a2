"""Every setting of a queue: at its default, at a useful value, at each bound and beyond. What is looked
at is the effect, not the echo; as whoever runs the test, and when that is root as an ordinary user
too. A setting that this page does not know fails it."""
# ctest-timeout: 600
import os
import pathlib
import pwd
import resource
import shutil
import subprocess
import sys
import tempfile
import time

import rqtest
from rqtest import eventually

ROOT = os.geteuid() == 0
ORDINARY = 'nobody'
PYTHON = '/usr/bin/python3'   # the one of this process may be out of that user's reach
checks = rqtest.Checks()

KIB, MIB = 1 << 10, 1 << 20
YEARS_S = 24 * 366 * 3600
INT32, INT64 = 2 ** 31 - 1, 2 ** 63 - 1
PRIORITY = 2 ** 32 - 1
COUNT = 1_000_000

# What may be given, and what may not. (allowed, refused); those of an object have a dot.
BOUNDS = {
    'script': (['', 'x' * KIB], ['x' * (KIB + 1), 'a\0b', 1]),
    'exec_prefix': (['', 'x' * KIB], ['x' * (KIB + 1), 'a\0b', 1]),
    'num_workers': ([0, 1024], [-1, 1025, 1.5, '1']),
    'env_vars': ([{}, {'A': ''}, {f'V{i}': 'x' for i in range(256)}],
                 [{'': 'x'}, {'A=B': 'x'}, {f'V{i}': 'x' for i in range(257)},
                  {'A': 'x' * (16 * KIB + 1)}, {f'V{i}': 'x' * 16000 for i in range(100)}, {'A': 1},
                  []]),
    'env_allow': ([[], ['A'], [f'V{i}' for i in range(256)]],
                  [[''], ['A=B'], [f'V{i}' for i in range(257)], [1], 'A']),
    'user': (['', 'nobody', 'x' * 200], ['x' * 201, 'a\0b', 1]),
    'nice': ([-20, 0, 19], [-21, 20, 'x']),
    'limits.memory_bytes': ([0, MIB, INT64], [-1, 1, MIB - 1, INT64 + 1, 'x']),
    'limits.cpu_s': ([0, INT32], [-1, INT32 + 1, 'x']),
    'limits.open_files': ([0, 8, INT32], [-1, 1, 7, INT32 + 1, 'x']),
    'limits.file_bytes': ([0, INT64], [-1, INT64 + 1, 'x']),
    'limits.processes': ([0, INT32], [-1, INT32 + 1, 'x']),
    # What rounds to 0 is refused: 0 means that there is no limit (faults.md D, relative).
    'timeout_s': ([0, 0.001, YEARS_S], [0.0004, -1, YEARS_S + 1, 'x']),
    'grace_s': ([0, 0.1, YEARS_S], [0.0004, -1, YEARS_S + 1, 'x']),
    'lease_s': ([0.1, YEARS_S], [0, 0.09, -1, YEARS_S + 1, 'x']),
    'retries': ([0, COUNT], [-1, COUNT + 1, 'x']),
    'losses': ([0, COUNT], [-1, COUNT + 1, 'x']),
    'backoff.kind': (['fixed', 'exponential'], ['random', 1]),
    'backoff.base_s': ([0, 0.1, 100 * YEARS_S], [-1, 100 * YEARS_S + 1, 'x']),
    'backoff.max_s': ([0, 0.1, 100 * YEARS_S], [-1, 100 * YEARS_S + 1, 'x']),
    'backoff.jitter_percent': ([0, 100], [-1, 101, 'x']),
    'max_count': ([0, COUNT], [-1, COUNT + 1, 'x']),
    'keep_done.age_s': ([0, 100 * YEARS_S], [0.0004, -1, 100 * YEARS_S + 1, 'x']),
    'keep_done.count': ([0, INT64 - 1, None], [-1, INT64 + 1, 'x']),
    'keep_err.age_s': ([0, 100 * YEARS_S], [-1, 100 * YEARS_S + 1, 'x']),
    'keep_err.count': ([0, INT64 - 1, None], [-1, INT64 + 1, 'x']),
    'keep_cancelled.age_s': ([0, 100 * YEARS_S], [-1, 100 * YEARS_S + 1, 'x']),
    'keep_cancelled.count': ([0, INT64 - 1, None], [-1, INT64 + 1, 'x']),
    'success': (['auto', 'word', 'exit'], ['perhaps', 1]),
    'sync': (['always', 'relaxed'], ['never', 1]),
    'priority': ([-PRIORITY, PRIORITY], [-PRIORITY - 1, PRIORITY + 1, 'x']),
    'put_over_tcp': ([True, False], [0, 'true', []]),
    'messages_max': ([0, INT64], [-1, INT64 + 1, 'x']),
    'payload_bytes_max': ([0, 4 * MIB], [-1, 4 * MIB + 1, 'x']),
}


def nested(name, value):
    outer, _, inner = name.partition('.')
    return {outer: {inner: value}} if inner else {outer: value}


def value_of(settings, name):
    outer, _, inner = name.partition('.')
    return settings[outer][inner] if inner else settings[outer]


def bounds(server):
    server.put('/v1/queues/bounds', {})
    settings = server.get('/v1/queues/bounds').json['settings']
    known = {f'{outer}.{inner}' for outer, value in settings.items()
             if isinstance(value, dict) and outer != 'env_vars' for inner in value}
    known |= {outer for outer, value in settings.items()
              if not isinstance(value, dict) or outer == 'env_vars'}
    checks.equal(sorted(BOUNDS), sorted(known), 'every setting has its bounds on this page')
    for name, (allowed, refused) in BOUNDS.items():
        for value in allowed:
            reply = server.patch('/v1/queues/bounds', nested(name, value))
            if checks.equal(reply.status, 200, f'{name} = {str(value)[:60]!r} is allowed: {reply}'):
                checks.equal(value_of(reply.json['settings'], name), value, f'{name} is kept')
        before = server.get('/v1/queues/bounds').json['settings']
        for value in refused:
            reply = server.patch('/v1/queues/bounds', nested(name, value))
            shown = f'{name} = {str(value)[:60]!r}'
            checks.that(reply.code in ('bad_value', 'too_large', 'too_many'),
                        f'{shown} is refused: {reply}')
            error = reply.json.get('error', {})
            last = name.rpartition('.')[2]
            checks.that(last in error.get('message', ''), f'{shown}: the error names it: {reply}')
            checks.equal(server.get('/v1/queues/bounds').json['settings'], before,
                         f'{shown} changes nothing')
        outer = name.partition('.')[0]
        reply = server.patch('/v1/queues/bounds', {outer: None})
        checks.equal(reply.json['settings'][outer], settings[outer], f'{outer}: null is the default')
    checks.equal(server.patch('/v1/queues/bounds', {'num_worker': 1}).status, 422,
                 'a setting that is not there is refused')


# --- Effects on scripts ----------------------------------------------------------------------------

class Scripts:
    """Runs scripts on one server with a worker, each in a queue of its own."""

    def __init__(self, server):
        self.server = server
        self.folder = server.dir / 'scripts'
        self.folder.mkdir(exist_ok=True)
        self.count = 0

    def queue(self, text, **settings):
        self.count += 1
        name = f's{self.count}'
        path = self.folder / f'{name}.sh'
        path.write_text(text)
        path.chmod(0o755)
        reply = self.server.put(f'/v1/queues/{name}', {'script': str(path), **settings})
        assert reply.status == 201, reply
        return name

    def put(self, queue, **message):
        reply = self.server.post(f'/v1/queues/{queue}/messages', message)
        assert reply.status == 201, reply
        return reply.json['id']

    def end(self, message):
        def look():
            found = self.server.get(f'/v1/messages/{message}').json
            return found if found['state'] in ('done', 'err', 'cancelled') else None
        return eventually(look, f'{message} ends')

    def log(self, message):
        return self.server.get(f'/v1/messages/{message}/log').body.decode(errors='replace')

    def run(self, text, **settings):
        """(the message when it has ended, the lines of its log without rq's own)"""
        message = self.put(self.queue(text, **settings))
        found = self.end(message)
        return found, [line for line in self.log(message).splitlines()
                       if line and 'RQ START' not in line]

    def script_error(self, queue):
        def look():
            return self.server.get(f'/v1/queues/{queue}').json['script_error']
        return eventually(look, f'{queue} has a script error')


def shell(text):
    return f'#!/bin/sh\n{text}\n'


def done(text):
    return shell(f'{text}\necho done >&3')


def at_most(server, queue, most):
    """Waits until `most` run, and says how many ran at once."""
    def running():
        return server.get(f'/v1/queues/{queue}').json['counts']['run']
    eventually(lambda: running() >= most, f'{most} of {queue} run')
    return running()


def effects_on_scripts(server):
    s = Scripts(server)

    found, lines = s.run(done('echo it ran; ulimit -n; nice; id -un; echo "[$EXTRA]"'))
    checks.equal(found['state'], 'done', 'script: it runs')
    own = subprocess.run(['sh', '-c', 'ulimit -Hn; nice; id -un'], capture_output=True, text=True,
                         check=True).stdout.splitlines()
    checks.equal(lines, ['it ran', *own, '[]'],
                 'the defaults: the worker\'s user, nice and (hard) limits, nothing of its environment')

    server.put('/v1/queues/idle', {})
    waiting = s.put('idle')
    why = server.get(f'/v1/messages/{waiting}/why')
    checks.that(why.status == 200, f'no script: nothing starts, why tells it: {why}')
    checks.equal(server.get(f'/v1/messages/{waiting}').json['state'], 'que', 'no script: it waits')

    _, lines = s.run(done('echo "$VIA"'), exec_prefix='env VIA=prefix')
    checks.equal(lines, ['prefix'], 'exec_prefix: words before the script')

    gate = server.dir / 'gate'
    queue = s.queue(done(f'while [ ! -e {gate} ]; do sleep 0.02; done'), num_workers=3)
    ids = [s.put(queue) for _ in range(5)]
    checks.equal(at_most(server, queue, 3), 3, 'num_workers: so many at a time')
    gate.touch()
    for message in ids:
        s.end(message)
    gate.unlink()
    queue = s.queue(done(f'while [ ! -e {gate} ]; do sleep 0.02; done'))
    ids = [s.put(queue) for _ in range(2)]
    checks.equal(at_most(server, queue, 1), 1, 'num_workers: one by default')
    gate.touch()
    for message in ids:
        s.end(message)
    queue = s.queue(done('true'), num_workers=0)
    resting = s.put(queue)

    _, lines = s.run(done('echo "$A-$B-$EXTRA"'), env_vars={'A': 'x y', 'B': ''},
                     env_allow=['EXTRA'])
    checks.equal(lines, ['x y--extra'], 'env_vars and env_allow')

    name = pwd.getpwuid(os.geteuid()).pw_name
    _, lines = s.run(done('id -un; id -Gn; echo written > in_folder && cat in_folder'), user=name)
    checks.equal((lines[0], lines[-1]), (name, 'written'), 'user: the worker\'s own')
    queue = s.queue(done('true'), user='no-such-user-here')
    s.put(queue)
    error = s.script_error(queue)
    checks.that('no-such-user-here' in error, f'user: one that is not there is named: {error}')
    if ROOT:
        # faults.md B1
        found, lines = s.run(done('id -un; echo written > in_folder && cat in_folder'), user=ORDINARY)
        checks.equal((found['state'], lines), ('done', [ORDINARY, 'written']),
                     f'user: another one, in a folder that it can use: {found}')
    else:
        queue = s.queue(done('true'), user='root')
        s.put(queue)
        error = s.script_error(queue)
        checks.that('root' in error, f'user: one that the worker may not become is named: {error}')

    nicer = min(19, os.nice(0) + 7)  # anybody may be nicer
    _, lines = s.run(done('nice'), nice=nicer)
    checks.equal(lines, [str(nicer)], 'nice')
    if ROOT:
        _, lines = s.run(done('nice'), nice=-5)
        checks.equal(lines, ['-5'], 'nice: less than 0 as root')
    else:
        name = s.queue(done('nice'), nice=-5)
        rqtest.eventually(lambda: 'nice -5' in (s.server.get(f'/v1/queues/{name}').json['script_error']
                                                or ''), 'nice: only root may give less than 0')

    found, _ = s.run(done('x=$(head -c 200000000 /dev/zero | tr "\\0" x); sleep 60'),
                     limits={'memory_bytes': 60 * MIB})
    checks.equal(found['state'], 'err', 'limits.memory_bytes ends it')
    checks.that('memory' in found['progress'], f'limits.memory_bytes is the reason: {found["progress"]}')
    found, _ = s.run(done('while :; do :; done'), limits={'cpu_s': 1})
    checks.equal(found['state'], 'err', 'limits.cpu_s ends it')
    _, lines = s.run(done('ulimit -n'), limits={'open_files': 64})
    checks.equal(lines, ['64'], 'limits.open_files')
    found, lines = s.run(shell('head -c 100000 /dev/zero > big 2>/dev/null; stat -c %s big; '
                               'echo done >&3'), limits={'file_bytes': 65536})
    checks.that('65536' in lines, f'limits.file_bytes: a file is cut there: {lines}')
    # faults.md D16
    found, lines = s.run(shell('i=0; while [ $i -lt 40 ]; do sleep 60 & i=$((i+1)); done; '
                               'sleep 3; echo done >&3'), limits={'processes': 10})
    checks.equal(found['state'], 'err', f'limits.processes: forty are not ten: {found["progress"]}')

    found, _ = s.run(done('sleep 60'), timeout_s=0.3)
    checks.equal(found['state'], 'err', 'timeout_s ends it')
    checks.that('time' in found['progress'].lower(), f'timeout_s is the reason: {found["progress"]}')

    began = time.monotonic()
    found, _ = s.run(done('trap "" TERM; sleep 60 & wait; wait; wait; sleep 60'), timeout_s=0.2,
                     grace_s=0.3)
    took = time.monotonic() - began
    checks.that(found['state'] == 'err' and 0.5 <= took < 10,
                f'grace_s: KILL comes so long after TERM, which it ignores: {took:.1f} s')

    for success, says, wanted in (('auto', '', 'done'), ('auto', 'echo run half >&3', 'err'),
                                  ('word', '', 'err'), ('exit', 'echo run half >&3', 'done')):
        found, _ = s.run(shell(f'{says}\nexit 0'), success=success)
        checks.equal(found['state'], wanted, f'success {success}: exit 0 after "{says}"')

    found, _ = s.run(shell('exit 3'), retries=2, backoff={'base_s': 0, 'jitter_percent': 0})
    checks.equal((found['state'], found['attempts']), ('err', 3), 'retries: so many after the first')
    found, _ = s.run(shell('exit 3'))
    checks.equal((found['state'], found['attempts']), ('err', 1), 'retries: none by default')

    found, _ = s.run(shell('echo resend 0-again >&3'), max_count=2)
    checks.equal((found['state'], found['count']), ('err', 2), 'max_count: so many resends')

    checks.equal(server.get(f'/v1/messages/{resting}').json['state'], 'que',
                 'num_workers 0: nothing was started all the while')


# --- Effects without scripts, on a clock that is moved by hand -------------------------------------

def effects_on_messages(server):
    def queue(name, **settings):
        reply = server.put(f'/v1/queues/{name}', settings)
        assert reply.status == 201, reply
        return name

    def put(name, **message):
        return server.post(f'/v1/queues/{name}/messages', message)

    def reserve(name):
        return server.post('/v1/reserve', {'queues': [name]}).json['messages'][0]

    def end(message, outcome):
        reply = server.post('/v1/finish', {'token': message['lease']['token'], 'outcome': outcome})
        assert reply.status == 200, reply

    def look(message):
        return server.get(f'/v1/messages/{message["id"]}')

    put(queue('lease', lease_s=7))
    got = reserve('lease')
    server.advance(6.9)
    checks.equal(look(got).json['state'], 'run', 'lease_s: it lives so long')
    server.advance(0.2)
    checks.equal(look(got).json['state'], 'que', 'lease_s: and no longer')

    put(queue('losses', lease_s=1, losses=2))
    for wanted in ('que', 'err'):
        got = reserve('losses')
        server.advance(1.1)
        checks.equal(look(got).json['state'], wanted, 'losses: so many, then err')

    put(queue('backoff', retries=5,
              backoff={'kind': 'exponential', 'base_s': 10, 'max_s': 15, 'jitter_percent': 0}))
    for wait in (10, 15, 15):
        got = reserve('backoff')
        end(got, 'failed')
        server.advance(wait - 0.1)
        checks.equal(look(got).json['state'], 'scheduled', f'backoff: not before {wait} s')
        server.advance(0.2)
        checks.equal(look(got).json['state'], 'que', f'backoff: after {wait} s')
    put(queue('fixed', retries=5, backoff={'kind': 'fixed', 'base_s': 4, 'jitter_percent': 0}))
    for _ in range(2):
        got = reserve('fixed')
        end(got, 'failed')
        server.advance(4.1)
        checks.equal(look(got).json['state'], 'que', 'backoff fixed: the same each time')
    put(queue('jitter', retries=1, backoff={'kind': 'fixed', 'base_s': 100, 'jitter_percent': 50}))
    got = reserve('jitter')
    end(got, 'failed')
    server.advance(49)
    checks.equal(look(got).json['state'], 'scheduled', 'backoff.jitter_percent: not below half')
    server.advance(102)
    checks.equal(look(got).json['state'], 'que', 'backoff.jitter_percent: not above one and a half')

    for name, outcome in (('keep_done', 'done'), ('keep_err', 'err'), ('keep_cancelled', None)):
        def finished(name, outcome=outcome):
            if outcome is None:
                got = put(name).json
                assert server.post(f'/v1/messages/{got["id"]}/cancel').status == 200
                return got
            put(name)
            got = reserve(name)
            end(got, outcome)
            return got
        queue(f'{name}-none', **{name: {'count': 0}})
        checks.equal(look(finished(f'{name}-none')).status, 404, f'{name}.count 0: gone at once')
        queue(f'{name}-two', **{name: {'count': 2}})
        kept = [finished(f'{name}-two') for _ in range(3)]
        eventually(lambda: look(kept[0]).status == 404, f'{name}.count: the oldest goes')
        checks.equal([look(m).status for m in kept[1:]], [200, 200], f'{name}.count: so many stay')
        queue(f'{name}-age', **{name: {'age_s': 60}})
        got = finished(f'{name}-age')
        server.advance(59)
        checks.equal(look(got).status, 200, f'{name}.age_s: it is kept so long')
        server.advance(2)
        checks.equal(look(got).status, 404, f'{name}.age_s: and no longer')

    def syncs(name):
        before = server.get('/v1/stats').json['engine']['syncs']
        for _ in range(5):
            put(name)
        return server.get('/v1/stats').json['engine']['syncs'] - before
    checks.equal(syncs(queue('always')), 5, 'sync always: each OK is on disk')
    checks.that(syncs(queue('relaxed', sync='relaxed')) <= 2, 'sync relaxed: an OK waits for no sync')

    queue('low', priority=-3)
    checks.equal(look({'id': put('low').json['id']}).json['priority'], -3, 'priority: the default')
    checks.equal(look({'id': put('low', priority=5).json['id']}).json['priority'], 5,
                 'priority: what the message says counts more')

    # faults.md D2, relative: over TCP nobody knows who puts.
    queue('local', put_over_tcp=False)
    one = put('low').json['id']
    for path, body in (('queues/local/messages', {}), ('queues/local/messages', [{}]),
                       (f'messages/{one}/move', {'queue': 'local'})):
        reply = server.post(f'/v1/{path}', body)
        error = reply.json['items'][0]['error'] if reply.status == 200 else reply.json['error']
        checks.equal(error['code'], 'forbidden', f'put_over_tcp: {path} over TCP')
    bulk = {'action': 'move', 'queue': 'local', 'filter': {'queue': 'low'}}
    checks.equal(server.post('/v1/messages/bulk', bulk).json['changed'], 0, 'put_over_tcp: many over TCP')
    checks.that(server.unix.post('/v1/messages/bulk', bulk).json['changed'] > 0, 'many over the socket')
    checks.equal(server.unix.post('/v1/queues/local/messages', {}).status, 201, 'put_over_tcp: the socket')
    checks.equal(put('low').status, 201, 'put_over_tcp: true by default')

    queue('full', messages_max=2)
    checks.equal([put('full').status for _ in range(3)][:2], [201, 201], 'messages_max: so many')
    checks.equal(put('full').code, 'queue_full', 'messages_max: no more')
    end(reserve('full'), 'done')
    checks.equal(put('full').status, 201, 'messages_max: a finished one makes room')

    queue('short', payload_bytes_max=10)
    checks.equal(put('short', payload='x' * 10).status, 201, 'payload_bytes_max: so long')
    checks.equal(put('short', payload='x' * 11).code, 'too_large', 'payload_bytes_max: no longer')


# --- As an ordinary user ---------------------------------------------------------------------------

def as_ordinary_user():
    """Runs this file again as that user, who may not be able to read where it lies."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        here = pathlib.Path(__file__).resolve().parent
        for file in (pathlib.Path(__file__), here / 'rqtest.py', pathlib.Path(rqtest.RQ_BIN)):
            shutil.copy(file, folder)
            os.chmod(pathlib.Path(folder) / file.name, 0o755)
        home = pathlib.Path(folder) / 'home'
        home.mkdir()
        shutil.chown(home, ORDINARY)
        user = pwd.getpwnam(ORDINARY)
        run = subprocess.run(
            [PYTHON, f'{folder}/{pathlib.Path(__file__).name}'], check=False,
            user=user.pw_uid, group=user.pw_gid, extra_groups=[], cwd=home, capture_output=True,
            text=True,
            env={**os.environ, 'HOME': str(home), 'TMPDIR': str(home),
                 'RQ_BIN': f'{folder}/{pathlib.Path(rqtest.RQ_BIN).name}'})
        if not checks.equal(run.returncode, 0, f'the same as {ORDINARY}'):
            print(run.stdout + run.stderr)


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard - 1, hard))
    with rqtest.Server(manual_clock=True) as server:
        bounds(server)
        effects_on_messages(server)
    with rqtest.Server(manual_clock=False, worker=True, env={'EXTRA': 'extra'}) as server:
        effects_on_scripts(server)
    if ROOT:
        as_ordinary_user()
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
