"""That the tools of the bench work: nothing here is timed.

rq_load refuses wrong replies, handed-out-twice messages and silence; slow_sync makes syncs slower;
bench/run makes its tables, with rq alone and with rq against itself. Run by ctest (label bench-smoke); RQ_BUILD is the
build to test.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import tables

HERE = pathlib.Path(__file__).resolve().parent
BUILD = pathlib.Path(os.environ.get('RQ_BUILD', HERE.parent / 'build' / 'release'))
LOAD = BUILD / 'bench' / 'rq_load'
RQ = BUILD / 'rq'


class FakeServer:
    """Speaks as much beanstalkd as one connection of rq_load needs; `spoil` changes a reply."""

    def __init__(self, spoil=lambda command, reply: reply):
        self.spoil = spoil
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        self.commands = []
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.listener.close()
        self.thread.join(10)

    def _serve(self):
        sock, _ = self.listener.accept()
        with sock, sock.makefile('rb') as lines:
            try:
                self._talk(sock, lines)
            except OSError:
                pass  # rq_load gave up, as it should

    def _talk(self, sock, lines):
        jobs, last = [], 0
        for line in lines:
            words = line.split()
            self.commands.append(words[0])
            if words[0] == b'put':
                last += 1
                jobs.append((last, lines.read(int(words[4]) + 2)[:-2]))
                reply = b'INSERTED %d\r\n' % last
            elif words[0] == b'reserve':
                number, body = jobs.pop(0)
                reply = b'RESERVED %d %d\r\n%s\r\n' % (number, len(body), body)
            else:
                reply = {b'use': b'USING bench\r\n', b'watch': b'WATCHING 2\r\n',
                         b'ignore': b'WATCHING 1\r\n', b'delete': b'DELETED\r\n'}[words[0]]
            sock.sendall(self.spoil(words[0], reply))


def run_load(port, *args):
    return subprocess.run(
        [LOAD, 'beanstalk', f'127.0.0.1:{port}', '--connections', '1', '--depth', '6', *args],
        capture_output=True, text=True, check=False, timeout=60)


class LoadGenerator(unittest.TestCase):
    def refused(self, wanted, spoil, *args):
        with FakeServer(spoil) as server:
            run = run_load(server.port, '--count', '20', *args)
        self.assertEqual(run.returncode, 1, run.stdout)
        self.assertIn(wanted, run.stderr)

    def test_every_life_is_put_reserved_and_deleted(self):
        with FakeServer() as server:
            run = run_load(server.port, '--count', '20')
        self.assertEqual(run.returncode, 0, run.stderr)
        for word in (b'put', b'reserve', b'delete'):
            self.assertEqual(server.commands.count(word), 20, word)

    def test_rows_of_puts_reserves_and_deletes(self):
        with FakeServer() as server:
            run = run_load(server.port, '--count', '12', '--rows')
        self.assertEqual(run.returncode, 0, run.stderr)
        row = [b'put'] * 6 + [b'reserve'] * 6 + [b'delete'] * 6
        self.assertEqual(server.commands[3:], row * 2)

    def test_a_steady_rate_is_kept_too(self):
        with FakeServer() as server:
            run = run_load(server.port, '--count', '20', '--rate', '2000')
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertEqual(server.commands.count(b'delete'), 20)

    def test_a_stop_of_the_machine_is_seen_and_its_wake_left_out(self):
        # Stopping the process is a stop of the machine as far as its threads can tell.
        with FakeServer() as server:
            run = subprocess.Popen(
                [LOAD, 'beanstalk', f'127.0.0.1:{server.port}', '--connections', '1', '--depth',
                 '6', '--rate', '500', '--warmup', '0.2', '--seconds', '1', '--json'],
                stdout=subprocess.PIPE, text=True)
            time.sleep(0.7)
            run.send_signal(signal.SIGSTOP)
            time.sleep(0.15)
            run.send_signal(signal.SIGCONT)
            out, _ = run.communicate(timeout=60)
        self.assertEqual(run.returncode, 0)
        got = json.loads(out)
        if not got['stops_watched']:
            self.skipTest('no right to real-time threads here')
        self.assertGreaterEqual(got['stops'], 1)
        self.assertGreaterEqual(got['stopped_s'], 0.1)
        self.assertGreaterEqual(got['put_us']['max'], 100_000)
        self.assertLess(got['undisturbed_us']['max'], 100_000)
        self.assertLess(got['undisturbed_us']['count'], got['put_us']['count'])
        self.assertGreater(got['undisturbed_us']['count'], 0)

    def test_replies_in_single_bytes_are_understood(self):
        with FakeServer() as server:
            whole = server._talk

            def talk(sock, lines):
                class Slow:
                    @staticmethod
                    def sendall(data):
                        for i in range(len(data)):
                            sock.sendall(data[i:i + 1])
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                whole(Slow, lines)

            server._talk = talk
            run = run_load(server.port, '--count', '5')
        self.assertEqual(run.returncode, 0, run.stderr)

    def test_a_wrong_reply_to_put_ends_the_run(self):
        self.refused("wrong reply to put: 'BURIED 1",
                     lambda c, r: b'BURIED 1\r\n' if c == b'put' else r)

    def test_a_wrong_reply_to_delete_ends_the_run(self):
        self.refused("wrong reply to delete: 'NOT_FOUND",
                     lambda c, r: b'NOT_FOUND\r\n' if c == b'delete' else r)

    def test_a_changed_payload_ends_the_run(self):
        self.refused('a payload came back changed',
                     lambda c, r: r[:-5] + b'y' + r[-4:] if c == b'reserve' else r)

    def test_a_shorter_payload_ends_the_run(self):
        self.refused('a payload of 30 bytes came back, 200 were put',
                     lambda c, r: b'RESERVED 1 30\r\n' + b'0' * 16 + b'x' * 14 + b'\r\n'
                     if c == b'reserve' else r)

    def test_a_message_handed_out_twice_ends_the_run(self):
        first = []

        def spoil(command, reply):
            if command == b'reserve':
                first.append(reply)
                return first[0]
            return reply
        self.refused('message 0 was handed out twice', spoil)

    def test_a_reply_too_many_ends_the_run(self):
        self.refused('a reply to no command',
                     lambda c, r: r + b'DELETED\r\n' if c == b'ignore' else r)

    def test_silence_ends_the_run(self):
        answered = (b'use', b'watch', b'ignore')
        self.refused('no reply for 0.2 s', lambda c, r: r if c in answered else b'',
                     '--stall', '0.2')

    def test_a_server_that_is_not_there_is_named(self):
        with socket.create_server(('127.0.0.1', 0)) as listener:
            port = listener.getsockname()[1]
        run = run_load(port)
        self.assertEqual(run.returncode, 1)
        self.assertIn(f'connect to 127.0.0.1:{port}', run.stderr)


class SlowSync(unittest.TestCase):
    library = BUILD / 'bench' / 'libslow_sync.so'

    def setUp(self):
        if not self.library.exists():
            self.skipTest('not part of this build (sanitizers)')

    def sync(self, delay, call):
        code = ('import os, tempfile, time\n'
                'with tempfile.TemporaryFile() as f:\n'
                '    began = time.perf_counter()\n'
                f'    os.{call}(f.fileno())\n'
                '    print(time.perf_counter() - began)\n')
        env = {**os.environ, 'LD_PRELOAD': str(self.library), 'RQ_SYNC_DELAY_MS': delay}
        return subprocess.run([sys.executable, '-c', code], env=env, capture_output=True,
                              text=True, check=False)

    def test_a_sync_takes_at_least_the_delay(self):
        for call in ('fsync', 'fdatasync'):
            self.assertGreaterEqual(float(self.sync('50.5', call).stdout), 0.0505, call)

    def test_a_bad_delay_is_named(self):
        run = self.sync('soon', 'fsync')
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("RQ_SYNC_DELAY_MS='soon'", run.stderr)


class Floor(unittest.TestCase):
    def test_it_starts_the_program_and_counts(self):
        program = BUILD / 'bench' / 'spawn_floor'
        run = subprocess.run([program, '/bin/true', '0.1'], capture_output=True, text=True,
                             check=True)
        self.assertGreater(float(run.stdout), 0)

    def test_a_program_that_fails_is_no_figure(self):
        program = BUILD / 'bench' / 'spawn_floor'
        run = subprocess.run([program, '/bin/false', '0.1'], capture_output=True, text=True,
                             check=False)
        self.assertEqual(run.returncode, 1)


class Tables(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        sys.path.insert(0, str(HERE))

    def test_demands_are_judged_both_ways(self):
        from tables import Verdicts
        verdicts = Verdicts()
        self.assertEqual(verdicts.demand('a', 2.5, 2), '≥ 2: met')
        self.assertEqual(verdicts.demand('b', 1.5, 2), '≥ 2: **not met**')
        self.assertEqual(verdicts.demand('c', 1.5, 2, at_most=True), '≤ 2: met')
        self.assertEqual(verdicts.demand('d', 1.5, None), '')
        self.assertEqual((len(verdicts.met), len(verdicts.missed)), (2, 1))

    def test_a_ratio_is_taken_round_by_round(self):
        from tables import paired_ratio
        # Twice as fast in every round, though the machine changes its speed in between.
        self.assertEqual(paired_ratio([20, 40, 22], [10, 20, 11]), 2)

    def test_a_section_replaces_itself_and_leaves_the_others(self):
        from tables import Page
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'R.md'
            page = Page(path, ['one', 'two'])
            page.set_machine([('CPU', 'A'), ('System', 'B')])
            page.set('two', 'second')
            page.set('one', 'first')
            page = Page(path, ['one', 'two'])
            page.set_machine([('CPU', 'A'), ('System', 'B')])
            page.set('two', 'changed')
            text = path.read_text()
            self.assertIn('## one\n\nfirst\n\n## two\n\nchanged\n', text)
            self.assertNotIn('second', text)

    def test_figures_of_another_machine_go(self):
        from tables import Page
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'R.md'
            page = Page(path, ['one'])
            page.set_machine([('CPU', 'A'), ('System', 'B')])
            page.set('one', 'first')
            page = Page(path, ['one'])
            page.set_machine([('CPU', 'C'), ('System', 'B')])
            page.write()
            self.assertNotIn('first', path.read_text())


class Against(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        sys.path.insert(0, str(HERE))

    def compare(self, old, new, bound, at_most=False):
        """(the line of the table, the verdicts) of a row whose rounds have those means."""
        import against
        from tables import Verdicts
        row = against.Row('row', None, None, {'key': against.Figure('title', bound, at_most)})
        values = {'old': iter(old), 'new': iter(new)}
        self.order = []

        @contextlib.contextmanager
        def one_round(place):
            mean = next(values[place])
            slices = iter([mean / 2, mean * 3 / 2] * (against.SLICES // 2))

            def take():
                self.order.append(place)
                return {'key': next(slices)}
            yield take
            self.assertEqual(list(slices), [])
        row.round = one_round
        verdicts = Verdicts()
        taken = against.compare(row, {'old': 'old', 'new': 'new'}, len(old), lambda text: None)
        return against.lines_of(row, taken, verdicts)[0], verdicts

    def test_builds_take_turns_and_change_who_begins(self):
        self.compare([1], [1], None)
        self.assertEqual(self.order, ['old', 'new', 'new', 'old'] * 3)

    def test_a_machine_that_changes_its_speed_between_rounds_changes_no_ratio(self):
        line, verdicts = self.compare([100, 10, 200], [90, 9.8, 192], 0.95)
        self.assertEqual(line, ['title', '100', '10', '200', '90', '9.80', '192', '0.96 ×',
                                '≥ 0.95 ×: met'])
        self.assertEqual((len(verdicts.met), len(verdicts.missed)), (1, 0))

    def test_a_slower_build_misses_its_demand(self):
        _, verdicts = self.compare([100], [94.9], 0.95)
        self.assertEqual(len(verdicts.missed), 1)

    def test_a_build_that_does_nothing_misses_its_demand(self):
        _, verdicts = self.compare([0], [0], 0.95)
        self.assertEqual(len(verdicts.missed), 1)

    def test_more_memory_misses_its_demand(self):
        self.assertEqual(len(self.compare([10], [11.1], 1.1, at_most=True)[1].missed), 1)
        self.assertEqual(len(self.compare([10], [10.9], 1.1, at_most=True)[1].met), 1)

    def test_a_row_that_is_not_there_is_named(self):
        import against
        from servers import BenchError
        rows = [against.Row(name, None, None, {}) for name in ('50x100', 'waiting', 'engine')]
        self.assertEqual([r.name for r in against.choose(rows, ['memory'])], ['50x100', 'waiting'])
        with self.assertRaisesRegex(BenchError, 'no row speed'):
            against.choose(rows, ['speed'])

    def test_every_group_names_rows_that_are_there(self):
        run = subprocess.run([HERE / 'run', '--against', 'x', '--list'], capture_output=True,
                             text=True, check=True)
        names, groups = [], {}
        for line in run.stdout.splitlines():
            group, colon, of = line.partition(': ')
            if colon:
                groups[group] = of.split(', ')
            else:
                names.append(line)
        self.assertEqual(set(groups), {'lives', 'http', 'memory'})
        for group, of in groups.items():
            self.assertLessEqual(set(of), set(names), group)

    def test_a_binary_that_is_not_there_is_named(self):
        run = subprocess.run([HERE / 'run', '--smoke', '--against', '/nowhere/rq'],
                             capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 1)
        self.assertIn('/nowhere/rq is not a program', run.stderr)


@unittest.skipUnless(RQ.exists(), 'rq is not part of this build')
class WholeBench(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans come to us

    def nothing_is_left(self, folder):
        self.assertEqual(list(pathlib.Path(folder).glob('data/*')), [])
        children = pathlib.Path(f'/proc/self/task/{os.getpid()}/children').read_text().split()
        left = [c for c in children if 'Z' not in
                pathlib.Path(f'/proc/{c}/stat').read_text().rpartition(')')[2].split()[0]]
        self.assertEqual(left, [], 'processes left behind')

    def test_a_build_against_itself(self):
        with tempfile.TemporaryDirectory() as folder:
            command = [HERE / 'run', '--smoke', '--against', RQ, '--build', BUILD, '--data',
                       folder + '/data']
            run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
            for wanted in ('50 × 100, in rows: lives', '1 × 1: lives', 'HTTP, 8 × 1: messages',
                           '1,000 waiting, 50 × 1: lives', 'memory at most', '`echo done >&3`',
                           'engine mixed/0: lives', 'with 1,000 messages: the new one'):
                self.assertIn(wanted, run.stdout)
            # So small a run proves nothing, and so it demands nothing.
            self.assertIn('0 demands met, 0 not met', run.stdout)
            self.nothing_is_left(folder)

    def test_slow_syncs_make_both_builds_slow(self):
        if not SlowSync.library.exists():
            self.skipTest('not part of this build (sanitizers)')
        with tempfile.TemporaryDirectory() as folder:
            command = [HERE / 'run', '--smoke', '--against', RQ, '--build', BUILD, '--data',
                       folder + '/data', '--disk', '--rows', '1x1']
            run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
            rates = [line.split('|')[2:6] for line in run.stdout.splitlines()
                     if line.startswith('| 1 × 1: lives')][0]
            # A life has two synced commits.
            for cell in rates:
                self.assertLess(float(cell.replace(',', '')), 500)

    def test_a_section_that_was_measured_by_hand_stays(self):
        with tempfile.TemporaryDirectory() as folder:
            results = pathlib.Path(folder) / 'RESULTS.md'
            results.write_text('# Results\n\n## Mine\n\nMeasured by hand: 7\n\n## Gone\n\nold row\n')
            tables.Page(results, ['A row']).set('A row', 'new')
            text = results.read_text()
            self.assertIn('## Mine\n\nMeasured by hand: 7\n', text)
            self.assertIn('## A row\n\nnew\n', text)
            self.assertNotIn('Gone', text)

    def test_every_row_makes_its_table_and_nothing_stays_behind(self):
        with tempfile.TemporaryDirectory() as folder:
            results = pathlib.Path(folder) / 'RESULTS.md'
            run = subprocess.run(
                [HERE / 'run', '--smoke', '--build', BUILD, '--data', folder + '/data',
                 '--results', results], capture_output=True, text=True, check=False, timeout=110)
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
            text = results.read_text()
            for wanted in ('## The machine', '| Lives a second', '| Microseconds', '1,000 waiting',
                           '| A second', '`echo done >&3` a second', 'smoke run'):
                self.assertIn(wanted, text)
            self.assertNotIn(folder, text)
            self.nothing_is_left(folder)


if __name__ == '__main__':
    unittest.main(verbosity=1)
