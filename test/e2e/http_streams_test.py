"""What a client cannot make the HTTP server hold: bodies of gigabytes pass through it, replies that
nobody reads wait on the disk, and slow clients disturb nobody."""
# ctest-timeout: 600
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading

import rqtest

checks = rqtest.Checks()
equal, that = checks.equal, checks.that

MiB = 1 << 20
# The body that goes through the server of one file. 4 GiB is what docs/ARCHITECTURE.md promises.
BODY = int(os.environ.get('RQ_BODY_BYTES', 4 << 30))
MEMORY = 60 * MiB
PIECE = b''.join(i.to_bytes(8, 'little') for i in range(MiB // 8))


def memory(pid, field='VmHWM'):
    """Resident memory of a process in bytes: the most it ever had, or (VmRSS) what it has now."""
    for line in pathlib.Path(f'/proc/{pid}/status').read_text().splitlines():
        if line.startswith(field + ':'):
            return int(line.split()[1]) * 1024
    raise LookupError(f'/proc/{pid}/status has no {field}')


def holds_less(pid, bound, what, before=0):
    """Checks the most memory that a process ever had, above what it had before. Under a sanitizer
    it takes many times as much, and nothing can be said."""
    if os.environ.get('RQ_SANITIZE'):
        print(f'not checked under a sanitizer: {what} in {bound} bytes')
        return
    held = memory(pid) - before
    that(held < bound, f'{what}: it held {held} bytes, at most {bound} are allowed')


def read_head(sock):
    data = b''
    while b'\r\n\r\n' not in data:
        piece = sock.recv(65536)
        assert piece, data
        data += piece
    head, _, rest = data.partition(b'\r\n\r\n')
    return head, rest


class FileServer:
    """test/programs/http_file_server: http/ alone, with a route for one file."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, 'socket')
        program = pathlib.Path(rqtest.RQ_BIN).parent / 'test' / 'http_file_server'
        self.process = subprocess.Popen([str(program), self.path,
                                         os.path.join(self.folder.name, 'file')],
                                        stdin=subprocess.PIPE)
        rqtest.eventually(lambda: os.path.exists(self.path), 'the file server listens')

    def connect(self):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.path)
        return sock

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(30)
        self.folder.cleanup()


def test_large_body():
    with FileServer() as server:
        with server.connect() as sock:
            sock.sendall(b'PUT /file HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n' % BODY)
            for _ in range(BODY // len(PIECE)):
                sock.sendall(PIECE)
            that(read_head(sock)[0].startswith(b'HTTP/1.1 201 '), 'a body of gigabytes is taken')
            holds_less(server.process.pid, MEMORY, 'the body that came')
            sock.sendall(b'GET /file HTTP/1.1\r\nHost: x\r\n\r\n')
            head, rest = read_head(sock)
            that(b'Content-Length: %d' % BODY in head, 'and given back whole')
            got, wrong = 0, 0
            buffer = bytearray(rest)
            while got < BODY:
                while len(buffer) < len(PIECE):
                    piece = sock.recv(len(PIECE))
                    if not piece:
                        break
                    buffer += piece
                if len(buffer) < len(PIECE):
                    break
                wrong += buffer[:len(PIECE)] != PIECE
                del buffer[:len(PIECE)]
                got += len(PIECE)
            equal((got, wrong), (BODY, 0), 'byte for byte')
            holds_less(server.process.pid, MEMORY, 'the body that went')
        with server.connect() as sock:
            sock.sendall(b'GET /generated?bytes=%d HTTP/1.1\r\nHost: x\r\n\r\n' % (1 << 40))
            that(b'Transfer-Encoding: chunked' in read_head(sock)[0], 'a generator without a length')
            for _ in range(1000):
                sock.recv(65536)
            holds_less(server.process.pid, MEMORY, 'a generator, asked as the client reads')


def finished_message(s, queue, log):
    """A message with a log of these bytes."""
    s.put(f'/v1/queues/{queue}')
    s.post(f'/v1/queues/{queue}/messages', {})
    got, = s.post('/v1/reserve', {'queues': [queue], 'folder': True}).json['messages']
    job = s.dir / got['folder'] / 'job'
    job.mkdir(parents=True)
    (job / 'stdio.log').write_bytes(log)
    s.post('/v1/done', {'token': got['lease']['token']})
    return got['id']


def test_pipelined_logs(s):  # faults.md D9
    size = 16 * MiB
    message = finished_message(s, 'logs', b'0123456789abcde\n' * (size // 16))
    request = f'GET /v1/messages/{message}/log HTTP/1.1\r\nHost: localhost:{s.port}\r\n\r\n'
    before = memory(s.process.pid, 'VmRSS')
    with s.connect() as sock:
        sock.sendall(request.encode() * 100)
        # When another client has its log whole, the first requests have long been looked at.
        equal(len(s.get(f'/v1/messages/{message}/log').body), size, 'a log, whole')
        holds_less(s.process.pid, 20 * MiB, '100 logs that nobody reads', before)
        for _ in range(3):
            head, rest = read_head(sock)
            that(head.startswith(b'HTTP/1.1 200 '), 'the next log')
            left = size - len(rest)
            while left > 0:
                left -= len(sock.recv(min(left, MiB)))
        holds_less(s.process.pid, 20 * MiB, 'the same, when they are read', before)


def test_streams_nobody_reads(s):  # faults.md D11
    s.put('/v1/queues/loud')
    socks = []
    before = memory(s.process.pid, 'VmRSS')
    for _ in range(20):
        sock = s.connect()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(f'GET /v1/events HTTP/1.1\r\nHost: localhost:{s.port}\r\n\r\n'.encode())
        read_head(sock)
        socks.append(sock)
    item = {'payload': 'x', 'prep': True}
    for _ in range(60):
        s.post('/v1/queues/loud/messages', [item] * 1000)
    rqtest.eventually(lambda: s.get('/v1/stats').json['connections'] < 20,
                      'streams that nobody reads are cut off')
    holds_less(s.process.pid, 20 * 4 * MiB, '20 streams that nobody reads', before)
    for sock in socks:
        sock.close()


def test_large_json(s):  # faults.md D12
    s.put('/v1/queues/large')
    body = b'{"payload_json":[' + b'1,' * (31 * MiB // 2) + b'1]}'
    before = memory(s.process.pid, 'VmRSS')
    answers = 0
    done = threading.Event()

    def ask():
        nonlocal answers
        client = rqtest.Client(s._make)
        while not done.is_set():
            client.get('/v1/version')
            answers += 1
    other = threading.Thread(target=ask)
    other.start()
    rqtest.eventually(lambda: answers > 0, 'another client is answered')
    alone = answers
    reply = s.request('POST', '/v1/queues/large/messages', body,
                      {'Content-Type': 'application/json'})
    beside = answers - alone
    done.set()
    other.join()
    equal((reply.status, reply.code), (413, 'too_large'), 'one put of 31 MB')
    holds_less(s.process.pid, 4 * len(body), 'one put of 31 MB', before)
    # One that is parsed in one go lets one answer pass before it and one behind it.
    that(beside > 4, f'{beside} answers to another client beside a put of 31 MB')
    body = json.dumps({'payload_json': ['x' * 1000] * 4000}).encode()
    reply = s.request('POST', '/v1/queues/large/messages', body,
                      {'Content-Type': 'application/json'})
    equal(reply.status, 201, 'one of 4 MB')
    equal(s.get(f"/v1/messages/{reply.json['id']}/payload").json, ['x' * 1000] * 4000,
          'is there as it came')


def test_slow_clients(s):  # faults.md D18
    """They are not waited for by anybody else; the bounds of time themselves are in server_test."""
    s.put('/v1/queues/slow')
    socks = [s.connect() for _ in range(200)]
    head = (f'POST /v1/queues/slow/messages HTTP/1.1\r\nHost: localhost:{s.port}\r\n'
            'Content-Length: 100\r\n\r\n').encode()
    for i in range(20):
        for sock in socks:
            sock.send(head[i:i + 1])
        equal(s.get('/v1/health').status, 200, 'health beside 200 slow clients')
    for sock in socks:
        sock.close()


def test_texts_of_others(s):  # faults.md C19
    s.put('/v1/queues/other')
    reply = s.request('POST', '/v1/queues/other/messages', b'\xef\xbb\xbf{"payload":"x"}',
                      {'Content-Type': 'application/json'})
    equal(reply.status, 201, 'a byte order mark before JSON')
    reply = s.request('POST', '/v1/queues/other/messages', b'\x1f\x8b',
                      {'Content-Encoding': 'gzip'})
    equal(reply.status, 415, 'a body with a Content-Encoding')
    with s.connect() as sock:
        sock.sendall(b'GET /v1/version HTTP/1.0\r\n\r\n')
        that(read_head(sock)[0].startswith(b'HTTP/1.1 200 '), 'HTTP/1.0 without Host')
    r = s.get('/v1/openapi.json')
    known = s.get('/v1/openapi.json', headers={'If-None-Match': r.headers['etag']})
    equal((known.status, known.body), (304, b''), 'a document that the client has')


def main():
    with rqtest.Server() as server:
        for test in [test_pipelined_logs, test_streams_nobody_reads, test_large_json,
                     test_slow_clients, test_texts_of_others]:
            test(server)
            print(f'{test.__name__}: {checks.passed} passed so far', flush=True)
        equal(server.terminate(), 0, 'the server is well')
    test_large_body()
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
