"""story_recovery.py - the engine dies, hangs, lies or never starts; what the clients see of it."""

import os
import select
import signal
import sys
import tempfile
import time

import fake
import qwend_pb2 as pb
import qwp
from fake import Fake, check, gather, sampling
from qwp import Refused, prompt

KILLS = 100
KILLS_S = 240       # 100 kills take 15 s on an idle machine, most of it backoff; under load over a minute


def events(result):
    return [e.kind for e in result.events]


def no_token_is_lost_or_repeated_in_100_kills():
    """Four streams; a kill hits while each of them has tokens behind and before it.

    They run until the kills are done: how many tokens come between two of them depends on the machine's load."""
    with Fake(delay_ms=1) as d, d.serving() as control:
        def one(i):
            with d.peer() as p:
                body = prompt(f"stream {i}")
                result = p.ask(body, sampling=sampling(i), max_tokens=1000000, want_ids=True, credit_bytes=2 << 20)
                assert result.usage.finish == pb.FINISH_CANCEL and len(result.ids) >= 10 * KILLS, result.usage
                check(result, i, body, len(result.ids))
                assert result.ids == fake.tokens(i, body, len(result.ids))
                return result.usage.replays, events(result)

        def wait_tokens():
            """They take turns, so with 40 more each stream had some."""
            before = control.wait_status(lambda s: s.state == pb.StatusReply.SERVING and s.running == 4)
            control.wait_status(lambda s: s.output_tokens >= before.output_tokens + 40)
            return before.engine_pid

        def kill():
            for _ in range(KILLS):
                pid = wait_tokens()
                os.kill(pid, signal.SIGKILL)
                control.wait_status(lambda s, pid=pid: s.engine_pid not in (0, pid))
            wait_tokens()
            assert control.call(pb.Cancel(mine=True), pb.Cancelled).n_cancelled == 4
            return control.status().engine_restarts

        *streams, restarts = gather([lambda i=i: one(i) for i in range(4)] + [kill], KILLS_S)
        assert restarts == KILLS, restarts
        for replays, kinds in streams:
            assert replays == KILLS, replays
            assert kinds == [pb.Event.ENGINE_RESTART, pb.Event.RESUMED] * KILLS, kinds[:6]


def resumed_names_the_first_new_token():
    with Fake(delay_ms=2) as d, d.serving() as p:
        stream = p.generate(prompt("x"), sampling=sampling(1), max_tokens=300)
        p.wait_for(pb.Delta, stream, match=lambda m: m.seq == 10)
        d.kill_engine()
        frame = p.wait_for(pb.Event, stream, match=lambda m: m.kind == pb.Event.RESUMED)
        delta = p.wait_for(pb.Delta, stream).msg
        assert delta.text.startswith(b"%d:" % frame.msg.from_token), (frame.msg, delta)
        assert delta.seq == frame.msg.from_token


def queued_requests_and_text_questions_outlive_the_engine():
    with Fake(slots=1, delay_ms=1) as d, d.serving() as p:
        streams = [p.generate(prompt(f"{i}"), sampling=sampling(i), max_tokens=200) for i in range(3)]
        p.wait_for(pb.Delta, streams[0])
        pid = p.status().engine_pid
        os.kill(pid, signal.SIGSTOP)  # so that the question is under way when it dies
        question = p.open(pb.Tokenize(text="ab"))
        os.kill(pid, signal.SIGKILL)
        assert list(p.expect(pb.Tokens, question).msg.ids) == [97, 98]
        for i in (1, 2):
            check(p.collect(streams[i]), i, prompt(f"{i}"), 200)


def an_engine_that_dies_at_each_token_is_replaced_until_it_is_done():
    with Fake(die_after=1) as d, d.serving() as p:
        check(p.ask(prompt("x"), sampling=sampling(1), max_tokens=7), 1, prompt("x"), 7)
        assert p.status().engine_restarts >= 6


def a_request_that_brings_no_token_through_three_deaths_gets_501():
    with Fake("--engine-timeout-s", "1", hang_after=1) as d, d.serving() as p:
        stream = p.generate(prompt("x"), sampling=sampling(1), max_tokens=3)
        check(p.collect(stream), 1, prompt("x"), 3)
        assert "no finished step" in d.wait_line("is killed")
    with Fake(deaf=1) as d, d.serving() as p:
        stream = p.generate(prompt("x"), max_tokens=3)
        for n in range(3):
            p.wait_status(lambda s, n=n: s.engine_restarts == n and s.state == pb.StatusReply.SERVING and s.running)
            d.kill_engine()  # from outside: it is nobody's fault
        try:
            p.collect(stream)
            raise AssertionError("it ended well")
        except Refused as refused:
            assert refused.code == 501 and "3 times" in refused.error.text, refused
            assert events(refused.result) == [pb.Event.ENGINE_RESTART], refused.result.events


def a_stopped_engine_with_work_is_replaced_and_one_without_is_not():
    with Fake("--engine-timeout-s", "1", delay_ms=2) as d, d.serving() as p:
        stream = p.generate(prompt("x"), sampling=sampling(1), max_tokens=300)
        p.wait_for(pb.Delta, stream)
        pid = p.status().engine_pid
        os.kill(pid, signal.SIGSTOP)
        p.wait_for(pb.Event, stream, match=lambda m: m.kind == pb.Event.RESUMED)
        p.wait_for(pb.Usage, stream)
        pid = p.status().engine_pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1.5)  # longer than its patience: that nothing happens is the thing tested
        assert p.status().engine_pid == pid
        os.kill(pid, signal.SIGCONT)


def an_engine_that_stops_with_a_prompt_given_up_is_replaced():
    with Fake("--engine-timeout-s", "1") as d, d.serving() as p:
        os.kill(d.engine_pid(), signal.SIGSTOP)
        stream = p.generate(prompt("x"), max_tokens=3)
        p.send(pb.Cancel(), stream)
        check(p.ask(prompt("y"), sampling=sampling(1), max_tokens=3), 1, prompt("y"), 3)
        assert p.status().engine_restarts == 1


def a_model_that_cannot_be_served_is_said_to_everybody():
    with Fake(load_ms=100, fail="no such model anywhere", fail_code=205) as d, d.peer() as p:
        waiting = p.generate(prompt("x"), max_tokens=1)
        question = p.open(pb.Tokenize(text="x"))
        for stream in (waiting, question):
            try:
                p.collect(stream)
                raise AssertionError("served")
            except Refused as refused:
                assert refused.code == 205 and refused.error.text == "no such model anywhere", refused
        status = p.status()
        assert status.state == pb.StatusReply.FAILED and status.note == "no such model anywhere", status
        try:
            p.ask(prompt("x"))
            raise AssertionError("served")
        except Refused as refused:
            assert refused.code == 205, refused
        p.wait_status(lambda s: not s.engine_pid)
        d.wait_line("ended with status 1")
        assert sum("no such model anywhere" in line for line in d.log().splitlines() if "cannot serve" in line) == 1
        assert p.status().engine_restarts == 0


def an_engine_that_cannot_serve_any_more_is_quoted():
    marker = tempfile.mkdtemp()
    os.rmdir(marker)
    with Fake(fail="the file is gone", fail_if=marker) as d, d.serving() as p:
        os.mkdir(marker)
        try:
            d.kill_engine()
            d.wait_line(r"error: engine \d+ ended with status 1")  # by itself, and that is how it is told
            status = p.status()
            assert status.note == "the last engine said: the file is gone", status
            assert status.state == pb.StatusReply.DEGRADED, status
        finally:
            os.rmdir(marker)
        check(p.ask(prompt("x"), sampling=sampling(1), max_tokens=3), 1, prompt("x"), 3)


def a_broker_that_was_stopped_blames_no_engine():
    with Fake("--engine-timeout-s", "1", delay_ms=2) as d, d.serving() as p:
        stream = p.generate(prompt("x"), sampling=sampling(1), max_tokens=2000)
        p.wait_for(pb.Delta, stream)
        os.kill(d.process.pid, signal.SIGSTOP)
        time.sleep(1.5)  # longer than its patience with an engine that goes on meanwhile
        os.kill(d.process.pid, signal.SIGCONT)
        assert p.wait_for(pb.Usage, stream).msg.replays == 0
        assert p.status().engine_restarts == 0


def an_engine_that_always_dies_is_given_up():
    with Fake(engine="/bin/false") as d, d.peer() as p:
        stream = p.generate(prompt("x"), max_tokens=1)
        try:
            p.collect(stream, timeout=50)
            raise AssertionError("served")
        except Refused as refused:
            assert refused.code == 501 and "11 times" in refused.error.text, refused
        assert p.status().state == pb.StatusReply.FAILED


def loading_is_told_to_those_who_wait():
    with Fake(load_ms=1500) as d, d.peer() as p:
        assert not p.welcome.HasField("model")
        result = p.ask(prompt("x"), sampling=sampling(1), max_tokens=3)
        check(result, 1, prompt("x"), 3)
        told = [a.load_permille for a in result.accepted if a.loading]
        assert told == sorted(told) and len(told) >= 2 and told[0] < told[-1], told
        assert [a.position for a in result.accepted][0] == 1
        with d.peer() as q:
            assert q.welcome.model.name == "Fake"


def an_engine_that_speaks_nonsense_is_replaced():
    with Fake("--engine-timeout-s", "5", nonsense_after=5) as d, d.serving() as p:
        check(p.ask(prompt("x"), sampling=sampling(1), max_tokens=12), 1, prompt("x"), 12)
        d.wait_line("not in engine.proto")


def an_idle_engine_that_dies_is_replaced_in_silence():
    with Fake() as d, d.serving() as p:
        d.kill_engine()
        p.wait_status(lambda s: s.engine_restarts == 1 and s.state == pb.StatusReply.SERVING)
        check(p.ask(prompt("x"), sampling=sampling(1), max_tokens=3), 1, prompt("x"), 3)
        d.wait_line(r"killed by signal 9")


def the_engine_does_not_outlive_its_broker():
    with Fake() as d:
        pid = d.serving().status().engine_pid
        fd = os.pidfd_open(pid)
        d.process.kill()
        assert select.select([fd], [], [], qwp.TIMEOUT_S)[0], "the engine lives on"
        os.close(fd)


def half_a_frame_is_given_30_seconds_and_a_cancelled_prompt_is_not_missed():
    with Fake() as d, d.serving() as p, d.peer() as q:
        cancelled = p.generate(flags=qwp.MORE, request_id=bytes(16), max_tokens=1)
        p.send(pb.Body(data=b"the first half"), cancelled, qwp.MORE)
        assert p.status().queued == 0
        assert q.call(pb.Cancel(request_id=bytes(16)), pb.Cancelled).n_cancelled == 1
        q.sock.sendall(qwp.HEADER.pack(5, q.last_stream + 2, 300, 0))
        error = q.wait_for(pb.Error, 0, timeout=60).msg  # later than p's time
        assert error.code == 103 and "30 s" in error.text, error
        assert p.collect(cancelled).usage.finish == pb.FINISH_CANCEL
        check(p.ask(prompt("x"), sampling=sampling(1), max_tokens=3), 1, prompt("x"), 3)


if __name__ == "__main__":
    sys.exit(qwp.run([
        resumed_names_the_first_new_token, queued_requests_and_text_questions_outlive_the_engine,
        an_engine_that_dies_at_each_token_is_replaced_until_it_is_done,
        a_request_that_brings_no_token_through_three_deaths_gets_501,
        a_stopped_engine_with_work_is_replaced_and_one_without_is_not,
        an_engine_that_stops_with_a_prompt_given_up_is_replaced,
        a_model_that_cannot_be_served_is_said_to_everybody, an_engine_that_always_dies_is_given_up,
        an_engine_that_cannot_serve_any_more_is_quoted, a_broker_that_was_stopped_blames_no_engine,
        loading_is_told_to_those_who_wait, an_engine_that_speaks_nonsense_is_replaced,
        an_idle_engine_that_dies_is_replaced_in_silence, the_engine_does_not_outlive_its_broker,
        half_a_frame_is_given_30_seconds_and_a_cancelled_prompt_is_not_missed,
        no_token_is_lost_or_repeated_in_100_kills]))
