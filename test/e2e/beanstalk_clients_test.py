"""Public client libraries of beanstalkd, unmodified, against rq: jackd and fivebeans from npm,
beaneater from Debian.

Each client program does what its users do. Time is the server's manual clock: a program says
"pass 30" and this test moves it; "waiting 1" asks that so many reserves wait before it goes on.
"""
# ctest-timeout: 600
import pathlib
import shutil
import socket
import subprocess
import sys
import threading

import rqtest

HERE = pathlib.Path(__file__).resolve().parent / 'clients'
INSTALLED = rqtest.ROOT / 'build' / 'clients'  # npm's modules; kept from run to run
LOOKS_MAX = 20_000
PROGRAM_SECONDS = 120


def install():
    rqtest.npm_install(HERE, INSTALLED)
    for program in ('jackd.js', 'fivebeans.js'):
        shutil.copy(HERE / program, INSTALLED)


class Looker:
    """Asks how many reserves wait, over the same protocol."""

    def __init__(self, port):
        self.sock = socket.create_connection(('127.0.0.1', port), timeout=30)
        self.reader = self.sock.makefile('rb')

    def until_waiting(self, count):
        for _ in range(LOOKS_MAX):
            self.sock.sendall(b'stats\r\n')
            size = int(self.reader.readline().split()[1])
            if b'current-waiting: %d\n' % count in self.reader.read(size + 2):
                return
        raise AssertionError(f'never {count} reserves waiting')


def run(command):
    """The last line that the program said, or what went wrong."""
    said = []
    with rqtest.Server(beanstalk=True) as server:
        looker = Looker(server.beanstalk_port)
        program = subprocess.Popen([*command, str(server.beanstalk_port)], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   cwd=INSTALLED)
        # A client that waits for ever is ended, and what it said is shown.
        watchdog = threading.Timer(PROGRAM_SECONDS, program.kill)
        watchdog.start()
        try:
            for line in program.stdout:
                said.append(line.rstrip())
                word, _, number = said[-1].partition(' ')
                if word == 'pass':
                    server.advance(float(number))
                elif word == 'waiting':
                    looker.until_waiting(int(number))
                else:
                    continue
                program.stdin.write('go on\n')
                program.stdin.flush()
            code = program.wait(rqtest.REPLY_SECONDS)
        finally:
            watchdog.cancel()
            program.kill()
            program.wait()
    if code != 0:
        return '\n'.join([f'exit {code}', *said])
    return said[-1]


def main():
    install()
    checks = rqtest.Checks()
    checks.equal(run(['node', 'jackd.js']), 'all done', 'jackd')
    checks.equal(run(['node', 'fivebeans.js']), 'all done', 'fivebeans')
    checks.equal(run(['ruby', str(HERE / 'beaneater.rb')]), 'all done', 'beaneater')
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
