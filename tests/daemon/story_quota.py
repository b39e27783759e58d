"""story_quota.py - a user who holds all it may is still served."""

import sys

import qwend_pb2 as pb
import qwp
from fake import Fake
from qwp import prompt

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


if __name__ == "__main__":
    sys.exit(qwp.run([a_full_share_leaves_room_to_speak_and_to_hear]))
