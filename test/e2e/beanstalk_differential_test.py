"""The same commands for rq and for beanstalkd itself: what they answer must be the same.

    beanstalk_differential_test.py [--commands N] [--seed S] [--keep]

Random commands, valid and slightly invalid, pipelined on four connections. Numbers of jobs are
replaced by the order of their puts; ages, times that are left, and what docs/PROTOCOLS.md names
under "Where it differs" are left out. The first difference is made smaller until every command
that is left is needed, and printed. A round is a fresh pair of servers.

Times are so long that none of them passes during a round: what depends on the clock is the
business of the transcripts, which have a clock of their own.
"""
import argparse
import difflib
import random
import re
import select
import socket
import subprocess
import sys
import time

import rqtest

BODY_BYTES_MAX = 200
LINE_BYTES_MAX = 224
LEASE_MAX = 366 * 24 * 3600
DELAY_MAX = 100 * LEASE_MAX
CONNECTIONS = 4
SEED = 1000
WAITING_MAX = 1          # connections that wait at the same time: of several, beanstalkd serves any
COMMANDS_A_ROUND = 500
REPLY_SECONDS = 5        # only a difference takes so long
TUBES = ['default', 'a', 'b', 'c', 'Az09-+/;.$_()', 'x' * 200]
# What can wake a waiting reserve; sent alone while one waits, so that there is one order of events.
WAKING = ('put', 'release', 'kick', 'kick-job', 'pause-tube', 'reserve')
UNNAMED = '18446744073709551615'

# Of stats: what two servers cannot have in common, and what PROTOCOLS.md names.
OF_THE_PROCESS = re.compile(
    r'(pid|version|rq-version|rusage-.*|uptime|binlog-.*|id|hostname|os|platform|cmd-stats): .*')
NOT_KEPT = re.compile(r'(releases|buries|kicks): .*')


# --- What is sent ---

class Command:
    """One request; {tag} in it is the number of the job that the put with this tag made."""

    def __init__(self, text, tag=None):
        self.text = text
        self.tag = tag

    @property
    def word(self):
        return self.text.split(b' ')[0].rstrip(b'\r\n').decode('latin-1')

    @property
    def wakes(self):
        return self.word in WAKING

    @property
    def blocks(self):
        return re.fullmatch(rb'reserve|reserve-with-timeout 1000', self.text.rstrip(b'\r\n'))

    def bytes(self, ids):
        return re.sub(rb'\{(\d+)\}', lambda m: ids.get(int(m[1]), UNNAMED).encode(), self.text)


class Burst:
    """Commands that a connection sends in one piece, or in two cut at `cut`; none: it closes."""

    def __init__(self, connection, commands, cut=0.0):
        self.connection = connection
        self.commands = commands
        self.cut = cut


class Generator:
    def __init__(self, rng):
        self.rng = rng
        self.tags = 0
        self.recent = []

    def job(self):
        if not self.recent or self.rng.random() < 0.03:
            return self.rng.choice(['0', '999999', UNNAMED])
        return '{%d}' % self.rng.choice(self.recent[-12:])

    def tube(self):
        return self.rng.choice(TUBES[:4] if self.rng.random() < 0.9 else TUBES)

    def time(self):
        return self.rng.choice([0, 0, 0, 1000, 2000, 3000, 4294967295])

    def priority(self):
        return self.rng.choice([0, 1, 1, 1023, 1024, 4294967295])

    def put(self):
        self.tags += 1
        self.recent.append(self.tags)
        size = self.rng.choice([0, 1, 5, 30, BODY_BYTES_MAX])
        # No CR: a body may be read as a line, behind a command that is not quite right.
        body = bytes(self.rng.choice(b'abcxyz \n\0') for _ in range(size))
        ttr = self.rng.choice([1000, 1000, 5000, 4294967295])
        head = f'put {self.priority()} {self.time()} {ttr} {size}\r\n'
        return Command(head.encode() + body + b'\r\n', self.tags)

    def line(self):
        r = self.rng
        return r.choices(
            [lambda: 'reserve-with-timeout 0',
             lambda: f'reserve-job {self.job()}',
             lambda: f'delete {self.job()}',
             lambda: f'release {self.job()} {self.priority()} {self.time()}',
             lambda: f'bury {self.job()} {self.priority()}',
             lambda: f'touch {self.job()}',
             lambda: f'use {self.tube()}',
             lambda: f'watch {self.tube()}',
             lambda: f'ignore {self.tube()}',
             lambda: f'peek {self.job()}',
             lambda: r.choice(['peek-ready', 'peek-delayed', 'peek-buried']),
             lambda: f'kick {r.choice([0, 1, 2, 10, 1000])}',
             lambda: f'kick-job {self.job()}',
             lambda: f'stats-job {self.job()}',
             lambda: f'stats-tube {self.tube()}',
             lambda: r.choice(['list-tubes', 'list-tube-used', 'list-tubes-watched']),
             lambda: 'stats',
             lambda: f'pause-tube {self.tube()} {r.choice([0, 0, 1000, 31622401, 4294967295])}'],
            [14, 4, 8, 6, 5, 3, 7, 6, 4, 3, 4, 3, 3, 5, 4, 5, 2, 3])[0]()

    def tail(self):
        """Behind a reserve that may wait: what wakes nobody."""
        while True:
            command = Command(self.line().encode() + b'\r\n')
            if not command.wakes:
                return command

    def mangled(self):
        """Not quite what the protocol says."""
        r = self.rng
        put = self.put() if r.random() < 0.3 else None
        text = put.text if put else self.line().encode() + b'\r\n'
        # Their numbers beanstalkd reads more generously than rq: PROTOCOLS.md.
        while text.startswith((b'reserve-with-timeout', b'kick ')):
            text = self.line().encode() + b'\r\n'
        head, _, rest = text.partition(b'\r\n')
        words = head.split(b' ')
        at = r.randrange(len(words))
        kind = r.randrange(14)
        if kind == 0:
            head += r.choice([b' ', b' x', b'x', b'  ', b' 1', b'\t'])
        elif kind == 1:
            words[at] = words[at].upper()
            head = b' '.join(words)
        elif kind == 2:
            head = b'  '.join(words)
        elif kind == 3:
            del words[at]
            head = b' '.join(words)
        elif kind == 4 and at > 0:
            # No small number: a put that is refused has taken one from beanstalkd, not from rq.
            words[at] = r.choice([b'-1', b'4294967296', b'18446744073709551616', b'1e3', b'0x10',
                                  b'+5', b'0001000', b'', b'99999999999999999999999', b'a b'])
            head = b' '.join(words)
        elif kind == 5:
            spot = r.randrange(len(head) + 1)
            head = head[:spot] + r.choice([b'\0', b'\n', b'\xff']) + head[spot:]
        elif kind == 6:
            head += b' ' * r.choice([1, 150, 300, 600])
        elif kind == 7:
            head = b' ' + head
        elif kind == 8:
            words[0] += r.choice([b'x', b'-', b'-job', b' '])
            head = b' '.join(words)
        elif kind == 9:
            head = r.choice([b'', b'reserve-with-timeout', b'pause-tube', b'peek-', b'statsx',
                             b'reserved', b'list-tube', b'use', b'put', b'delete', b'watch -a',
                             b'use ' + b'y' * 201, b'use a*b', b'pause-tube a', b'kick', b'use  a',
                             b'GET', b'POST'])
        elif kind == 10 and rest:
            rest = b'ab' + rest if r.random() < 0.5 else rest[:-2] + r.choice([b'ab\r\n', b'\n\r\n'])
        elif kind == 11:
            size = r.choice([BODY_BYTES_MAX + 1, 2000])
            return Command(b'put 0 0 1000 %d\r\n' % size + b'z' * size + b'\r\n')
        elif kind == 12:
            head = b'put 0 0 1000 1 x'
            rest = b'1\r\n'
        if re.match(rb'(kick|reserve-with-timeout) +\d+[^\d]|put +\d+ +\d+ +\d+ +\d{10}', head):
            return self.mangled()  # named in PROTOCOLS.md: behind these numbers, and sizes above 2^32
        return Command(head + b'\r\n' + rest, put and put.tag)

    def burst(self):
        r = self.rng
        connection = r.randrange(CONNECTIONS)
        if r.random() < 0.02:
            return Burst(connection, [])
        commands = []
        for _ in range(r.choice([1, 1, 2, 3, 5, 8, 13])):
            dice = r.random()
            if dice < 0.22:
                commands.append(self.put())
            elif dice < 0.30:
                commands.append(self.mangled())
            else:
                commands.append(Command(self.line().encode() + b'\r\n'))
        if r.random() < 0.08:
            word = r.choice([b'reserve\r\n', b'reserve-with-timeout 1000\r\n'])
            commands.append(Command(word))
            commands += [self.tail() for _ in range(r.choice([0, 0, 1, 3]))]
        return Burst(connection, commands, r.random() if r.random() < 0.3 else 0.0)


# --- How many replies a piece of the stream has ---

NUMBER = re.compile(rb' *(\d+)')


def put_size(line):
    """The announced size of a put and what stands behind it; None when it cannot be read."""
    at = 3
    if b'\0' in line:
        return None
    for bound in (2 ** 32, 2 ** 32, 2 ** 32, 2 ** 32):
        number = NUMBER.match(line, at)
        if not number or int(number[1]) >= bound:
            return None
        at = number.end()
    return int(number[1]), line[at:]


class Framing:
    """What a connection has sent, cut into requests as the protocol cuts it."""

    def __init__(self):
        self.data = b''
        self.offset = 0    # of data's first byte in all that was sent
        self.tag_at = {}   # by the offset of a put

    def replies(self, commands):
        """A tag or None for each reply that is due: `commands` are (bytes, tag)."""
        for data, tag in commands:
            if tag is not None:
                self.tag_at[self.offset + len(self.data)] = tag
            self.data += data
        due = []
        while (taken := self.first_request()) is not None:
            due.append(self.tag_at.pop(self.offset, None))
            self.data = self.data[taken:]
            self.offset += taken
        return due

    def first_request(self):
        """Its length; None when it is not complete."""
        end = self.data.find(b'\r\n', 0, LINE_BYTES_MAX)
        if end < 0:
            end = self.data.find(b'\r\n') if len(self.data) >= LINE_BYTES_MAX else -1
            return None if end < 0 else end + 2
        line = self.data[:end]
        taken = end + 2
        size = put_size(line) if line.startswith(b'put ') else None
        if size and (size[0] > BODY_BYTES_MAX or not size[1]):
            taken += size[0] + 2
        return taken if len(self.data) >= taken else None


# --- What is answered ---

class Connection:
    def __init__(self, port):
        self.sock = socket.create_connection(('127.0.0.1', port), timeout=REPLY_SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b''
        self.framing = Framing()
        self.due = []
        self.closed = False

    def send(self, commands, cut=0.0):
        self.due += self.framing.replies(commands)
        data = b''.join(data for data, _ in commands)
        spot = int(len(data) * cut)
        for piece in (data[:spot], data[spot:]):
            if piece:
                self.sock.sendall(piece)

    def replies(self):
        """All replies that are there in full: (line, body or None, tag of the put or None)."""
        while True:
            line, there, rest = self.data.partition(b'\r\n')
            if not there:
                return
            body = None
            chunk = re.fullmatch(rb'(OK|RESERVED \d+|FOUND \d+) (\d+)', line)
            if chunk:
                size = int(chunk[2])
                if len(rest) < size + 2:
                    return
                body, rest = rest[:size], rest[size + 2:]
            self.data = rest
            yield line.decode('latin-1'), body, self.due.pop(0) if self.due else None

    def read(self):
        piece = b''
        try:
            piece = self.sock.recv(65536)
        except ConnectionResetError:
            pass
        self.closed = not piece
        self.data += piece


class Side:
    """One of the two servers, with its connections and the numbers of its jobs."""

    def __init__(self, name, port):
        self.name = name
        self.port = port
        self.control = Connection(port)
        self.connections = {}
        self.ids = {}    # tag -> number
        self.names = {}  # number -> what both servers call the job
        rqtest.eventually(lambda: self.figure('current-connections') == 1, 'nobody else is there')

    def on(self, index):
        if index not in self.connections:
            self.connections[index] = Connection(self.port)
        return self.connections[index]

    def send(self, burst, commands):
        self.on(burst.connection).send([(c.bytes(self.ids), c.tag) for c in commands], burst.cut)

    def close(self, index):
        if index in self.connections:
            self.connections.pop(index).sock.close()
            wanted = len(self.connections) + 1
            rqtest.eventually(lambda: self.figure('current-connections') == wanted,
                              f'{self.name} sees that a connection was closed')

    def end(self):
        for connection in [self.control, *self.connections.values()]:
            connection.sock.close()

    def figure(self, name):
        self.control.send([(b'stats\r\n', None)])
        while not (replies := list(self.control.replies())):
            self.control.read()
        return int(re.search(rf'^{name}: (\d+)$'.encode(), replies[-1][1], re.M)[1])

    def waiting(self):
        return [i for i, c in self.connections.items() if c.due]

    def settle(self):
        """All that is answered by now: connection -> replies. 'silent' names connections that
        have neither an answer nor a reserve that waits."""
        said = {}
        deadline = time.monotonic() + REPLY_SECONDS
        while True:
            for index, connection in self.connections.items():
                if replies := list(connection.replies()):
                    said.setdefault(index, []).extend(replies)
            behind = [c for c in self.connections.values() if c.due]
            if not behind:
                return self.heard(said)
            if any(c.closed for c in behind) or time.monotonic() > deadline:
                return {**self.heard(said), 'silent': self.waiting()}
            socks = [c.sock for c in behind]
            wait = 0
            if not select.select(socks, [], [], 0)[0]:
                # Who has no answer waits for a job, or his answer is on its way.
                if self.figure('current-waiting') != len(behind):
                    wait = 0.01
                elif not select.select(socks, [], [], 0)[0]:
                    return self.heard(said)
            ready = select.select(socks, [], [], wait)[0]
            for connection in behind:
                if connection.sock in ready:
                    connection.read()

    def heard(self, said):
        for replies in said.values():
            self.learn(replies)  # before a job is told of that another connection has put
        return {index: [self.plain(line, body) for line, body, _ in replies]
                for index, replies in sorted(said.items())}

    def learn(self, replies):
        """The numbers of new jobs."""
        for line, _, tag in replies:
            word, _, number = line.partition(' ')
            if word == 'INSERTED':
                self.names[number] = f'#{len(self.names) + 1}'
                if tag is not None:
                    self.ids[tag] = number

    def plain(self, line, body):
        """A reply without what differs from server to server."""
        words = line.split(' ')
        if words[0] in ('INSERTED', 'RESERVED', 'FOUND'):
            words[1] = self.names.get(words[1], words[1])
        text = ' '.join(words)
        if words[0] == 'OK':
            entries = body.decode('latin-1').split('\n')
            if not any(': ' in entry for entry in entries):
                entries.sort()  # a tube that goes gives its place to the last one, or does not
            return '\n'.join(self.plain_entry(entry) for entry in self.told(entries))
        return text if body is None else f'{text} {body!r}'

    def told(self, entries):
        """Without those that PROTOCOLS.md excepts because of what stands beside them."""
        left_out = ['rq-version']
        told = dict(entry.split(': ', 1) for entry in entries if ': ' in entry)
        if int(told.get('reserves', 0)) > (told.get('state') == 'reserved'):
            left_out.append('delay: ')  # it came back, however it did
        if entries[1:2] and entries[1].startswith('name:'):
            left_out += ['cmd-pause-tube', 'pause: ']  # known since somebody last took up the tube
        else:
            left_out.append('cmd-')  # what stands behind a reserve that waits may be counted already
        return [entry for entry in entries if not entry.startswith(tuple(left_out))]

    def plain_entry(self, entry):
        key, _, value = entry.partition(': ')
        if key == 'id' and value in self.names:
            return f'id: {self.names[value]}'
        if OF_THE_PROCESS.fullmatch(entry) or NOT_KEPT.fullmatch(entry):
            return f'{key}: -'
        if key == 'age':
            return 'age: -'
        if key in ('tube', 'name'):
            return f'{key}: {value.strip(chr(34))}'  # 1.13 quotes them, Debian's 1.12 does not
        if key in ('time-left', 'pause-time-left'):
            return f'{key}: {"0" if value == "0" else "some"}'
        if key == 'ttr':
            return f'{key}: {min(int(value), LEASE_MAX)}'
        if key == 'delay':
            return f'{key}: {min(int(value), DELAY_MAX)}'
        return entry


# --- A round, and what is left of it ---

def answers(port):
    try:
        socket.create_connection(('127.0.0.1', port)).close()
        return True
    except OSError:
        return False


class Pair:
    """A fresh beanstalkd and a fresh rq."""

    def __init__(self):
        self.peer_port = rqtest.free_port()
        self.peer = subprocess.Popen(['beanstalkd', '-l', '127.0.0.1', '-p', str(self.peer_port),
                                      '-z', str(BODY_BYTES_MAX)])
        self.server = rqtest.Server(manual_clock=False, beanstalk=True, start=False)
        try:
            (self.server.dir / 'rq.toml').write_text(f'beanstalk_job_bytes_max = {BODY_BYTES_MAX}\n')
            self.server.start()
            rqtest.eventually(lambda: answers(self.peer_port), 'beanstalkd answers')
            rqtest.eventually(lambda: answers(self.server.beanstalk_port), 'rq answers')
            self.sides = [Side('beanstalkd', self.peer_port), Side('rq', self.server.beanstalk_port)]
        except BaseException:
            self.stop()
            raise

    def stop(self):
        self.peer.kill()
        self.peer.wait()
        self.server.stop()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        for side in self.sides:
            side.end()
        self.stop()


class Difference(Exception):
    pass


def cut_behind_buries(commands):
    """Jobs that are buried in the same millisecond have no order but their numbers: PROTOCOLS.md."""
    pieces = [[]]
    for command in commands:
        pieces[-1].append(command)
        if command.word == 'bury':
            pieces.append([])
    return [piece for piece in pieces if piece]


def a_tick_of_the_clock():
    began = time.monotonic()
    while time.monotonic() < began + 0.002:
        pass


def play(bursts, sent=None):
    """Both servers get the same; raises Difference. Adds to `sent` what was really sent."""
    sent = [] if sent is None else sent
    with Pair() as pair:
        peer = pair.sides[0]
        for burst in bursts:
            if not burst.commands:
                if not peer.waiting():
                    sent.append(burst)
                    for side in pair.sides:
                        side.close(burst.connection)
                continue
            if burst.connection in peer.waiting():
                continue
            commands = burst.commands
            if len(peer.waiting()) >= WAITING_MAX:
                commands = [c for c in commands if not c.blocks]
            if peer.waiting():
                # Of many that are kicked, whoever waits gets the best from one, the first from the other.
                commands = [c for c in commands if c.word != 'kick' or c.text == b'kick 1\r\n']
            alone = bool(peer.waiting()) and any(c.wakes for c in commands)
            for piece in ([[c] for c in commands] if alone else cut_behind_buries(commands)):
                if burst.connection in peer.waiting():
                    break
                sent.append(Burst(burst.connection, piece, burst.cut))
                heard = []
                for side in pair.sides:
                    side.send(burst, piece)
                    heard.append(side.settle())
                if heard[0] != heard[1] or 'silent' in heard[0]:
                    raise Difference(show(sent[-1], heard))
                if piece[-1].word == 'bury':
                    a_tick_of_the_clock()
    return sent


def show(burst, heard):
    lines = []
    for said in heard:
        lines.append([f'{index}: {line}' for index, replies in said.items()
                      for reply in replies for line in str(reply).split('\n')])
    return '\n'.join([f'on connection {burst.connection}, to {[c.text for c in burst.commands]}',
                      *difflib.unified_diff(*lines, 'beanstalkd', 'rq', lineterm='', n=2)])


def differs(bursts):
    try:
        play(bursts)
    except Difference as difference:
        return difference
    return None


def smaller(items, still):
    """The items without those that can go while still(items) holds."""
    size = max(1, len(items) // 2)
    while size:
        at = 0
        while at < len(items):
            without = items[:at] + items[at + size:]
            if still(without):
                items = without
            else:
                at += size
        size //= 2
    return items


def minimise(bursts):
    bursts = smaller(bursts, differs)
    flat = [(at, c) for at, burst in enumerate(bursts) for c in burst.commands]

    def built(kept):
        made = []
        for at, burst in enumerate(bursts):
            commands = [c for i, c in kept if i == at]
            if commands or not burst.commands:
                made.append(Burst(burst.connection, commands, burst.cut))
        return made

    return built(smaller(flat, lambda kept: differs(built(kept))))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument('--commands', type=int, default=2000)
    arguments.add_argument('--seed', type=int, default=SEED,
                           help='of the first round; each test run plays the same')
    arguments.add_argument('--as-found', action='store_true', help='print a difference as it is')
    options = arguments.parse_args()
    checks = rqtest.Checks()
    print(f'--commands {options.commands} --seed {options.seed}', flush=True)
    count = 0
    first = options.seed
    for seed in range(first, first + options.commands):
        if count >= options.commands:
            break
        generator = Generator(random.Random(seed))
        bursts = []
        while sum(len(b.commands) for b in bursts) < min(COMMANDS_A_ROUND, options.commands):
            bursts.append(generator.burst())
        sent = []
        try:
            play(bursts, sent)
        except Difference as found:
            print(f'seed {seed} differs: {found}', flush=True)
            if not options.as_found:
                found = shown(minimise(sent))
            checks.that(False, f'seed {seed}: {found}')
            break
        count += sum(len(b.commands) for b in sent)
    checks.that(count > 0, 'something was sent')
    print(f'{count} commands', flush=True)
    return checks.report()


def shown(bursts):
    text = ['what is left of it:']
    for burst in bursts:
        said = b''.join(c.text for c in burst.commands) or b'(closes)'
        text.append(f'  {burst.connection}: {said!r} tags {[c.tag for c in burst.commands if c.tag]}')
    return '\n'.join([*text, str(differs(bursts))])


if __name__ == '__main__':
    sys.exit(main())
