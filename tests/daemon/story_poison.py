"""story_poison.py - a request that engines die of is found and ended; the others are paused twice at most."""

import os
import signal
import sys

import fake
import qwend_pb2 as pb
import qwp
from fake import Fake, check, gather, sampling
from qwp import Refused, prompt

POISON = prompt("POISON")


def restarts(result):
    return sum(e.kind == pb.Event.ENGINE_RESTART for e in result.events)


def code_of(call):
    try:
        call()
    except Refused as refused:
        return refused.code, refused
    raise AssertionError("it ended well")


def poisoned(peer, stream):
    code, refused = code_of(lambda: peer.collect(stream))
    assert code == 207 and "signal 6" in refused.error.text, refused
    assert restarts(refused.result) == 1, refused.result.events
    return refused


def penalised(peer, at_most_ms=90000):
    for ask in (lambda: peer.ask(prompt("y"), max_tokens=1), lambda: peer.call(pb.Tokenize(text="y"), pb.Tokens)):
        code, refused = code_of(ask)
        assert code == 305 and at_most_ms - 60000 < refused.error.retry_after_ms <= at_most_ms, refused


def innocents_go_on(slots, n, **behaviour):
    """n streams with tokens before and after the poison's two crashes; what each of them saw."""
    with Fake(slots=slots, delay_ms=2, **behaviour) as d, d.serving() as p:
        bodies = [prompt(f"innocent {i}") for i in range(n)]
        streams = [p.generate(bodies[i], sampling=sampling(i), max_tokens=400) for i in range(n)]
        for stream in streams:
            p.wait_for(pb.Delta, stream, match=lambda m: m.seq == 3)
        results = [qwp.Result() for _ in streams]
        for result in results:
            result.n_deltas = 4             # read above
        poisoned(p, p.generate(POISON, max_tokens=9))
        for i, stream in enumerate(streams):
            result = p.collect(stream, result=results[i])
            assert result.answer == fake.expected(i, bodies[i], 400).split(" ", 4)[4], result.answer[:80]
            assert restarts(result) <= 2, result.events
        penalised(p)
        assert p.status().engine_restarts == 2
        d.wait_line(r"uid \d+: refused for 90 s")


def innocents_are_paused_twice_at_most_by_a_poisoned_step():
    innocents_go_on(8, 5, poison_after=3)


def innocents_are_paused_twice_at_most_by_a_poisoned_prompt():
    innocents_go_on(4, 3, poison_after=0)


def an_old_request_is_found_behind_newer_ones():
    """The newest is tried first: these come through, are held, and are lost again with the culprit."""
    with Fake(slots=4, delay_ms=5, poison_after=40) as d, d.serving() as p:
        old = p.generate(POISON, max_tokens=100)
        p.wait_for(pb.Accepted, old, match=lambda m: m.HasField("prompt_tokens"))
        bodies = [prompt(f"innocent {i}") for i in range(3)]
        streams = [p.generate(bodies[i], sampling=sampling(i), max_tokens=200) for i in range(3)]
        poisoned(p, old)
        for i, stream in enumerate(streams):
            result = p.collect(stream)
            check(result, i, bodies[i], 200)
            assert restarts(result) == 2, result.events
        assert p.status().engine_restarts == 2


def a_poisoned_question_is_found():
    with Fake(slots=2, delay_ms=5) as d, d.serving() as p:
        body = prompt("x")
        stream = p.generate(body, sampling=sampling(1), max_tokens=100)
        p.wait_for(pb.Accepted, stream, match=lambda m: m.HasField("prompt_tokens"))
        code, refused = code_of(lambda: p.call(pb.Tokenize(text="POISON"), pb.Tokens))
        assert code == 207 and "signal 6" in refused.error.text, refused
        result = p.collect(stream)
        check(result, 1, body, 100)
        assert restarts(result) <= 2, result.events
        penalised(p)


def who_leaves_before_the_second_crash_is_judged_by_the_others():
    with Fake(slots=4, delay_ms=2, poison_after=3) as d, d.serving() as p, d.peer() as q:
        body = prompt("x")
        stream = p.generate(body, sampling=sampling(1), max_tokens=400)
        p.wait_for(pb.Delta, stream)
        pid = p.status().engine_pid
        culprit = q.generate(POISON, max_tokens=9)
        q.wait_for(pb.Event, culprit)
        q.close()
        d.wait_line("refused for 90 s: an engine died of what it gave up")
        penalised(p)
        assert p.wait_for(pb.Usage, stream).msg.answer_tokens == 400
        assert p.status().engine_pid != pid


def nobody_is_to_blame_for_a_kill_from_outside():
    with Fake(slots=4, delay_ms=2) as d, d.serving() as p:
        body = prompt("x")
        stream = p.generate(body, sampling=sampling(1), max_tokens=400, credit_bytes=2 << 20)
        p.wait_for(pb.Delta, stream)
        for _ in range(4):
            d.kill_engine(signal.SIGKILL)
            p.wait_for(pb.Event, stream, match=lambda m: m.kind == pb.Event.RESUMED)
        p.wait_for(pb.Usage, stream)
        check(p.ask(body, sampling=sampling(2), max_tokens=3), 2, body, 3)
        assert "tried alone" not in d.log() and "refused for" not in d.log()


def requests_that_come_through_alone_are_not_to_blame():
    """SIGSEGV from outside cannot be told from its own: each is tried, and all go on."""
    with Fake(slots=4, delay_ms=2) as d, d.serving() as p:
        bodies = [prompt(f"{i}") for i in range(3)]

        def one(i):
            with d.peer() as peer:
                result = peer.ask(bodies[i], sampling=sampling(i), max_tokens=300)
                check(result, i, bodies[i], 300)
                assert restarts(result) == 1, result.events

        def crash():
            p.wait_status(lambda s: s.running == 3 and s.output_tokens > 30)
            os.kill(p.status().engine_pid, signal.SIGSEGV)
            d.wait_line("none is to blame")

        gather([lambda i=i: one(i) for i in range(3)] + [crash])
        check(p.ask(bodies[0], sampling=sampling(9), max_tokens=3), 9, bodies[0], 3)


def a_request_that_hangs_engines_is_poison_too():
    with Fake("--engine-timeout-s", "1", deaf=1) as d, d.serving() as p:
        code, refused = code_of(lambda: p.collect(p.generate(prompt("x"), max_tokens=3)))
        assert code == 207 and "no finished step in time" in refused.error.text, refused
        penalised(p)


def a_suspect_that_waits_for_its_reader_keeps_nobody():
    """It is believed once it waits: the others must not depend on its reader."""
    with Fake("--slow-s", "30", slots=4, delay_ms=3, size=1000) as d, d.serving() as p, d.peer() as q:
        body = prompt("x")
        slow = q.generate(prompt("slow"), sampling=sampling(3), max_tokens=200, credit_bytes=50000)
        p.wait_status(lambda s: s.output_tokens >= 20)
        stream = p.generate(body, sampling=sampling(1), max_tokens=1000, credit_bytes=2 << 20)
        p.wait_for(pb.Delta, stream)
        for _ in range(5):                  # the fifth probation is 16 tokens long: its credit ends in one of them
            start = len(d.lines)
            os.kill(p.status().engine_pid, signal.SIGSEGV)
            d.wait_line("none is to blame", start)
        assert p.wait_for(pb.Usage, stream).msg.answer_tokens == 1000
        q.send(pb.Credit(bytes=1 << 20), slow)
        assert q.wait_for(pb.Usage, slow).msg.answer_tokens == 200


if __name__ == "__main__":
    sys.exit(qwp.run([
        innocents_are_paused_twice_at_most_by_a_poisoned_step, innocents_are_paused_twice_at_most_by_a_poisoned_prompt,
        an_old_request_is_found_behind_newer_ones, a_poisoned_question_is_found,
        who_leaves_before_the_second_crash_is_judged_by_the_others, nobody_is_to_blame_for_a_kill_from_outside,
        requests_that_come_through_alone_are_not_to_blame, a_request_that_hangs_engines_is_poison_too,
        a_suspect_that_waits_for_its_reader_keeps_nobody]))
