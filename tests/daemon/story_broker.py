"""story_broker.py - the broker's stories with the fake engine: the ordinary course of things."""

import os
import sys
import time
import zlib

import fake
import harness
import qwend_pb2 as pb
import qwp
from fake import Fake, check, sampling
from other_user import OTHER_UID, fork_as
from qwp import HAS_FD, MORE, Refused, prompt


def a_request_is_accepted_streamed_and_accounted():
    with Fake() as d, d.serving() as p:
        body = prompt("hello")
        assert p.welcome.version == 1 and p.welcome.limits.streams == 64 and len(p.welcome.boot_id) == 16
        assert "memfd" in p.welcome.capabilities
        r = p.ask(body, sampling=sampling(7), max_tokens=20, request_id=bytes(range(16)))
        check(r, 7, body, 20)
        assert r.usage.finish == pb.FINISH_LENGTH and r.usage.request_id == bytes(range(16))
        assert r.usage.prompt_tokens == len(body) and r.usage.backend == "fake"
        assert r.accepted[0].position == 0 and r.accepted[-1].prompt_tokens == len(body)
        assert not r.ids and not r.logprobs and r.n_deltas == 20
        status = p.status()
        assert (status.requests, status.output_tokens, status.prompt_tokens) == (1, 20, len(body)), status
        assert status.running == status.queued == 0 and status.connections == 1


def an_engine_with_a_wrong_clock_is_not_believed():
    with Fake(skew=1) as d, d.serving() as p:
        began = time.monotonic()
        usage = p.ask(prompt("x"), max_tokens=3).usage
        passed_ms = (time.monotonic() - began) * 1e3
        assert usage.prefill_ms == 0 and 0 < usage.decode_ms <= passed_ms, usage


def the_broker_draws_a_seed_and_an_id_where_none_is_given():
    with Fake() as d, d.serving() as p:
        body = prompt("x")
        a, b = p.ask(body, max_tokens=3), p.ask(body, max_tokens=3)
        assert a.usage.seed != b.usage.seed and a.usage.request_id != b.usage.request_id
        assert len(a.usage.request_id) == 16
        check(a, a.usage.seed, body, 3)


def ids_and_logprobs_come_with_the_text_they_belong_to():
    with Fake() as d, d.serving() as p:
        r = p.ask(prompt("x"), sampling=sampling(1), max_tokens=10, want_ids=True, logprobs=0)
        assert r.ids == fake.tokens(1, prompt("x"), 10) and [t.id for t in r.logprobs] == r.ids


def ids_before_the_first_text_have_no_channel_that_nobody_declared():
    with Fake(silent=2) as d, d.serving() as p:
        stream, body = p.generate(prompt("x"), sampling=sampling(1), max_tokens=4, want_ids=True), prompt("x")
        deltas = [p.wait_for(pb.Delta, stream).msg for _ in range(4)]
        for delta in deltas:    # a value that an enum does not have is kept as an unknown field
            packed = delta.SerializeToString()
            delta.DiscardUnknownFields()
            assert delta.SerializeToString() == packed, packed
        assert [delta.HasField("channel") for delta in deltas] == [False, False, True, True]
        assert [i for delta in deltas for i in delta.ids] == fake.tokens(1, body, 4)


def reasoning_and_answer_are_channels_of_their_own():
    with Fake(reason=3) as d, d.serving() as p:
        r = p.ask(prompt("x"), sampling=sampling(1), max_tokens=8)
        assert r.reasoning + r.answer == fake.expected(1, prompt("x"), 8)
        assert r.reasoning == fake.expected(1, prompt("x"), 3)
        assert (r.usage.reasoning_tokens, r.usage.answer_tokens) == (3, 5)


def two_clients_and_many_streams_do_not_mix():
    with Fake(slots=4) as d, d.serving() as p, d.peer() as q:
        bodies = [prompt(f"number {i}") for i in range(40)]
        streams = [(c, c.generate(b, sampling=sampling(i), max_tokens=i + 1))
                   for i, b in enumerate(bodies) for c in (p, q)]
        for n, (c, stream) in enumerate(streams):
            check(c.collect(stream), n // 2, bodies[n // 2], n // 2 + 1)


def requests_beyond_the_slots_wait_and_hear_their_position():
    with Fake(slots=1, delay_ms=5) as d, d.serving() as p:
        streams = [p.generate(prompt(f"{i}"), sampling=sampling(i), max_tokens=150) for i in range(3)]
        first = [p.next_frame(s).msg.position for s in streams]
        assert first == [0, 1, 2], first
        assert p.status().queued == 2
        results = [p.collect(s) for s in streams]
        assert [a.position for a in results[2].accepted if not a.prompt_tokens][-2:] == [1, 0]
        assert results[2].usage.queue_ms > results[1].usage.queue_ms > results[0].usage.queue_ms


def an_interactive_request_overtakes_a_batch_job_of_its_user():
    with Fake(slots=1, delay_ms=2) as d, d.serving() as p:
        running = p.generate(prompt("r"), max_tokens=50)
        p.wait_for(pb.Delta, running)
        batch = p.generate(prompt("b"), max_tokens=5, priority=pb.PRIORITY_BATCH)
        keystroke = p.generate(prompt("k"), max_tokens=5, priority=pb.PRIORITY_INTERACTIVE)
        ends = []
        while len(ends) < 3:
            frame = p.read_frame()
            if frame.type is pb.Usage:
                ends.append(frame.stream)
        assert ends == [running, keystroke, batch], ends


def a_cancelled_request_says_so_and_frees_its_slot():
    with Fake(slots=1, delay_ms=2) as d, d.serving() as p:
        stream = p.generate(prompt("x"), max_tokens=1000000, sampling=sampling(1))
        result = qwp.Result()
        result.add(p.wait_for(pb.Delta, stream))
        p.send(pb.Cancel(), stream)
        result = p.collect(stream, result=result)
        assert result.usage.finish == pb.FINISH_CANCEL
        assert result.answer == fake.expected(1, prompt("x"), result.n_deltas)
        assert result.usage.answer_tokens == result.n_deltas
        check(p.ask(prompt("y"), sampling=sampling(2), max_tokens=3), 2, prompt("y"), 3)


def cancel_reaches_other_connections_by_id_and_all_of_a_user():
    with Fake(slots=2, delay_ms=2) as d, d.serving() as p, d.peer() as q:
        streams = [p.generate(prompt("x"), max_tokens=1000000, request_id=bytes([i] * 16)) for i in range(4)]
        p.wait_for(pb.Delta, streams[0])
        assert q.call(pb.Cancel(request_id=bytes([1] * 16)), pb.Cancelled).n_cancelled == 1
        assert p.collect(streams[1], result=qwp.Result()).usage.finish == pb.FINISH_CANCEL
        assert q.call(pb.Cancel(mine=True), pb.Cancelled).n_cancelled == 3
        for s in (streams[0], streams[2], streams[3]):
            assert p.wait_for(pb.Usage, s).msg.finish == pb.FINISH_CANCEL
        try:
            q.call(pb.Cancel(request_id=bytes(16)), pb.Cancelled)
            raise AssertionError("an unknown id was cancelled")
        except Refused as refused:
            assert refused.code == 206
        assert q.status().running == 0


def a_client_that_leaves_frees_its_slot_and_its_queue():
    with Fake(slots=1, delay_ms=2) as d, d.serving() as p:
        with d.peer() as q:
            streams = [q.generate(prompt("x"), max_tokens=1000000) for _ in range(5)]
            q.wait_for(pb.Delta, streams[0])
        status = p.wait_status(lambda s: s.running == s.queued == 0 and s.connections == 1)
        assert status.requests == 5
        check(p.ask(prompt("y"), sampling=sampling(2), max_tokens=3), 2, prompt("y"), 3)


def a_prompt_comes_inline_in_pieces_or_as_a_memfd():
    with Fake() as d, d.serving() as p:
        body = prompt("long " * 300000)  # 1.5 MB: too long for a frame
        fd = qwp.sealed_memfd(body)
        for _ in range(2):
            check(p.collect(p.generate(flags=HAS_FD, fds=[fd], sampling=sampling(3), max_tokens=5)), 3, body, 5)
        os.close(fd)
        stream = p.generate(flags=MORE, sampling=sampling(4), max_tokens=5)
        chunks = [body[i:i + 400000] for i in range(0, len(body), 400000)]
        for i, chunk in enumerate(chunks):
            p.send(pb.Body(data=chunk), stream, MORE if i + 1 < len(chunks) else 0)
        check(p.collect(stream), 4, body, 5)
        check(p.ask(body[:1000000], sampling=sampling(5), max_tokens=5), 5, body[:1000000], 5)


def refused(p, stream, code, *words):
    try:
        p.collect(stream)
    except Refused as error:
        assert error.code == code, error
        assert all(w in error.error.text for w in words), error
        return error
    raise AssertionError(f"not refused with {code}")


def an_unsealed_empty_or_huge_memfd_is_refused_with_the_reason():
    with Fake() as d, d.serving() as p:
        r, w = os.pipe()
        cases = [(qwp.sealed_memfd(b"x", seals=0), 201, "not sealed"), (qwp.sealed_memfd(b""), 201, "empty"),
                 (qwp.sealed_memfd(b"x", seals=2), 201, "F_SEAL_WRITE"), (r, 201, "not a memfd"),
                 (qwp.sealed_memfd(bytes((8 << 20) + 1)), 202, "8388608")]
        for fd, code, word in cases:
            refused(p, p.generate(flags=HAS_FD, fds=[fd], max_tokens=1), code, word)
            os.close(fd)
        os.close(w)
        check(p.ask(prompt("y"), sampling=sampling(2), max_tokens=3), 2, prompt("y"), 3)


def values_out_of_range_are_refused_with_their_name():
    with Fake() as d, d.serving() as p:
        b = prompt("x")
        for fields, word in [
                ({}, "no prompt"), ({"body": b, "sampling": pb.Sampling(temperature=-1)}, "temperature"),
                ({"body": b, "sampling": pb.Sampling(temperature=float("nan"))}, "temperature"),
                ({"body": b, "sampling": pb.Sampling(top_p=1.5)}, "top_p"),
                ({"body": b, "sampling": pb.Sampling(repeat_penalty=0)}, "repeat_penalty"),
                ({"body": b, "sampling": pb.Sampling(penalty_last_n=-2)}, "penalty_last_n"),
                ({"body": b, "max_tokens": (1 << 20) + 1}, "max_tokens"), ({"body": b, "logprobs": 21}, "logprobs"),
                ({"body": b, "stop": [""]}, "stop[0]"), ({"body": b, "credit_bytes": 3}, "credit_bytes"),
                ({"body": b, "request_id": b"short"}, "request_id")]:
            refused(p, p.generate(**fields), 201, word)
        refused(p, p.generate(b, flags=MORE), 201, "more than one way")


def an_id_in_use_is_refused():
    with Fake(delay_ms=2) as d, d.serving() as p:
        stream = p.generate(prompt("x"), max_tokens=1000000, request_id=bytes(16))
        p.wait_for(pb.Delta, stream)
        refused(p, p.generate(prompt("x"), max_tokens=3, request_id=bytes(16)), 201, "request_id")


def the_engines_refusal_reaches_the_client():
    with Fake(context=20) as d, d.serving() as p:
        refused(p, p.generate(prompt("x" * 100), max_tokens=3), 202, "context")
        assert p.status().running == 0


def text_questions_are_answered_while_generating():
    with Fake(delay_ms=2) as d, d.serving() as p:
        stream = p.generate(prompt("x"), max_tokens=1000000)
        p.wait_for(pb.Delta, stream)
        assert list(p.call(pb.Tokenize(text="abc"), pb.Tokens).ids) == [97, 98, 99]
        assert p.call(pb.Detokenize(ids=[104, 105]), pb.Text).text == b"hi"
        crc = zlib.crc32(prompt("x"))
        assert p.call(pb.Render(body=prompt("x")), pb.Text).text == f"{len(prompt('x'))}:{crc}".encode()
        try:
            p.call(pb.Detokenize(ids=[0xFFFFFFFF]), pb.Text)
            raise AssertionError("a bad id was taken")
        except Refused as error:
            assert error.code == 201
        body = prompt("y" * 3000000)
        question = p.open(pb.Render(), MORE)
        for i in range(0, len(body), 1000000):
            p.send(pb.Body(data=body[i:i + 1000000]), question, MORE if i + 1000000 < len(body) else 0)
        crc = zlib.crc32(body)
        assert p.expect(pb.Text, question).msg.text == f"{len(body)}:{crc}".encode()


def n_frames_there(p):
    """How many more frames have arrived, now."""
    n = 0
    try:
        while p.read_frame(timeout=0.001):
            n += 1
    except TimeoutError:
        return n


def a_heap_of_questions_delays_nobody_else():
    with Fake(read_ms=50) as d, d.serving() as p, d.peer() as q:
        for _ in range(40):
            q.open(pb.Tokenize(text="x"))
        q.expect(pb.Tokens)
        stream = p.generate(prompt("x"), max_tokens=1)
        p.wait_for(pb.Accepted, stream, match=lambda m: m.prompt_tokens)
        n = n_frames_there(q)
        assert n < 20, f"{n} of 39 questions were answered first"
        for _ in range(39 - n):
            q.expect(pb.Tokens)


def what_was_given_up_does_not_pile_up_in_the_engine():
    """Each of the 60 would take it 100 ms to read."""
    with Fake(read_ms=100) as d, d.serving() as p, d.peer() as q:
        for _ in range(30):
            streams = q.generate(prompt("x"), max_tokens=1), q.open(pb.Tokenize(text="x"))
            q.status()  # so both have been heard, and passed on if nothing kept them
            for stream in streams:
                q.send(pb.Cancel(), stream)
        q.status()
        began = time.monotonic()
        p.ask(prompt("x"), max_tokens=1)
        seconds = time.monotonic() - began
        assert seconds < 2, f"it waited {seconds:.1f} s"
        with d.peer() as r:
            r.open(pb.Tokenize(text="x"))
        p.wait_status(lambda s: s.connections == 2)  # r is gone, its question perhaps not yet
        assert list(p.call(pb.Tokenize(text="ab"), pb.Tokens).ids) == [97, 98]
        assert p.status().engine_restarts == 0


def list_requests_shows_state_and_owner():
    with Fake(slots=1, delay_ms=2) as d, d.serving(client="lister 1.0") as p:
        running, queued = [p.generate(prompt("x"), max_tokens=1000000) for _ in range(2)]
        p.wait_for(pb.Delta, running)
        a, b = p.call(pb.ListRequests(), pb.Requests).requests
        assert (a.state, b.state) == (pb.RequestInfo.DECODE, pb.RequestInfo.QUEUED)
        assert a.uid == os.getuid() and a.pid == os.getpid() and a.client == "lister 1.0"
        assert a.prompt_tokens == len(prompt("x")) and a.output_tokens >= 1 and b.position == 1


def the_65th_stream_is_refused_and_the_others_live():
    with Fake(slots=64, delay_ms=5) as d, d.serving() as p:
        streams = [p.generate(prompt("x"), sampling=sampling(i), max_tokens=60) for i in range(64)]
        error = refused(p, p.generate(prompt("x"), max_tokens=1), 302, "64")
        assert error.details == {"used": "64", "limit": "64"}
        for i, s in enumerate(streams):
            check(p.collect(s), i, prompt("x"), 60)
        check(p.ask(prompt("y"), sampling=sampling(2), max_tokens=3), 2, prompt("y"), 3)


def a_client_that_sends_a_byte_at_a_time_is_served():
    with Fake() as d:
        d.serving().close()
        with d.peer(hello=False) as p:
            data = qwp.PREFACE + p.pack(pb.Hello(version_min=1, version_max=1))
            data += p.pack(pb.Generate(body=prompt("x"), sampling=sampling(1), max_tokens=4), stream=1)
            for i in range(len(data)):
                p.sock.sendall(data[i:i + 1])
            p.expect(pb.Welcome)
            check(p.collect(1), 1, prompt("x"), 4)


def sleeps(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "S"


def an_idle_daemon_makes_no_wakeups():
    with Fake() as d, d.serving() as p:
        p.ask(prompt("x"), max_tokens=3)
        p.status()
        pids = (d.process.pid, d.engine_pid())
        ends = time.monotonic() + qwp.TIMEOUT_S
        while not all(sleeps(pid) for pid in pids):
            assert time.monotonic() < ends, "they never go to sleep"
        before = [harness.status_field(pid, "voluntary_ctxt_switches") for pid in pids]
        time.sleep(1)  # a second without traffic is the thing measured
        after = [harness.status_field(pid, "voluntary_ctxt_switches") for pid in pids]
        assert before == after, f"{before} became {after}"


def two_users_share_the_slots_evenly():
    if os.getuid():
        return "needs root, to be two users"
    with Fake(slots=1, delay_ms=1) as d, d.serving() as p:
        blocker = p.generate(prompt("first"), max_tokens=100)
        p.wait_for(pb.Delta, blocker)
        greedy = [p.generate(prompt("g"), max_tokens=20) for _ in range(10)]
        p.wait_for(pb.Accepted, greedy[-1])

        def other():  # comes last and asks for as much
            with d.peer() as q:
                streams = [q.generate(prompt("m"), max_tokens=20) for _ in range(3)]
                first = [q.next_frame(s).msg.position for s in streams]
                return first, [q.collect(s).usage.queue_ms for s in streams]

        positions, (_a, _b, third_ms) = fork_as(OTHER_UID, other)()
        waits = [p.collect(s).usage.queue_ms for s in greedy]
        # alternating: the newcomer's three are through while the other's ten still wait
        assert all(pos <= 2 * (i + 1) for i, pos in enumerate(positions)), positions
        assert third_ms < waits[5], (third_ms, waits)


if __name__ == "__main__":
    sys.exit(qwp.run([
        a_request_is_accepted_streamed_and_accounted, an_engine_with_a_wrong_clock_is_not_believed,
        the_broker_draws_a_seed_and_an_id_where_none_is_given,
        ids_and_logprobs_come_with_the_text_they_belong_to,
        ids_before_the_first_text_have_no_channel_that_nobody_declared, reasoning_and_answer_are_channels_of_their_own,
        two_clients_and_many_streams_do_not_mix, requests_beyond_the_slots_wait_and_hear_their_position,
        an_interactive_request_overtakes_a_batch_job_of_its_user, a_cancelled_request_says_so_and_frees_its_slot,
        cancel_reaches_other_connections_by_id_and_all_of_a_user, a_client_that_leaves_frees_its_slot_and_its_queue,
        a_prompt_comes_inline_in_pieces_or_as_a_memfd, an_unsealed_empty_or_huge_memfd_is_refused_with_the_reason,
        values_out_of_range_are_refused_with_their_name, an_id_in_use_is_refused,
        the_engines_refusal_reaches_the_client, text_questions_are_answered_while_generating,
        a_heap_of_questions_delays_nobody_else, what_was_given_up_does_not_pile_up_in_the_engine,
        list_requests_shows_state_and_owner, the_65th_stream_is_refused_and_the_others_live,
        a_client_that_sends_a_byte_at_a_time_is_served, an_idle_daemon_makes_no_wakeups,
        two_users_share_the_slots_evenly]))
