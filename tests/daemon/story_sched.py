"""story_sched.py - who gets a slot: preemption, classes, fairness and deadlines, with the fake engine."""

import os
import signal
import sys

import fake
import qwend_pb2 as pb
import qwp
from fake import Fake, check, sampling
from other_user import OTHER_UID, hold_as
from qwp import prompt

BATCH, NORMAL, INTERACTIVE = pb.PRIORITY_BATCH, pb.PRIORITY_NORMAL, pb.PRIORITY_INTERACTIVE
LONG = 1000000


def kinds(result):
    return [event.kind for event in result.events]


def begin(p, seed, n, priority, **fields):
    """A request with prompt p<seed> whose first Delta has come: its stream and what came so far."""
    stream = p.generate(prompt(f"p{seed}"), sampling=sampling(seed), max_tokens=n, priority=priority, **fields)
    result = qwp.Result()
    while not result.n_deltas:
        result.add(p.next_frame(stream))
    return stream, result


def until_event(p, stream, result, kind):
    while kind not in kinds(result):
        result.add(p.next_frame(stream))
    return result


def check_seed(result, seed, n):
    check(result, seed, prompt(f"p{seed}"), n)


# ---- preemption

def an_interactive_request_takes_the_slot_of_a_batch_one():
    with Fake(slots=1, delay_ms=1) as d, d.serving(capabilities=["preempt"]) as p, d.peer() as q:
        assert "preempt" in p.welcome.capabilities
        stream, result = begin(p, 1, 600, BATCH)
        quick = q.ask(prompt("p2"), sampling=sampling(2), max_tokens=50, priority=INTERACTIVE)
        check_seed(quick, 2, 50)
        assert quick.usage.preemptions == 0
        # before it began again it heard that it was stopped and where it stands
        until_event(p, stream, result, pb.Event.PREEMPTED)
        made = result.n_deltas
        until_event(p, stream, result, pb.Event.RESUMED)
        assert result.n_deltas == made == result.events[-1].from_token, (result.n_deltas, made, result.events)
        assert [a.position for a in result.accepted][-2:] == [1, 0], result.accepted
        result = p.collect(stream, result=result)
        check_seed(result, 1, 600)
        assert kinds(result) == [pb.Event.PREEMPTED, pb.Event.RESUMED], result.events
        assert result.usage.preemptions == 1 and result.usage.replays == 0, result.usage
        assert p.status().preemptions == 1


def a_client_that_does_not_know_the_event_is_preempted_without_it():
    with Fake(slots=1, delay_ms=1) as d, d.serving() as p, d.peer() as q:
        stream, result = begin(p, 1, 200, BATCH)
        check_seed(q.ask(prompt("p2"), sampling=sampling(2), max_tokens=5, priority=INTERACTIVE), 2, 5)
        result = p.collect(stream, result=result)
        check_seed(result, 1, 200)
        assert not result.events and result.usage.preemptions == 1, result.usage


def only_batch_is_preempted_and_only_by_interactive():
    with Fake(slots=1, delay_ms=1) as d, d.serving() as p, d.peer() as q:
        for first, second in ((BATCH, NORMAL), (NORMAL, INTERACTIVE), (BATCH, BATCH)):
            stream, result = begin(p, 1, 60, first)
            later = q.generate(prompt("p2"), sampling=sampling(2), max_tokens=5, priority=second)
            assert q.next_frame(later).msg.position == 1
            check_seed(p.collect(stream, result=result), 1, 60)
            check_seed(q.collect(later), 2, 5)
        assert p.status().preemptions == 0


def a_free_slot_is_taken_before_anybodys():
    with Fake(slots=2, delay_ms=1) as d, d.serving() as p, d.peer() as q:
        stream, result = begin(p, 1, 200, BATCH)
        check_seed(q.ask(prompt("p2"), sampling=sampling(2), max_tokens=20, priority=INTERACTIVE), 2, 20)
        assert p.collect(stream, result=result).usage.preemptions == 0


def the_cheapest_to_repeat_is_preempted():
    """Both have made as much, one has read a longer prompt."""
    with Fake(slots=2, delay_ms=2) as d, d.serving() as p, d.peer() as q:
        long_body = prompt("long " * 2000)
        long = p.generate(long_body, sampling=sampling(1), max_tokens=600, priority=BATCH)
        long_result = qwp.Result()
        long_result.add(p.wait_for(pb.Delta, long))
        short, short_result = begin(p, 2, 600, BATCH)
        check_seed(q.ask(prompt("p3"), sampling=sampling(3), max_tokens=20, priority=INTERACTIVE), 3, 20)
        check(p.collect(long, result=long_result), 1, long_body, 600)
        check_seed(p.collect(short, result=short_result), 2, 600)
        assert (long_result.usage.preemptions, short_result.usage.preemptions) == (0, 1)


def nobody_is_preempted_again_before_it_has_got_on():
    """It holds the slot again, but has no new token yet: the second one waits for that."""
    with Fake(slots=1, delay_ms=1) as d, d.serving(capabilities=["preempt"]) as p, d.peer() as q:
        stream, result = begin(p, 1, 400, BATCH)
        for seed in range(2, 12):
            check_seed(q.ask(prompt(f"p{seed}"), sampling=sampling(seed), max_tokens=5, priority=INTERACTIVE), seed, 5)
        result = p.collect(stream, result=result)
        check_seed(result, 1, 400)
        stopped = [e.from_token for e in result.events if e.kind == pb.Event.RESUMED]
        assert 1 < len(stopped) == result.usage.preemptions, (stopped, result.usage)
        assert len(set(stopped)) == len(stopped), stopped  # each time it had got on


def a_preempted_request_lives_through_the_death_of_the_engine():
    with Fake(slots=1, delay_ms=1) as d, d.serving(capabilities=["preempt"]) as p, d.peer() as q:
        stream, result = begin(p, 1, 400, BATCH)
        quick, quick_result = begin(q, 2, 600, INTERACTIVE)
        until_event(p, stream, result, pb.Event.PREEMPTED)
        d.kill_engine()  # while it waits: it was not in it
        check_seed(q.collect(quick, result=quick_result), 2, 600)
        until_event(p, stream, result, pb.Event.RESUMED)
        d.kill_engine()  # and once it runs again
        result = p.collect(stream, result=result)
        check_seed(result, 1, 400)
        assert (result.usage.preemptions, result.usage.replays) == (1, 1), result.usage
        assert kinds(result) == [pb.Event.PREEMPTED, pb.Event.RESUMED, pb.Event.ENGINE_RESTART, pb.Event.RESUMED]


def a_preempted_request_can_be_cancelled():
    with Fake(slots=1, delay_ms=1) as d, d.serving(capabilities=["preempt"]) as p, d.peer() as q:
        stream, result = begin(p, 1, LONG, BATCH)
        quick, quick_result = begin(q, 2, 600, INTERACTIVE)
        until_event(p, stream, result, pb.Event.PREEMPTED)
        p.send(pb.Cancel(), stream)
        result = p.collect(stream, result=result)
        assert result.usage.finish == pb.FINISH_CANCEL and result.usage.answer_tokens == result.n_deltas
        check_seed(q.collect(quick, result=quick_result), 2, 600)
        q.wait_status(lambda s: s.running == s.queued == 0)


def a_preempted_request_is_finished_when_the_daemon_is_stopped():
    with Fake(slots=1, delay_ms=1) as d, d.serving(capabilities=["preempt"]) as p, d.peer() as q:
        stream, result = begin(p, 1, 200, BATCH)
        quick, quick_result = begin(q, 2, 200, INTERACTIVE)
        until_event(p, stream, result, pb.Event.PREEMPTED)
        d.process.send_signal(signal.SIGTERM)
        check_seed(q.collect(quick, result=quick_result), 2, 200)
        check_seed(p.collect(stream, result=result), 1, 200)
        assert d.wait_exit() == 0


def a_paused_batch_request_is_preempted_and_goes_on():
    with Fake(slots=1, delay_ms=1) as d, d.serving() as p, d.peer() as q:
        stream = p.generate(prompt("p1"), sampling=sampling(1), max_tokens=100, credit_bytes=40, priority=BATCH)
        result = qwp.Result()
        for credit in (40, 80):  # the second time it would be left alone if it were not paused
            while len(result.answer) < credit:
                result.add(p.next_frame(stream))
            check_seed(q.ask(prompt("p2"), sampling=sampling(2), max_tokens=50, priority=INTERACTIVE), 2, 50)
            p.send(pb.Credit(bytes=40 if credit == 40 else 100000), stream)
        result = p.collect(stream, result=result)
        check_seed(result, 1, 100)
        assert result.usage.preemptions == 2, result.usage


def a_batch_request_ends_under_a_stream_of_interactive_ones():
    """Two clients keep one slot busy; the batch job gets on whenever it has the slot again, and keeps what it is owed."""
    with Fake(slots=1, delay_ms=0) as d, d.serving() as p:
        ended = []

        def type_on(seed):
            with d.peer() as q:
                n = 0
                while not ended:
                    check_seed(q.ask(prompt(f"p{seed}"), sampling=sampling(seed), max_tokens=20,
                                     priority=INTERACTIVE), seed, 20)
                    n += 1
                return n

        def work():
            stream, result = begin(p, 1, 5000, BATCH, credit_bytes=1 << 20)
            result = p.collect(stream, result=result)
            ended.append(True)
            check_seed(result, 1, 5000)
            return result.usage.preemptions

        preemptions, a, b = fake.gather([work, lambda: type_on(2), lambda: type_on(3)])
        assert preemptions < 5000 and a and b, (preemptions, a, b)  # a token each time, and more


# ---- fairness

def flood(d, n_peers, tokens):
    """Sixty requests on each of some connections, which nobody reads."""
    peers = [d.peer() for _ in range(n_peers)]
    for peer in peers:
        for _ in range(60):
            peer.generate(prompt("x"), max_tokens=tokens)
    return peers


def served(peer, n, tokens):
    """What this user's n requests of so many tokens and the others' have cost so far, of one moment, and how many of the
    n have ended.  A byte of a prompt, here a token, costs 1, a written token 2."""
    streams = [peer.last_stream + 2, peer.last_stream + 4]
    peer.last_stream = streams[1]
    peer.sock.sendall(peer.pack(pb.Status(), streams[0]) + peer.pack(pb.ListRequests(), streams[1]))  # read together
    totals = peer.expect(pb.StatusReply, streams[0]).msg
    left = [r for r in peer.expect(pb.Requests, streams[1]).msg.requests if r.uid == os.getuid()]
    ended = n - len(left)
    mine = ended * (len(prompt("x")) + 2 * tokens) + sum(r.prompt_tokens + 2 * r.output_tokens for r in left)
    return mine, totals.prompt_tokens + 2 * totals.output_tokens - mine, ended


def two_users_are_served_alike_whatever_they_offer():
    """Three slots.  One user has 480 requests waiting, the other 180 that are shorter: more than three times the work."""
    if os.getuid():
        return "needs root, to be two users"
    n, short, long = 180, 80, 100
    with Fake(slots=3) as d, d.serving() as q:
        
        def others(pause):
            kept = flood(d, 8, long)
            pause()
            del kept

        end = hold_as(OTHER_UID, others)
        q.wait_status(lambda s: s.requests >= 100)
        peers = flood(d, n // 60, short)
        q.wait_status(lambda s: sum(r.uid == os.getuid() for r in q.call(pb.ListRequests(), pb.Requests).requests) > 100)
        first = served(q, n, short)
        while (last := served(q, n, short))[2] < first[2] + 50:
            pass
        assert last[2] < n, "the shorter queue has ended: nothing is shared any more"
        mine, theirs = last[0] - first[0], last[1] - first[1]
        # within a twentieth, and what was in the slots when it began and when it ended
        assert abs(mine - theirs) < 0.05 * mine + 3 * 2 * long, (mine, theirs)
        end()
        del peers
    return None


# ---- deadlines

def refused(p, stream):
    try:
        p.collect(stream)
    except qwp.Refused as refused:
        return refused
    raise AssertionError("it was served")


def a_deadline_that_cannot_be_met_is_refused_at_once():
    """1 ms a token, a byte a token: a prompt of 20,000 bytes takes 20 s to read."""
    with Fake(slots=1, delay_ms=5, cost_us=1000) as d, d.serving() as p:
        assert "deadline" in p.welcome.capabilities
        p.ask(prompt("x"), max_tokens=3)  # so that it has measured itself
        body = prompt("x" * 20000)
        for fields in ({"ttft_deadline_ms": 2000}, {"deadline_ms": 2000}):
            no = refused(p, p.generate(body, max_tokens=1, **fields))
            assert no.code == 402 and no.details["deadline_ms"] == "2000", no.details
            assert 20000 <= int(no.details["expected_ms"]) <= 21000, no.details
            assert 18000 <= no.error.retry_after_ms <= 19000, no.error
            assert not no.result.accepted
        # a fifth beyond it is tried, and this engine is quicker than it says
        check(p.ask(body, sampling=sampling(1), max_tokens=3, ttft_deadline_ms=18000), 1, body, 3)
        assert p.status().requests == 2


def who_has_to_wait_for_a_slot_is_refused_for_that():
    with Fake(slots=1, delay_ms=10, cost_us=1) as d, d.serving() as p, d.peer() as q:
        p.ask(prompt("x"), max_tokens=200)  # what answers are like
        stream, result = begin(p, 1, LONG, NORMAL)
        no = refused(q, q.generate(prompt("y"), max_tokens=1, ttft_deadline_ms=1600))
        assert no.code == 402 and 2000 <= int(no.details["expected_ms"]) <= 2100, no.details
        p.send(pb.Cancel(), stream)
        p.collect(stream, result=result)
        q.ask(prompt("y"), max_tokens=1, ttft_deadline_ms=1600)


def an_interactive_request_that_takes_a_slot_is_not_refused():
    with Fake(slots=1, delay_ms=10, cost_us=1) as d, d.serving() as p, d.peer() as q:
        p.ask(prompt("x"), max_tokens=200)
        begin(p, 1, LONG, BATCH)
        q.ask(prompt("y"), max_tokens=1, ttft_deadline_ms=1600, priority=INTERACTIVE)


def who_waits_in_vain_hears_it_at_its_deadline():
    """Nothing was measured, so nothing is foretold."""
    with Fake(slots=1, delay_ms=1) as d, d.serving() as p, d.peer() as q:
        begin(p, 1, LONG, NORMAL)
        for fields in ({"ttft_deadline_ms": 100}, {"deadline_ms": 100}):
            no = refused(q, q.generate(prompt("y"), **fields))
            assert no.code == 602 and no.details["deadline_ms"] == "100", no.details
            assert int(no.details["waited_ms"]) >= 100, no.details
            assert no.result.accepted[0].position == 1
        q.wait_status(lambda s: (s.running, s.queued) == (1, 0))


def a_running_request_ends_at_its_deadline_with_what_it_has():
    with Fake(slots=1, delay_ms=5) as d, d.serving() as p:
        result = p.ask(prompt("p1"), sampling=sampling(1), max_tokens=LONG, ttft_deadline_ms=1500, deadline_ms=1500)
        assert result.usage.finish == pb.FINISH_DEADLINE and result.n_deltas, result.usage
        check_seed(result, 1, result.n_deltas)
        p.wait_status(lambda s: s.running == 0)


def the_first_tokens_deadline_does_not_end_an_answer():
    with Fake(slots=1, delay_ms=20) as d, d.serving() as p:
        result = p.ask(prompt("p1"), sampling=sampling(1), max_tokens=120, ttft_deadline_ms=2000)
        check_seed(result, 1, 120)
        assert result.usage.decode_ms > 2000, result.usage


def text_that_was_made_in_time_is_delivered_after_the_deadline():
    with Fake(slots=1, delay_ms=1) as d, d.serving() as p, d.peer() as q:
        stream = p.generate(prompt("p1"), sampling=sampling(1), max_tokens=LONG, credit_bytes=40, deadline_ms=1500)
        q.wait_status(lambda s: s.requests and not s.running)  # the slot is free
        check_seed(q.ask(prompt("p2"), sampling=sampling(2), max_tokens=5), 2, 5)
        p.send(pb.Credit(bytes=1000000), stream)
        result = p.collect(stream)
        assert result.usage.finish == pb.FINISH_DEADLINE and len(result.answer) > 40, result.usage
        check_seed(result, 1, result.usage.answer_tokens)


if __name__ == "__main__":
    sys.exit(qwp.run([
        an_interactive_request_takes_the_slot_of_a_batch_one,
        a_client_that_does_not_know_the_event_is_preempted_without_it,
        only_batch_is_preempted_and_only_by_interactive,
        a_free_slot_is_taken_before_anybodys,
        the_cheapest_to_repeat_is_preempted,
        nobody_is_preempted_again_before_it_has_got_on,
        a_preempted_request_lives_through_the_death_of_the_engine,
        a_preempted_request_can_be_cancelled,
        a_preempted_request_is_finished_when_the_daemon_is_stopped,
        a_paused_batch_request_is_preempted_and_goes_on,
        a_batch_request_ends_under_a_stream_of_interactive_ones,
        two_users_are_served_alike_whatever_they_offer,
        a_deadline_that_cannot_be_met_is_refused_at_once,
        who_has_to_wait_for_a_slot_is_refused_for_that,
        an_interactive_request_that_takes_a_slot_is_not_refused,
        who_waits_in_vain_hears_it_at_its_deadline,
        a_running_request_ends_at_its_deadline_with_what_it_has,
        the_first_tokens_deadline_does_not_end_an_answer,
        text_that_was_made_in_time_is_delivered_after_the_deadline,
    ]))
