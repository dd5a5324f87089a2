"""Somebody steps the wall clock of the machine while a message is leased, a script runs, and two
clients wait, one over HTTP and one over beanstalkd's protocol: leases and waits keep their length,
everybody gets an answer, and nothing runs twice."""
# ctest-unless: sanitizers
import pathlib
import struct
import subprocess
import sys
import tempfile
import threading
import time

import rqtest
from rqtest import eventually

SHIM = pathlib.Path(rqtest.RQ_BIN).parent / 'test' / 'libstep_clock.so'
WAIT_S = 8
STEPS_S = (90, 3600, 0)   # the wall clock, from the machine's: forward, forward, back again
SCRIPT = """#!/bin/sh
echo "start $RQ_ATTEMPT" >>"$SIDE"
while [ ! -e "$GO" ]; do sleep 0.02; done
echo done >&3
"""
checks = rqtest.Checks()


class Waiter(threading.Thread):
    """Somebody who waits for a message: what came in the end, and after how long."""

    def __init__(self, wait):
        super().__init__(daemon=True)
        self.wait = wait
        self.answer = None
        self.took = 0
        self.start()

    def run(self):
        began = time.monotonic()
        try:
            self.answer = self.wait()
        except OSError as error:
            self.answer = repr(error)
        self.took = time.monotonic() - began


def wait_over_http(server):
    client = rqtest.Client(lambda: rqtest.http.client.HTTPConnection(
        '127.0.0.1', server.port, timeout=rqtest.REPLY_SECONDS))
    reply = client.post('/v1/reserve', {'queues': ['empty'], 'wait_s': WAIT_S})
    client.close()
    return reply.status, reply.json.get('messages')


def wait_over_beanstalkd(server):
    with rqtest.socket.create_connection(('127.0.0.1', server.beanstalk_port),
                                         timeout=rqtest.REPLY_SECONDS) as sock:
        sock.sendall(b'watch empty\r\nreserve-with-timeout %d\r\n' % WAIT_S)
        lines = sock.makefile('rb')
        return lines.readline(), lines.readline()


def waiting(server):
    return server.get('/v1/stats').json['engine']['waiting_reserves']


def lease_status(server, token):
    """200 while the lease lives; it is not made longer."""
    return server.post('/v1/progress', {'token': token, 'progress': 'on my way'}).status


def step(server, file, to_s):
    """Sets the wall clock, and waits until the server has seen it."""
    seen = server.log().count('the wall clock was stepped')
    set_step(file, to_s)
    eventually(lambda: server.log().count('the wall clock was stepped') > seen,
               f'the server sees the clock step to {to_s} s')


def run(server, file, folder):
    script, side, go = folder / 'script', folder / 'side', folder / 'go'
    script.write_text(SCRIPT)
    script.chmod(0o755)
    for name, settings in {
            'work': {'lease_s': 60}, 'empty': {}, 'away': {}, 'failed': {},
            'scripts': {'script': str(script), 'lease_s': 60,
                        'env_vars': {'SIDE': str(side), 'GO': str(go)}}}.items():
        reply = server.put(f'/v1/queues/{name}', settings)
        assert reply.status in (200, 201), reply
    ran = server.post('/v1/queues/scripts/messages', {'payload': 'x'}).json['seq']
    eventually(side.exists, 'the script runs')
    server.post('/v1/queues/work/messages', {'payload': 'x'})
    leased = server.post('/v1/reserve', {'queues': ['work']}).json['messages'][0]
    before = waiting(server)
    waiters = {'HTTP': Waiter(lambda: wait_over_http(server)),
               'beanstalkd': Waiter(lambda: wait_over_beanstalkd(server))}
    eventually(lambda: waiting(server) >= before + 2, 'two more clients wait')

    for to_s in STEPS_S:
        step(server, file, to_s)
        checks.equal(lease_status(server, leased['lease']['token']), 200,
                     f'the lease lives with the clock at {to_s} s')
        checks.equal(server.post('/v1/reserve', {'queues': ['work']}).json['messages'], [],
                     f'nobody else gets the message with the clock at {to_s} s')
    for name, waiter in waiters.items():
        waiter.join(rqtest.REPLY_SECONDS)
        checks.that(waiter.answer is not None, f'{name}: who waits is answered')
        # Far below the smallest step, so that a wait which a step made longer is seen.
        checks.that(WAIT_S - 1 < waiter.took < min(filter(None, STEPS_S)) / 2,
                    f'{name}: a wait of {WAIT_S} s ended after {waiter.took:.1f} s')
    checks.equal(waiters['HTTP'].answer, (200, []), 'HTTP: nothing came')
    checks.equal(waiters['beanstalkd'].answer, (b'WATCHING 2\r\n', b'TIMED_OUT\r\n'),
                 'beanstalkd: nothing came')

    go.touch()
    eventually(lambda: server.get(f'/v1/messages/{ran}').json['state'] == 'done',
               'the script ends')
    checks.equal(side.read_text(), 'start 1\n', 'the script ran once')
    checks.equal(server.get(f'/v1/messages/{ran}').json['attempts'], 1, 'in one attempt')
    checks.equal(server.post('/v1/done', {'token': leased['lease']['token']}).status, 200,
                 'the lease can be finished')


# faults.md B3, relative: a lease keeps its length while no server runs, whatever the clock does.
def away(server, file):
    server.post('/v1/queues/away/messages', {'payload': 'x', 'lease_s': 6})
    leased = server.post('/v1/reserve', {'queues': ['away']}).json['messages'][0]
    seen = server.dir / 'run' / 'server.seen'
    since = seen.read_bytes()
    eventually(lambda: seen.read_bytes() != since, 'the server notes that it is at work')
    server.kill()
    set_step(file, 3600)
    time.sleep(7)   # longer than the lease
    server.start()
    checks.equal(lease_status(server, leased['lease']['token']), 200, 'the lease lives')
    checks.that('no server was at work for' in server.log(), 'the log says so')
    eventually(lambda: lease_status(server, leased['lease']['token']) != 200, 'the lease ends')
    set_step(file, 0)


# faults.md A1, relative: a date that is wrong for a moment takes nothing away.
def wrong_date(server, file):
    server.post('/v1/queues/failed/messages', {'payload': 'x'})
    token = server.post('/v1/reserve', {'queues': ['failed']}).json['messages'][0]['lease']['token']
    ended = server.post('/v1/err', {'token': token, 'reason': 'no'})
    checks.equal(ended.status, 200, 'a message fails')
    set_step(file, 400 * 24 * 3600)
    eventually(lambda: 'if it stands for 10 minutes the server follows it' in server.log(),
               'the server sees the date, and doubts it')
    off = server.get('/v1/health').json['clock_not_followed_s']
    checks.that(abs(off - 400 * 24 * 3600) < 60, f'health says so: {off} s')
    checks.equal(server.get('/v1/health').json['status'], 'clock_not_followed', 'for whoever looks at the status')
    said = subprocess.run([rqtest.RQ_BIN, '--dir', str(server.dir), 'doctor'], text=True,
                          capture_output=True, timeout=60).stdout
    checks.that('the wall clock was set' in said, f'doctor says so: {said}')
    server.post('/v1/queues/failed/messages', {'payload': 'y', 'delay_s': 3600})
    checks.equal(server.post('/v1/reserve', {'queues': ['failed']}).json['messages'], [],
                 'what waits goes on waiting')
    checks.equal(len(server.get('/v1/messages?queue=failed&state=err').json['messages']), 1,
                 'what has failed is kept')
    set_step(file, 0)


def set_step(file, to_s):
    file.seek(0)
    file.write(struct.pack('=q', to_s * 1_000_000_000))


def main():
    if not SHIM.exists():
        sys.exit(f'{SHIM} is missing: build the target step_clock')
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        with open(folder / 'step', 'w+b', buffering=0) as file:
            file.write(bytes(8))
            env = {'LD_PRELOAD': str(SHIM), 'RQ_CLOCK_STEP_FILE': str(folder / 'step')}
            with rqtest.Server(manual_clock=False, worker=True, beanstalk=True, env=env) as server:
                try:
                    run(server, file, folder)
                    wrong_date(server, file)
                    away(server, file)
                finally:
                    (folder / 'go').touch()   # no script waits for ever
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
