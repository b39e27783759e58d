"""story_watch.py - Subscribe: samples of the service while somebody looks, and nothing that piles up for one who does not."""

import os
import sys
import time

import qwend_pb2 as pb
import qwp
from fake import Fake, check, sampling
from other_user import OTHER_UID, fork_as
from qwp import Refused, prompt


def samples(p, stream, n):
    return [p.expect(pb.Sample, stream).msg for _ in range(n)]


def until(p, stream, match):
    """The first sample that matches; they keep coming, so it is this that gives up."""
    end = time.monotonic() + qwp.TIMEOUT_S

    def look(sample):
        assert time.monotonic() < end, sample
        return match(sample)

    return p.wait_for(pb.Sample, stream, match=look).msg


def a_prompt_that_is_read_says_how_far_it_is():
    with Fake(reads=1, delay_ms=60000) as d, d.serving(capabilities=["progress"]) as p, d.peer() as q:
        assert "progress" in p.welcome.capabilities
        stream = p.generate(prompt("x" * 100), max_tokens=5)
        event = p.wait_for(pb.Event, stream).msg
        assert event.kind == pb.Event.READ and event.read_tokens == event.prompt_tokens // 2 > 0, event
        p.wait_for(pb.Delta, stream)        # the engine's next step is a minute off
        other = q.generate(prompt("y" * 50), max_tokens=5)
        q.wait_for(pb.Accepted, other, match=lambda a: a.prompt_tokens)
        end = time.monotonic() + qwp.TIMEOUT_S
        while not (both := p.call(pb.ListRequests(), pb.Requests).requests)[1].read_tokens:     # q is not told of it
            assert time.monotonic() < end, both
        writes, reads = both
        assert writes.state == pb.RequestInfo.DECODE and not writes.HasField("read_tokens"), writes
        assert reads.state == pb.RequestInfo.PREFILL and reads.read_tokens == reads.prompt_tokens // 2 > 0, reads
        q.send(pb.Cancel(), other)
        kinds = []
        while (frame := q.next_frame(other)).type is not pb.Usage:
            kinds.append(frame.type)
        assert pb.Event not in kinds, kinds     # it did not say that it knows them
        p.call(pb.Cancel(mine=True), pb.Cancelled)


def refused(p, code, **fields):
    try:
        p.expect(pb.Sample, p.open(pb.Subscribe(**fields)))
    except Refused as error:
        assert error.code == code, error
        return error
    raise AssertionError(f"not refused with {code}")


def samples_come_at_once_and_then_in_time():
    with Fake() as d, d.serving() as p:
        stream = p.open(pb.Subscribe(interval_ms=100))
        got = samples(p, stream, 5)
        assert [s.seq for s in got] == [0, 1, 2, 3, 4], got
        passed = got[4].uptime_s - got[0].uptime_s
        assert 0.39 < passed < 5, passed
        assert got[0].state == pb.StatusReply.SERVING and got[0].slots == 4 and got[0].connections == 1
        assert not got[0].list and got[0].held_limit_bytes == 256 << 20


def a_sample_shows_who_writes_how_fast():
    with Fake(delay_ms=5, slots=1) as d, d.serving(client="watched 1.0") as p, d.peer() as q:
        stream = q.open(pb.Subscribe(interval_ms=100))
        running = p.generate(prompt("x"), max_tokens=100000, credit_bytes=2 << 20)
        waiting = p.generate(prompt("y"), max_tokens=5, priority=pb.PRIORITY_BATCH)
        seen = until(q, stream, lambda s: s.written_s > 20 and s.uptime_s > 2 and s.queued)
        one, two = seen.list
        assert one.state == pb.RequestInfo.DECODE and two.state == pb.RequestInfo.QUEUED and two.position == 1
        assert one.client == "watched 1.0" and one.uid == os.getuid() and two.priority == pb.PRIORITY_BATCH
        assert 20 < one.tokens_s < 210 and one.prompt_tokens == len(prompt("x")) and two.tokens_s == 0, one
        assert (seen.running, seen.queued, seen.requests, seen.unlisted) == (1, 1, 2, 0), seen
        assert seen.output_tokens >= one.output_tokens > 0 and seen.prompt_tokens == len(prompt("x"))
        assert seen.held_bytes > 0
        listed = {r.request_id: r for r in q.call(pb.ListRequests(), pb.Requests).requests}
        assert listed[one.request_id].tokens_s > 20
        for s in (running, waiting):
            p.send(pb.Cancel(), s)
        assert not until(q, stream, lambda s: not s.running).list


def a_replay_and_a_stall_are_seen():
    with Fake(die_after=10) as d, d.serving() as p, d.peer() as q:
        stream = q.open(pb.Subscribe(interval_ms=100))
        check(p.ask(prompt("x"), sampling=sampling(1), max_tokens=15), 1, prompt("x"), 15)
        until(q, stream, lambda s: s.replays == 1 and s.engine_restarts == 1)
    with Fake(delay_ms=1) as d, d.serving() as p, d.peer() as q:
        stream = q.open(pb.Subscribe(interval_ms=100))
        p.generate(prompt("x"), max_tokens=1000, credit_bytes=20)
        seen = until(q, stream, lambda s: s.stalls == 1)
        assert seen.list[0].state == pb.RequestInfo.PAUSED


def cancel_ends_it_and_another_may_begin():
    with Fake() as d, d.serving() as p:
        for _ in range(3):
            stream = p.open(pb.Subscribe())
            samples(p, stream, 1)
            p.send(pb.Cancel(), stream)
            frame = p.wait_for(pb.Cancelled, stream)
            assert frame.flags & qwp.END_STREAM and frame.msg.n_cancelled == 1
        check(p.ask(prompt("x"), sampling=sampling(1), max_tokens=9), 1, prompt("x"), 9)


def intervals_out_of_range_are_refused_with_the_range():
    with Fake() as d, d.serving() as p:
        for ms in (0, 99, 60001):
            error = refused(p, 201, interval_ms=ms)
            assert str(ms) in error.error.text and "60000" in error.error.text, error


def the_ninth_subscription_of_a_user_is_refused_and_one_that_left_makes_room():
    with Fake() as d, d.serving() as p, d.peer() as q:
        streams = [p.open(pb.Subscribe(interval_ms=60000)) for _ in range(4)]
        for _ in range(4):
            q.expect(pb.Sample, q.open(pb.Subscribe(interval_ms=60000)))
        assert refused(p, 302).details == {"used": "8", "limit": "8"}
        q.close()
        p.wait_status(lambda s: s.connections == 1)
        p.expect(pb.Sample, p.open(pb.Subscribe()))
        for s in streams:
            p.send(pb.Cancel(), s)
            p.wait_for(pb.Cancelled, s)


def who_does_not_read_misses_samples_and_holds_none():
    """Its socket is full of an answer first, so that the samples find no room."""
    with Fake(size=256) as d, d.serving() as p, d.peer() as q:  # pieces as small as a sample: what has no room, has none
        sleeper = q.open(pb.Subscribe(interval_ms=100))
        q.generate(prompt("x"), max_tokens=20000, credit_bytes=2 << 20)
        ours = p.open(pb.Subscribe(interval_ms=100))
        full = until(p, ours, lambda s: s.list and s.list[0].state == pb.RequestInfo.PAUSED)
        later = until(p, ours, lambda s: s.seq >= full.seq + 8)
        assert later.held_bytes == full.held_bytes, "samples pile up"
        seqs = [-1]                                 # perhaps not even the first found room
        while len(seqs) < 2 or seqs[-1] - seqs[-2] < 5:
            seqs.append(q.wait_for(pb.Sample, sleeper).msg.seq)
            assert len(seqs) < 60, seqs


def a_list_that_is_too_long_says_what_it_left_out():
    with Fake(slots=1, delay_ms=5) as d, d.serving() as p, d.peer() as q, d.peer() as r, d.peer() as w:
        for c in (p, q, r):
            for _ in range(50):
                c.generate(prompt("x"), max_tokens=100000)
        stream = w.open(pb.Subscribe(interval_ms=100))
        seen = until(w, stream, lambda s: s.running + s.queued == 150)
        assert len(seen.list) == 128 and seen.unlisted == 22, (len(seen.list), seen.unlisted)


def others_requests_are_not_shown():
    if os.getuid():
        return "needs root, to be another user"
    with Fake(delay_ms=5) as d, d.serving() as p:
        p.generate(prompt("x"), max_tokens=100000)

        def other():
            with d.peer() as q:
                mine = q.generate(prompt("y"), max_tokens=100000)
                q.wait_for(pb.Delta, mine)
                seen = samples(q, q.open(pb.Subscribe()), 1)[0]
                assert seen.running == 2 and [r.uid for r in seen.list] == [OTHER_UID], seen

        fork_as(OTHER_UID, other)()


def a_watcher_does_not_hold_up_the_end():
    with Fake() as d, d.serving() as p:
        stream = p.open(pb.Subscribe(interval_ms=100))
        samples(p, stream, 1)
        assert d.terminate() == 0
        assert p.is_closed()


if __name__ == "__main__":
    sys.exit(qwp.run([
        samples_come_at_once_and_then_in_time, a_sample_shows_who_writes_how_fast, a_replay_and_a_stall_are_seen,
        cancel_ends_it_and_another_may_begin, intervals_out_of_range_are_refused_with_the_range,
        the_ninth_subscription_of_a_user_is_refused_and_one_that_left_makes_room,
        who_does_not_read_misses_samples_and_holds_none, a_list_that_is_too_long_says_what_it_left_out,
        others_requests_are_not_shown, a_watcher_does_not_hold_up_the_end, a_prompt_that_is_read_says_how_far_it_is]))
