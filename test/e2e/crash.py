#!/usr/bin/env python3
"""kill -9 under load: the server, the worker, or both, at random moments, again and again.

    RQ_BIN=build/release/rq python3 test/e2e/crash.py [--rounds 50] [--seed S] [--limit SECONDS]
                                        [--kill server|worker|half|both|clock|stop] [--keep]

Without --kill a draw says each time who is killed. `half` kills one of the two processes of a worker. `clock` steps the wall clock of server and worker
instead, by up to a day forwards and back; `stop` stops the server for longer than a lease. Clients put messages and work them off over HTTP,
a script queue runs through the real worker. What every client saw is recorded; when the killing is
over and all has drained, history.py judges it. A round takes about half a second; what has not come
to its end within --limit seconds (60, and 3 for each round) has failed.
"""
import argparse
import base64
import collections
import http.client
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import history
from history import OK, REFUSED, UNKNOWN, Event, Final

LEASE_S = 1.5
RETRIES, MAX_COUNT = 2, 5
REPLY_S = 20        # a reply that takes longer counts as none
UP_S = 60           # a server that is not up by then has failed
DRAIN_S = 120       # so have messages that are not finished by then
AGAIN = 0.2         # how often who is killed is killed again while it starts
AGAIN_S = 0.1       # how long after its start at most
LIMIT_S, LIMIT_ROUND_S = 60, 3
STOP_S = (5.5, 7)   # above what the server takes for a pause of its own
CLOCKS_S = (0, 90, -90, 3600, -3600, 86_400, -86_400)   # from the machine's
CLOCK_AT_LAST_S = 90_000   # all that was put off has fallen due

SCRIPT = """#!/bin/sh
seq=${RQ_MSG_ID##*.}
echo "$seq ${RQ_ATTEMPT:--} start" >>"$SIDE"
echo run half way >&3
sleep 0.0$((seq % 10))
echo "$seq ${RQ_ATTEMPT:--} end" >>"$SIDE"
echo done >&3
"""

WAITING_SCRIPT = """#!/bin/sh
seq=${RQ_MSG_ID##*.}
echo "$seq ${RQ_ATTEMPT:--} start" >>"$SIDE"
while [ ! -e "$GO" ]; do sleep 0.02; done
echo "$seq ${RQ_ATTEMPT:--} end" >>"$SIDE"
echo done >&3
"""


class Gone(Exception):
    """The connection died: nobody knows whether it happened."""


class Refused(Exception):
    """The server said no; nothing was changed."""


class Client:
    """One keep-alive connection, made anew when it broke."""

    def __init__(self, port):
        self.port, self.connection = port, None

    def call(self, method, path, body=None):
        """(reply, t0, t1). Raises Refused or Gone, each with t0 and t1 (or None) as arguments."""
        data = None if body is None else json.dumps(body)
        t0 = time.monotonic_ns()
        try:
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REPLY_S)
            self.connection.request(method, path, data, {"Content-Type": "application/json"})
            response = self.connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Gone(t0, None, str(error)) from None
        t1 = time.monotonic_ns()
        reply = json.loads(text) if text else {}
        if response.status >= 400:
            kind = Gone if response.status in (500, 502, 507) else Refused
            raise kind(t0, t1, f"{method} {path}: {response.status} {text.decode()}")
        return reply, t0, t1

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def free_port():
    """Below the range from which the system takes ports for clients: while the server is down, a
    client that tries again and again would otherwise be given the server's port as its own."""
    for port in random.SystemRandom().sample(range(11_000, 32_000), 1000):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise SystemExit("crash: no free port")


def wait_for(what, ready, limit_s, alive=lambda: True):
    """Asks `ready` until it says yes; an error after limit_s, or when `alive` says no."""
    end = time.monotonic() + limit_s
    while not ready():
        if not alive() or time.monotonic() > end:
            raise SystemExit(f"crash: {what}: not within {limit_s} s")
        time.sleep(0.01)


class Daemon:
    """The server on one directory, and the worker that it started."""

    def __init__(self, directory):
        self.directory, self.port = directory, free_port()
        with open(os.path.join(directory, "rq.toml"), "w") as config:
            config.write("define_over_tcp = true\n")  # all that is asked here goes over TCP
        self.binary = os.path.realpath(os.environ["RQ_BIN"])
        self.env = dict(os.environ)
        self.clock = None
        self.log = open(os.path.join(directory, "server.log"), "ab")
        self.server = None
        self.own_workers = []

    def spawn(self):
        self.server = self._run("server", "--http", f"127.0.0.1:{self.port}")

    def _run(self, verb, *more):
        return subprocess.Popen([self.binary, verb, "--dir", self.directory, *more],
                                stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                env=self.env)

    def take_clock(self):
        """The wall clock of server and worker can be stepped from now on."""
        shim = os.path.join(os.path.dirname(self.binary), "test", "libstep_clock.so")
        if not os.path.exists(shim):
            raise SystemExit(f"crash: {shim} is missing (builds with sanitizers have none)")
        self.clock = open(os.path.join(self.directory, "clock"), "w+b", buffering=0)
        self.clock.write(bytes(8))
        self.env |= {"LD_PRELOAD": shim, "RQ_CLOCK_STEP_FILE": self.clock.name}

    def set_clock(self, to_s):
        self.clock.seek(0)
        self.clock.write(struct.pack("=q", to_s * 1_000_000_000))

    def start(self):
        self.spawn()
        client = Client(self.port)
        wait_for("the server's start", lambda: self._healthy(client), UP_S,
                 alive=lambda: self.server.poll() is None)
        client.close()

    @staticmethod
    def _healthy(client):
        try:
            return client.call("GET", "/v1/health")[0].get("status") == "ok"
        except (Gone, Refused):
            return False

    def workers(self):
        """Process ids of `rq worker` on our directory."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as f:
                    words = f.read().decode(errors="replace").split("\0")
                if "worker" in words and os.readlink(f"/proc/{entry}/exe") == self.binary \
                        and any(self.directory in word for word in words):
                    found.append(int(entry))
            except OSError:
                continue
        return found

    def kill_server(self, how=signal.SIGKILL):
        self.server.send_signal(how)
        self.server.wait(timeout=UP_S)

    def start_worker(self):
        """As a service manager would, when the server waits longer and longer with the next one."""
        self.own_workers = [w for w in self.own_workers if w.poll() is None]
        self.own_workers.append(self._run("worker"))

    def kill_workers(self, how=signal.SIGKILL):
        """How many there were."""
        pids = self.workers()
        for pid in pids:
            try:
                os.kill(pid, how)
            except ProcessLookupError:
                pass
        return len(pids)

    def kill_half(self, dice):
        """One of the two processes of the worker, or of the one that is just taking over."""
        pids = sorted(self.workers())
        if pids:
            try:
                os.kill(dice.choice(pids), signal.SIGKILL)
            except ProcessLookupError:
                pass

    def stop(self):
        if self.server is not None and self.server.poll() is None:
            self.kill_server(signal.SIGTERM)
        # Without its server a worker keeps what it has for the next one: nobody comes any more.
        self.kill_workers()
        wait_for("the worker's end", lambda: not self.workers(), UP_S)
        for worker in self.own_workers:
            worker.wait()
        self.log.close()
        # ThreadSanitizer reports and goes on: nobody else would see it.
        with open(self.log.name, errors="replace") as log:
            said = log.read().partition("WARNING: ThreadSanitizer")
        if said[1]:
            raise SystemExit("crash: " + said[1] + said[2])


class Load:
    """The clients. Each thread has its own random numbers and its own list of events."""

    def __init__(self, port, seed):
        self.port, self.seed = port, seed
        self.stop_putting, self.stop_working = threading.Event(), threading.Event()
        self.histories, self.threads = [], []
        self.errors = []
        self.counts = collections.Counter()

    def start(self):
        for n in range(3):
            self._thread(self._putter, self.stop_putting, f"putter{n}")
        for n in range(3):
            self._thread(self._worker, self.stop_working, f"worker{n}")

    def _thread(self, run, stop, name):
        events = []
        self.histories.append(events)

        def guarded():
            try:
                run(events, stop, name, random.Random(f"{self.seed}/{name}"))
            except Exception as error:  # a bug in this program must not look like a sound history
                self.errors.append(f"{name}: {error!r}")
        thread = threading.Thread(target=guarded, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _putter(self, events, stop, name, dice):
        client, n = Client(self.port), 0
        while not stop.is_set():
            n += 1
            queue = "scripts" if dice.random() < 0.15 else "work"
            many = dice.random() < 0.1
            puts = []
            for i in range(8 if many else 1):
                put = {"payload": f"{name}-{n}-{i}"}
                if dice.random() < 0.5:
                    put["key"] = f"key-{name}-{n}-{i}"
                if dice.random() < 0.2:
                    put["priority"] = dice.randint(-5, 5)
                if dice.random() < 0.1:
                    put["delay_s"] = 0.2
                puts.append(put)
            self._put(events, client, queue, puts)
            # A repeat of a key must find the first, whatever became of the first try.
            keyed = [p for p in puts if "key" in p]
            unknown = events[-1].status == UNKNOWN
            if keyed and (unknown or dice.random() < 0.2):
                self._put(events, client, queue, keyed)
            stop.wait(0.2 if unknown else 0.004)
        client.close()

    def _put(self, events, client, queue, puts):
        def note(put, t0, t1, status, seq=None):
            self.counts[f"put {status}"] += 1
            events.append(Event("put", t0, t1, status, queue=queue, key=put.get("key"),
                                payload=put["payload"], seq=seq))
        try:
            body = puts if len(puts) > 1 else puts[0]
            reply, t0, t1 = client.call("POST", f"/v1/queues/{queue}/messages", body)
        except (Gone, Refused) as error:
            status = UNKNOWN if isinstance(error, Gone) else REFUSED
            for put in puts:
                note(put, error.args[0], error.args[1], status)
            return
        answers = reply if isinstance(reply, list) else reply.get("messages", reply.get("items", [reply]))
        if len(answers) != len(puts):
            raise ValueError(f"{len(puts)} puts got {len(answers)} answers: {reply}")
        for put, answer in zip(puts, answers):
            if "error" in answer:
                note(put, t0, t1, REFUSED)
            else:
                note(put, t0, t1, OK, answer["seq"])

    def _worker(self, events, stop, name, dice):
        client, abandoned = Client(self.port), collections.deque(maxlen=8)
        while not stop.is_set():
            try:
                reply, t0, t1 = client.call("POST", "/v1/reserve", {
                    "queues": ["work"], "limit": dice.randint(1, 6), "wait_s": 0.3,
                    "worker": name, "lease_s": LEASE_S})
            except (Gone, Refused):
                stop.wait(0.05)
                continue
            tokens = [tuple(int(n) for n in m["lease"]["token"].split("."))
                      for m in reply["messages"]]
            if tokens:
                events.append(Event("reserve", t0, t1, OK, tokens=tuple(tokens),
                                    lease_ns=int(LEASE_S * 1e9)))
            for token in tokens:
                if dice.random() < 0.3:
                    self._heartbeat(events, client, token)
                what = dice.choices(["done", "err", "failed", "resend", "release", "abandon"],
                                    [70, 6, 6, 6, 6, 6])[0]
                if what == "abandon":
                    abandoned.append(token)
                elif self._finish(events, client, token, what) == UNKNOWN and dice.random() < 0.5:
                    self._finish(events, client, token, what)
            if abandoned and dice.random() < 0.1:
                late = abandoned.popleft()
                if dice.random() < 0.5:
                    self._heartbeat(events, client, late)
                else:
                    self._finish(events, client, late, "done")
        client.close()

    def _item(self, events, client, path, body, token, **more):
        try:
            _, t0, t1 = client.call("POST", path, {"token": ".".join(map(str, token)), **body})
            status = OK
        except Refused as error:
            t0, t1, status = error.args[0], error.args[1], REFUSED
        except Gone as error:
            t0, t1, status = error.args[0], error.args[1], UNKNOWN
        op = more.pop("op")
        self.counts[f"{more.get('outcome', op)} {status}"] += 1
        events.append(Event(op, t0, t1, status, token=token, **more))
        return status

    def _heartbeat(self, events, client, token):
        return self._item(events, client, "/v1/heartbeat", {}, token, op="heartbeat")

    def _finish(self, events, client, token, what):
        path, body = {
            "done": ("/v1/done", {}),
            "err": ("/v1/err", {"reason": "for good", "retry": False}),
            "failed": ("/v1/err", {"reason": "try again"}),
            "resend": ("/v1/resend", {"delay_s": 0.05}),
            "release": ("/v1/release", {"delay_s": 0}),
        }[what]
        return self._item(events, client, path, body, token, op="finish", outcome=what)

    def events(self):
        return [e for events in self.histories for e in events]

    def join(self):
        for thread in self.threads:
            thread.join(REPLY_S * 3)
            if thread.is_alive():
                self.errors.append(f"{thread.name} hangs")


def write_script(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
    os.chmod(path, 0o755)


def define_queues(client, top):
    backoff = {"kind": "fixed", "base_s": 0.05, "max_s": 0.05, "jitter_percent": 0}
    common = {"retries": RETRIES, "max_count": MAX_COUNT, "backoff": backoff, "losses": 0,
              "lease_s": LEASE_S}
    side = os.path.join(top, "side")
    client.call("PUT", "/v1/queues/work", common)
    write_script(os.path.join(top, "script"), SCRIPT)
    client.call("PUT", "/v1/queues/scripts", {
        **common, "retries": 1000, "script": os.path.join(top, "script"), "num_workers": 2,
        "env_vars": {"SIDE": side}})
    write_script(os.path.join(top, "waiting"), WAITING_SCRIPT)
    client.call("PUT", "/v1/queues/waiting", {
        "script": os.path.join(top, "waiting"), "lease_s": LEASE_S,
        "env_vars": {"SIDE": side + ".waiting", "GO": os.path.join(top, "go")}})


def read_side(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="ascii") as f:
        rows = [line.split() for line in f]
    return [(int(seq), None if attempt == "-" else int(attempt), what) for seq, attempt, what in rows]


def unfinished(client, queues):
    left = 0
    for queue in queues:
        counts = client.call("GET", f"/v1/queues/{queue}")[0]["counts"]
        left += sum(counts[s] for s in ("prep", "scheduled", "throttled", "depends", "que", "run"))
    return left


def read_finals(client, queues):
    finals = []
    for queue in queues:
        cursor = ""
        while cursor is not None:
            page = client.call("GET", f"/v1/messages?queue={queue}&limit=500&order=oldest"
                               + (f"&cursor={cursor}" if cursor else ""))[0]
            finals += [read_final(client, m) for m in page["messages"]]
            cursor = page["cursor"]
    return finals


def read_final(client, m):
    attempts = client.call("GET", f"/v1/messages/{m['seq']}/attempts")[0]["attempts"]
    payload = m.get("payload")
    if payload is None:
        payload = base64.b64decode(m["payload_base64"]).decode(errors="replace")
    return Final(m["seq"], m["queue"], m["state"], payload, m.get("key"), m.get("attempts", 0),
                 m.get("failures", 0), m.get("count", 0),
                 tuple((a["number"], a["outcome"]) for a in attempts))


def undisturbed(daemon, top):
    """A server killed and started again while a script runs: it runs on and ends as done, once."""
    client = Client(daemon.port)
    seq = client.call("POST", "/v1/queues/waiting/messages", {"payload": "x"})[0]["seq"]
    side = os.path.join(top, "side.waiting")
    wait_for("the waiting script's start", lambda: read_side(side), UP_S)
    daemon.kill_server()
    daemon.start()
    client.close()
    # Longer than a lease: it lives on only if the worker found the new server and renews it.
    end = time.monotonic() + 2 * LEASE_S
    wait_for("two leases to pass", lambda: time.monotonic() > end, 4 * LEASE_S)
    with open(os.path.join(top, "go"), "w", encoding="ascii"):
        pass
    wait_for("the waiting script's end", lambda: not unfinished(client, ["waiting"]), UP_S)
    final = read_final(client, client.call("GET", f"/v1/messages/{seq}")[0])
    client.close()
    ran = [what for _, _, what in read_side(side)]
    wrong = []
    if ran != ["start", "end"]:
        wrong.append(f"the script that ran through a restart did {ran}")
    if final.state != "done" or final.attempts != 1:
        wrong.append(f"it ended as {final.state} after {final.attempts} attempts {final.records}")
    return wrong


def strike(daemon, victim, dice, kills):
    """Kills who is drawn, some of them again while they start; the server is up when it returns."""
    kills[victim] += 1
    if victim == "clock":
        return daemon.set_clock(dice.choice(CLOCKS_S))
    if victim == "stop":
        daemon.server.send_signal(signal.SIGSTOP)
        time.sleep(dice.uniform(*STOP_S))
        return daemon.server.send_signal(signal.SIGCONT)
    if victim == "half":
        daemon.kill_half(dice)
        return None
    hit_server = lambda: daemon.kill_server() if victim != "worker" else None
    hit_worker = lambda: daemon.kill_workers() if victim != "server" else 0
    # Of both, either is the first.
    hits = [hit_server, hit_worker]
    dice.shuffle(hits)
    for hit in hits:
        hit()
    while dice.random() < AGAIN:
        kills["while starting"] += 1
        if victim != "worker":
            daemon.spawn()
        if victim != "server":
            daemon.start_worker()
        time.sleep(dice.uniform(0, AGAIN_S))
        for hit in hits:
            hit()
    if victim != "worker":
        daemon.start()
    if victim != "server":
        daemon.start_worker()


def run(rounds, seed, top, kill=None):
    directory = os.path.join(top, "var")
    os.mkdir(directory)
    dice = random.Random(seed)
    daemon = Daemon(directory)
    load = Load(daemon.port, seed)
    kills = collections.Counter()
    began = time.monotonic()
    if kill == "clock":
        daemon.take_clock()
    try:
        daemon.start()
        client = Client(daemon.port)
        define_queues(client, top)
        load.start()
        for _ in range(rounds):
            load.stop_putting.wait(dice.uniform(0.05, 0.5))
            victim = kill or dice.choices(["server", "half", "worker", "both"],
                                           [30, 30, 20, 20])[0]
            strike(daemon, victim, dice, kills)
        killed_s = time.monotonic() - began
        load.stop_putting.set()
        if kill == "clock":
            daemon.set_clock(CLOCK_AT_LAST_S)
        client.close()
        queues = ["work", "scripts"]
        end = time.monotonic() + DRAIN_S
        while unfinished(client, queues) and time.monotonic() < end:
            time.sleep(0.05)
        drained_s = time.monotonic() - began - killed_s
        load.stop_working.set()
        load.join()
        finals = read_finals(client, queues)
        counts = {q: client.call("GET", f"/v1/queues/{q}")[0]["counts"] for q in queues}
        events = load.events()
        wrong = history.check(events, finals, history.Bounds(1000, MAX_COUNT),
                              read_side(os.path.join(top, "side")))
        wrong += [f"message {f.seq} failed {f.failures} times, {RETRIES} retries allowed"
                  for f in finals if f.queue == "work" and f.failures > RETRIES + 1]
        wrong += history.check_counts(counts, finals)
        wrong += undisturbed(daemon, top)
    finally:
        with open(os.path.join(top, "go"), "a", encoding="ascii"):
            pass  # no script waits for ever
        daemon.stop()
    print(f"rounds {rounds}, seed {seed}: {dict(kills)} in {killed_s:.1f} s, "
          f"drained in {drained_s:.1f} s")
    print(f"  {len(events)} events, {len(finals)} messages, "
          f"{sum(f.attempts for f in finals)} attempts, "
          f"{sum(o == 'lost' for f in finals for _, o in f.records)} leases lost")
    print("  " + ", ".join(f"{k} {n}" for k, n in sorted(load.counts.items())))
    wrong += load.errors
    if not any(e.op == "put" and e.status == OK for e in events):
        wrong.append("no put was acknowledged: nothing was tested")
    if not any(f.queue == "scripts" and f.state == "done" for f in finals):
        wrong.append("no script ran: nothing was tested")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--kill", choices=["server", "worker", "half", "both", "clock", "stop"],
                        help="only this one")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--limit", type=int, metavar="SECONDS", help="for all of it")
    parser.add_argument("--keep", action="store_true", help="keep the directory")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**32)
    top = tempfile.mkdtemp(prefix="rq-crash-")
    wrong = ["it did not come to its end"]
    try:
        a_round_s = LIMIT_ROUND_S + (STOP_S[1] if options.kill == "stop" else 0)
        limit = options.limit or int(LIMIT_S + a_round_s * options.rounds)
        signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"crash: not within {limit} s"))
        signal.alarm(limit)
        wrong = run(options.rounds, seed, top, options.kill)
    finally:
        if wrong or options.keep:
            print(f"  seed {seed}, left in {top}")
        else:
            shutil.rmtree(top)
    for line in wrong[:50]:
        print(f"  WRONG: {line}")
    print(f"{options.rounds if not wrong else 0} passed, {len(wrong)} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
