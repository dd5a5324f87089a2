"""Runs the transcripts of test/transcripts against a real daemon, and holds docs/PROTOCOLS.md to them.

    transcript_test.py [FILE...]         runs all, or those given
    transcript_test.py --write-docs      puts the transcripts into docs/PROTOCOLS.md

A transcript is a conversation, line by line, on a daemon of its own with a manual clock:

    # why                      a comment
    C: put 0 0 60 5            the client sends this and CR LF
    C~ half a li               the client sends this and nothing behind it; \\r \\n \\0 \\xNN are bytes
    S: INSERTED {id}           the server answers this line. {id} is kept, and the same from then on
    S: RESERVED {id} ...       ... is anything
    S: hello                   a body is one line; CR and LF in it are written \\r and \\n
    S: ...                     skips lines until the next expected one
    S: (closed)                the server has closed the connection
    C2: S2:                    another connection, opened when it is first spoken of
    ? 1 waits                  until so many reserves wait: what was sent is then in the engine
    @ +30s                     moves the clock; what fell due is handled when it has moved
    H: PUT /v1/queues/q {}     an HTTP request; the next line may say R: and its status
    ! kill -9                  the daemon is killed and started again; connections are made anew
    ! close C2                 the client closes a connection
    ! half-close C             the client says that it will send no more

{a*200} stands for 200 times a, everywhere.
"""
import pathlib
import re
import socket
import sys

import rqtest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TRANSCRIPTS = ROOT / 'test' / 'transcripts'
DOCS = ROOT / 'docs' / 'PROTOCOLS.md'
REPLY_SECONDS = 30

VERBS = ('put use reserve reserve-with-timeout reserve-job delete release bury touch watch ignore peek '
         'peek-ready peek-delayed peek-buried kick kick-job stats stats-job stats-tube list-tubes '
         'list-tube-used list-tubes-watched pause-tube quit').split()
# All but INTERNAL_ERROR, which only a broken disk brings out.
REPLIES = ('INSERTED USING RESERVED DEADLINE_SOON TIMED_OUT DELETED NOT_FOUND RELEASED BURIED TOUCHED '
           'WATCHING NOT_IGNORED FOUND KICKED OK PAUSED OUT_OF_MEMORY DRAINING BAD_FORMAT '
           'UNKNOWN_COMMAND EXPECTED_CRLF JOB_TOO_BIG').split()


class Mismatch(Exception):
    pass


class Connection:
    def __init__(self, port):
        self.sock = socket.create_connection(('127.0.0.1', port), timeout=REPLY_SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b''
        self.lines = []

    def more(self):
        try:
            piece = self.sock.recv(65536)
        except TimeoutError:
            raise Mismatch(f'no answer in {REPLY_SECONDS} s; there is {self.data!r}') from None
        except ConnectionResetError:
            piece = b''
        if not piece:
            raise EOFError
        self.data += piece

    def take(self, size):
        while len(self.data) < size:
            self.more()
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def line(self):
        """The next line of the conversation; raises EOFError when the server has closed."""
        if not self.lines:
            self.lines = self.read_reply()
        return self.lines.pop(0)

    def read_reply(self):
        while b'\n' not in self.data:
            self.more()
        line = self.take(self.data.index(b'\n') + 1)
        if not line.endswith(b'\r\n'):
            raise Mismatch(f'{line!r} does not end with CR LF')
        text = line[:-2].decode('ascii', 'backslashreplace')
        chunk = re.fullmatch(r'(OK|RESERVED \d+|FOUND \d+) (\d+)', text)
        if not chunk:
            return [text]
        body = self.take(int(chunk[2]) + 2)
        if not body.endswith(b'\r\n'):
            raise Mismatch(f'the body behind {text!r} is not followed by CR LF: {body!r}')
        body = body[:-2].decode('utf-8', 'backslashreplace')
        if chunk[1] == 'OK':
            if not body.endswith('\n'):
                raise Mismatch(f'the list {body!r} does not end with LF')
            return [text, *body[:-1].split('\n')]
        return [text, body.replace('\r', '\\r').replace('\n', '\\n')]


class Player:
    def __init__(self, server):
        self.server = server
        self.port = server.beanstalk_port
        self.connections = {}
        self.values = {}
        self.skipping = set()
        self.status = None

    def on(self, name):
        if name not in self.connections:
            self.connections[name] = Connection(self.port)
        return self.connections[name]

    def fill(self, text):
        text = re.sub(r'\{(.)\*(\d+)\}', lambda m: m[1] * int(m[2]), text)
        return re.sub(r'\{(\w+)\}', lambda m: self.values.get(m[1], m[0]), text)

    def play(self, line):
        if not line or line.startswith('#'):
            return
        if spoken := re.fullmatch(r'C(\d*)(:|~) ?(.*)', line):
            name, kind, text = spoken.groups()
            data = self.fill(text).encode()
            if kind == '~':
                data = data.decode('unicode_escape').encode('latin-1')
            self.on(name).sock.sendall(data + (b'\r\n' if kind == ':' else b''))
        elif heard := re.fullmatch(r'S(\d*): ?(.*)', line):
            self.hear(*heard.groups())
        elif moved := re.fullmatch(r'@ \+([\d.]+)s', line):
            self.server.advance(float(moved[1]))
        elif waits := re.fullmatch(r'\? (\d+) waits?', line):
            self.until_waiting(int(waits[1]))
        elif asked := re.fullmatch(r'H: (\w+) (\S+) ?(.*)', line):
            method, path, body = asked.groups()
            reply = self.server.request(method, self.fill(path), self.fill(body) or None,
                                        {'Content-Type': 'application/json'})
            self.status = reply.status
            if reply.status >= 400:
                raise Mismatch(f'{reply}')
        elif status := re.fullmatch(r'R: (\d+)', line):
            if self.status != int(status[1]):
                raise Mismatch(f'the status is {self.status}')
        elif line == '! kill -9':
            self.server.kill()
            self.close()
            self.server.start()
        elif closed := re.fullmatch(r'! close C(\d*)', line):
            self.connections.pop(closed[1]).sock.close()
        elif closed := re.fullmatch(r'! half-close C(\d*)', line):
            self.on(closed[1]).sock.shutdown(socket.SHUT_WR)
        else:
            raise Mismatch('this is no line of a transcript')

    def hear(self, name, expected):
        if expected == '...':
            self.skipping.add(name)
            return
        skipping = name in self.skipping
        self.skipping.discard(name)
        while True:
            try:
                line = self.on(name).line()
            except EOFError:
                if expected == '(closed)':
                    return
                raise Mismatch('the server has closed the connection') from None
            if self.matches(expected, line):
                return
            if not skipping:
                raise Mismatch(f'the server said: {line}')

    def matches(self, expected, line):
        pattern, names = '', []
        for piece in re.split(r'(\.\.\.|\{\w+\})', self.fill(expected)):
            if piece == '...':
                pattern += '.*'
            elif re.fullmatch(r'\{\w+\}', piece):
                names.append(piece[1:-1])
                pattern += r'([^\s]+)'
            else:
                pattern += re.escape(piece)
        found = re.fullmatch(pattern, line)
        if found:
            self.values.update(zip(names, found.groups()))
        return found is not None

    def until_waiting(self, wanted):
        connection = self.on('to look')
        for _ in range(20000):
            connection.sock.sendall(b'stats\r\n')
            reply = connection.read_reply()
            if f'current-waiting: {wanted}' in reply:
                return
        raise Mismatch(f'never {wanted} waiting: {reply}')

    def close(self):
        for connection in self.connections.values():
            connection.sock.close()
        self.connections.clear()

    def nothing_unread(self):
        for name, connection in self.connections.items():
            if connection.lines or connection.data:
                raise Mismatch(f'connection {name or 1} has more to say: '
                               f'{connection.lines} {connection.data!r}')


def start_server():
    return rqtest.Server(beanstalk=True)


def run(path, start=start_server):
    """None when it went as written, else what is wrong."""
    with start() as server:
        player = Player(server)
        for number, line in enumerate(path.read_text().splitlines(), 1):
            try:
                player.play(line)
            except (Mismatch, OSError, EOFError) as error:
                return f'{path.name}:{number}: {line}\n    {error!r}'
        try:
            player.nothing_unread()
        except Mismatch as error:
            return f'{path.name}: {error}'
        finally:
            player.close()
    return None


def transcripts():
    return sorted(TRANSCRIPTS.glob('*/*.txt'))


def documented(text):
    """name -> transcript, as docs/PROTOCOLS.md shows them."""
    return dict(re.findall(r'^### `test/transcripts/(\S+)`\n\n```\n(.*?)^```$', text, re.M | re.S))


def write_docs():
    text = DOCS.read_text()
    mark = '<!-- transcripts: written by test/e2e/transcript_test.py --write-docs -->\n'
    head = text[:text.index(mark)] + mark
    for path in transcripts():
        head += (f'\n### `test/transcripts/{path.relative_to(TRANSCRIPTS)}`\n\n'
                 f'```\n{path.read_text()}```\n')
    DOCS.write_text(head)


def check_docs(checks):
    shown = documented(DOCS.read_text())
    there = {str(p.relative_to(TRANSCRIPTS)): p.read_text() for p in transcripts()}
    checks.equal(sorted(shown), sorted(there), 'docs/PROTOCOLS.md shows every transcript')
    for name in sorted(shown):
        checks.equal(shown[name] == there.get(name), True,
                     f'docs/PROTOCOLS.md shows {name} as it is (--write-docs does it)')


def check_coverage(checks):
    lines = [line for path in transcripts() for line in path.read_text().splitlines()]
    sent = {m[1] for line in lines if (m := re.match(r'C\d*: (\S+)', line))}
    heard = {m[1] for line in lines if (m := re.match(r'S\d*: (\S+)', line))}
    checks.equal(sorted(set(VERBS) - sent), [], 'commands that no transcript sends')
    checks.equal(sorted(set(REPLIES) - heard), [], 'replies that no transcript hears')


def main(arguments):
    if arguments == ['--write-docs']:
        write_docs()
        return 0
    checks = rqtest.Checks()
    for path in [pathlib.Path(a) for a in arguments] or transcripts():
        checks.equal(run(path), None, path.name)
    if not arguments:
        check_docs(checks)
        check_coverage(checks)
    return checks.report()


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
