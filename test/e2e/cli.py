"""What the tests of the command line share: rq as a person runs it, in a pipe and on a terminal."""
import fcntl
import json
import os
import pathlib
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import rqtest

RQ = os.path.abspath(rqtest.RQ_BIN)
checks = rqtest.Checks()


class Ran:
    def __init__(self, process):
        self.code = process.returncode
        self.out = process.stdout.decode(errors='replace')
        self.err = process.stderr.decode(errors='replace')

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return [json.loads(line) for line in self.out.splitlines()]

    def __repr__(self):
        return f'<exit {self.code} out={self.out[:300]!r} err={self.err[:300]!r}>'


class Cli:
    def __init__(self, dir, **env):
        self.env = {k: v for k, v in os.environ.items() if not k.startswith('RQ_')}
        self.env.update({'RQ_DIR': str(dir), 'TERM': 'xterm', **env})

    def __call__(self, *args, input=None, cwd=None, timeout=60):
        feed = {'stdin': subprocess.DEVNULL} if input is None else {'input': input}
        return Ran(subprocess.run([RQ, *map(str, args)], capture_output=True, env=self.env,
                                  cwd=cwd, timeout=timeout, **feed))


def ok(ran, what):
    checks.equal(ran.code, 0, f'{what}: exit code of {ran}')
    return ran


def refused(ran, code, exit_code, what, *said):
    """An error in the form of the house: what and which value, then what to do."""
    checks.equal(ran.code, exit_code, f'{what}: exit code of {ran}')
    checks.equal(ran.out, '', f'{what}: nothing on standard output')
    lines = ran.err.splitlines()
    checks.that(lines and lines[0].startswith('rq'), f'{what}: says who speaks: {ran}')
    checks.that(len(lines) > 1 and lines[1].startswith('  '), f'{what}: has a remedy: {ran}')
    for word in said:
        checks.that(word in ran.err, f'{what}: names {word!r}: {ran}')


def script(dir, name, text):
    path = pathlib.Path(dir) / name
    path.write_text('#!/bin/bash\n' + text)
    path.chmod(0o755)
    return path


def terminal(rq, args, keys, until, seconds=30, env=None, columns=None):
    """Runs rq on a terminal of its own; types `keys` when `until` has been seen."""
    pid, fd = pty.fork()
    if pid == 0:
        if columns:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
        os.execve(RQ, [RQ, *args], {**rq.env, **(env or {})})
    seen = b''
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not select.select([fd], [], [], 0.2)[0]:
            continue
        try:
            chunk = os.read(fd, 65536)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
        if keys and until in seen:
            os.write(fd, keys)
            keys = b''
    else:
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(fd)
    return code, seen
