#!/usr/bin/env python3
"""story_score.py - log-probabilities of given continuations: the broker's part on the fake engine, the rest on the tiny model."""

import json
import math
import os
import signal
import struct
import subprocess
import sys

import qwp
from fake import Fake
from harness import Qwend, tiny_model
from qwp import HAS_FD, MORE, pb

DEFAULT = 32        # tokens that the fake engine makes where no number is given, here: of every continuation
GIVEN = list(range(30, 90))


def scored(body, **fields):
    return pb.Score(body=body, **fields)


def with_ids(ids, text="Say something."):
    return qwp.prompt(text, continuation_ids=pb.TokenIds(id=ids))


# the broker

def a_score_is_one_question_and_one_answer():
    with Fake(slots=1) as d, d.serving() as p:
        stream = p.open(scored(b"x"))
        frame = p.next_frame(stream)
        assert frame.type is pb.ScoreReply and frame.flags & qwp.END_STREAM, frame
        assert len(frame.msg.ids) == len(frame.msg.logprobs) == DEFAULT and frame.msg.prompt_tokens == 1
        assert frame.msg.sum == -0.5 * DEFAULT
        status = p.status()
        assert (status.requests, status.output_tokens, status.running) == (1, DEFAULT, 0), status


def the_prompt_of_a_score_comes_in_three_ways():
    body = b"a prompt"
    with Fake() as d, d.serving() as p:
        stream = p.open(pb.Score(), MORE)
        p.send(pb.Body(data=body[:3]), stream, MORE)
        p.send(pb.Body(data=body[3:]), stream)
        assert p.expect(pb.ScoreReply, stream).msg.prompt_tokens == len(body)
        memfd = qwp.sealed_memfd(body)
        assert p.expect(pb.ScoreReply, p.open(pb.Score(), HAS_FD, [memfd])).msg.prompt_tokens == len(body)
        os.close(memfd)
        qwp.refused(lambda: p.call(pb.Score(), pb.ScoreReply), 201)
        qwp.refused(lambda: p.call(scored(b"x", request_id=b"short"), pb.ScoreReply), 201)


def a_score_waits_is_listed_and_can_be_cancelled():
    with Fake(slots=1, delay_ms=5) as d, d.serving() as p, d.peer() as q:
        running = p.generate(b"x", max_tokens=1000)
        p.wait_for(pb.Delta, running)
        one, two = p.open(scored(b"x")), p.open(scored(b"x", priority=pb.PRIORITY_BATCH))
        q.wait_status(lambda s: s.queued == 2)
        listed = q.call(pb.ListRequests(), pb.Requests).requests
        assert [r.position for r in listed] == [0, 1, 2], listed
        p.send(pb.Cancel(), one)
        assert p.expect(pb.Error, one).msg.code == 603
        assert q.call(pb.Cancel(request_id=listed[2].request_id), pb.Cancelled).n_cancelled == 1
        assert p.expect(pb.Error, two).msg.code == 603
        assert q.call(pb.Cancel(mine=True), pb.Cancelled).n_cancelled == 1


def a_score_is_held_to_its_class():
    config = "[class all]\nmatch = any\nmax_queued = 1\ntokens_per_min = 60\npriority = batch\n"
    with Fake(config=config, slots=1, delay_ms=5) as d, d.serving() as p:
        qwp.refused(lambda: p.call(scored(b"x", priority=pb.PRIORITY_NORMAL), pb.ScoreReply), 301)
        qwp.refused(lambda: p.call(scored(b"x", account="a"), pb.ScoreReply), 301)
        running = p.generate(b"x", max_tokens=1000)
        p.wait_for(pb.Delta, running)
        waiting = p.open(scored(b"x"))
        assert "1 requests of yours wait" in qwp.refused(lambda: p.call(scored(b"x"), pb.ScoreReply), 401)
        p.send(pb.Cancel(), running)
        assert len(p.expect(pb.ScoreReply, waiting).msg.ids) == DEFAULT
        p.call(scored(b"x" * 60), pb.ScoreReply)
        qwp.refused(lambda: p.call(scored(b"x"), pb.ScoreReply), 303)


def an_engine_that_dies_in_the_middle_costs_no_score():
    with Fake("--slots", "2", slots=2, die_after=17) as d, d.serving() as p:
        reply = p.call(scored(b"some prompt"), pb.ScoreReply)
        assert len(reply.ids) == len(reply.logprobs) == DEFAULT and reply.sum == -0.5 * DEFAULT
        assert d.log().count("engine") > 0 and p.status().engine_restarts >= 1


# the engine

def probe_logprobs(ids, n_prompt):
    """What qwend-probe's logits make of ids[n_prompt:]: log softmax in float64."""
    probe = os.path.join(os.environ["QWEND_BUILD"], "daemon/probe/qwend-probe")
    job = {"ids": ids, "positions": list(range(n_prompt - 1, len(ids) - 1))}
    rows = subprocess.run([probe, "logits", tiny_model(), "--backend", "cpu", "--kv", "f16"], input=json.dumps(job).encode() + b"\n",
                          capture_output=True, check=True, timeout=60).stdout
    n_vocab = len(rows) // 4 // (len(ids) - n_prompt)
    got = []
    for i, token in enumerate(ids[n_prompt:]):
        row = struct.unpack_from(f"<{n_vocab}f", rows, 4 * n_vocab * i)
        top = max(row)
        got.append(row[token] - top - math.log(sum(math.exp(x - top) for x in row)))
    return got


def a_score_is_what_the_probe_says():
    ids = [5 + 11 * i % 900 for i in range(50)]
    with qwp.Peer(QWEND.socket) as p:
        reply = p.call(scored(qwp.prompt(ids=pb.TokenIds(id=ids), continuation_ids=pb.TokenIds(id=GIVEN))), pb.ScoreReply)
    assert list(reply.ids) == GIVEN and reply.prompt_tokens == 50
    wanted = probe_logprobs(ids + GIVEN, 50)
    worst = max(abs(a - b) for a, b in zip(reply.logprobs, wanted, strict=True))
    assert worst < 1e-5, (worst, list(reply.logprobs), wanted)     # float32 on the wire, values around 10
    assert abs(reply.sum - math.fsum(reply.logprobs)) < 1e-9


def a_score_is_what_the_answer_was_written_with():
    greedy = pb.Sampling(temperature=0.0, presence_penalty=0.0)
    with qwp.Peer(QWEND.socket) as p:
        got = p.ask(qwp.prompt("Tell me"), sampling=greedy, max_tokens=40, thinking=pb.THINKING_OFF, logprobs=0,
                    want_ids=True, ignore_eos=True)
        reply = p.call(scored(with_ids(got.ids, "Tell me"), thinking=pb.THINKING_OFF), pb.ScoreReply)
        assert list(reply.ids) == got.ids
        assert list(reply.logprobs) == [x.logprob for x in got.logprobs]


def text_is_scored_by_its_tokens():
    with qwp.Peer(QWEND.socket) as p:
        ids = p.call(pb.Tokenize(text="the answer <|im_end|>"), pb.Tokens).ids
        body = qwp.prompt("A or B?", continuation="the answer <|im_end|>")
        by_text = p.call(scored(body, thinking=pb.THINKING_OFF), pb.ScoreReply)
        by_ids = p.call(scored(with_ids(ids, "A or B?"), thinking=pb.THINKING_OFF), pb.ScoreReply)
        assert list(by_text.ids) == list(ids) and list(by_text.logprobs) == list(by_ids.logprobs)
        thinking = p.call(scored(body), pb.ScoreReply)
        assert list(thinking.logprobs) != list(by_text.logprobs)


def what_cannot_be_scored_is_refused_with_the_numbers():
    with qwp.Peer(QWEND.socket) as p:
        assert "needs a continuation" in qwp.refused(lambda: p.call(scored(qwp.prompt("x")), pb.ScoreReply), 201)
        assert "only the prompt of a Score" in qwp.refused(lambda: p.ask(with_ids([1, 2]), max_tokens=1), 201)
        assert "continuation_ids[1] is 5000" in qwp.refused(lambda: p.call(scored(with_ids([1, 5000])), pb.ScoreReply), 201)
        qwp.refused(lambda: p.call(scored(with_ids([1] * 4000)), pb.ScoreReply), 202)


def a_killed_engine_changes_no_score():
    long = [7 + 13 * i % 800 for i in range(1500)]
    with qwp.Peer(QWEND.socket) as p, qwp.Peer(QWEND.socket) as q:
        wanted = list(p.call(scored(with_ids(long)), pb.ScoreReply).logprobs)
        restarts = q.status().engine_restarts
        stream = p.open(scored(with_ids(long)))
        written = q.status().output_tokens
        q.wait_status(lambda s: s.output_tokens > written)
        os.kill(QWEND.engine_pid(), signal.SIGKILL)
        assert list(p.expect(pb.ScoreReply, stream).msg.logprobs) == wanted
        assert q.status().engine_restarts == restarts + 1


if __name__ == "__main__":
    with Qwend(tiny_model(), "--backend", "cpu", "--context", "2048") as QWEND:
        sys.exit(qwp.run([
            a_score_is_one_question_and_one_answer, the_prompt_of_a_score_comes_in_three_ways,
            a_score_waits_is_listed_and_can_be_cancelled, a_score_is_held_to_its_class,
            an_engine_that_dies_in_the_middle_costs_no_score, a_score_is_what_the_probe_says,
            a_score_is_what_the_answer_was_written_with, text_is_scored_by_its_tokens,
            what_cannot_be_scored_is_refused_with_the_numbers, a_killed_engine_changes_no_score]))
