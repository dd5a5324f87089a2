"""Where programs and data are."""
from servers import BenchError

# Where each program lies below a build; the first that is there counts. Older builds had the
# benchmark of the engine elsewhere.
PROGRAMS = {
    'rq': ('rq',),
    'rq_load': ('bench/rq_load',),
    'spawn_floor': ('bench/spawn_floor',),
    'engine_bench': ('src/store/contract/rq_store_contract_bench', 'src/store/rq_store_bench'),
    'http_file_server': ('test/http_file_server',),
    'slow_sync': ('bench/libslow_sync.so',),
}


class Place:
    """The programs of one build, some of which may be replaced, and a folder for data."""

    def __init__(self, here, build, data, **instead):
        self.here = here          # bench/
        self.build = build
        self.data = data
        self.instead = instead    # {name of a program: path}
        self.count = 0

    def program(self, name):
        if name in self.instead:
            paths = [self.instead[name]]
        else:
            paths = [self.build / path for path in PROGRAMS[name]]
        for path in paths:
            if path.exists():
                return path
        raise BenchError(f'{name} has not been built; make bench builds it')

    def fresh_dir(self, name):
        self.count += 1
        return self.data / f'{name}-{self.count}'

    def slow_sync(self, ms):
        """The environment in which each sync of a program takes so much longer."""
        return {'LD_PRELOAD': str(self.program('slow_sync')), 'RQ_SYNC_DELAY_MS': str(ms)}
