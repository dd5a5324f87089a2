"""Checks a recorded history of clients against what rq promises. It knows no server: it is given what
the clients saw, what is there in the end, and which scripts ran; it returns what is wrong with that.

The history is a list of Event. Times are nanoseconds of one monotonic clock: t0 when the request was
sent, t1 when the reply was there. A request whose connection died has status UNKNOWN: it may or may
not have happened, at any time after t0.
"""
import collections
import dataclasses

OK, REFUSED, UNKNOWN = "ok", "refused", "unknown"
FINISHED = ("done", "relayed", "err", "cancelled")
STATES = ("prep", "scheduled", "throttled", "depends", "que", "run", *FINISHED)


@dataclasses.dataclass
class Event:
    op: str                      # put reserve heartbeat finish
    t0: int
    t1: int | None
    status: str
    queue: str = ""
    key: str | None = None       # put
    payload: str = ""            # put
    seq: int | None = None       # put, when ok
    tokens: tuple = ()           # reserve, when ok
    token: tuple | None = None   # heartbeat, finish: (seq, attempt, boot)
    outcome: str = ""            # finish: done err failed resend release
    lease_ns: int = 0            # reserve


@dataclasses.dataclass
class Final:
    """A message as it is in the end."""
    seq: int
    queue: str
    state: str
    payload: str
    key: str | None = None
    attempts: int = 0
    failures: int = 0
    count: int = 0
    records: tuple = ()          # of its attempts: (number, outcome)


@dataclasses.dataclass
class Bounds:
    retries: int                 # of the queues in the history
    max_count: int
    slack_ns: int = 300_000_000  # how far the clocks of server and clients may part


def check(events, finals, bounds, scripts=()):
    """All violations, as text; an empty list means the history is sound.

    scripts: (seq, attempt or None, "start" | "end"), in the order in which the scripts wrote them.
    """
    by_seq = {f.seq: f for f in finals}
    wrong = []
    wrong += _puts(events, finals, by_seq)
    wrong += _leases(events, bounds)
    wrong += _ends(events, by_seq)
    wrong += _bounds(events, finals, bounds)
    wrong += _scripts(scripts, by_seq)
    wrong += [f"message {f.seq} is stuck in {f.state}" for f in finals if f.state not in FINISHED]
    return wrong


def check_counts(counts, finals):
    """The counters of the queues, {queue: {state: count}}, against the messages that are there."""
    wrong = []
    for queue, counted in counts.items():
        there = collections.Counter(f.state for f in finals if f.queue == queue)
        for state in STATES:
            if counted[state] != there[state]:
                wrong.append(f"queue {queue} counts {counted[state]} in {state}, "
                             f"{there[state]} are there")
    return wrong


def _puts(events, finals, by_seq):
    wrong = []
    seq_of_key, acked_payload, unknown_payload = {}, {}, set()
    for e in events:
        if e.op != "put":
            continue
        if e.status == UNKNOWN:
            unknown_payload.add(e.payload)
        if e.status != OK:
            continue
        there = by_seq.get(e.seq)
        if there is None:
            wrong.append(f"message {e.seq} was acknowledged and is lost")
        elif there.payload != e.payload:
            wrong.append(f"message {e.seq} holds {there.payload!r}, put was {e.payload!r}")
        if e.key is not None and seq_of_key.setdefault(e.key, e.seq) != e.seq:
            wrong.append(f"key {e.key} gave two messages: {seq_of_key[e.key]} and {e.seq}")
        if acked_payload.setdefault(e.payload, e.seq) != e.seq:
            wrong.append(f"one put gave two messages: {acked_payload[e.payload]} and {e.seq}")
    keys, payloads = {}, {}
    for f in finals:
        if f.key is not None and keys.setdefault(f.key, f.seq) != f.seq:
            wrong.append(f"key {f.key} is on two messages: {keys[f.key]} and {f.seq}")
        if payloads.setdefault(f.payload, f.seq) != f.seq:
            wrong.append(f"one put is two messages: {payloads[f.payload]} and {f.seq}")
        if f.payload not in acked_payload and f.payload not in unknown_payload:
            wrong.append(f"message {f.seq} was put by nobody")
    return wrong


def _by_message(events):
    """seq -> attempt -> the events that speak of that lease, the grant first."""
    table = collections.defaultdict(dict)
    wrong = []
    for e in events:
        if e.op == "reserve" and e.status == OK:
            for token in e.tokens:
                leases = table[token[0]]
                if token[1] in leases:
                    wrong.append(f"message {token[0]}: attempt {token[1]} was given out twice")
                else:
                    leases[token[1]] = [e]
    for e in events:
        if e.op in ("heartbeat", "finish"):
            lease = table[e.token[0]].get(e.token[1])
            if lease is None:
                wrong.append(f"the history has no grant of token {e.token}")
            else:
                lease.append(e)
    return table, wrong


def _leases(events, bounds):
    table, wrong = _by_message(events)
    for seq, leases in table.items():
        order = sorted(leases)
        for i, a in enumerate(order):
            wrong += _one_lease(seq, a, leases[a])
            for b in order[i + 1:]:
                wrong += _two_leases(seq, a, leases[a], b, leases[b], bounds)
    return wrong


def _one_lease(seq, attempt, lease):
    wrong = []
    ends = [e for e in lease if e.op == "finish" and e.status == OK]
    if len(ends) > 1:
        wrong.append(f"message {seq}: attempt {attempt} was ended {len(ends)} times")
    for end in ends:
        if any(e.op == "heartbeat" and e.status == OK and e.t0 > end.t1 for e in lease):
            wrong.append(f"message {seq}: attempt {attempt} had a heartbeat accepted after its end")
    return wrong


def _two_leases(seq, a, first, b, second, bounds):
    """`b` is a later attempt than `a`."""
    wrong = []
    granted = second[0]
    if granted.t1 < first[0].t0:
        wrong.append(f"message {seq}: attempt {b} was given out before attempt {a}")
        return wrong
    accepted = [e for e in first if e.status == OK]
    for e in accepted:
        if e.op != "reserve" and e.t0 > granted.t1:
            wrong.append(f"message {seq}: {e.op} of attempt {a} was accepted after attempt {b} was "
                         f"given out: two live leases")
    if any(e.op == "finish" and e.status != REFUSED and e.t0 < granted.t1 for e in first):
        return wrong
    # No holder ended it, so it must have run out: not before its length after its last renewal.
    renewed = max(e.t0 for e in accepted if e.op in ("reserve", "heartbeat") and e.t0 <= granted.t1)
    if granted.t1 < renewed + first[0].lease_ns - bounds.slack_ns:
        wrong.append(f"message {seq}: attempt {b} was given out while attempt {a} was alive")
    return wrong


def _ends(events, by_seq):
    wrong = []
    final_acks = {}
    for e in events:
        if e.op != "finish" or e.status != OK or e.outcome not in ("done", "err"):
            continue
        seq = e.token[0]
        if seq in final_acks:
            wrong.append(f"message {seq} was finished twice")
        final_acks[seq] = e
        there = by_seq.get(seq)
        if there is None:
            wrong.append(f"message {seq} was finished and is lost")
        elif there.state != e.outcome:
            wrong.append(f"message {seq}: {e.outcome} was acknowledged, it is in {there.state}")
        elif there.records and (e.token[1], e.outcome) not in there.records:
            wrong.append(f"message {seq}: {e.outcome} of attempt {e.token[1]} was acknowledged, its "
                         f"attempts are {there.records}")
    for e in events:
        if e.op == "reserve" and e.status == OK:
            for token in e.tokens:
                end = final_acks.get(token[0])
                if end is not None and e.t0 > end.t1:
                    wrong.append(f"message {token[0]} was finished and then given out again")
    for f in by_seq.values():
        done = [number for number, outcome in f.records if outcome == "done"]
        if len(done) > 1:
            wrong.append(f"message {f.seq} was done twice: attempts {done}")
        if f.records and f.state == "done" and not done:
            wrong.append(f"message {f.seq} is done, but no attempt did it: {f.records}")
    return wrong


def _bounds(events, finals, bounds):
    wrong = []
    granted = collections.defaultdict(set)
    for e in events:
        if e.op == "reserve" and e.status == OK:
            for token in e.tokens:
                granted[token[0]].add(token[1])
    for f in finals:
        seen = granted[f.seq]
        if seen and (min(seen) < 1 or max(seen) > f.attempts):
            wrong.append(f"message {f.seq} ended with {f.attempts} attempts, but attempts "
                         f"{sorted(seen)} were given out")
        if f.failures > bounds.retries + 1:
            wrong.append(f"message {f.seq} failed {f.failures} times, {bounds.retries} retries allowed")
        if f.count > bounds.max_count:
            wrong.append(f"message {f.seq} was sent again {f.count} times, bound {bounds.max_count}")
        numbers = [number for number, _ in f.records]
        if f.records and sorted(numbers) != list(range(1, f.attempts + 1)):
            wrong.append(f"message {f.seq} has {f.attempts} attempts and records {numbers}")
    return wrong


def _scripts(scripts, by_seq):
    wrong = []
    starts, ends = collections.Counter(), collections.Counter()
    for seq, attempt, what in scripts:
        (starts if what == "start" else ends)[(seq, attempt)] += 1
        if seq not in by_seq:
            wrong.append(f"a script ran for message {seq}, which does not exist")
    for (seq, attempt), n in starts.items():
        there = by_seq.get(seq)
        if there is None:
            continue
        if attempt is None:
            if n > there.attempts:
                wrong.append(f"message {seq}: {n} scripts started, {there.attempts} attempts")
            continue
        if n > 1:
            wrong.append(f"message {seq}: attempt {attempt} started {n} scripts")
        if not 1 <= attempt <= there.attempts:
            wrong.append(f"message {seq}: a script started as attempt {attempt} of {there.attempts}")
    for (seq, attempt), n in ends.items():
        if n > starts[(seq, attempt)]:
            wrong.append(f"message {seq}: attempt {attempt} ended {n} scripts, started "
                         f"{starts[(seq, attempt)]}")
    ran = {seq for seq, _ in ends}
    for f in by_seq.values():
        if f.queue == "scripts" and f.state == "done" and f.seq not in ran:
            wrong.append(f"message {f.seq} is done, but its script never came to its end")
        if f.queue == "scripts":
            for number, outcome in f.records:
                ended = ends[(f.seq, number)] or ends[(f.seq, None)]
                if outcome == "done" and not ended:
                    wrong.append(f"message {f.seq}: attempt {number} is done, its script did not end")
    return wrong
