"""How one figure of one server is taken: by rows.py for the page of results, by against.py to hold
two builds against each other.
"""
import json
import os
import re
import shutil
import socket
import subprocess
import time

from servers import BenchError, Rq

PAYLOAD = 200
RUN_LIMIT_S = 120      # a run of rq_load, besides the seconds that it is asked for
FILL_LIMIT_S = 1800    # one that puts a number of messages, however long that takes
ENGINE_LIMIT_S = 3600  # all benchmarks of the engine, with the filling of its stores


class Load:
    """rq_load on a server: start, check, read its one line of JSON."""

    def __init__(self, place, mode):
        self.place = place
        self.mode = mode

    def run(self, server, connections, depth, *, protocol=None, seconds=None, warmup=None,
            limit_s=RUN_LIMIT_S, args=()):
        address = server.address
        if protocol == 'http':
            address = f'127.0.0.1:{server.http_port}'
        command = [str(self.place.program('rq_load')), protocol or server.protocol, address,
                   '--connections', str(connections), '--depth', str(depth), '--bytes',
                   str(PAYLOAD), '--warmup', str(self.mode.warmup if warmup is None else warmup),
                   '--seconds', str(seconds or self.mode.seconds), '--json', *map(str, args)]
        what = f'{server.name}, {connections} connections, {depth} in flight'
        try:
            run = subprocess.run(command, capture_output=True, text=True, check=False,
                                 timeout=limit_s + (seconds or self.mode.seconds))
        except subprocess.TimeoutExpired as late:
            raise BenchError(f'{what}: no end after {late.timeout:.0f} s') from None
        if run.returncode != 0:
            raise BenchError(f'{what}: {run.stderr.strip()} {server.log_end()}')
        return json.loads(run.stdout)


def wrk_puts(place, seconds, server):
    """JSON puts on 64 connections, by wrk, which must be installed."""
    # wrk counts whole seconds only.
    seconds = max(1, round(seconds))
    run = subprocess.run(
        ['wrk', '-t1', '-c64', f'-d{seconds}s', '-s', str(place.here / 'http' / 'put.lua'),
         f'http://127.0.0.1:{server.http_port}/v1/queues/bench/messages'],
        capture_output=True, text=True, check=False,
        env={**os.environ, 'PAYLOAD': str(PAYLOAD)})
    lines = [line for line in run.stdout.splitlines() if line.startswith('{')]
    if run.returncode != 0 or not lines:
        raise BenchError(f'wrk: {run.stdout[-300:]} {run.stderr[-300:]}')
    got = json.loads(lines[-1])
    if got['errors']:
        raise BenchError(f'wrk: {got["errors"]} of {got["requests"]} requests failed: '
                         + server.log_end())
    # What wrk believes has to be there.
    there = server.request('GET', '/v1/queues/bench')['counts']['que']
    if there < got['requests']:
        raise BenchError(f'wrk had {got["requests"]} puts answered, {there} messages are there')
    got['per_s'] = got['requests'] / got['seconds']
    return got


def trivial_script(place):
    script = place.data / 'trivial.sh'
    script.write_text('#!/bin/sh\necho done >&3\n')
    script.chmod(0o755)
    return script


class ScriptsRun:
    """A server whose worker runs a trivial script, only while its rate is measured."""

    LINES = (json.dumps({'payload': 'x' * PAYLOAD}) + '\n').encode() * 500

    def __init__(self, place, script, sync=None, **settings):
        # The folder stays until the end of the run.
        self.server = Rq(place, worker=True, dir=place.fresh_dir('scripts'), sync=sync)
        self.script = script
        self.settings = settings

    def __enter__(self):
        self.server.__enter__()
        self.server.define('scripts', script=str(self.script), num_workers=2, **self.settings)
        return self

    def __exit__(self, *exception):
        self.server.__exit__(*exception)

    def rate(self, warmup, seconds):
        """Ends of the script a second, between two looks at the queue. The queue is paused then."""
        self._fill(int((seconds + warmup) * 5000) + 1000)
        before, _ = self._dones()
        self.server.request('POST', '/v1/queues/scripts/resume')
        self._wait('no script ran', lambda: self._dones()[0] >= before + 20)
        time.sleep(warmup)
        first, began = self._dones()
        time.sleep(seconds)
        last, ended = self._dones()
        if self._queue()['counts']['que'] == 0:
            raise BenchError('the scripts ran out of messages before the end of the run')
        self.server.request('POST', '/v1/queues/scripts/pause')
        self._wait('scripts still run', lambda: self._queue()['counts']['run'] == 0)
        return (last - first) / (ended - began)

    def _fill(self, most):
        there = self._queue()['counts']['que']
        for _ in range((most - there) // 500 + 1):
            self.server.request('POST', '/v1/queues/scripts/messages', self.LINES,
                                'application/x-ndjson')

    def _queue(self):
        return self.server.request('GET', '/v1/queues/scripts')

    def _dones(self):
        totals = self._queue()['totals']
        if totals['errs']:
            raise BenchError(f'{totals["errs"]} scripts failed: ' + self.server.log_end())
        return totals['dones'], time.perf_counter()

    def _wait(self, what, there):
        deadline = time.monotonic() + 30
        while not there():
            if time.monotonic() > deadline:
                raise BenchError(f'{what} within 30 s: ' + self.server.log_end())
            time.sleep(0.02)


def spawn_rate(place, seconds, script):
    """How often this machine starts and reaps that script a second: the floor of scripts_rate."""
    run = subprocess.run([str(place.program('spawn_floor')), str(script), str(seconds), '2'],
                         capture_output=True, text=True, check=True)
    return float(run.stdout)


def engine_runs(place, args, data, sync=None):
    """{name: [what each repetition counted]} of the engine's benchmark, for example of 'mixed/0'.
    `data` holds the stores that it fills; they are there the next time."""
    program = place.program('engine_bench')
    try:
        run = subprocess.run([str(program), '--benchmark_format=json', *args], capture_output=True,
                             text=True, check=False, timeout=ENGINE_LIMIT_S,
                             env={**os.environ, 'RQ_BENCH_DIR': str(data), **(sync or {})})
    except subprocess.TimeoutExpired as late:
        raise BenchError(f'{program.name}: no end after {late.timeout:.0f} s') from None
    if run.returncode != 0:
        raise BenchError(f'{program.name}: {run.stderr[-300:]}')
    found = {}
    for one in json.loads(run.stdout)['benchmarks']:
        name = re.match(r'\w+(/\d+)*', one['run_name']).group()
        if one['run_type'] == 'iteration':
            found.setdefault(name, []).append(one)
    return found


def first_reply(server):
    """Waits for a reply that has asked the store."""
    with socket.create_connection(('127.0.0.1', server.port), timeout=60) as sock:
        sock.sendall(b'use bench\r\npeek-ready\r\n')
        got = b''
        while got.count(b'\n') < 2:
            more = sock.recv(65536)
            if not more:
                raise BenchError(f'{server.name} closed the connection: {got!r}')
            got += more
    if not got.startswith(b'USING bench\r\n') or not re.search(rb'\n(FOUND|NOT_FOUND)', got):
        raise BenchError(f'{server.name}: wrong first reply {got[:200]!r}')
