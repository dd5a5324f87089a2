"""faults.md E7: each difference that docs/PROTOCOLS.md names, played to rq and to beanstalkd itself: it is
as the page says. A difference of the page that is not played here fails the test, and so does one that
is gone.

    beanstalk_differences_test.py [--show]     what both answer
"""
import contextlib
import re
import socket
import subprocess
import sys

import rqtest

REPLY_SECONDS = 30
DAY = 86400
checks = rqtest.Checks()


class Talk:
    """A connection; replies are lines, or (line, body)."""

    def __init__(self, port):
        self.sock = socket.create_connection(('127.0.0.1', port), timeout=REPLY_SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.sock.makefile('rb')

    def send(self, *commands):
        self.sock.sendall(b''.join(c.encode('latin-1') + b'\r\n' for c in commands))

    def hear(self, count=1):
        replies = []
        for _ in range(count):
            line = self.reader.readline().decode('latin-1').rstrip('\r\n')
            if chunk := re.fullmatch(r'(?:OK|RESERVED \d+|FOUND \d+) (\d+)', line):
                body = self.reader.read(int(chunk[1]) + 2)[:-2].decode('latin-1')
                replies.append((line.split()[0], body))
            else:
                replies.append(line)
        return replies

    def ask(self, *commands, replies=None):
        """All in one piece; as many replies as commands unless said otherwise."""
        self.send(*commands)
        return self.hear(len(commands) if replies is None else replies)

    def ask_to_the_end(self, *commands):
        """And no more commands: all that is answered to these."""
        self.send(*commands)
        self.sock.shutdown(socket.SHUT_WR)
        return self.reader.read().decode('latin-1').split('\r\n')[:-1]

    def put(self, body='x', priority=0, delay=0, ttr=1000):
        """Its number."""
        reply, = self.ask(f'put {priority} {delay} {ttr} {len(body)}\r\n{body}')
        return int(reply.split()[1])

    def told(self, command, key):
        """One entry of a stats command."""
        (_, body), = self.ask(command)
        return re.search(rf'^{key}: "?([^"\n]*)"?$', body, re.M)[1]

    def left(self, tube):
        """What a tube gives: the bodies in their order."""
        self.ask(f'watch {tube}')
        bodies = []
        while isinstance(reply := self.ask('reserve-with-timeout 0')[0], tuple):
            bodies.append(reply[1])
        return bodies

    def close(self):
        self.reader.close()
        self.sock.close()


class World:
    """A server, and the connections to it."""

    def __init__(self, port, restart, server=None):
        self.port, self.restart, self.server, self.open = port, restart, server, []

    def talk(self):
        self.open.append(Talk(self.port))
        return self.open[-1]

    def waiting(self, count):
        """Until so many connections wait for a job."""
        seen = self.talk()
        rqtest.eventually(lambda: seen.told('stats', 'current-waiting') == str(count), f'{count} wait')

    def end(self):
        for talk in self.open:
            talk.close()
        self.open = []


def waiter(world, tube, *commands, waiting=1):
    """A connection that watches the tube only, and waits in these commands."""
    talk = world.talk()
    talk.ask(f'watch {tube}', 'ignore default')
    talk.send(*commands)
    world.waiting(waiting)
    return talk


# --- The differences: (how the page's bullet begins, what is played, rq's answer, beanstalkd's) ---

def long_times(w):
    t = w.talk()
    job = t.put(ttr=400 * DAY)
    late = t.put(delay=4294967295, ttr=10)
    t.ask('pause-tube default 4294967295')
    return (int(t.told(f'stats-job {job}', 'ttr')) // DAY, t.told(f'stats-job {late}', 'state'),
            int(t.told(f'stats-job {late}', 'time-left')) > 40_000 * DAY,
            int(t.told('stats-tube default', 'pause-time-left')) // DAY > 366)


def many_watched(w):
    t = w.talk()
    replies = t.ask(*[f'watch w{i}' for i in range(1023)])
    return replies[-1], t.ask('watch one-more')[0]


def large_body(w):
    t = w.talk()
    return t.ask_to_the_end('put 0 0 10 4294967296', 'list-tube-used')


def generous_numbers(w):
    t = w.talk()
    return [reply.split()[0] for reply in t.ask('kick -1', 'kick 5x', 'reserve-with-timeout 0x')]


def cr_alone(w):
    t = w.talk()
    return t.ask_to_the_end('list-tube-used\rx', 'list-tube-used')


def put_together(w):
    one = waiter(w, 'together', 'reserve')
    t = w.talk()
    t.ask('use together')
    t.ask('put 5 0 10 1\r\na', 'put 1 0 10 1\r\nb')
    return one.hear()[0][1]


def kicked_together(w):
    t = w.talk()
    t.ask('use kicked', 'watch kicked')
    for body, priority in (('a', 5), ('b', 1)):
        job = t.put(body, priority)
        t.ask(f'reserve-job {job}', f'bury {job} {priority}')
    one = waiter(w, 'kicked', 'reserve')
    t.ask('kick 10')
    return one.hear()[0][1]


def back_together(w):
    """Two jobs, whose holder goes."""
    t = w.talk()
    t.ask('use back')
    holder = w.talk()
    for body, priority in (('a', 5), ('b', 1)):
        holder.ask(f'reserve-job {t.put(body, priority)}')
    one = waiter(w, 'back', 'reserve')
    holder.sock.shutdown(socket.SHUT_RDWR)
    return one.hear()[0][1]


def waiters_in_order(w):
    """Ten that wait, in the order in which they came; who is served first, second..."""
    order = [waiter(w, 'line', 'reserve', waiting=i + 1) for i in range(10)]
    t = w.talk()
    t.ask('use line')
    for i in range(10):
        t.put(str(i))
    return [talk.hear()[0][1] for talk in order] == [str(i) for i in range(10)]


def many_reserves(w):
    """Two waits of a second in one piece; when the first is over, a job comes."""
    two = waiter(w, 'two', 'reserve-with-timeout 1', 'reserve-with-timeout 1')
    first = two.hear()[0]
    t = w.talk()
    t.ask('use two')
    t.put('late')
    return first, two.hear()[0]


def buried_together(w):
    t = w.talk()
    t.ask('use graves')
    jobs = [t.put(body) for body in 'abc']
    t.ask(*[f'reserve-job {job}' for job in jobs])
    t.ask(*[f'bury {job} 0' for job in reversed(jobs)])
    return t.ask('peek-buried')[0][1]


def order_of_tubes(w):
    t = w.talk()
    t.ask('watch A', 'watch B', 'watch C', 'ignore A')
    (_, body), = t.ask('list-tubes')
    return [name for name in body.split('\n') if name[2:] in ('A', 'B', 'C')]


def refused_put(w):
    t = w.talk()
    before = t.put()
    assert t.ask('put 0 0 10 1\r\nxyz')[0] == 'EXPECTED_CRLF'
    t.close()
    return w.talk().put() - before


def old_history(w):
    t = w.talk()
    t.ask('use history', 'watch history')
    job = t.put('h')
    for _ in range(3):
        t.ask(f'reserve-job {job}', f'release {job} 0 0')
    for _ in range(2):
        t.ask(f'reserve-job {job}', f'bury {job} 0', f'kick-job {job}')
    return {key: int(t.told(f'stats-job {job}', key)) for key in ('reserves', 'releases', 'buries', 'kicks')}


def delay_of_released(w):
    """Released without a delay, two seconds after its put with one of 1000."""
    t = w.talk()
    job = t.put('d', delay=1000)
    rqtest.eventually(lambda: int(t.told(f'stats-job {job}', 'age')) >= 1, 'it is a second old')
    t.ask(f'reserve-job {job}', f'release {job} 0 0')
    return int(t.told(f'stats-job {job}', 'delay')) > 0


def timeouts_in_a_row(w):
    t = w.talk()
    t.ask('use slow', 'watch slow')
    job = t.put('s', ttr=1)
    t.ask(f'reserve-job {job}')
    rqtest.eventually(lambda: t.told(f'stats-job {job}', 'state') == 'ready', 'its time is over')
    before = t.told(f'stats-job {job}', 'timeouts')
    t.ask(f'reserve-job {job}', f'bury {job} 0', f'kick-job {job}')
    return before, t.told(f'stats-job {job}', 'timeouts')


def deletes_of_a_tube(w):
    """One is deleted by a command, one (of rq) by somebody else."""
    t = w.talk()
    t.ask('use there')
    jobs = [t.put(), t.put(), t.put()]
    t.ask(f'delete {jobs[0]}')
    if w.server is not None:
        w.server.delete(f'/v1/messages/{jobs[1]}')
    return t.told('stats-tube there', 'cmd-delete')


def pauses_of_a_tube(w):
    """A job keeps the tube alive, nobody uses or watches it, it is paused."""
    t = w.talk()
    t.ask('use kept')
    t.put()
    t.ask('use elsewhere', 'pause-tube kept 1000')
    return t.told('stats-tube kept', 'cmd-pause-tube'), int(t.told('stats-tube kept', 'pause')) > 0


def behind_a_wait(w):
    t = w.talk()
    waiter(w, 'counted', 'reserve', 'peek 1', 'peek-buried')
    return t.told('stats', 'cmd-peek'), t.told('stats', 'cmd-peek-buried')


def since_the_start(w):
    w.talk().put()
    w.end()
    w.restart()
    return int(w.talk().told('stats', 'total-jobs')) > 0


def of_the_server(w):
    t = w.talk()
    (_, body), = t.ask('stats')
    keys = [entry.partition(':')[0] for entry in body.split('\n')]
    return re.fullmatch(r'1\.\d+', t.told('stats', 'version')) is not None, keys[-2]


def set_down_by_hand(w):
    t = w.talk()
    t.ask('use hand')
    t.put()
    if w.server is None:
        return t.ask('pause-tube hand 0')[0], t.left('hand')
    w.server.post('/v1/queues/hand/down')
    return t.ask('pause-tube hand 0')[0], t.left('hand')


CASES = [
    ('A time to run is at most', long_times, (366, 'delayed', False, False), (400, 'delayed', True, True)),
    ('A connection watches at most', many_watched, ('WATCHING 1024', 'OUT_OF_MEMORY'),
     ('WATCHING 1024', 'WATCHING 1025')),
    ('A body announced as larger', large_body, [], ['BAD_FORMAT', 'USING default']),
    ('A number of `kick`', generous_numbers, ['BAD_FORMAT'] * 3, ['KICKED', 'KICKED', 'TIMED_OUT']),
    ('A CR without its LF', cr_alone, ['BAD_FORMAT', 'USING default'], []),
    ('What comes in one piece', put_together, 'b', 'a'),
    ('What comes in one piece', kicked_together, 'b', 'a'),
    ('What comes in one piece', back_together, 'b', 'a'),
    ('Reserves that wait', waiters_in_order, True, False),
    ('Many reserves in one piece', many_reserves, ('TIMED_OUT', 'TIMED_OUT'),
     ('TIMED_OUT', ('RESERVED', 'late'))),
    ('Jobs that are buried', buried_together, 'a', 'c'),
    ('`list-tubes` tells', order_of_tubes, ['- B', '- C'], ['- C', '- B']),
    ('A put that is refused', refused_put, 1, 2),
    ('`stats-job`: of an old', old_history, {'reserves': 5, 'releases': 5, 'buries': 0, 'kicks': 0},
     {'reserves': 5, 'releases': 3, 'buries': 2, 'kicks': 2}),
    ('`stats-job`: of an old', timeouts_in_a_row, ('1', '0'), ('1', '1')),
    ('`stats-job`: of an old', delay_of_released, True, False),
    ('`stats-tube`: `cmd-delete`', deletes_of_a_tube, '2', '1'),
    ('`stats-tube`: `cmd-delete`', pauses_of_a_tube, ('0', True), ('1', True)),
    ('`stats`: a command', behind_a_wait, ('1', '2'), ('0', '1')),
    ('`stats`: a command', since_the_start, True, False),
    ('`stats`: a command', of_the_server, (True, 'rq-version'), (True, 'platform')),
    ('A queue that was drained', set_down_by_hand, ('PAUSED', []), ('PAUSED', ['x'])),
]


def answers(port):
    with contextlib.suppress(OSError):
        socket.create_connection(('127.0.0.1', port)).close()
        return True
    return False


class Peer:
    """Debian's beanstalkd."""

    def __init__(self):
        self.port = rqtest.free_port()
        self.start()

    def start(self):
        self.process = subprocess.Popen(['beanstalkd', '-l', '127.0.0.1', '-p', str(self.port)],
                                        stderr=subprocess.DEVNULL)
        rqtest.eventually(lambda: answers(self.port), 'beanstalkd answers')

    def stop(self):
        self.process.kill()
        self.process.wait()

    def restart(self):
        self.stop()
        self.start()


def play(world, case):
    try:
        return case(world)
    finally:
        world.end()


def main():
    page = (rqtest.ROOT / 'docs' / 'PROTOCOLS.md').read_text()
    section = page.partition('## Where it differs')[2].partition('\n## ')[0]
    bullets = re.findall(r'^- (.*)', section, re.M)
    for bullet in bullets:
        checks.that(any(bullet.startswith(begins) for begins, *_ in CASES), f'not played here: {bullet}')
    with contextlib.ExitStack() as stack:
        peer = Peer()
        stack.callback(peer.stop)
        server = stack.enter_context(rqtest.Server(manual_clock=False, beanstalk=True))

        def restart():
            server.kill()
            server.start()

        for begins, case, ours, theirs in CASES:
            checks.that(any(bullet.startswith(begins) for bullet in bullets), f'not on the page: {begins}')
            for name, wanted, world in (
                    ('rq', ours, World(server.beanstalk_port, restart, server)),
                    ('beanstalkd', theirs, World(peer.port, peer.restart))):
                got = play(world, case)
                if '--show' in sys.argv:
                    print(f'{case.__name__}: {name}: {got}', flush=True)
                checks.equal(got, wanted, f'{case.__name__}: {name}')
    return checks.report()


if __name__ == '__main__':
    sys.exit(main())
