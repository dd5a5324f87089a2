"""The history checker must fail on bad histories: each is made up here, one promise broken at a time."""
import sys
import unittest

from history import (STATES, Bounds, Event, Final, OK, REFUSED, UNKNOWN, check,
                     check_counts)

MS = 1_000_000
BOUNDS = Bounds(retries=2, max_count=5, slack_ns=10 * MS)


def put(seq, t=0, key=None, payload=None, status=OK):
    return Event("put", t * MS, t * MS + MS, status, queue="q", key=key, payload=payload or f"p{seq}",
                 seq=seq if status == OK else None)


def reserve(t, *tokens, lease=1000):
    return Event("reserve", t * MS, t * MS + MS, OK, tokens=tokens, lease_ns=lease * MS)


def heartbeat(t, token, status=OK):
    return Event("heartbeat", t * MS, t * MS + MS, status, token=token)


def finish(t, token, outcome="done", status=OK):
    return Event("finish", t * MS, t * MS + MS, status, token=token, outcome=outcome)


def final(seq, state="done", **more):
    more = {"payload": f"p{seq}", "queue": "q", "attempts": 1, **more}
    return Final(seq, state=state, **more)


A1, A2 = (1, 1, 1), (1, 2, 1)


class Sound(unittest.TestCase):
    def good(self, events, finals, scripts=()):
        self.assertEqual(check(events, finals, BOUNDS, scripts), [])

    def test_a_plain_life(self):
        self.good([put(1), reserve(10, A1), heartbeat(20, A1), finish(30, A1)],
                  [final(1, records=((1, "done"),))])

    def test_a_lost_lease_and_a_second_attempt(self):
        self.good([put(1), reserve(10, A1), reserve(1020, A2), heartbeat(1030, A1, REFUSED),
                   finish(1040, A2)], [final(1, attempts=2, records=((1, "lost"), (2, "done")))])

    def test_a_lease_handed_back(self):
        self.good([put(1), reserve(10, A1), finish(20, A1, "release"), reserve(30, A2),
                   finish(40, A2)], [final(1, attempts=2)])

    def test_an_end_of_which_nobody_knows(self):
        self.good([put(1), reserve(10, A1), finish(20, A1, "resend", UNKNOWN), reserve(30, A2),
                   finish(40, A2)], [final(1, attempts=2)])

    def test_a_repeated_key_and_an_unknown_put(self):
        self.good([put(1, key="k", status=UNKNOWN), put(1, 5, key="k"), put(1, 9, key="k"),
                   put(9, payload="gone", status=UNKNOWN), reserve(10, A1), finish(20, A1)],
                  [final(1, key="k")])

    def test_a_script_that_ran_twice_after_a_lost_lease(self):
        self.good([put(1)], [final(1, queue="scripts", attempts=2,
                                   records=((1, "lost"), (2, "done")))],
                  [(1, 1, "start"), (1, 1, "end"), (1, 2, "start"), (1, 2, "end")])


class Broken(unittest.TestCase):
    def bad(self, text, events, finals, scripts=()):
        wrong = check(events, finals, BOUNDS, scripts)
        self.assertTrue(any(text in w for w in wrong), f"{text!r} not in {wrong}")

    def test_an_acknowledged_message_is_lost(self):
        self.bad("is lost", [put(1)], [])

    def test_a_message_changed(self):
        self.bad("holds 'other'", [put(1)], [final(1, payload="other")])

    def test_a_message_from_nowhere(self):
        self.bad("put by nobody", [], [final(1)])

    def test_a_key_with_two_messages(self):
        self.bad("gave two messages", [put(1, key="k"), put(2, key="k")], [final(1), final(2)])
        self.bad("is on two messages", [put(1), put(2)], [final(1, key="k"), final(2, key="k")])

    def test_one_put_stored_twice(self):
        self.bad("is two messages", [put(1, payload="x")],
                 [final(1, payload="x"), final(2, payload="x")])

    def test_a_stuck_message(self):
        for state in ("que", "run", "scheduled", "prep"):
            self.bad(f"stuck in {state}", [put(1)], [final(1, state)])

    def test_one_attempt_given_out_twice(self):
        self.bad("given out twice", [put(1), reserve(10, A1), reserve(12, A1)], [final(1)])

    def test_attempts_that_go_backwards(self):
        self.bad("before attempt 1", [put(1), reserve(10, A2), reserve(3000, A1)],
                 [final(1, attempts=2)])

    def test_an_old_holder_is_believed(self):
        late = [put(1), reserve(10, A1), reserve(1020, A2)]
        for op in (heartbeat(1030, A1), finish(1030, A1, "resend")):
            self.bad("two live leases", late + [op], [final(1, attempts=2)])

    def test_a_second_lease_while_the_first_is_alive(self):
        self.bad("was alive", [put(1), reserve(10, A1), reserve(500, A2)], [final(1, attempts=2)])
        self.bad("was alive", [put(1), reserve(10, A1), heartbeat(900, A1), reserve(1020, A2)],
                 [final(1, attempts=2)])

    def test_a_refused_end_does_not_free_the_message(self):
        self.bad("was alive", [put(1), reserve(10, A1), finish(20, A1, "done", REFUSED),
                               reserve(500, A2)], [final(1, attempts=2)])

    def test_one_lease_ended_twice(self):
        self.bad("was ended 2 times", [put(1), reserve(10, A1), finish(20, A1), finish(30, A1)],
                 [final(1)])

    def test_a_heartbeat_after_the_end(self):
        self.bad("after its end", [put(1), reserve(10, A1), finish(20, A1), heartbeat(30, A1)],
                 [final(1)])

    def test_done_twice(self):
        self.bad("finished twice", [put(1), reserve(10, A1), finish(20, A1), reserve(2000, A2),
                                    finish(2010, A2)], [final(1, attempts=2)])
        self.bad("done twice", [put(1)], [final(1, attempts=2, records=((1, "done"), (2, "done")))])

    def test_given_out_after_its_end(self):
        self.bad("given out again", [put(1), reserve(10, A1), finish(20, A1), reserve(2000, A2)],
                 [final(1, attempts=2)])

    def test_an_acknowledged_end_is_forgotten(self):
        self.bad("done was acknowledged", [put(1), reserve(10, A1), finish(20, A1)],
                 [final(1, "err")])
        self.bad("was acknowledged, its attempts", [put(1), reserve(10, A1), finish(20, A1)],
                 [final(1, attempts=1, records=((1, "lost"),))])

    def test_attempts_out_of_bounds(self):
        self.bad("were given out", [put(1), reserve(10, A1), reserve(1020, A2)],
                 [final(1, attempts=1)])
        self.bad("failed 4 times", [put(1)], [final(1, failures=4)])
        self.bad("sent again 6 times", [put(1)], [final(1, count=6)])
        self.bad("records [1, 3]", [put(1)], [final(1, attempts=2,
                                                    records=((1, "lost"), (3, "done")))])

    def test_scripts_that_match_no_attempt(self):
        one = final(1, queue="scripts", records=((1, "done"),))
        ran = [(1, 1, "start"), (1, 1, "end")]
        self.bad("started 2 scripts", [put(1)], [one], ran + ran)
        self.bad("as attempt 2 of 1", [put(1)], [one], ran + [(1, 2, "start")])
        self.bad("does not exist", [put(1)], [one], ran + [(7, 1, "start")])
        self.bad("never came to its end", [put(1)], [one], ran[:1])
        self.bad("2 scripts started, 1 attempts", [put(1)], [one],
                 [(1, None, "start"), (1, None, "end"), (1, None, "start")])


class Counters(unittest.TestCase):
    def counts(self, **counted):
        return {"q": {**dict.fromkeys(STATES, 0), **counted}}

    def test_counters_that_fit(self):
        finals = [final(1), final(2), final(3, "err"), final(4, queue="other")]
        self.assertEqual(check_counts(self.counts(done=2, err=1), finals), [])

    def test_counters_that_are_off(self):
        self.assertEqual(check_counts(self.counts(done=2), [final(1)]),
                         ["queue q counts 2 in done, 1 are there"])
        self.assertEqual(check_counts(self.counts(run=1), []),
                         ["queue q counts 1 in run, 0 are there"])
        self.assertEqual(check_counts(self.counts(), [final(1, "err")]),
                         ["queue q counts 0 in err, 1 are there"])


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "-v"])
