#!/usr/bin/env python3
"""story_answers.py - what an answer says: channels, stop strings, logprobs, seeds, limits, large prompts, golden ids.

The model is the tiny one with random weights, so the stories steer it where they need a certain token (logit bias) and
compare with what the daemon's own Detokenize, Render and Tokenize say.
"""
import json
import math
import os
import re
import sys

import qwp
from harness import Qwend, golden, tiny_model
from qwp import pb

GREEDY = pb.Sampling(temperature=0.0)
LARGE = 3 << 19     # 1.5 MiB: more than a frame may hold
FIRST_FILLER = 1024  # d2-f32: 1024 tokens, then [PADn]
CANARY = "canary-5d1c0ffee"


def think_close(peer):
    """The id of </think>."""
    ids = peer.call(pb.Tokenize(text="</think>", special=pb.SPECIAL_ALL), pb.Tokens).ids
    assert len(ids) == 1, ids
    return ids[0]


def detokenize(peer, ids):
    """What a stream shows of these ids: Detokenize also spells control tokens, which never are part of an answer."""
    text = peer.call(pb.Detokenize(ids=ids), pb.Text).text.decode()
    return re.sub(r"<\|[a-z_]+\|>", "", text)


def thinking_comes_on_its_own_channel():
    with qwp.Peer(QWEND.socket) as peer:
        close = think_close(peer)
        bias = pb.Sampling(temperature=1.0, top_k=0, top_p=1.0, presence_penalty=0.0, seed=5)
        bias.logit_bias.add(id=close, bias=4.0)     # ends the reasoning after some tokens instead of a thousand
        got = peer.ask(qwp.prompt("Think."), sampling=bias, max_tokens=200, thinking=pb.THINKING_ON, want_ids=True,
                       ignore_eos=True)
        assert close in got.ids, "the reasoning never ended: raise the bias"
        at = list(got.ids).index(close)
        assert at > 0 and got.reasoning.strip() == detokenize(peer, got.ids[:at]).strip()
        assert got.answer.strip("\n") == detokenize(peer, got.ids[at + 1:]).strip("\n")
        assert "</think>" not in got.reasoning and got.answer
        assert got.usage.reasoning_tokens + got.usage.answer_tokens == len(got.ids) == 200, got.usage


def without_thinking_all_is_answer():
    with qwp.Peer(QWEND.socket) as peer:
        got = peer.ask(qwp.prompt("Hello"), sampling=GREEDY, max_tokens=20, thinking=pb.THINKING_OFF, want_ids=True,
                       ignore_eos=True)
        assert got.reasoning == "" and got.usage.reasoning_tokens == 0 and got.usage.answer_tokens == 20
        assert got.answer == detokenize(peer, got.ids).removesuffix("\N{REPLACEMENT CHARACTER}")
        assert got.usage.finish == pb.FINISH_LENGTH


def the_prompt_is_rendered_by_thinking_mode():
    body = qwp.prompt("Hi")
    with qwp.Peer(QWEND.socket) as peer:
        on = peer.call(pb.Render(body=body, thinking=pb.THINKING_ON), pb.Text).text
        off = peer.call(pb.Render(body=body, thinking=pb.THINKING_OFF), pb.Text).text
        assert on == b"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n", on
        assert off == on + b"\n</think>\n\n", off
        ids = peer.call(pb.Tokenize(text=on.decode(), special=pb.SPECIAL_ALL), pb.Tokens).ids
        got = peer.ask(body, sampling=GREEDY, max_tokens=1, thinking=pb.THINKING_ON)
        assert got.usage.prompt_tokens == len(ids)


def a_stop_string_ends_the_answer_before_itself():
    with qwp.Peer(QWEND.socket) as peer:
        def ask(*stop):
            return peer.ask(qwp.prompt("Say something"), sampling=GREEDY, max_tokens=40, thinking=pb.THINKING_OFF,
                            stop=stop, ignore_eos=True)
        whole = ask().answer
        stop = whole[len(whole) // 2:len(whole) // 2 + 3]
        got = ask("never in there", stop)
        assert got.answer == whole[:whole.index(stop)], (got.answer, stop)
        assert got.usage.finish == pb.FINISH_STOP and got.usage.stop == stop


def logprobs_name_the_chosen_token_and_its_rivals():
    with qwp.Peer(QWEND.socket) as peer:
        got = peer.ask(qwp.prompt("Hello"), sampling=pb.Sampling(temperature=0.0, presence_penalty=0.0), max_tokens=12,
                       thinking=pb.THINKING_OFF, logprobs=5, want_ids=True, ignore_eos=True)
        assert [p.id for p in got.logprobs] == list(got.ids) and len(got.ids) == 12
        for p in got.logprobs:
            values = [t.logprob for t in p.top]
            assert len(values) == 5 and values == sorted(values, reverse=True) and values[0] <= 0
            assert sum(map(math.exp, values)) <= 1 + 1e-5
            assert p.top[0].id == p.id and p.top[0].logprob == p.logprob    # greedy, no penalty
            assert p.text == p.top[0].text


def a_seed_gives_the_same_answer_again():
    with qwp.Peer(QWEND.socket) as peer:
        def ask(**seed):
            return peer.ask(qwp.prompt("Roll a die"), sampling=pb.Sampling(temperature=1.0, **seed), max_tokens=30,
                            want_ids=True, ignore_eos=True)
        first, again, other = ask(seed=7), ask(seed=7), ask(seed=8)
        assert list(first.ids) == list(again.ids) != list(other.ids)
        drawn = ask()
        assert list(ask(seed=drawn.usage.seed).ids) == list(drawn.ids), "Usage names the seed that was drawn"


def a_prompt_over_the_context_is_refused_with_the_numbers():
    with qwp.Peer(QWEND.socket) as peer:
        context = peer.status().context
        body = qwp.prompt("one two three " * context)
        try:
            peer.ask(body, max_tokens=8)
            raise AssertionError("it was not refused")
        except qwp.Refused as refused:
            assert refused.code == 202, refused
            assert refused.details["context"] == str(context), refused.details
            assert int(refused.details["prompt_tokens"]) > context
        got = peer.ask(qwp.prompt("still there?"), max_tokens=2, ignore_eos=True)
        assert got.usage.answer_tokens + got.usage.reasoning_tokens == 2


def large_conversation():
    """1.5 MiB of which the template drops nearly all: reasoning of an earlier turn.  Its answer is that of the rest."""
    def body(reasoning):
        p = pb.Prompt()
        p.messages.add(role="user", content="first")
        p.messages.add(role="assistant", content="one", reasoning=reasoning)
        p.messages.add(role="user", content="second")
        return p.SerializeToString()
    return body("so it is " * (LARGE // 9 + 1)), body("")


def a_large_prompt_comes_by_memfd_or_in_more_frames():
    large, small = large_conversation()
    assert len(large) > LARGE
    fields = {"sampling": GREEDY, "max_tokens": 16, "want_ids": True, "ignore_eos": True}
    with qwp.Peer(QWEND.socket) as peer:
        want = peer.ask(small, **fields)
        fd = qwp.sealed_memfd(large)
        by_fd = peer.collect(peer.generate(flags=qwp.HAS_FD, fds=[fd], **fields))
        os.close(fd)
        stream = peer.generate(flags=qwp.MORE, **fields)
        parts = [large[i:i + 500_000] for i in range(0, len(large), 500_000)]
        for i, part in enumerate(parts):
            peer.send(pb.Body(data=part), stream, qwp.MORE if i + 1 < len(parts) else 0)
        by_frames = peer.collect(stream)
        for got in (by_fd, by_frames):
            assert list(got.ids) == list(want.ids) and got.usage.prompt_tokens == want.usage.prompt_tokens


def an_unsealed_memfd_is_refused():
    with qwp.Peer(QWEND.socket) as peer:
        fd = qwp.sealed_memfd(qwp.prompt("Hi"), seals=0)
        try:
            peer.collect(peer.generate(flags=qwp.HAS_FD, fds=[fd], max_tokens=1))
            raise AssertionError("it was not refused")
        except qwp.Refused as refused:
            assert refused.code == 201 and "seal" in refused.error.text, refused
        finally:
            os.close(fd)


def bad_requests_are_refused_by_code():
    bad_role, no_query = pb.Prompt(), pb.Prompt()
    bad_role.messages.add(role="wizard", content="x")
    no_query.messages.add(role="system", content="x")
    both = pb.Prompt(raw="x")
    both.messages.add(role="user", content="x")
    n_vocab = None
    with qwp.Peer(QWEND.socket) as peer:
        n_vocab = peer.status().model.n_vocab
        for body, codes in ((bad_role, (201, 204)), (no_query, (204,)), (both, (201,)), (pb.Prompt(), (201,)),
                            (pb.Prompt(ids=pb.TokenIds(id=[n_vocab])), (201,))):
            try:
                peer.ask(body.SerializeToString(), max_tokens=1)
                raise AssertionError(f"not refused: {body}")
            except qwp.Refused as refused:
                assert refused.code in codes and refused.error.text, (refused, body)


def golden_continuations_come_through_the_socket():
    """The float file: greedy ids are the reference's up to the first near-tie, or to a filler token, which the reference
    may choose and the daemon never does."""
    folder = golden("models/d2-f32")
    with open(os.path.join(folder, "d2-f32-F32.json"), encoding="utf-8") as f:
        meta = json.load(f)
    plain = pb.Sampling(temperature=0.0, presence_penalty=0.0)
    with Qwend(os.path.join(folder, meta["gguf"]), "--context", "1024", "--kv", "f32") as qwend, qwp.Peer(qwend.socket) as peer:
        for case in meta["prompts"]:
            pairs = enumerate(zip(case["greedy"], case["greedy_margin"]))
            n = next((i for i, (token, margin) in pairs if margin < 1e-3 or token >= FIRST_FILLER), len(case["greedy"]))
            got = peer.ask(pb.Prompt(ids=pb.TokenIds(id=case["ids"])).SerializeToString(), sampling=plain,
                           max_tokens=len(case["greedy"]), want_ids=True, ignore_eos=True)
            assert list(got.ids)[:n] == case["greedy"][:n], (case["n"], n, list(got.ids))
            assert got.usage.prompt_tokens == case["n"]


def no_word_of_a_prompt_is_in_the_log():
    with qwp.Peer(QWEND.socket) as peer:
        peer.ask(qwp.prompt(f"{CANARY} hello"), max_tokens=4)
        peer.ask(pb.Prompt(raw=f"{CANARY}").SerializeToString(), max_tokens=4, stop=[CANARY])
        for body in (qwp.prompt(f"{CANARY} " * 5000), b"\x0a\xff" + CANARY.encode()):
            try:
                peer.ask(body, max_tokens=4)
                raise AssertionError("it was not refused")
            except qwp.Refused as refused:
                assert CANARY not in refused.error.text, refused
        peer.call(pb.Tokenize(text=CANARY), pb.Tokens)
    assert QWEND.terminate() == 0
    QWEND.reader.join()
    assert QWEND.log() and CANARY not in QWEND.log(), QWEND.log()


STORIES = [
    thinking_comes_on_its_own_channel, without_thinking_all_is_answer, the_prompt_is_rendered_by_thinking_mode,
    a_stop_string_ends_the_answer_before_itself, logprobs_name_the_chosen_token_and_its_rivals,
    a_seed_gives_the_same_answer_again, a_prompt_over_the_context_is_refused_with_the_numbers,
    a_large_prompt_comes_by_memfd_or_in_more_frames, an_unsealed_memfd_is_refused, bad_requests_are_refused_by_code,
    golden_continuations_come_through_the_socket, no_word_of_a_prompt_is_in_the_log,     # the last one ends the daemon
]

if __name__ == "__main__":
    with Qwend(tiny_model(), "--context", "2048", "--verbose") as QWEND:
        sys.exit(qwp.run(STORIES))
