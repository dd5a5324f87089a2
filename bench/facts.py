"""What a figure depends on: the machine, its disk, the versions. No names, no paths."""
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time

MEMORY_FILESYSTEMS = ('tmpfs', 'ramfs')


def _first_line(command):
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (run.stdout or run.stderr).strip().partition('\n')[0]


def version_of(program, *args):
    """'1.12', or None when the program is not there."""
    if shutil.which(program) is None:
        return None
    found = re.search(r'\d+(\.\d+)+', _first_line([program, *args]) or '')
    return found.group() if found else 'unknown'


def cpu_model():
    for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            return line.partition(':')[2].strip()
    return platform.machine()


def distribution():
    try:
        return platform.freedesktop_os_release().get('PRETTY_NAME', 'Linux')
    except OSError:
        return 'Linux'


def filesystem_of(path):
    best, kind = '', 'unknown'
    for line in pathlib.Path('/proc/mounts').read_text().splitlines():
        _, where, this_kind = line.split()[:3]
        inside = str(path) == where or str(path).startswith(where.rstrip('/') + '/')
        if inside and len(where) >= len(best):
            best, kind = where, this_kind
    return kind


def memory_gb():
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9


def memory_free_gb():
    for line in pathlib.Path('/proc/meminfo').read_text().splitlines():
        if line.startswith('MemAvailable'):
            return int(line.split()[1]) * 1024 / 1e9
    return 0


def sync_latency_us(folder, syncs=300, env=None):
    """(median, p99) of writing 4 KiB into a file that has its size, and fdatasync. In a process of
    its own, so that a preloaded shim counts."""
    run = subprocess.run([sys.executable, __file__, str(folder), str(syncs)], check=True,
                         capture_output=True, text=True, env={**os.environ, **(env or {})})
    median, p99 = run.stdout.split()
    return float(median), float(p99)


def _measure_syncs(folder, syncs):
    path = pathlib.Path(folder) / 'sync-probe'
    block = b'x' * 4096
    fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        os.write(fd, block * syncs)
        os.fsync(fd)
        took = []
        for i in range(syncs):
            start = time.perf_counter()
            os.pwrite(fd, block, i * len(block))
            os.fdatasync(fd)
            took.append((time.perf_counter() - start) * 1e6)
    finally:
        os.close(fd)
        path.unlink()
    took.sort()
    print(statistics.median(took), took[int(len(took) * 0.99)])


def load_average():
    return os.getloadavg()[0]


def machine(folder):
    """Rows of (what, value) for the results page; the first two tell one machine from another."""
    median, p99 = sync_latency_us(folder)
    kind = filesystem_of(pathlib.Path(folder).resolve())
    peers = {'beanstalkd': version_of('beanstalkd', '-v'),
             'Redis': version_of('redis-server', '--version'),
             'wrk': version_of('wrk', '-v')}
    return [
        ('CPU', f'{cpu_model()}, {len(os.sched_getaffinity(0))} cores'),
        ('System', f'{distribution()}, Linux {platform.release()}'),
        ('Memory', f'{memory_gb():.0f} GB'),
        ('Data on', kind + (' (memory: syncs cost nothing here, so nothing is proven)'
                            if kind in MEMORY_FILESYSTEMS else '')),
        ('A sync', f'median {median:.0f} µs, p99 {p99:.0f} µs (4 KiB and fdatasync)'),
        ('Peers', ', '.join(f'{n} {v}' for n, v in peers.items() if v) or 'none installed'),
    ]


if __name__ == '__main__':
    _measure_syncs(sys.argv[1], int(sys.argv[2]))
