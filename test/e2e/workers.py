"""What the tests of workers share: a worker on the directory of a server, queues with the scripts of
test/e2e/scripts, and what became of their messages."""
import os
import pathlib
import signal
import subprocess
import sys

import rqtest
from rqtest import eventually

SCRIPTS = pathlib.Path(__file__).resolve().parent / 'scripts'


class Worker:
    """`rq worker` on the directory of a server."""

    def __init__(self, server, *args, env=None, new_session=False, log=None):
        self.log_path = log or server.dir / 'worker.log'
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(
                [rqtest.RQ_BIN, 'worker', '--dir', str(server.dir), *args],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=new_session,
                env={**os.environ, **(env or {})})

    def log(self):
        return self.log_path.read_text(errors='replace')

    def kill(self):
        """Both of its processes at once: then nobody goes on with its scripts."""
        loop = loop_of(self.process.pid)
        for pid, how in ((loop, signal.SIGSTOP), (self.process.pid, signal.SIGKILL),
                         (loop, signal.SIGKILL)):
            os.kill(pid, how)
        self.process.wait()
        eventually(lambda: not alive(loop), 'the worker is gone')

    def terminate(self):
        self.process.terminate()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is not None:
            sys.stderr.write('--- log of the worker ---\n' + self.log())
        if self.process.poll() is None:
            self.process.terminate()
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()


def queue(server, name, script, **settings):
    reply = server.put(f'/v1/queues/{name}', {'script': str(SCRIPTS / script), **settings})
    assert reply.status in (200, 201), reply


def put(server, name, **message):
    reply = server.post(f'/v1/queues/{name}/messages', message)
    assert reply.status == 201, reply
    return reply.json['id']


def get(server, message):
    return server.get(f'/v1/messages/{message}').json


def finished(server, message):
    """The message when it has ended."""
    def look():
        found = get(server, message)
        return found if found['state'] in ('done', 'relayed', 'err', 'cancelled') else None
    return eventually(look, f'message {message} ends')


def in_state(server, message, state):
    return eventually(lambda: get(server, message)['state'] == state, f'{message} is {state}')


def log_of(server, message):
    return server.get(f'/v1/messages/{message}/log').body.decode(errors='replace')


def attempts(server, message):
    return server.get(f'/v1/messages/{message}/attempts').json['attempts']


def loop_of(worker):
    """The process that works, of the two of a worker; `worker` is the one above it."""
    def children():
        found = []
        for entry in os.listdir('/proc'):
            if entry.isdigit() and parent(int(entry)) == worker:
                try:
                    words = pathlib.Path(f'/proc/{entry}/cmdline').read_bytes().split(b'\0')
                except OSError:  # it has just ended
                    continue
                found += [int(entry)] if b'worker' in words else []
        return found
    return eventually(children, f'worker {worker} has its loop')[0]


def parent(pid):
    try:
        return int(pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[1])
    except OSError:
        return None


def alive(pid):
    try:
        return pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False
