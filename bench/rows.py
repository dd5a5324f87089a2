"""The rows of the bench. Each measures one thing, in turns, and returns its section as Markdown."""
import shutil
import statistics
import time

import facts
from measures import (FILL_LIMIT_S, Load, ScriptsRun, engine_runs, first_reply, spawn_rate,
                      trivial_script, wrk_puts)
from servers import PEERS, BeanstalkdMemory, BeanstalkdSynced, RedisSynced, Rq
from tables import number, paired_ratio, ratio, spread, table

# (demanded, aim) of rq's rate over that of the peer, by (connections, in flight on each).
RATIOS = {
    (50, 100): {BeanstalkdMemory: (2, 3), BeanstalkdSynced: (10, None), RedisSynced: (0.7, 1)},
    (50, 1): {BeanstalkdMemory: (0.7, 1), BeanstalkdSynced: (4, 6), RedisSynced: (1, None)},
    (1, 1): {BeanstalkdSynced: (0.7, 1)},
}
BACKLOG_RATIO = 0.8
BACKLOG_MEMORY_MB = 300
BACKLOG_START_MS = 1000
BACKLOG_DEMANDED = 10_000_000   # the size at which these three are demanded
P99_OVER_MEDIAN = 5
P99_SYNCS = 3
HTTP_PUTS = (60_000, 120_000)
HTTP_BULK = (250_000, None)
SCRIPT_SHARE = 0.6
ENGINE = {  # lives a second: demanded, aim
    'mixed/0': (150_000, 250_000),
    'mixed/10000000': (80_000, 120_000),
}
ENGINE_WRITTEN = 5
ENGINE_MEMORY_MB = 200
ENGINE_OPEN_MS = 1000


class Rows:
    def __init__(self, place, mode, verdicts, say, sync_ms=0):
        self.place = place
        self.mode = mode
        self.verdicts = verdicts
        self.say = say
        self.sync_ms = sync_ms   # added to each sync of every server
        self.load = Load(place, mode)
        self.peers = [p for p in PEERS if mode.peers and p.installed()]

    @property
    def sync(self):
        return self.place.slow_sync(self.sync_ms) if self.sync_ms else None

    # Lives a second, beside the peers -----------------------------------------------------------

    def lives(self, connections, depth, rows_of_one_kind=False):
        contestants = [Rq, *self.peers]
        rates = {c: [] for c in contestants}
        own_us, engine = [], []
        for round_number in range(self.mode.rounds):
            for contestant in contestants:
                # Peers that sync each write alone can take long to answer what is in flight.
                args = [] if contestant is Rq else ['--leave']
                if rows_of_one_kind:
                    args.append('--rows')
                with contestant(self.place, sync=self.sync) as server:
                    got = self.load.run(server, connections, depth, args=args)
                    if contestant is Rq:
                        engine.append(server.request('GET', '/v1/stats')['engine'])
                rates[contestant].append(got['per_s'])
                if contestant is Rq and got['total_lives']:
                    own_us.append(got['cpu_s'] * 1e6 / got['total_lives'])
                self.say(f'round {round_number + 1}: {contestant.name}: {number(got["per_s"])}')
        demands = RATIOS.get((connections, depth), {}) if self.sync_ms == 0 else {}
        rows = []
        for contestant in contestants:
            cells = [contestant.name, *spread(rates[contestant]), '', '', '']
            share = paired_ratio(rates[Rq], rates[contestant])
            if contestant is not Rq and share is not None:
                floor, aim = demands.get(contestant, (None, None))
                what = f'{connections} × {depth}{" in rows" * rows_of_one_kind}, rq over {contestant.name}'
                cells[4:] = [ratio(share), self.verdicts.demand(what, share, floor, show=ratio),
                             self.verdicts.aim(share, aim, show=ratio)]
            rows.append(cells)
        text = table(['Lives a second', 'median', 'min', 'max', 'rq is', 'demanded', 'aim'], rows)
        if own_us:
            text += (f'\n\nThe load generator itself: {statistics.median(own_us):.1f} µs of CPU a '
                     'life with rq, on the same cores as the server.')
        return f'{text} {batches(engine)}'

    # Latency of a put at half load --------------------------------------------------------------

    # The host of a virtual machine may stop its processors for some milliseconds, whatever runs on
    # them. That is in the first columns, and not in those that are held against the demand.
    def half_load(self):
        rows, stops, fulls = [], [], []
        for depth in (1, 100):
            got, full = self._half_of(depth)
            put, own = got['put_us'], got['undisturbed_us']
            if not got['stops_watched']:
                own = put
            over = own['p99'] / own['median']
            rows.append([f'50 × {depth}: a put, {number(got["per_s"])} lives a second',
                         number(put['median']), number(put['p99']), number(put['p999']),
                         number(put['max']), ratio(put['p99'] / put['median']),
                         number(own['median']), number(own['p99']), number(own['p999']),
                         ratio(over),
                         self.verdicts.demand(f'half load of 50 × {depth}, p99 of a put over its '
                                              'median', over, P99_OVER_MEDIAN, at_most=True,
                                              show=ratio)])
            stops.append(f'50 × {depth}: {got["stops"]} times, {got["stopped_s"]:.1f} s in all, '
                         f'and {100 - 100 * got["undisturbed_share"]:.0f} % of the time in their '
                         'wake' if got['stops_watched'] else f'50 × {depth}: not watched')
            fulls.append(full)
        text = table(['Microseconds', 'median', 'p99', 'p99.9', 'max', 'p99 / median',
                      'unstopped: median', 'p99', 'p99.9', 'p99 / median', 'demanded'], rows)
        return (f'{text}\n\n50 connections, {self.mode.latency_s} s each, half of the '
                f'{" and ".join(number(f) for f in fulls)} lives a second that went before. Puts '
                'start when they are due, answered or not, and count from that moment. Two '
                'real-time threads watch whether the host of this virtual machine stops a '
                f'processor for 2 ms or more ({"; ".join(stops)}): `unstopped` are the puts that '
                'were answered at other times than during such a stop and for 50 ms after it.')

    # Half the load that goes with so many in flight, for a while; and that load.
    def _half_of(self, depth):
        with Rq(self.place, sync=self.sync) as server:
            tries, first = [], 0
            for _ in range(3):
                got = self.load.run(server, 50, depth, args=['--first', first])
                tries.append(got['per_s'])
                first = got['next']
            full = statistics.median(tries)
            self.say(f'50 × {depth}: full load {number(full)} lives a second; half of it for '
                     f'{self.mode.latency_s} s')
            got = self.load.run(server, 50, 100, seconds=self.mode.latency_s,
                                args=['--rate', full / 2, '--first', first])
        return got, full

    # A put over 64 connections on a slow disk ---------------------------------------------------

    def put_in_syncs(self):
        sync_us, _ = facts.sync_latency_us(self.place.data, syncs=100, env=self.sync)
        rows = []
        for contestant in [Rq, *self.peers]:
            puts = []
            for _ in range(self.mode.rounds):
                with contestant(self.place, sync=self.sync) as server:
                    got = self.load.run(server, 64, 1, args=['--work', 'puts', '--leave'])
                puts.append((got['per_s'], got['put_us']))
            rate = statistics.median(p[0] for p in puts)
            median, p99, most = (statistics.median(p[1][k] for p in puts)
                                 for k in ('median', 'p99', 'max'))
            cells = [contestant.name, number(rate), number(median), number(p99), number(most),
                     f'{p99 / sync_us:.2f}', '']
            if contestant is Rq:
                bound = P99_SYNCS if self.sync_ms >= 5 else None
                cells[-1] = self.verdicts.demand(
                    f'{self.sync_ms} ms a sync, 64 × 1: p99 of a put in syncs', p99 / sync_us,
                    bound, at_most=True)
            rows.append(cells)
            self.say(f'{contestant.name}: p99 of a put {number(p99)} µs')
        text = table(['64 × 1', 'puts a second', 'median µs', 'p99 µs', 'max µs', 'p99 in syncs',
                      'demanded'], rows)
        return f'{text}\n\nA sync takes {number(sync_us)} µs here.'

    # Backlog ------------------------------------------------------------------------------------

    def backlog(self):
        stores, fill_rates = {0: None}, {}
        for waiting in self.mode.backlog:
            stores[waiting] = self.place.fresh_dir(f'backlog-{waiting}')
            with Rq(self.place, dir=stores[waiting]) as server:
                got = self.load.run(server, 8, 500, limit_s=FILL_LIMIT_S,
                                    args=['--work', 'puts', '--count', waiting])
                server.kill()
            fill_rates[waiting] = got['per_s']
            self.say(f'{number(waiting)} put, {number(got["per_s"])} a second')
        depths = (100, 1)
        rates = {(w, d): [] for w in stores for d in depths}
        starts, memory = {w: [] for w in stores}, {w: [] for w in stores}
        next_number = dict.fromkeys(stores, 0)
        next_number.update({w: w for w in self.mode.backlog})
        for round_number in range(self.mode.rounds):
            for waiting, store in stores.items():
                began = time.perf_counter()
                with Rq(self.place, dir=store) as server:
                    first_reply(server)
                    starts[waiting].append((time.perf_counter() - began) * 1000)
                    for depth in depths:
                        got = self.load.run(server, 50, depth,
                                            args=['--first', next_number[waiting]])
                        next_number[waiting] = got['next']
                        rates[waiting, depth].append(got['per_s'])
                    memory[waiting].append(server.memory_mb()[1])
                    server.kill()  # the next start has a log to recover: the worst case
                if store is None:
                    next_number[waiting] = 0
                self.say(f'round {round_number + 1}: {number(waiting)} waiting: '
                         f'{number(rates[waiting, depths[0]][-1])} lives a second')
        for store in filter(None, stores.values()):
            shutil.rmtree(store, ignore_errors=True)
        text = self._backlog_rates(stores, depths, rates)
        return text + '\n\n' + self._backlog_memory(stores, memory, starts, fill_rates)

    def _backlog_rates(self, stores, depths, rates):
        rows = []
        for depth in depths:
            for waiting in stores:
                share = paired_ratio(rates[waiting, depth], rates[0, depth])
                cells = [f'50 × {depth}, {number(waiting)} waiting',
                         *spread(rates[waiting, depth]), '', '']
                if waiting and share is not None:
                    bound = BACKLOG_RATIO if waiting >= BACKLOG_DEMANDED else None
                    cells[4:] = [ratio(share), self.verdicts.demand(
                        f'{number(waiting)} waiting over empty, 50 × {depth}', share, bound,
                        show=ratio)]
                rows.append(cells)
        return table(['Lives a second', 'median', 'min', 'max', 'of empty', 'demanded'], rows)

    def _backlog_memory(self, stores, memory, starts, fill_rates):
        rows = []
        for waiting in stores:
            most, start = max(memory[waiting]), max(starts[waiting])
            large = waiting >= BACKLOG_DEMANDED
            what = f'{number(waiting)} waiting'
            rows.append([
                what, number(fill_rates.get(waiting)), number(most),
                self.verdicts.demand(f'{what}, memory in MB', most,
                                     BACKLOG_MEMORY_MB if large else None, at_most=True),
                number(start),
                self.verdicts.demand(f'{what}, start to first reply in ms', start,
                                     BACKLOG_START_MS if large else None, at_most=True),
                self._beanstalkd_memory(waiting)])
        return table(['rq', 'puts a second, filling', 'memory at most, MB', 'demanded',
                      'start to first reply after kill -9, at most, ms', 'demanded',
                      'beanstalkd, memory only, MB'], rows)

    def _beanstalkd_memory(self, waiting):
        if BeanstalkdMemory not in self.peers or waiting == 0:
            return '–'
        if facts.memory_free_gb() < waiting * 600 / 1e9 + 1:
            return 'too little memory here'
        with BeanstalkdMemory(self.place) as server:
            self.load.run(server, 8, 500, limit_s=FILL_LIMIT_S,
                          args=['--work', 'puts', '--count', waiting])
            return number(server.memory_mb()[0])

    # HTTP ---------------------------------------------------------------------------------------

    def http(self):
        kinds = {'single': 'JSON puts, 64 connections, one in flight each (wrk)',
                 'bulk': 'messages, NDJSON puts of 500, 8 connections, one in flight each',
                 'lives': 'lives (put, reserve, done), 64 connections, one in flight each'}
        if shutil.which('wrk') is None:
            del kinds['single']
        rates = {kind: [] for kind in kinds}
        latency = []
        for round_number in range(self.mode.rounds):
            for kind in kinds:
                with Rq(self.place) as server:
                    server.make_queue('bench')
                    if kind == 'single':
                        got = wrk_puts(self.place, self.mode.seconds + self.mode.warmup,
                                       server)
                        latency.append((got['median_us'], got['p99_us']))
                    elif kind == 'bulk':
                        got = self.load.run(server, 8, 1, protocol='http',
                                            args=['--work', 'puts', '--batch', 500])
                    else:
                        got = self.load.run(server, 64, 1, protocol='http')
                rates[kind].append(got['per_s'])
                self.say(f'round {round_number + 1}: HTTP {kind}: {number(got["per_s"])}')
        demands = {'single': HTTP_PUTS, 'bulk': HTTP_BULK, 'lives': (None, None)}
        rows = []
        for kind, title in kinds.items():
            floor, aim = demands[kind]
            median = statistics.median(rates[kind])
            rows.append([title, *spread(rates[kind]),
                         self.verdicts.demand(f'HTTP {title}', median, floor),
                         self.verdicts.aim(median, aim)])
        text = table(['A second', 'median', 'min', 'max', 'demanded', 'aim'], rows)
        if latency:
            median, p99 = (statistics.median(values) for values in zip(*latency))
            text += f'\n\nA single put: median {number(median)} µs, p99 {number(p99)} µs.'
        return text

    # Scripts ------------------------------------------------------------------------------------

    def scripts(self):
        script = trivial_script(self.place)
        kept, deleted, floor, late_floor = [], [], [], []
        # An ext4 without a journal makes new files more slowly for some minutes after many were
        # deleted, so the rounds that delete folders come after all those that do not.
        for ours, at_most, of_floor in ((kept, {}, floor),
                                        (deleted, {'keep_done': {'age_s': 0, 'count': 0}}, late_floor)):
            for round_number in range(self.mode.rounds):
                with ScriptsRun(self.place, script, **at_most) as run:
                    ours.append(run.rate(self.mode.warmup, self.mode.seconds))
                of_floor.append(spawn_rate(self.place, self.mode.seconds, script))
                self.say(f'round {round_number + 1}: scripts{", deleted" if at_most else ""}: rq '
                         f'{number(ours[-1])}, floor {number(of_floor[-1])}')
        share = paired_ratio(kept, floor)
        rows = [['rq, num_workers 2', *spread(kept), f'{share:.0%}',
                 self.verdicts.demand('scripts, share of the floor', share, SCRIPT_SHARE,
                                      show=lambda v: f'{v:.0%}')],
                ['rq, and messages and folders deleted when done', *spread(deleted),
                 f'{paired_ratio(deleted, late_floor):.0%}', ''],
                ['posix_spawn and wait, two at a time', *spread(floor + late_floor), '', '']]
        return table(['`echo done >&3` a second', 'median', 'min', 'max', 'of the floor',
                      'demanded'], rows)

    # The engine, in process ---------------------------------------------------------------------

    def engine(self):
        data = self.place.fresh_dir('engine')
        found = engine_runs(self.place, self.mode.engine_args, data)
        shutil.rmtree(data, ignore_errors=True)
        rows = []
        for name, runs in found.items():
            rate, written, rss, opening = (
                statistics.median(r.get(key, 0) for r in runs)
                for key in ('lives/s', 'written/put', 'rss_MiB', 'open_ms'))
            floor, aim = ENGINE.get(name, (None, None))
            check = name in ENGINE
            rows.append([
                name, number(rate),
                self.verdicts.demand(f'engine {name}, lives a second', rate, floor),
                self.verdicts.aim(rate, aim), f'{written:.2f}',
                self.verdicts.demand(f'engine {name}, bytes written a byte put', written,
                                     ENGINE_WRITTEN if check else None, at_most=True),
                number(rss * 1.048576),
                self.verdicts.demand(f'engine {name}, memory in MB', rss * 1.048576,
                                     ENGINE_MEMORY_MB if check else None, at_most=True),
                number(opening),
                self.verdicts.demand(f'engine {name}, opening in ms', opening,
                                     ENGINE_OPEN_MS if check else None, at_most=True)])
        return table(['Batches of 100 / waiting', 'lives a second', 'demanded', 'aim',
                      'written a byte put', 'demanded', 'memory, MB', 'demanded', 'opening, ms',
                      'demanded'], rows) + (
            '\n\nIn process, synced commits. `mixed`: puts, reserves and dones share a commit; '
            '`apart`: three commits for 100 lives.')


def batches(engine):
    """How well rq's commands came together, from its own counters over all rounds. Neighbours of one
    kind on a connection are one command to its engine."""
    commands, count, syncs = (sum(e[k] for e in engine) for k in ('commands', 'batches', 'syncs'))
    return (f'rq: {number(commands / max(count, 1))} commands of its engine a batch, '
            f'{number(commands / max(syncs, 1))} commands a sync.')
