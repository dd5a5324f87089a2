"""The servers that are measured: each on a loopback port of its own and a fresh directory, started
and ended here. None outlives the bench: the kernel ends them with it.
"""
import contextlib
import ctypes
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

START_SECONDS = 60
STOP_SECONDS = 60
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """Something could not be measured; the text says what and why."""


def free_port():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """One process. Give `dir` to go on with data that is there; the caller keeps that directory."""

    name = ''        # in the tables
    program = ''     # must be installed
    protocol = 'beanstalk'
    stdin = subprocess.DEVNULL

    def __init__(self, place, dir=None, sync=None):
        self.place = place        # bench.Place: where things are
        self.sync = sync          # environment that slows the syncs down, or None
        self.keep = dir is not None
        self.dir = pathlib.Path(dir or place.fresh_dir(self.program.rpartition('/')[2]))
        self.port = free_port()
        self.process = None

    @classmethod
    def installed(cls):
        return shutil.which(cls.program) is not None

    def command(self):
        raise NotImplementedError

    @property
    def address(self):
        return f'127.0.0.1:{self.port}'

    def start(self):
        self.dir.mkdir(parents=True, exist_ok=True)
        with open(self.dir / 'output.log', 'ab') as log:
            self.process = subprocess.Popen(
                self.command(), stdin=self.stdin, stdout=log, stderr=log, cwd=self.dir,
                env={**os.environ, **(self.sync or {})}, preexec_fn=_die_with_parent)
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None:
                raise BenchError(f'{self.name} ended with {self.process.returncode}: '
                                 + self.log_end())
            if time.monotonic() > deadline:
                raise BenchError(f'{self.name} did not answer within {START_SECONDS} s: '
                                 + self.log_end())
            time.sleep(0.002)

    def ports(self):
        return [self.port]

    def answers(self):
        try:
            for port in self.ports():
                socket.create_connection(('127.0.0.1', port), timeout=1).close()
        except OSError:
            return False
        return True

    def log_end(self):
        with contextlib.suppress(OSError):
            return (self.dir / 'output.log').read_text(errors='replace')[-500:].strip()
        return ''

    def memory_mb(self):
        """(resident now, resident at most) in MB, of the server process itself."""
        values = {}
        for line in pathlib.Path(f'/proc/{self.process.pid}/status').read_text().splitlines():
            key, _, value = line.partition(':')
            if key in ('VmRSS', 'VmHWM'):
                values[key] = int(value.split()[0]) * 1024 / 1e6
        return values['VmRSS'], values['VmHWM']

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        if not self.keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception):
        self.stop()


class Rq(Server):
    name = 'rq'
    program = 'rq'

    def __init__(self, place, dir=None, sync=None, worker=False):
        super().__init__(place, dir, sync)
        self.http_port = free_port()
        self.worker = worker

    @classmethod
    def installed(cls):
        return True  # it has been built, or the bench does not start

    def command(self):
        command = [str(self.place.program('rq')), 'server', '--dir', str(self.dir / 'rq'),
                   '--http', f'127.0.0.1:{self.http_port}', '--beanstalk', self.address]
        return command if self.worker else [*command, '--no-worker']

    def ports(self):
        return [self.port, self.http_port]

    def request(self, method, path, body=None, kind='application/json'):
        """One HTTP request; the reply as JSON. Anything but 2xx is an error."""
        connection = http.client.HTTPConnection('127.0.0.1', self.http_port, timeout=60)
        with contextlib.closing(connection):
            return self._ask(connection, method, path, body, kind)

    @staticmethod
    def _ask(connection, method, path, body, kind='application/json'):
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        connection.request(method, path, body=data, headers={'Content-Type': kind})
        reply = connection.getresponse()
        text = reply.read()
        if reply.status // 100 != 2:
            raise BenchError(f'rq answered {method} {path} with {reply.status}: {text[:300]!r}')
        return json.loads(text)

    def make_queue(self, name, **settings):
        """One that keeps nothing of what is done."""
        return self.define(name, keep_done={'age_s': 0, 'count': 0}, **settings)

    def define(self, name, **settings):
        """Over the unix socket: over TCP it is refused."""
        with contextlib.closing(http.client.HTTPConnection('localhost', timeout=60)) as connection:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(str(self.dir / 'rq' / 'run' / 'rq.sock'))
            return self._ask(connection, 'PUT', f'/v1/queues/{name}', settings)

    def stop(self):
        worker = self._worker_pid()
        super().stop()
        # The worker is meant to outlive its server. Not here.
        if worker is not None:
            deadline = time.monotonic() + 5
            while self._is_worker(worker) and time.monotonic() < deadline:
                time.sleep(0.01)
            if self._is_worker(worker):
                kill_tree(worker)

    def _worker_pid(self):
        with contextlib.suppress(OSError, ValueError, IndexError):
            return int((self.dir / 'rq' / 'run' / 'worker.pid').read_text().split()[0])
        return None

    def _is_worker(self, pid):
        with contextlib.suppress(OSError):
            words = pathlib.Path(f'/proc/{pid}/cmdline').read_bytes().split(b'\0')
            return b'worker' in words and str(self.dir / 'rq').encode() in words
        return False


class BeanstalkdMemory(Server):
    name = 'beanstalkd, memory only'
    program = 'beanstalkd'

    def command(self):
        return [self.program, '-l', '127.0.0.1', '-p', str(self.port)]


class BeanstalkdSynced(Server):
    name = 'beanstalkd -f 0'
    program = 'beanstalkd'

    def command(self):
        binlog = self.dir / 'binlog'
        binlog.mkdir(exist_ok=True)
        return [self.program, '-l', '127.0.0.1', '-p', str(self.port), '-b', str(binlog),
                '-f', '0']


class RedisSynced(Server):
    name = 'Redis lists, appendfsync always'
    program = 'redis-server'
    protocol = 'redis'

    def command(self):
        return [self.program, '--port', str(self.port), '--bind', '127.0.0.1', '--dir',
                str(self.dir), '--appendonly', 'yes', '--appendfsync', 'always', '--save', '',
                '--daemonize', 'no']


PEERS = (BeanstalkdMemory, BeanstalkdSynced, RedisSynced)


def kill_tree(pid):
    """kill -9 for a process that the bench has started, and for all below it."""
    children = []
    with contextlib.suppress(OSError):
        for task in pathlib.Path(f'/proc/{pid}/task').iterdir():
            children += (task / 'children').read_text().split()
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)
    for child in children:
        kill_tree(int(child))
