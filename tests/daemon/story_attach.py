"""story_attach.py - detachable requests: they outlive their connection, and another one goes on where it ended."""

import os
import sys

import fake
import qwend_pb2 as pb
import qwp
from fake import Fake, check, sampling
from other_user import OTHER_UID, fork_as
from qwp import Refused, prompt

ID = bytes(range(16))
MIB = 1 << 20


def start(d, n=200, request_id=ID, **fields):
    """A detachable request on a connection of its own: (peer, stream)."""
    peer = d.peer()
    stream = peer.generate(prompt("x"), sampling=sampling(1), max_tokens=n, request_id=request_id, detachable=True, **fields)
    accepted = peer.wait_for(pb.Accepted, stream).msg
    assert accepted.request_id == request_id and accepted.linger_s, accepted
    return peer, stream


def attach(peer, next_seq=0, request_id=ID, **fields):
    return peer.open(pb.Attach(request_id=request_id, next_seq=next_seq, **fields))


def whole(peer, n, next_seq=0, **fields):
    """Attaches and reads to the end; the text from Delta next_seq on, which is token next_seq of the fake engine."""
    result = qwp.Result()
    result.n_deltas = next_seq
    result = peer.collect(attach(peer, next_seq, **fields), result=result)
    assert result.answer == "".join(word + " " for word in fake.expected(1, prompt("x"), n).split()[next_seq:])
    assert result.usage.answer_tokens == n, result.usage
    return result


def refused(peer, code, **fields):
    try:
        peer.collect(attach(peer, **fields))
    except Refused as error:
        assert error.code == code, error
        return error
    raise AssertionError("it was attached to")


def a_stream_goes_on_at_the_next_delta_on_another_connection():
    with Fake(delay_ms=2) as d, d.serving() as p:
        assert "attach" in p.welcome.capabilities
        q, stream = start(d)
        for seq in range(20):
            assert q.wait_for(pb.Delta, stream).msg.seq == seq
        q.close()
        whole(p, 200, next_seq=20)


def an_answer_waits_to_be_fetched_from_its_beginning():
    with Fake(reason=3) as d, d.serving() as p:
        q, _ = start(d, 50, want_ids=True, logprobs=0)
        q.close()
        p.wait_status(lambda s: s.output_tokens == 50 and not s.running)
        info = p.call(pb.ListRequests(), pb.Requests).requests
        assert len(info) == 1 and info[0].request_id == ID and not info[0].HasField("pid"), info
        result = p.collect(attach(p))
        assert result.ids == fake.tokens(1, prompt("x"), 50) and len(result.logprobs) == 50
        assert len(result.reasoning.split()) == 3 and len(result.answer.split()) == 47
        assert result.usage.finish == pb.FINISH_LENGTH and result.usage.request_id == ID


def what_was_sent_in_vain_can_be_fetched_again():
    """The last words may be lost with the connection that carries them."""
    with Fake("--linger-s", "2") as d, d.serving() as p:
        q, stream = start(d, 50)
        q.wait_for(pb.Usage, stream)
        whole(p, 50)
        whole(p, 50, next_seq=40)
        with d.peer() as again:
            try:
                again.collect(again.generate(prompt("x"), request_id=ID))
                raise AssertionError("the id was taken")
            except Refused as error:
                assert error.code == 201 and "request_id" in error.error.text, error
        assert p.call(pb.Cancel(request_id=ID), pb.Cancelled).n_cancelled == 1
        refused(p, 206)


def one_that_waits_in_the_queue_is_attached_to_there():
    with Fake(slots=1, delay_ms=1) as d, d.serving() as p:
        first = p.generate(prompt("first"), sampling=sampling(2), max_tokens=300)
        q, _ = start(d, 20)
        q.close()
        stream = attach(p)
        assert p.wait_for(pb.Accepted, stream).msg.position == 1
        check(p.collect(first), 2, prompt("first"), 300)
        check(p.collect(stream), 1, prompt("x"), 20)


def a_request_that_is_not_detachable_ends_with_its_connection():
    with Fake(delay_ms=2) as d, d.serving() as p:
        q = d.peer()
        stream = q.generate(prompt("x"), max_tokens=1000, request_id=ID)
        q.wait_for(pb.Delta, stream)
        refused(p, 206)
        q.close()
        p.wait_status(lambda s: not s.running)
        refused(p, 206)


def a_prompt_that_never_arrived_ends_with_its_connection():
    with Fake() as d, d.serving() as p:
        q = d.peer()
        q.generate(flags=qwp.MORE, request_id=ID, detachable=True)
        q.status()
        refused(p, 206)
        q.close()
        p.wait_status(lambda s: s.connections == 1)
        assert not p.call(pb.ListRequests(), pb.Requests).requests


def another_user_finds_nothing():
    if os.geteuid():
        return "needs root, for a second uid"
    with Fake(delay_ms=2) as d, d.serving() as p:
        q, stream = start(d, 100000)
        q.wait_for(pb.Delta, stream)
        fork_as(OTHER_UID, lambda: bool(refused(d.peer(), 206)))()
        q.wait_for(pb.Delta, stream)
        q.send(pb.Cancel(), stream)
        assert q.wait_for(pb.Usage, stream).msg.finish == pb.FINISH_CANCEL
        assert not p.status().running
    return None


def the_last_to_attach_has_the_stream():
    with Fake(delay_ms=2) as d, d.serving() as p:
        q, stream = start(d)
        q.wait_for(pb.Delta, stream, match=lambda m: m.seq == 5)
        result = whole(p, 200)
        assert not result.usage.replays
        try:
            q.collect(stream, result=_at(6))
            raise AssertionError("it went on twice")
        except Refused as error:
            assert error.code == 603, error
        assert q.status().connections == 2      # it lost the stream only


def _at(seq):
    result = qwp.Result()
    result.n_deltas = seq
    return result


def nobody_comes_and_it_is_dropped():
    with Fake("--linger-s", "1", delay_ms=1) as d, d.serving() as p:
        for n, credit in ((20, 1 << 16), (1000, 100)):      # one ends, one waits for credit
            start_line = len(d.lines)
            q, _ = start(d, n, credit_bytes=credit)
            q.close()
            d.wait_line("dropped: nobody attached", start_line)
            refused(p, 206)
            assert not p.status().running
        assert not p.call(pb.ListRequests(), pb.Requests).requests


def credit_ends_while_nobody_reads():
    with Fake(delay_ms=1) as d, d.serving() as p:
        q, stream = start(d, credit_bytes=500)
        q.wait_for(pb.Delta, stream)
        q.close()
        p.wait_status(lambda s: any(r.state == pb.RequestInfo.PAUSED for r in p.call(pb.ListRequests(), pb.Requests).requests))
        result = p.collect(attach(p, 0))
        check(result, 1, prompt("x"), 200)


def a_reader_with_less_credit_than_there_is_text_gets_it_in_turn():
    with Fake(size=1000) as d, d.serving() as p:
        q, _ = start(d, 300, credit_bytes=400000)
        q.close()
        p.wait_status(lambda s: s.output_tokens == 300 and not s.running)
        stream, granted, result = attach(p, credit_bytes=65536), 65536, qwp.Result()
        while not result.usage:
            result.add(p.next_frame(stream))
            assert len(result.answer) <= granted
            if len(result.answer) > granted - 1000 and granted < 400000:
                p.send(pb.Credit(bytes=50000), stream)
                granted += 50000
        assert len(result.answer) == 300 * 1000


def what_is_too_long_ago_is_not_kept():
    """1 MiB of Deltas is; the oldest go while somebody reads."""
    with Fake(size=1000) as d, d.serving() as p:
        q, stream = start(d, 1900, credit_bytes=2 * MIB)
        q.wait_for(pb.Delta, stream, match=lambda m: m.seq == 1500)
        error = refused(p, 604, next_seq=100)
        kept = int(error.error.text.split(": ")[1].split()[0])
        assert 100 < kept < 1500 and MIB - 65536 < (1900 - kept) * 1010 + MIB / 2, error
        refused(p, 604, next_seq=1 << 40)
        result = p.collect(attach(p, 1500, credit_bytes=2 * MIB), result=_at(1500))
        assert result.usage.answer_tokens == 1900 and len(result.answer) == 400 * 1000


def nothing_is_lost_while_nobody_reads():
    """When the history is full the request waits."""
    with Fake(size=1000) as d, d.serving() as p:
        q, _ = start(d, 1900, credit_bytes=2 * MIB)
        q.close()
        p.wait_status(lambda s: any(r.state == pb.RequestInfo.PAUSED for r in p.call(pb.ListRequests(), pb.Requests).requests))
        assert 900 < p.status().output_tokens < 1900
        result = p.collect(attach(p, credit_bytes=2 * MIB))
        assert result.usage.answer_tokens == 1900 and len(result.answer) == 1900 * 1000


def it_lives_through_an_engine_while_nobody_reads():
    with Fake(delay_ms=2) as d, d.serving() as p:
        q, stream = start(d)
        q.wait_for(pb.Delta, stream)
        q.close()
        p.wait_status(lambda s: s.connections == 1)
        d.kill_engine()
        assert whole(p, 200).usage.replays == 1


def an_error_waits_to_be_fetched_too():
    with Fake(poison_after=5) as d, d.serving() as p:
        q = d.peer()
        stream = q.generate(prompt("POISON"), max_tokens=10, request_id=ID, detachable=True)
        q.wait_for(pb.Accepted, stream)
        q.close()
        d.wait_line("refused for 90 s")
        error = refused(p, 207)
        assert error.result.n_deltas == 5, error.result.n_deltas
        assert refused(p, 207).error == error.error


def a_suspect_cannot_hide_behind_its_reader_for_ever():
    """It attaches with less credit than there is text whenever it should run alone, and goes on when others run."""
    with Fake(poison_after=80, size=1000, load_ms=300) as d, d.serving() as p:
        stream = p.generate(prompt("POISON"), max_tokens=90, request_id=ID, detachable=True, credit_bytes=MIB)
        line = 0
        for _ in range(2):
            d.wait_line("each is tried alone", line)
            line = len(d.lines)
            stream = attach(p, credit_bytes=65536)
            d.wait_line("none is to blame", line)
            p.send(pb.Credit(bytes=MIB), stream)
        try:
            p.wait_for(pb.Usage, stream)
            raise AssertionError("it came through")
        except Refused as error:
            assert error.code == 207, error


def what_cannot_be_meant_is_refused():
    with Fake(delay_ms=2) as d, d.serving() as p:
        q, stream = start(d, 1000)
        for fields in ({"request_id": b"short"}, {"credit_bytes": 65535}, {"credit_bytes": 2 * MIB + 1}):
            refused(p, 201, **fields)
        refused(p, 206, request_id=bytes(16))
        q.wait_for(pb.Delta, stream)            # it was not disturbed


def a_stop_does_not_wait_for_readers():
    with Fake("--drain-s", "20") as d, d.serving() as p:
        q, _ = start(d, 20)
        q.close()
        p.wait_status(lambda s: s.output_tokens == 20 and not s.running)
        p.close()
        assert d.terminate() == 0
        assert "cut off" not in d.log()


if __name__ == "__main__":
    sys.exit(qwp.run([
        a_stream_goes_on_at_the_next_delta_on_another_connection, an_answer_waits_to_be_fetched_from_its_beginning,
        what_was_sent_in_vain_can_be_fetched_again, one_that_waits_in_the_queue_is_attached_to_there, a_request_that_is_not_detachable_ends_with_its_connection,
        a_prompt_that_never_arrived_ends_with_its_connection, another_user_finds_nothing,
        the_last_to_attach_has_the_stream, nobody_comes_and_it_is_dropped, credit_ends_while_nobody_reads,
        a_reader_with_less_credit_than_there_is_text_gets_it_in_turn, what_is_too_long_ago_is_not_kept,
        nothing_is_lost_while_nobody_reads, it_lives_through_an_engine_while_nobody_reads,
        an_error_waits_to_be_fetched_too, a_suspect_cannot_hide_behind_its_reader_for_ever,
        what_cannot_be_meant_is_refused, a_stop_does_not_wait_for_readers]))
