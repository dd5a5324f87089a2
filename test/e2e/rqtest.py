"""The harness of the end-to-end tests: real processes, a fresh directory, nothing left behind.

    import rqtest

    with rqtest.Server() as server:              # rq server on a temporary directory
        r = server.put('/v1/queues/mail', {})    # queues are defined over the unix socket,
        r = server.get('/v1/queues/mail')        # all else over TCP; server.unix.get(...): the socket
        assert r.status == 201, r
        print(r.json, r.headers['content-type'], r.body)
        server.advance(30)                       # moves the manual clock
        server.kill(); server.start()            # kill -9, and up again on the same directory

    checks = rqtest.Checks()
    checks.equal(r.status, 200, 'what is being checked')
    sys.exit(checks.report())                    # prints "N passed, N failed"

Server(manual_clock=True, worker=False, args=[], dir=None, env={}, define_over_tcp=False): `args` go to
`rq server` as they are. The binary is $RQ_BIN (default build/dev/rq below the root of the tree). The HTTP port is one
that the system picks, and server.beanstalk_port too when beanstalk=True. Python 3.11, standard
library only.
"""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
RQ_BIN = os.environ.get('RQ_BIN', str(ROOT / 'build' / 'dev' / 'rq'))
START_SECONDS = 30   # a debug build under a sanitizer, on a busy machine
REPLY_SECONDS = 60
SKIPPED = 77  # the exit code of a test that cannot run here; ctest says so


class Response:
    """status, headers (names in lower case), body (bytes), and .json of it."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """The code of an error reply, or None."""
        try:
            return self.json['error']['code']
        except (ValueError, KeyError, TypeError):
            return None

    def __repr__(self):
        return f'<{self.status} {self.body[:400]!r}>'


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__('localhost', timeout=REPLY_SECONDS)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """HTTP requests on one keep-alive connection; opens a new one when the server closed it."""

    def __init__(self, make_connection):
        self._make = make_connection
        self._connection = None

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def request(self, method, path, body=None, headers=None):
        """`body`: bytes and str go as they are, anything else as JSON."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            headers.setdefault('Content-Type', 'application/json')
        if isinstance(body, str):
            body = body.encode()
        if self._connection is None:
            self._connection = self._make()
        try:
            self._connection.request(method, path, body=body, headers=headers)
            reply = self._connection.getresponse()
            data = reply.read()
        except BaseException:
            self.close()
            raise
        if reply.will_close:
            self.close()
        return Response(reply.status, {k.lower(): v for k, v in reply.getheaders()}, data)

    def get(self, path, **more):
        return self.request('GET', path, **more)

    def post(self, path, body=None, **more):
        return self.request('POST', path, body, **more)

    def put(self, path, body=None, **more):
        return self.request('PUT', path, body, **more)

    def patch(self, path, body=None, **more):
        return self.request('PATCH', path, body, **more)

    def delete(self, path, **more):
        return self.request('DELETE', path, **more)


class EventStream:
    """Server-Sent Events: next() gives (event, data as JSON or text); ends with StopIteration."""

    def __init__(self, sock, path, host='localhost', headers=()):
        self.sock = sock
        lines = [f'GET {path} HTTP/1.1', f'Host: {host}', 'Accept: text/event-stream']
        sock.sendall('\r\n'.join([*lines, *headers, '', '']).encode())
        self.reader = http.client.HTTPResponse(sock)
        self.reader.begin()
        self.status = self.reader.status

    def __iter__(self):
        return self

    def __next__(self):
        event, data = 'message', []
        while True:
            line = self.reader.readline()
            if not line:
                raise StopIteration
            line = line.rstrip(b'\r\n').decode()
            if not line:
                if data or event != 'message':
                    break
                continue
            if line.startswith(':'):
                continue
            name, _, value = line.partition(': ')
            if name == 'event':
                event = value
            elif name == 'data':
                data.append(value)
        text = '\n'.join(data)
        try:
            return event, json.loads(text)
        except ValueError:
            return event, text

    def until(self, wanted):
        """The data of the next event of that name; what comes before is skipped."""
        for event, data in self:
            if event == wanted:
                return data
        raise AssertionError(f'the stream ended without an event {wanted!r}')

    def close(self):
        self.sock.close()


def npm_install(source, target):
    """npm ci of source's package-lock.json into target, unless what is there is what it says."""
    lock = source / 'package-lock.json'
    marker = target / 'installed-package-lock.json'
    if marker.exists() and marker.read_bytes() == lock.read_bytes():
        return
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(source / 'package.json', target)
    shutil.copy(lock, target)
    subprocess.run(['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund'], cwd=target,
                   check=True, stdout=subprocess.DEVNULL)
    shutil.copy(lock, marker)


SANITIZER_REPORT = 'WARNING: ThreadSanitizer'


class Server(Client):
    def __init__(self, manual_clock=True, worker=False, beanstalk=False, args=(), dir=None,
                 env=None, start=True, define_over_tcp=False):
        super().__init__(lambda: http.client.HTTPConnection('127.0.0.1', self.port,
                                                            timeout=REPLY_SECONDS))
        self._own_dir = dir is None
        self.dir = pathlib.Path(dir or tempfile.mkdtemp(prefix='rqtest-'))
        self.define_over_tcp = define_over_tcp
        if define_over_tcp:
            (self.dir / 'rq.toml').write_text('define_over_tcp = true\n')
        self.args = list(args)
        if manual_clock:
            self.args.append('--manual-clock')
        if not worker:
            self.args.append('--no-worker')
        self.beanstalk_port = None
        if beanstalk:
            self.beanstalk_port = free_port()
            self.args += ['--beanstalk', f'127.0.0.1:{self.beanstalk_port}']
        self.env = {**os.environ, **(env or {})}
        self.process = None
        self.port = 0
        self.binary = RQ_BIN
        self.log_path = self.dir / 'server.log'
        self.unix = Client(lambda: _UnixConnection(str(self.socket_path)))
        if start:
            try:
                self.start()
            except BaseException:
                self.stop()
                raise

    def request(self, method, path, body=None, headers=None):
        defines = method in ('PUT', 'PATCH', 'DELETE') and path.startswith('/v1/queues/')
        if defines and not self.define_over_tcp:
            return self.unix.request(method, path, body, headers)
        return super().request(method, path, body, headers)

    @property
    def socket_path(self):
        return self.dir / 'run' / 'rq.sock'

    def command(self, port=0):
        return [self.binary, 'server', '--dir', str(self.dir), '--http', f'127.0.0.1:{port}', *self.args]

    def start(self):
        """Starts the process and waits until it answers. A second start keeps the port."""
        self.close()
        self.unix.close()
        with open(self.log_path, 'ab') as log:
            self.process = subprocess.Popen(self.command(self.port), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=self.env)
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self.process.poll() is not None:
                raise AssertionError(f'rq server ended with {self.process.returncode}:\n'
                                     + self.log())
            try:
                if self.unix.get('/v1/health').status in (200, 503):  # well or not, it is there
                    break
            except (OSError, http.client.HTTPException):
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f'no answer in {START_SECONDS} s:\n' + self.log())
            time.sleep(0.01)
        address = (self.dir / 'run' / 'http.addr').read_text().strip()
        self.port = int(address.rpartition(':')[2])

    def log(self):
        return self.log_path.read_text(errors='replace') if self.log_path.exists() else ''

    def kill(self):
        """kill -9, and waits for the end."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.close()
        self.unix.close()

    def terminate(self, timeout=REPLY_SECONDS):
        """SIGTERM; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout)
        self.close()
        self.unix.close()
        return code

    def worker_pid(self):
        try:
            return int((self.dir / 'run' / 'worker.pid').read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None

    def stop(self):
        """Ends server and worker whatever they are doing, and removes the directory."""
        self.close()
        self.unix.close()
        worker = self.worker_pid()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in {worker, self.worker_pid()} - {None}:
            if self._is_our_worker(pid):
                kill_tree(pid)
        log = self.log()
        if self._own_dir:
            shutil.rmtree(self.dir, ignore_errors=True)
        # ThreadSanitizer reports and goes on: nobody else would see it.
        if SANITIZER_REPORT in log:
            raise AssertionError(log[log.index(SANITIZER_REPORT):])

    def _is_our_worker(self, pid):
        try:
            words = pathlib.Path(f'/proc/{pid}/cmdline').read_bytes().split(b'\0')
        except OSError:
            return False
        return b'worker' in words and str(self.dir).encode() in words

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is not None:
            sys.stderr.write('--- log of the server ---\n' + self.log())
        self.stop()

    def advance(self, seconds):
        """Moves the manual clock; what fell due has been handled when it returns."""
        reply = self.post('/v1/clock/advance', {'by_s': seconds})
        assert reply.status == 200, reply
        return reply.json['now']

    def connect(self):
        """A plain TCP connection to the HTTP port."""
        sock = socket.create_connection(('127.0.0.1', self.port), timeout=REPLY_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def connect_unix(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(REPLY_SECONDS)
        sock.connect(str(self.socket_path))
        return sock

    def connect_and_reset(self, data):
        """Sends, and tears the connection down without a goodbye."""
        with self.connect() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            sock.sendall(data)

    def events(self, path):
        return EventStream(self.connect(), path, f'localhost:{self.port}')


def free_port():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


def kill_tree(pid):
    """kill -9 for a process and all below it."""
    children = []
    try:
        for task in pathlib.Path(f'/proc/{pid}/task').iterdir():
            children += (task / 'children').read_text().split()
    except OSError:
        pass
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
    for child in children:
        kill_tree(int(child))


def eventually(condition, what, seconds=REPLY_SECONDS):
    """Waits until condition() is true and gives its value; fails with `what` otherwise."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f'not within {seconds} s: {what}')
        time.sleep(0.01)


class Checks:
    """Counts what holds and what does not; a failed check is printed and the test goes on."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def that(self, good, what):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print(f'FAILED: {what}', flush=True)
        return bool(good)

    def equal(self, got, wanted, what):
        return self.that(got == wanted, f'{what}: got {got!r}, wanted {wanted!r}')

    def report(self):
        """Prints the counts; gives the exit code."""
        print(f'{self.passed} passed, {self.failed} failed', flush=True)
        return 0 if self.failed == 0 and self.passed > 0 else 1
