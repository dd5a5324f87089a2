"""Two builds of rq against each other: bench/run --against BINARY.

The older build is `old`, this tree's is `new`. Both run the same rows in turns, so that a machine
that changes its speed meets both alike: in a round both are started afresh, and asked for one slice
after the other, old new, new old, old new... A row prints the medians of both, and the median of
new / old over the rounds, which is held against what is demanded of it. The load generator is this
tree's for both.
"""
import contextlib
import dataclasses
import shutil
import statistics
import time

from measures import (FILL_LIMIT_S, Load, ScriptsRun, engine_runs, first_reply, spawn_rate,
                      trivial_script, wrk_puts)
from place import PROGRAMS, Place
from servers import BenchError, Rq
from tables import number, paired_ratio, ratio, spread, table

SLOW_SYNC_MS = 1
SLICES = 6              # of each side in a round: the machine changes its speed within seconds
SLICE_OF_RUN = 1 / 4    # of the time of a run, so that a round takes half as long again
GROUPS = {
    'lives': ('50x100', '50x100-mixed', '50x1', '1x1'),
    'http': ('http-single', 'http-bulk', 'http-lives'),
    'memory': ('50x100', 'waiting'),
}


@dataclasses.dataclass(frozen=True)
class Demands:
    """The least new / old of a rate; of memory, the most. None: nothing is demanded."""
    rate: float | None
    single: float | None    # one connection, one command in flight
    scripts: float | None
    memory: float | None


DEMANDS = Demands(rate=0.95, single=0.9, scripts=1.0, memory=1.1)
SLOW_DEMANDS = Demands(rate=0.97, single=0.97, scripts=0.97, memory=1.1)
NO_DEMANDS = Demands(None, None, None, None)


@dataclasses.dataclass(frozen=True)
class Figure:
    title: str
    bound: float | None = None
    at_most: bool = False


class Row:
    """One measurement, of one or more figures."""

    def __init__(self, name, mode, sync, figures):
        self.name = name
        self.mode = mode
        self.sync = sync        # the environment of the servers, or None
        self.figures = figures  # {key: Figure}

    def round(self, place):
        """A context: what measures one slice, {key: value}, of a fresh server of that build."""
        raise NotImplementedError

    def close(self):
        """Removes what is kept from one round to the next."""


class Slices:
    """Short runs of rq_load on a server that goes on. `store`: [folder, number of the next message],
    shared by all runs on one store."""

    def __init__(self, place, mode, server, connections, depth, args=(), *, protocol=None,
                 store=None):
        self.load = Load(place, mode)
        self.mode = mode
        self.run_args = (server, connections, depth)
        self.args = args
        self.protocol = protocol
        self.store = store or [server.dir, 0]

    def run(self):
        got = self.load.run(*self.run_args, protocol=self.protocol,
                            seconds=self.mode.seconds * SLICE_OF_RUN,
                            warmup=self.mode.warmup * SLICE_OF_RUN,
                            args=['--first', self.store[1], *self.args])
        self.store[1] = got['next']
        return got['per_s']


class WrkSlices:
    """The same with wrk, which counts whole seconds."""

    def __init__(self, place, mode, server):
        self.take = lambda: wrk_puts(place, mode.seconds * SLICE_OF_RUN, server)

    def run(self):
        return self.take()['per_s']


class Lives(Row):
    def __init__(self, name, mode, sync, demands, connections, depth, rows_of_one_kind=False):
        title = f'{connections} × {depth}{", in rows" * rows_of_one_kind}'
        bound = demands.single if (connections, depth) == (1, 1) else demands.rate
        super().__init__(name, mode, sync, {
            'rate': Figure(f'{title}: lives a second', bound),
            'memory': Figure(f'{title}: memory at most, MB', demands.memory, at_most=True)})
        self.connections = connections
        self.depth = depth
        self.args = ['--rows'] * rows_of_one_kind

    @contextlib.contextmanager
    def round(self, place):
        with Rq(place, sync=self.sync) as server:
            load = Slices(place, self.mode, server, self.connections, self.depth, self.args)
            yield lambda: {'rate': load.run(), 'memory': server.memory_mb()[1]}


class Http(Row):
    TITLES = {'single': 'HTTP, 64 × 1: JSON puts a second',
              'bulk': 'HTTP, 8 × 1: messages a second, NDJSON puts of 500',
              'lives': 'HTTP, 64 × 1: lives a second'}

    def __init__(self, kind, mode, sync, demands):
        super().__init__(f'http-{kind}', mode, sync,
                         {'rate': Figure(self.TITLES[kind], demands.rate)})
        self.kind = kind

    @contextlib.contextmanager
    def round(self, place):
        with Rq(place, sync=self.sync) as server:
            server.make_queue('bench')
            if self.kind == 'bulk':
                load = Slices(place, self.mode, server, 8, 1, ['--work', 'puts', '--batch', 500],
                              protocol='http')
            elif self.kind == 'lives':
                load = Slices(place, self.mode, server, 64, 1, protocol='http')
            elif shutil.which('wrk'):
                load = WrkSlices(place, self.mode, server)
            else:
                load = Slices(place, self.mode, server, 64, 1, ['--work', 'puts'],
                              protocol='http')
            yield lambda: {'rate': load.run()}


class Waiting(Row):
    """Lives behind so many waiting messages. Each build fills a store of its own once."""

    DEPTHS = (100, 1)

    def __init__(self, mode, sync, demands):
        figures = {}
        for waiting in mode.backlog:
            what = f'{number(waiting)} waiting'
            for depth in self.DEPTHS:
                figures[waiting, depth] = Figure(f'{what}, 50 × {depth}: lives a second',
                                                 demands.rate)
            figures[waiting, 'memory'] = Figure(f'{what}: memory at most, MB', demands.memory,
                                                at_most=True)
            figures[waiting, 'start'] = Figure(f'{what}: start to first reply after kill -9, ms')
        super().__init__('waiting', mode, sync, figures)
        self.stores = {}        # {(place, waiting): [folder, number of the next message]}

    @contextlib.contextmanager
    def round(self, place):
        with contextlib.ExitStack() as servers:
            slices = [self._one(servers, place, waiting) for waiting in self.mode.backlog]
            yield lambda: {key: value for one in slices for key, value in one().items()}

    def _one(self, servers, place, waiting):
        store = self.stores.get((place, waiting)) or self._fill(place, waiting)
        began = time.perf_counter()
        server = servers.enter_context(Rq(place, dir=store[0], sync=self.sync))
        first_reply(server)
        start = (time.perf_counter() - began) * 1000
        loads = {depth: Slices(place, self.mode, server, 50, depth, store=store)
                 for depth in self.DEPTHS}
        servers.callback(server.kill)   # the next start has a log to recover: the worst case

        def take():
            found = {(waiting, depth): load.run() for depth, load in loads.items()}
            return {**found, (waiting, 'start'): start,
                    (waiting, 'memory'): server.memory_mb()[1]}
        return take

    def _fill(self, place, waiting):
        store = self.stores[place, waiting] = [place.fresh_dir(f'waiting-{waiting}'), waiting]
        fill(place, self.mode, store[0], waiting)
        return store

    def close(self):
        for folder, _ in self.stores.values():
            shutil.rmtree(folder, ignore_errors=True)


class Scripts(Row):
    def __init__(self, mode, sync, demands):
        super().__init__('scripts', mode, sync, {
            'rate': Figure('`echo done >&3` a second, num_workers 2', demands.scripts),
            'share': Figure('the same over posix_spawn and wait, two at a time')})

    @contextlib.contextmanager
    def round(self, place):
        script = trivial_script(place)
        seconds = self.mode.seconds * SLICE_OF_RUN
        with ScriptsRun(place, script, self.sync) as run:
            def take():
                rate = run.rate(self.mode.warmup * SLICE_OF_RUN, seconds)
                return {'rate': rate, 'share': rate / spawn_rate(place, seconds, script)}
            yield take


class Engine(Row):
    """The engine in process, without a server: needs the benchmark program of both builds."""

    def __init__(self, mode, sync, demands):
        names = ['mixed/0', 'spread/0', 'apart/0'] + [
            f'mixed/{waiting}' for waiting in mode.backlog if waiting in mode.engine_waiting]
        figures = {name: Figure(f'engine {name}: lives a second', demands.rate) for name in names}
        # The first benchmark of the process: what it holds is its own.
        figures['memory'] = Figure('engine mixed/0: memory, MB', demands.memory, at_most=True)
        super().__init__('engine', mode, sync, figures)
        self.names = names
        self.data = {}          # {place: folder}

    @contextlib.contextmanager
    def round(self, place):
        yield lambda: self._take(place)

    def _take(self, place):
        data = self.data.setdefault(place, place.fresh_dir('engine'))
        found = engine_runs(
            place, [f'--benchmark_filter=^({"|".join(self.names)})(/|$)',
                    f'--benchmark_min_time={self.mode.seconds * SLICE_OF_RUN}'], data,
            sync=self.sync)
        for name in self.names:
            if name not in found:
                raise BenchError(f'{place.program("engine_bench")} has no benchmark {name}')
        figures = {name: found[name][0]['lives/s'] for name in self.names}
        return {**figures, 'memory': found['mixed/0'][0]['rss_MiB'] * 1.048576}

    def close(self):
        for folder in self.data.values():
            shutil.rmtree(folder, ignore_errors=True)


class Upgrade:
    """A store that the old build has filled, and left by kill -9, is opened by the new one, which
    gives every message out. Nothing is compared."""

    name = 'upgrade'

    def __init__(self, mode):
        self.mode = mode

    def run(self, old, new):
        waiting = self.mode.backlog[0]
        folder = old.fresh_dir('upgrade')
        try:
            fill(old, self.mode, folder, waiting)
            began = time.perf_counter()
            with Rq(new, dir=folder) as server:
                first_reply(server)
                opened = (time.perf_counter() - began) * 1000
                # Checks that each comes once and is what was put.
                got = Load(new, self.mode).run(server, 8, 100, limit_s=FILL_LIMIT_S,
                                               args=['--work', 'takes', '--count', waiting])
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return (f'A store of the old build with {number(waiting)} messages: the new one gives its '
                f'first reply after {number(opened)} ms, and all messages, {number(got["per_s"])} '
                'a second.')


def fill(place, mode, folder, waiting):
    with Rq(place, dir=folder) as server:
        Load(place, mode).run(server, 8, 500, limit_s=FILL_LIMIT_S,
                              args=['--work', 'puts', '--count', waiting])
        server.kill()


def all_rows(mode, demands, sync):
    return [
        Lives('50x100', mode, sync, demands, 50, 100, rows_of_one_kind=True),
        Lives('50x100-mixed', mode, sync, demands, 50, 100),
        Lives('50x1', mode, sync, demands, 50, 1),
        Lives('1x1', mode, sync, demands, 1, 1),
        *(Http(kind, mode, sync, demands) for kind in Http.TITLES),
        Waiting(mode, sync, demands),
        Scripts(mode, sync, demands),
        Engine(mode, sync, demands),
        Upgrade(mode),
    ]


def choose(rows, wanted):
    """The rows of those names or groups; all when nothing is wanted."""
    if not wanted:
        return rows
    names = {name for one in wanted for name in GROUPS.get(one, (one,))}
    unknown = names - {row.name for row in rows}
    if unknown:
        raise BenchError(f'no row {", ".join(sorted(unknown))}; --list names them')
    return [row for row in rows if row.name in names]


def compare(row, places, rounds, say):
    """{key: {side: [a value a round, the mean of its slices]}}; the sides take turns, and who begins
    changes."""
    taken = {key: {side: [] for side in places} for key in row.figures}
    try:
        for round_number in range(rounds):
            found = one_round(row, places)
            for side in places:
                for key in row.figures:
                    taken[key][side].append(statistics.mean(one[key] for one in found[side]))
            first = next(iter(row.figures))
            say(f'round {round_number + 1}: {row.name}: ' + ', '.join(
                f'{side} {number(taken[first][side][-1])}' for side in places))
    finally:
        row.close()
    return taken


def one_round(row, places):
    """{side: [{key: value} of each slice]}"""
    with contextlib.ExitStack() as stack:
        takes = {side: stack.enter_context(row.round(place)) for side, place in places.items()}
        found = {side: [] for side in places}
        for slice_number in range(SLICES):
            order = list(places)
            for side in order if slice_number % 2 == 0 else reversed(order):
                found[side].append(takes[side]())
        return found


def lines_of(row, taken, verdicts):
    """The lines of the table, one a figure."""
    lines = []
    for key, figure in row.figures.items():
        old, new = taken[key]['old'], taken[key]['new']
        share = paired_ratio(new, old)
        share = float('nan') if share is None else share
        lines.append([figure.title, *spread(old), *spread(new), ratio(share),
                      verdicts.demand(figure.title, share, figure.bound, figure.at_most, ratio)])
    return lines


HEADERS = ['', 'old: median', 'min', 'max', 'new: median', 'min', 'max', 'new / old', 'demanded']


def run(here, build, data, binary, engine_bench, *, mode, slow, wanted, verdicts, say):
    """Measures and prints; 0 when all was measured and every demand is met."""
    binary = binary.resolve()
    if not binary.is_file():
        raise BenchError(f'{binary} is not a program')
    other = engine_bench or next(
        (binary.parent / path for path in PROGRAMS['engine_bench']
         if (binary.parent / path).exists()), binary.parent / PROGRAMS['engine_bench'][0])
    places = {
        'old': Place(here, build, data / 'old', rq=binary, engine_bench=other.resolve()),
        'new': Place(here, build, data / 'new')}
    for place in places.values():
        place.data.mkdir(parents=True)
    sync = places['new'].slow_sync(SLOW_SYNC_MS) if slow else None
    demands = NO_DEMANDS if mode.name == 'smoke' else SLOW_DEMANDS if slow else DEMANDS
    rows = choose(all_rows(mode, demands, sync), wanted)
    print(f'old: {binary}\nnew: {places["new"].program("rq")}\n{mode.name} run, '
          f'{mode.rounds} rounds' + f', {SLOW_SYNC_MS} ms added to each sync' * slow, flush=True)
    lines, notes, failed = [], [], []
    for row in rows:
        try:
            if isinstance(row, Upgrade):
                notes.append(row.run(**places))
                continue
            lines += lines_of(row, compare(row, places, mode.rounds, say), verdicts)
        except (BenchError, OSError) as error:
            failed.append(row.name)
            print(f'  FAILED: {row.name}: {error}', flush=True)
    if lines:
        print('\n' + table(HEADERS, lines))
    for note in notes:
        print('\n' + note)
    print(f'\n{len(verdicts.met)} demands met, {len(verdicts.missed)} not met')
    for what in verdicts.missed:
        print(f'  not met: {what}')
    for name in failed:
        print(f'  could not be measured: {name}')
    return 1 if failed or verdicts.missed else 0
