"""story_preempt.py - preemption and forecasts on the real engine and the tiny model."""

import sys

import qwp
from harness import Qwend, tiny_model
from qwp import pb

TOKENS = 2000  # long enough that the other one comes in time on a busy machine
SAMPLINGS = {"greedy": pb.Sampling(temperature=0.0), "seeded": pb.Sampling(temperature=1.0, seed=20240229)}


def ask(peer, sampling, **fields):
    return peer.generate(qwp.prompt("Tell me everything about numbers. " * 8), sampling=sampling, max_tokens=TOKENS,
                         ignore_eos=True, want_ids=True, logprobs=2, priority=pb.PRIORITY_BATCH, **fields)


def outcome(result):
    logprobs = [(t.id, t.logprob, [(a.id, a.logprob) for a in t.top]) for t in result.logprobs]
    return [list(result.ids), logprobs, result.reasoning, result.answer, result.usage.finish,
            result.usage.prompt_tokens, result.usage.reasoning_tokens, result.usage.answer_tokens]


def preempted(qwend, peer, sampling):
    """Stopped by an interactive request once some tokens are there."""
    stream, result = ask(peer, sampling), qwp.Result()
    while len(result.ids) < 5:
        result.add(peer.next_frame(stream))
    with qwp.Peer(qwend.socket) as other:
        quick = other.ask(qwp.prompt("hi"), max_tokens=8, ignore_eos=True, priority=pb.PRIORITY_INTERACTIVE)
        assert quick.usage.answer_tokens + quick.usage.reasoning_tokens == 8, quick.usage
    return peer.collect(stream, result=result)


def a_preempted_answer_is_the_undisturbed_one():
    with Qwend(tiny_model(), "--slots", "1", "--backend", "cpu", "--context", "4096") as qwend:
        with qwp.Peer(qwend.socket, capabilities=["preempt"]) as peer:
            for name, sampling in SAMPLINGS.items():
                alone = peer.collect(ask(peer, sampling))
                result = preempted(qwend, peer, sampling)
                assert len(result.ids) == TOKENS and result.usage.preemptions == 1, (name, result.usage)
                assert [e.kind for e in result.events] == [pb.Event.PREEMPTED, pb.Event.RESUMED], result.events
                assert outcome(result) == outcome(alone), name
            assert peer.status().preemptions == len(SAMPLINGS)


def the_engines_own_measurements_refuse_what_comes_too_late():
    with Qwend(tiny_model(), "--slots", "1", "--backend", "cpu", "--context", "4096") as qwend:
        with qwp.Peer(qwend.socket) as peer:
            peer.ask(qwp.prompt("hi"), max_tokens=4)  # the first step's Beat
            try:
                peer.ask(qwp.prompt("a long story " * 200), max_tokens=4, ttft_deadline_ms=1)
                raise AssertionError("600 words were read in a millisecond")
            except qwp.Refused as refused:
                assert refused.code == 402 and int(refused.details["expected_ms"]) > 1, refused.details
            peer.ask(qwp.prompt("a long story " * 200), max_tokens=4, ttft_deadline_ms=60000)


if __name__ == "__main__":
    sys.exit(qwp.run([a_preempted_answer_is_the_undisturbed_one,
                      the_engines_own_measurements_refuse_what_comes_too_late]))
