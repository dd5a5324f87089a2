"""Every setting of rq.toml: at its default, at a useful value, at each bound and beyond; and what it
does, not what is said of it. A setting that is not in the table fails the test.
"""
# ctest-timeout: 600
import contextlib
import os
import pathlib
import re
import socket
import subprocess
import sys

import rqtest

MIB = 1 << 20
checks = rqtest.Checks()
equal, that = checks.equal, checks.that


class Server(rqtest.Server):
    """A server that is told only what its rq.toml says."""

    def __init__(self, text):
        super().__init__(manual_clock=False, worker=True, start=False)
        (self.dir / 'rq.toml').write_text(text)
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def command(self, port=0):
        return [rqtest.RQ_BIN, 'server', '--dir', str(self.dir)]

    def start(self):
        # Without TCP there is no address to read.
        (self.dir / 'run').mkdir(exist_ok=True)
        (self.dir / 'run' / 'http.addr').write_text('none:0')
        super().start()


def not_a_file():
    """It was the end of the server without a word that helps (faults.md C, relative)."""
    with contextlib.ExitStack() as stack:
        server = rqtest.Server(start=False)
        stack.callback(server.stop)
        (server.dir / 'rq.toml').mkdir()
        ran = subprocess.run([rqtest.RQ_BIN, 'server', '--dir', str(server.dir)], capture_output=True,
                             text=True, timeout=60)
        (server.dir / 'rq.toml').rmdir()
        (server.dir / 'rq.toml').symlink_to('/nowhere/rq.toml')
        link = subprocess.run([rqtest.RQ_BIN, 'server', '--dir', str(server.dir)],
                              capture_output=True, text=True, timeout=60)
    equal(ran.returncode, 2, f'rq.toml is a folder: {ran}')
    that('rq.toml is not a file' in ran.stderr, f'it says so: {ran.stderr}')
    equal(link.returncode, 2, f'rq.toml leads nowhere: {link}')
    that('rq.toml is not a file' in link.stderr, f'it says so: {link.stderr}')


QUIET = "worker = false\nhttp = ''\n"


def refused(text, *said):
    """The server does not start, and says why in the form of the house."""
    with contextlib.ExitStack() as stack:
        server = rqtest.Server(start=False)
        stack.callback(server.stop)
        (server.dir / 'rq.toml').write_text(text)
        ran = subprocess.run([rqtest.RQ_BIN, 'server', '--dir', str(server.dir)], capture_output=True,
                             text=True, timeout=60)
    that(ran.returncode in (2, 6, 10), f'{text!r} is refused: {ran}')
    for word in said:
        that(word in ran.stderr, f'{text!r}: says {word!r}: {ran.stderr}')
    that(len(ran.stderr.splitlines()) >= 2, f'{text!r}: has a remedy: {ran.stderr}')


def answers(address, path='/v1/health'):
    host, _, port = address.rpartition(':')
    with socket.create_connection((host.strip('[]'), int(port)), 30) as sock:
        sock.sendall(f'GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n'.encode())
        return sock.recv(100).startswith(b'HTTP/1.1 200')


def is_free(port):
    with socket.socket() as sock:
        return sock.connect_ex(('127.0.0.1', port)) != 0


def try_http():
    if is_free(3333):
        with Server('worker = false\n') as s:
            that(answers('127.0.0.1:3333'), 'the default')
    for value in ('127.0.0.1:0', 'localhost:0', '[::1]:0'):
        with Server(f"worker = false\nhttp = '{value}'\n") as s:
            address = (s.dir / 'run' / 'http.addr').read_text().strip()
            that(answers(address), f'{value}: {address}')
    with Server(QUIET) as s:
        equal((s.dir / 'run' / 'http.addr').read_text(), 'none:0', 'empty: no address')
        sockets = subprocess.run(['ls', '-l', f'/proc/{s.process.pid}/fd'], capture_output=True, text=True)
        inodes = set(re.findall(r'socket:\[(\d+)\]', sockets.stdout))
        tcp = {line.split()[9] for name in ('tcp', 'tcp6')
               for line in pathlib.Path(f'/proc/net/{name}').read_text().splitlines()[1:]}
        equal(inodes & tcp, set(), 'empty: no TCP socket')
    port = rqtest.free_port()
    with Server(f"worker = false\nhttp = '127.0.0.1:{port}'\n") as s:
        that(answers(f'127.0.0.1:{port}'), 'a port of our own')
        refused(f"http = '127.0.0.1:{port}'\n", str(port), 'give another port')
    for value in ('0.0.0.0:0', '192.0.2.1:80', '[::]:0'):
        refused(f"http = '{value}'\n", value, 'loopback')
    for value in ('127.0.0.1:65536', '127.0.0.1', 'nowhere.invalid:1', ':1', '127.0.0.1:-1'):
        refused(f"http = '{value}'\n", value)
    refused('http = 3333\n', "'http'", 'quotes')


def try_define_over_tcp():  # faults.md D2
    for line, allowed in (('', False), ('define_over_tcp = false\n', False),
                          ('define_over_tcp = true\n', True)):
        with rqtest.Server(start=False) as s:
            s.define_over_tcp = True  # the calls below go over TCP
            (s.dir / 'rq.toml').write_text(line)
            s.start()
            equal(s.unix.put('/v1/queues/mine', {}).status, 201, f'{line!r}: over the socket')
            for method, body in (('PUT', {'exec_prefix': 'sh -c'}), ('PATCH', {'retries': 1}),
                                 ('DELETE', None)):
                reply = s.request(method, '/v1/queues/mine', body)
                equal(reply.status, 200 if allowed else 403, f'{line!r}: {method} over TCP')
                if not allowed:
                    error = reply.json['error']
                    equal(error['code'], 'forbidden', f'{method} over TCP')
                    that(str(s.socket_path) in error['remedy'] and 'define_over_tcp = true' in
                         error['remedy'], f'{method} over TCP has a remedy: {error}')
            equal(s.put('/v1/queues/new', {}).status, 201 if allowed else 403, 'a new one')
            s.unix.put('/v1/queues/mine', {})
            for path, body, status in (('queues/mine/messages', {'payload': 'x'}, 201),
                                       ('queues/mine/pause', {}, 200), ('queues/mine/resume', {}, 200),
                                       ('reserve', {'queues': ['mine']}, 200)):
                equal(s.post(f'/v1/{path}', body).status, status, f'{line!r}: {path} stays')
            that(('may define queues' in s.log()) == allowed, f'{line!r}: the log: {s.log()}')
            that(allowed or 'only over the unix socket (define_over_tcp)' in s.log(), 'said at the start')
            equal(s.get('/v1/health').json['define_over_tcp'], allowed, f'{line!r}: health')
            doctor = subprocess.run([rqtest.RQ_BIN, 'doctor', '--dir', str(s.dir)], capture_output=True,
                                    text=True, timeout=60).stdout
            equal('may define queues' in doctor, allowed, f'{line!r}: doctor: {doctor}')
    with Server(QUIET + 'define_over_tcp = true\n') as s:
        equal(s.unix.get('/v1/health').json['define_over_tcp'], False, 'no TCP at all')
        that('define queues' not in s.log(), f'no TCP at all: {s.log()}')
    for value in ("'yes'", '1', '[]'):
        refused(f'define_over_tcp = {value}\n', "'define_over_tcp'", 'true or false')


def beanstalk(s):
    """A connection to the port that the log names."""
    said = rqtest.eventually(lambda: re.search(r'beanstalk port (\d+)', s.log()), 'it names the port')
    port = int(said[1])
    sock = socket.create_connection(('127.0.0.1', port), 30)
    return sock, sock.makefile('rb')


def try_beanstalk():
    with Server(QUIET) as s:
        that('beanstalk port' not in s.log(), 'off by default')
    with Server(QUIET + "beanstalk = '127.0.0.1:0'\n") as s:
        sock, replies = beanstalk(s)
        sock.sendall(b'list-tube-used\r\n')
        equal(replies.readline(), b'USING default\r\n', 'on')
        sock.close()
    refused(QUIET + "beanstalk = '0.0.0.0:0'\n", '0.0.0.0:0', 'loopback')
    refused(QUIET + "beanstalk = '127.0.0.1:70000'\n", '70000')
    refused(QUIET + 'beanstalk = true\n', "'beanstalk'")


def try_beanstalk_job_bytes_max():
    for line, bound in (('', 65535), ('beanstalk_job_bytes_max = 10\n', 10),
                        ('beanstalk_job_bytes_max = 1\n', 1),
                        ('beanstalk_job_bytes_max = 4194304\n', 4194304)):
        with Server(QUIET + "beanstalk = '127.0.0.1:0'\n" + line) as s:
            sock, replies = beanstalk(s)
            for size, wanted in ((bound, b'INSERTED 1\r\n'), (bound + 1, b'JOB_TOO_BIG\r\n')):
                sock.sendall(b'put 0 0 60 %d\r\n' % size + b'x' * size + b'\r\n')
                equal(replies.readline(), wanted, f'{line!r}: {size} bytes')
            sock.close()
    for value in ('0', '4194305', "'10'", '1.5', '-1'):
        refused(f'beanstalk_job_bytes_max = {value}\n', 'beanstalk_job_bytes_max', '1 to 4194304')


def try_log_level():
    for line, informs in (('', True), ("log_level = 'trace'\n", True), ("log_level = 'debug'\n", True),
                          ("log_level = 'info'\n", True), ("log_level = 'warn'\n", False),
                          ("log_level = 'error'\n", False)):
        with Server(QUIET + line) as s:
            if informs:
                rqtest.eventually(lambda: ' info ' in s.log(), f'{line!r}: it is told at the start')
            else:
                s.unix.get('/v1/health')
                that(' info ' not in s.log(), f'{line!r}: nothing is told at the start')
            os.unlink(s.socket_path)
            rqtest.eventually(s.socket_path.exists, 'the socket is made anew')
            # It is told after the socket is there.
            if 'error' not in line:
                rqtest.eventually(lambda: ' warning ' in s.log(), f'{line!r}: a warning')
            equal(s.terminate(), 0, 'it ends')
            equal(' warning ' in s.log(), 'error' not in line, f'{line!r} and a warning')
    for value in ("'loud'", "''", '1', "'INFO'"):
        refused(f'log_level = {value}\n', 'log_level')


def try_worker():
    for line, wanted in (('', True), ('worker = true\n', True), ('worker = false\n', False)):
        with Server("http = ''\n" + line) as s:
            if wanted:
                pid = rqtest.eventually(s.worker_pid, f'{line!r}: a worker')
                os.kill(pid, 9)
                rqtest.eventually(lambda: s.worker_pid() not in (None, pid), 'and another after it')
            else:
                s.terminate()
                that('worker' not in s.log(), f'{line!r}: none is started: {s.log()}')
    for value in ("'yes'", '1', '[]'):
        refused(f'worker = {value}\n', "'worker'", 'true or false')


def log_of_the_store(line):
    """How large the store's log is after 40 MiB of messages."""
    with Server(QUIET + line) as s:
        s.unix.put('/v1/queues/q', {})
        text = 'x' * (100 << 10)
        for _ in range(20):
            reply = s.unix.post('/v1/queues/q/messages', [{'payload': text}] * 20)
            that(reply.status == 200 and 'error' not in reply.json['items'][0], f'{line!r}: {reply}')
        return (s.dir / 'db' / 'rq.db-wal').stat().st_size


def try_wal_bytes():
    by_default = log_of_the_store('')
    that(by_default > 30 * MIB, f'by default it takes all: {by_default}')
    useful = log_of_the_store('wal_bytes = 8388608\n')
    that(useful < by_default, f'8 MiB: {useful}')
    least = log_of_the_store('wal_bytes = 1048576\n')
    that(least < by_default, f'1 MiB: {least}')
    most = log_of_the_store('wal_bytes = 4294967296\n')
    that(most > 30 * MIB, f'4 GiB: {most}')
    for value in ('1048575', '4294967297', "'8M'", '0', '-1', '1e7'):
        refused(f'wal_bytes = {value}\n', 'wal_bytes', '1048576 to 4294967296')


def memory_with(line):
    """Of a server that has written and read 60 MiB."""
    with Server(QUIET + line) as s:
        s.unix.put('/v1/queues/q', {})
        text = 'x' * (100 << 10)
        for _ in range(30):
            s.unix.post('/v1/queues/q/messages', [{'payload': text}] * 20)
        for _ in range(30):
            taken = s.unix.post('/v1/reserve', {'queues': ['q'], 'limit': 20}).json['messages']
            equal(len(taken), 20, f'{line!r}: taken')
        status = pathlib.Path(f'/proc/{s.process.pid}/status').read_text()
        return int(re.search(r'VmHWM:\s+(\d+) kB', status)[1]) << 10


def try_cache_bytes():
    for line in ('', 'cache_bytes = 68719476736\n'):
        that(memory_with(line) > 0, f'{line!r}: it serves')
    least, much = memory_with('cache_bytes = 1048576\n'), memory_with('cache_bytes = 134217728\n')
    that(least < much, f'a small cache takes less memory: {least >> 20} MiB and {much >> 20} MiB')
    for value in ('1048575', '68719476737', "'8M'", '0'):
        refused(f'cache_bytes = {value}\n', 'cache_bytes', '1048576 to 68719476736')


TABLE = {'http': try_http, 'define_over_tcp': try_define_over_tcp, 'beanstalk': try_beanstalk,
         'beanstalk_job_bytes_max': try_beanstalk_job_bytes_max, 'log_level': try_log_level,
         'worker': try_worker, 'wal_bytes': try_wal_bytes, 'cache_bytes': try_cache_bytes}


def main():
    with contextlib.ExitStack() as stack:
        server = rqtest.Server(start=False)
        stack.callback(server.stop)
        (server.dir / 'rq.toml').write_text('no_such = 1\n')
        ran = subprocess.run([rqtest.RQ_BIN, 'server', '--dir', str(server.dir)], capture_output=True,
                             text=True)
    settings = re.search(r'the settings are (.*)', ran.stderr)[1].replace(',', '').split()
    equal(sorted(settings), sorted(TABLE), 'every setting is in the table')
    documented = re.findall(r'^\| `(\w+)` \|', (rqtest.ROOT / 'docs' / 'OPERATIONS.md').read_text(), re.M)
    equal(sorted(n for n in documented if n.islower()), sorted(TABLE), 'docs/OPERATIONS.md tells each')
    refused('http = \n', 'line 1')
    not_a_file()
    for http, beanstalk in (('127.0.0.1:34999', '127.0.0.1:34999'), ('localhost:34999', '127.0.0.1:34999')):
        # faults.md C, relative: "end what uses this one" was the server itself.
        refused(f"worker = false\nhttp = '{http}'\nbeanstalk = '{beanstalk}'\n", 'http and beanstalk', http)
    for attempt in sys.argv[1:] or TABLE:
        TABLE[attempt]()
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
