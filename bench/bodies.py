"""A body of gigabytes through http/ alone, beside nginx: curl puts it and reads it back."""
import contextlib
import os
import statistics
import subprocess
import time

from servers import BenchError, Server
from tables import paired_ratio, ratio, spread, table

BODY_BYTES = 4 << 30
OVER_NGINX = 0.7
MEMORY_MB = 60
CURL_LIMIT_S = 300


class FileServer(Server):
    """http/ with a route for one file."""

    name = 'rq'
    program = 'http_file_server'
    stdin = subprocess.PIPE   # it ends when this does
    path = '/file'

    @property
    def socket(self):
        return self.dir / 'socket'

    def command(self):
        return [str(self.place.program('http_file_server')), str(self.socket),
                str(self.dir / 'file')]

    def answers(self):
        return self.socket.exists()


class Nginx(FileServer):
    name = 'nginx'
    program = 'nginx'

    def command(self):
        folder = self.dir
        (folder / 'nginx.conf').write_text(f"""
            daemon off; master_process off; pid {folder}/pid; error_log stderr;
            events {{}}
            http {{
              access_log off; sendfile on; client_max_body_size 0;
              client_body_temp_path {folder}/body;
              server {{
                listen unix:{self.socket};
                root {folder};
                location / {{ dav_methods PUT; }}
              }}
            }}
            """)
        return ['nginx', '-e', 'stderr', '-p', str(folder), '-c', str(folder / 'nginx.conf')]


def bodies(place, mode, verdicts, say):
    """Puts and reads the same body from both in turns; the rates are MB a second."""
    contestants = [c for c in (FileServer, Nginx) if c is FileServer or c.installed()]
    rates = {(way, c): [] for way in ('put', 'read') for c in contestants}
    memory = []
    body = place.fresh_dir('body')
    body.parent.mkdir(parents=True, exist_ok=True)
    size = mode.body_bytes
    with open(body, 'wb') as out:
        piece = os.urandom(min(size, 1 << 20))
        for _ in range(size // len(piece)):
            out.write(piece)
        os.fsync(out.fileno())
    try:
        for round_number in range(mode.rounds):
            # What one leaves to be written to the disk slows the next: both come first in turns.
            for contestant in contestants[::-1 if round_number % 2 else 1]:
                with contestant(place) as server:
                    url = f'http://localhost{server.path}'
                    put = _curl(server, '--upload-file', body, url)
                    read = _curl(server, '--output', '/dev/null', url)
                    rates['put', contestant].append(size / 1e6 / put)
                    rates['read', contestant].append(size / 1e6 / read)
                    if contestant is FileServer:
                        memory.append(server.memory_mb()[1])
                say(f'round {round_number + 1}: {contestant.name}: put '
                    f'{size / 1e6 / put:.0f} MB/s, read {size / 1e6 / read:.0f} MB/s')
    finally:
        with contextlib.suppress(OSError):
            body.unlink()
    rows = []
    for way in ('put', 'read'):
        for contestant in contestants:
            cells = [f'{way}: {contestant.name}', *spread(rates[way, contestant]), '', '']
            share = paired_ratio(rates[way, FileServer], rates[way, contestant])
            if contestant is not FileServer and share is not None:
                cells[4:] = [ratio(share), verdicts.demand(
                    f'a body of {size / 1e9:.1f} GB, {way}, rq over nginx', share, OVER_NGINX,
                    show=ratio)]
            rows.append(cells)
    most = max(memory)
    text = table(['MB a second', 'median', 'min', 'max', 'rq is', 'demanded'], rows)
    held = verdicts.demand(f'a body of {size / 1e9:.1f} GB, memory in MB', most, MEMORY_MB,
                           at_most=True)
    return (f'{text}\n\n{size / 1e9:.1f} GB over a unix socket with curl, into a file and back, not '
            f'synced. The server took {statistics.median(memory):.1f} MB, {most:.1f} at most: {held}.')


def _curl(server, *args):
    """Seconds."""
    began = time.perf_counter()
    run = subprocess.run(['curl', '--silent', '--show-error', '--fail', '--unix-socket',
                          str(server.socket), *map(str, args)],
                         capture_output=True, text=True, timeout=CURL_LIMIT_S, check=False)
    if run.returncode:
        raise BenchError(f'curl with {server.name} ended with {run.returncode}: {run.stderr}')
    return time.perf_counter() - began
