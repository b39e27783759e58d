"""story_quota.py - a user who holds all it may, and one whose share shrank because another came, are still served."""

import os
import sys

import qwend_pb2 as pb
import qwp
from fake import Fake, check, sampling
from other_user import OTHER_UID, hold_as
from qwp import Refused, prompt

MIB = 1 << 20


def full(**behaviour):
    """4 MiB for all, so 2 MiB for one who is alone; a request reserves 4 bytes for each token it may write."""
    return Fake("--max-mib", "4", slots=1, context=1000000, **behaviour)


def fill(peer, n_bytes):
    """Queues requests that reserve n_bytes in all, or as near to it as the broker lets us; the last refusal."""
    held, piece, refusal = 0, 100000, None
    while piece and held < n_bytes:
        stream = peer.generate(b"x", max_tokens=piece)
        frame = peer.next_frame(stream)
        if frame.type is pb.Error:
            assert frame.msg.code in (302, 401), frame.msg
            refusal = frame.msg
        if refusal or held + 8 * piece > n_bytes:
            piece //= 2
        held += 0 if frame.type is pb.Error else 4 * piece
    return refusal


def a_full_share_leaves_room_to_speak_and_to_hear():
    with full(delay_ms=1) as d, d.serving() as p, d.peer() as q:
        running = p.generate(prompt("x"), max_tokens=1000, credit_bytes=4)
        p.wait_for(pb.Delta, running)
        assert {x.key for x in fill(p, 4 * MIB).details} == {"used", "limit"}
        assert q.status().queued > 10
        with d.peer() as third:
            assert third.status().running == 1
        p.send(pb.Cancel(), running)
        assert p.wait_for(pb.Usage, running).msg.finish == pb.FINISH_CANCEL
        queued = q.status().queued
        assert q.call(pb.Cancel(mine=True), pb.Cancelled).n_cancelled > queued


def a_full_share_lets_a_stream_pause_and_go_on():
    with full(delay_ms=1) as d, d.serving() as p:
        stream = p.generate(prompt("x"), sampling=sampling(1), max_tokens=40, credit_bytes=100)
        granted, result = 100, qwp.Result()
        fill(p, 4 * MIB)
        while not result.usage:
            frame = p.next_frame(stream)
            assert frame.type is not pb.Error, frame.msg
            result.add(frame)
            if len(result.answer) == granted:
                p.send(pb.Credit(bytes=100), stream)
                granted += 100
        assert granted >= 300, granted  # it has paused; each time those that wait are served first, for seconds
        check(result, 1, prompt("x"), 40)


def a_newcomer_takes_no_connection_and_no_answer_away():
    if os.getuid():
        return "needs root, to be two users"
    with full(delay_ms=1) as d, d.serving() as p:
        stream = p.generate(prompt("x"), sampling=sampling(1), max_tokens=1000, credit_bytes=4)
        result = qwp.Result()
        result.add(p.next_frame(stream))
        fill(p, 2 * MIB)

        def newcomer(pause):
            with d.peer() as q:
                fill(q, MIB)
                pause()

        end = hold_as(OTHER_UID, newcomer)
        assert p.status().queued > 10
        p.send(pb.Credit(bytes=MIB), stream)
        check(p.collect(stream, result=result), 1, prompt("x"), 1000)
        try:
            p.ask(b"x", max_tokens=1)
            raise AssertionError("more than the share")
        except Refused as refused:
            assert refused.code == 302 and int(refused.details["used"]) > int(refused.details["limit"]), refused
        end()
    return None


if __name__ == "__main__":
    sys.exit(qwp.run([
        a_full_share_leaves_room_to_speak_and_to_hear, a_full_share_lets_a_stream_pause_and_go_on,
        a_newcomer_takes_no_connection_and_no_answer_away]))
