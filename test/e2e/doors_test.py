# What stands at the doors of a server: signals, its socket and its log, names of hosts, and what is
# refused before it can do harm.
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import rqtest

checks = rqtest.Checks()
equal, that = checks.equal, checks.that


def said_in_log(s, text):
    rqtest.eventually(lambda: text in s.log(), f'the log says {text!r}')


def test_signals():
    """faults.md C17"""
    with rqtest.Server(beanstalk=True) as s:
        (s.dir / 'rq.toml').write_text("log_level = 'debug'\nwal_bytes = 2097152\n")
        s.process.send_signal(signal.SIGHUP)
        said_in_log(s, 'log_level is debug')
        that('at the next start of the server: wal_bytes' in s.log(), f'the rest is named: {s.log()}')
        (s.dir / 'rq.toml').write_text('log_level = ')
        s.process.send_signal(signal.SIGHUP)
        said_in_log(s, 'the configuration stays as it was')
        (s.dir / 'rq.toml').write_text("log_level = 'error'\n")
        s.process.send_signal(signal.SIGHUP)
        (s.dir / 'rq.toml').write_text("log_level = 'info'\n")
        s.process.send_signal(signal.SIGHUP)
        said_in_log(s, 'log_level is info')
        that('log_level is error' not in s.log(), 'a level is in force at once')
        for harmless in (signal.SIGUSR2, signal.SIGPIPE):
            s.process.send_signal(harmless)
        # faults.md E6: as beanstalkd does.
        client = socket.create_connection(('127.0.0.1', s.beanstalk_port), 30)
        replies = client.makefile('rb')
        client.sendall(b'put 0 0 60 1\r\nx\r\n')
        equal(replies.readline(), b'INSERTED 1\r\n', 'before it')
        s.process.send_signal(signal.SIGUSR1)
        said_in_log(s, 'SIGUSR1')
        client.sendall(b'put 0 0 60 1\r\nx\r\nreserve\r\n')
        equal([replies.readline() for _ in range(3)],
              [b'DRAINING\r\n', b'RESERVED 1 1\r\n', b'x\r\n'], 'drained')
        client.close()
        equal(s.get('/v1/health').status, 200, 'it serves on')
        equal(s.terminate(), 0, 'and ends when it is told to')
    with rqtest.Server() as s:
        s.process.send_signal(signal.SIGUSR1)
        said_in_log(s, 'no beanstalkd port')
        equal(s.get('/v1/health').status, 200, 'without the port USR1 is harmless too')


def test_socket_and_log():
    """faults.md C18"""
    with rqtest.Server() as s:
        held = s.connect_unix()
        s.unix.close()
        os.unlink(s.socket_path)
        rqtest.eventually(s.socket_path.exists, 'the socket is made anew')
        equal(s.unix.get('/v1/health').status, 200, 'and answers')
        held.sendall(b'GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n')
        that(held.recv(100).startswith(b'HTTP/1.1 200'), 'an open connection is not touched')
        held.close()
        # Somebody else's file in its place is none of ours.
        s.unix.close()
        os.rename(s.socket_path, s.dir / 'moved')
        s.socket_path.write_text('')
        rqtest.eventually(s.socket_path.is_socket, 'the socket takes its place again')
        equal(s.unix.get('/v1/health').status, 200, 'and answers again')
        # Relative: with its folder.
        s.unix.close()
        shutil.rmtree(s.dir / 'run')
        rqtest.eventually(s.socket_path.is_socket, 'the folder is made anew, and the socket in it')
        equal(s.unix.get('/v1/health').status, 200, 'and it answers once more')
        equal((s.dir / 'run' / 'http.addr').read_text().strip(), f'127.0.0.1:{s.port}', 'its address')

        os.rename(s.log_path, s.dir / 'server.log.1')
        s.process.send_signal(signal.SIGHUP)
        rqtest.eventually(lambda: s.log_path.exists() and 'SIGHUP' in s.log(), 'a new file')
        os.unlink(s.log_path)
        s.process.send_signal(signal.SIGHUP)
        rqtest.eventually(lambda: s.log_path.exists() and 'SIGHUP' in s.log(), 'and again')
        that('SIGHUP' not in (s.dir / 'server.log.1').read_text(), 'the old one is left alone')


def test_log_of_worker():
    """The worker writes where its server writes, also when that is another file."""
    with rqtest.Server(worker=True) as s:
        pid = rqtest.eventually(s.worker_pid, 'a worker')
        rqtest.eventually(lambda: "'local' has its server" in s.log(), 'it is at work')
        lines = [line for line in s.log().splitlines() if ' worker info ' in line]
        that(lines and all(re.match(r'\d{4}-\d\d-\d\dT[\d:.]{12}[+-]\d\d:\d\d ', line) for line in lines),
             f'in the form of the server: {lines}')
        os.rename(s.log_path, s.dir / 'server.log.1')
        s.process.send_signal(signal.SIGHUP)
        rqtest.eventually(lambda: os.readlink(f'/proc/{pid}/fd/2') == str(s.log_path),
                          'the worker follows')
        os.kill(pid, signal.SIGTERM)
        rqtest.eventually(lambda: 'worker info SIGTERM' in s.log(), 'what it says is there')
        that('SIGTERM' not in (s.dir / 'server.log.1').read_text(), 'and not in the old one')


def test_hosts(s):
    """faults.md C13"""
    for host in ['127.0.0.1:9999', 'localhost:1', '[::1]:65535', '127.0.0.1', 'localhost', 'localhost:']:
        equal(s.get('/v1/version', headers={'Host': host}).status, 200, f'Host: {host}')
    for host in ['evil.example', 'evil.example:9999', 'localhost.evil:9999', '127.0.0.1:99999',
                 '127.0.0.1:x', '127.0.0.1.evil', '[::1].evil:1', ':', '127.0.0.2:9999', '']:
        equal(s.get('/v1/version', headers={'Host': host}).status, 403, f'Host: {host}')
    # Relative: the form for proxies, whose host counts (RFC 9112, 3.2.2).
    for target, status in [(f'http://localhost:{s.port}/v1/version', 200),
                           ('HTTP://127.0.0.1/v1/queues', 200), ('http://localhost:/v1/queues', 200), ('http://localhost', 404),
                           ('http://evil.example/v1/version', 403), ('http:///v1/version', 400),
                           ('https://localhost/v1/version', 400)]:
        equal(s.get(target, headers={'Host': 'localhost'}).status, status, f'GET {target}')
    for scheme in ('https', 'ftp'):
        reply = s.get(f'{scheme}://localhost/v1/version')
        that(reply.status == 400 and f"'{scheme}'" in reply.json['error']['message'], f'{scheme}: {reply}')
    # Relative: a page on another port of this machine is another site, and changes nothing here.
    s.put('/v1/queues/page', {})
    for host, origin, status in [('localhost:9999', 'http://localhost:9999', 200),
                                 (f'localhost:{s.port}', f'http://localhost:{s.port}', 200),
                                 (f'localhost:{s.port}', 'http://localhost:9999', 403),
                                 (f'localhost:{s.port}', f'http://127.0.0.1:{s.port}', 403)]:
        reply = s.request('POST', '/v1/queues/page/resume', {}, {'Host': host, 'Origin': origin})
        equal(reply.status, status, f'Host {host}, Origin {origin}: {reply}')


def test_forms(s):
    """faults.md C8"""
    s.put('/v1/queues/forms', {})
    form = {'Content-Type': 'application/x-www-form-urlencoded'}
    path = '/v1/queues/forms/messages'
    for body in ['{"payload":"x"}', ' [{"payload":"x"}]\n']:
        reply = s.request('POST', path, body, form)
        equal((reply.status, reply.code), (415, 'unsupported'), f'{body} as a form')
        that('content-type: application/json' in reply.json['error']['remedy'], f'the remedy: {reply}')
    for body in ['a=b&c=d', '{not json}', '17', '"text"', '']:
        equal(s.request('POST', path, body, form).status, 201, f'{body!r} is a payload')
    equal(s.request('POST', path, '{"payload":"x"}', {'Content-Type': 'text/plain'}).status, 201,
          'who says text means text')
    reply = s.request('POST', '/v1/queues/forms/pause', '{}', form)
    that(reply.status == 415 and 'content-type: application/json' in reply.json['error']['remedy'],
         f'relative: other calls tell the same remedy: {reply}')


def test_webhooks(s):
    """faults.md C21"""
    s.put('/v1/queues/hooks', {})
    path = '/v1/queues/hooks/messages'
    for reply in [s.post(path, {'payload': 'x', 'webhooks': ['http://127.0.0.1/']}),
                  s.request('POST', path + '?webhooks=http://127.0.0.1/', b'x')]:
        equal((reply.status, reply.code), (415, 'unsupported'), f'a webhook: {reply}')
    equal(s.post(path, {'payload': 'x', 'webhooks': []}).status, 201, 'none at all')


def test_folders():
    """Nobody else looks into a store that a backup has put there; a group that was let in stays."""
    with rqtest.Server(start=False) as s:
        for name in ('db', 'run'):
            (s.dir / name).mkdir()
            (s.dir / name).chmod(0o755)
        for _ in range(2):  # also at the next start
            s.start()
            equal([oct((s.dir / name).stat().st_mode & 0o777) for name in ('db', 'run')],
                  ['0o750', '0o750'], 'all others are shut out')
            s.terminate(30)


def test_in_the_way():
    """faults.md C18, relative: what stands in place of a file of run/ is named, and what to do."""
    for name in ('rq.sock', 'server.pid', 'server.lock'):
        with rqtest.Server(start=False) as s:
            (s.dir / 'run' / name).mkdir(parents=True)
            ran = subprocess.run([rqtest.RQ_BIN, 'server', '--dir', str(s.dir), '--http', ''],
                                 capture_output=True, text=True, timeout=60)
            equal(ran.returncode, 10, f'run/{name} is a folder: {ran}')
            that(f'run/{name}' in ran.stderr and 'move' in ran.stderr and 'away' in ran.stderr, f'{ran}')


def test_idle_on_the_socket():
    """faults.md C18, relative: one client that leaks connections locked all others out."""
    class FewFiles(rqtest.Server):
        def command(self, port=0):
            return ['prlimit', '--nofile=200:200', *super().command(port)]

    with FewFiles() as s, contextlib.ExitStack() as stack:
        for _ in range(400):
            idle = stack.enter_context(socket.socket(socket.AF_UNIX))
            idle.settimeout(rqtest.REPLY_SECONDS)
            idle.connect(str(s.socket_path))
        s.unix.close()  # it was idle, too
        equal(s.unix.get('/v1/version').status, 200, 'who comes is let in')
        ran = subprocess.run([rqtest.RQ_BIN, 'stats', '--dir', str(s.dir)], capture_output=True, timeout=60)
        equal(ran.returncode, 0, f'and another one: {ran}')
        said_in_log(s, 'that were idle are closed')


def main():
    test_folders()
    test_in_the_way()
    test_idle_on_the_socket()
    test_signals()
    test_socket_and_log()
    test_log_of_worker()
    with rqtest.Server() as s:
        test_hosts(s)
        test_forms(s)
        test_webhooks(s)
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
