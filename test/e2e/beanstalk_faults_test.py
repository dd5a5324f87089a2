"""Clients of the beanstalkd door that misbehave: the others do not notice, and the memory stays.

Each fault is held while a well-behaved client does whole lives of jobs.
"""
# ctest-timeout: 600
import contextlib
import os
import pathlib
import resource
import socket
import sys

import rqtest

MEMORY_KIB_MAX = 600 * 1024  # of the server
IDLE_KIB_MAX = 16 * 1024     # for a thousand idle connections
LIVES = 50


class Client:
    def __init__(self, port):
        self.sock = socket.create_connection(('127.0.0.1', port), timeout=rqtest.REPLY_SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.sock.makefile('rb')

    def ask(self, command):
        self.sock.sendall(command + b'\r\n')
        return self.line()

    def line(self):
        return self.reader.readline().rstrip(b'\r\n')

    def life(self):
        """A job from put to delete; True when all went as it should."""
        word, number = self.ask(b'put 0 0 60 5\r\nhello').split()
        if word != b'INSERTED' or self.ask(b'reserve') != b'RESERVED %s 5' % number:
            return False
        return self.line() == b'hello' and self.ask(b'delete ' + number) == b'DELETED'

    def close(self):
        self.reader.close()
        self.sock.close()


def raw(port):
    sock = socket.create_connection(('127.0.0.1', port), timeout=rqtest.REPLY_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def send_until_full(sock, data, bound):
    """Sends without reading until the server takes no more; gives how much it took."""
    sock.settimeout(2)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < bound:
            sent += sock.send(data)
    return sent


def stops_reading(port):
    """Asks for much, reads nothing."""
    sock = raw(port)
    sock.sendall(b'use big\r\nput 9 0 60 60000\r\n' + b'b' * 60000 + b'\r\n')
    bound = 200_000_000
    sent = send_until_full(sock, b'peek-ready\r\n' * 5000, bound)
    return sock, None if sent < bound else f'the server took {sent} bytes of commands'


def half_a_command(port):
    sock = raw(port)
    sock.sendall(b'dele')
    return sock, None


def a_line_without_end(port):
    sock = raw(port)
    sock.sendall(b'a' * 50_000_000)
    return sock, None


def a_body_of_2_to_63(port):
    sock = raw(port)
    sock.sendall(b'put 0 0 60 9223372036854775808\r\n' + b'b' * 100_000_000)
    return sock, None


def a_body_that_never_comes(port):
    sock = raw(port)
    sock.sendall(b'put 0 0 60 65535\r\n' + b'b' * 30_000)
    return sock, None


def drops_in_a_body(port):
    for _ in range(200):
        sock = raw(port)
        sock.sendall(b'put 0 0 60 1000\r\n' + b'b' * 500)
        sock.close()
    return None, None


def resets(port):
    for _ in range(200):
        sock = raw(port)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        sock.sendall(b'watch nothing\r\nignore default\r\nreserve\r\n')
        sock.close()
    return None, None


def floods(port):
    """Commands without end that need the engine, and no reading."""
    sock = raw(port)
    bound = 200_000_000
    sent = send_until_full(sock, b'stats-tube default\r\nkick 1\r\nlist-tubes\r\n' * 2000, bound)
    return sock, None if sent < bound else f'the server took {sent} bytes of commands'


def floods_puts(port):
    """Puts without end, and no reading: all that was taken is stored, none of it piles up."""
    sock = raw(port)
    sock.sendall(b'use flood\r\n')
    send_until_full(sock, (b'put 0 0 60 1000\r\n' + b'b' * 1000 + b'\r\n') * 100, 20_000_000)
    return sock, None


FAULTS = [stops_reading, half_a_command, a_line_without_end, a_body_of_2_to_63,
          a_body_that_never_comes, drops_in_a_body, resets, floods, floods_puts]


def memory_kib(server):
    status = pathlib.Path(f'/proc/{server.process.pid}/status').read_text()
    return int(status.partition('VmHWM:')[2].split()[0])


def allowed_kib(server, kib):
    """A sanitizer's server takes many times the memory."""
    maps = pathlib.Path(f'/proc/{server.process.pid}/maps').read_text()
    return kib * (10 if 'libasan' in maps or 'libtsan' in maps else 1)


def idle_connections(server, checks):
    """A thousand clients with nothing to say are there and cost little."""
    before = memory_kib(server)
    idle = [raw(server.beanstalk_port) for _ in range(1000)]
    client = Client(server.beanstalk_port)
    checks.that(all(client.life() for _ in range(LIVES)), 'lives beside 1000 idle clients')
    grown = memory_kib(server) - before
    checks.that(grown < allowed_kib(server, IDLE_KIB_MAX), f'1000 idle clients took {grown} KiB')
    for sock in idle:
        sock.close()
    client.close()


def no_descriptors(server, checks):
    """More knock than may have a descriptor: who has a job in hand works on, others make room."""
    client = Client(server.beanstalk_port)
    held = client.ask(b'put 0 0 600 4\r\nheld').split()[1]
    checks.equal((client.ask(b'reserve'), client.line()), (b'RESERVED %s 4' % held, b'held'), 'a job')
    # A sanitizer looks at a type for the first time through a pipe, for which it needs descriptors.
    checks.that(all(client.life() for _ in range(LIVES)), 'lives before')
    pid = server.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    few = len(os.listdir(f'/proc/{pid}/fd')) + 20
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, before[1]))
    knocking = [raw(server.beanstalk_port) for _ in range(60)]
    checks.that(all(client.life() for _ in range(LIVES)), 'lives with no descriptor left')
    last = Client(server.beanstalk_port)
    for sock in knocking:
        sock.close()
    checks.that(all(last.life() for _ in range(LIVES)), 'lives of the last who knocked')
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    checks.that('that were idle are closed' in server.log(), 'it is told')
    checks.equal(client.ask(b'delete ' + held), b'DELETED', 'and the job in hand is still its own')
    last.close()
    client.close()


def main():
    checks = rqtest.Checks()
    with rqtest.Server(beanstalk=True, manual_clock=False) as server:
        no_descriptors(server, checks)
        client = Client(server.beanstalk_port)
        idle_connections(server, checks)
        held = []
        for fault in FAULTS:
            sock, wrong = fault(server.beanstalk_port)
            checks.equal(wrong, None, fault.__name__)
            checks.that(all(client.life() for _ in range(LIVES)),
                         f'lives beside: {fault.__name__}')
            if sock is not None:
                held.append(sock)
        checks.that(all(client.life() for _ in range(LIVES)), 'lives beside all of them')
        for sock in held:
            sock.close()
        checks.that(all(client.life() for _ in range(LIVES)), 'lives after they went')
        used = memory_kib(server)
        checks.that(used < allowed_kib(server, MEMORY_KIB_MAX), f'the server used {used} KiB')
        print(f'the server used {used} KiB at most')
        client.close()
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
