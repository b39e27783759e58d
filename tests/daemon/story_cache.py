#!/usr/bin/env python3
"""story_cache.py - the prefix cache through the broker: a second turn, another uid, no_cache, an engine's death, its size.

One story acts as uid 65534 in a forked child, so it needs root; elsewhere it is skipped and says why.
"""
import json
import os
import sys

import qwp
from harness import Qwend, tiny_model
from other_user import OTHER_UID, fork_as
from qwp import pb

GREEDY = pb.Sampling(temperature=0.0)
RULES = "You answer questions about one machine, in one sentence, with the numbers that matter and nothing else. " * 4
FIRST = [("system", RULES), ("user", "Which of the processes of this machine takes most of its memory, and how much?")]
SECOND = FIRST + [("assistant", "Process 4711 takes 812 MiB."), ("user", "And which one takes most after that one?")]


def chat(turns):
    prompt = pb.Prompt()
    for role, content in turns:
        prompt.messages.add(role=role, content=content)
    return prompt.SerializeToString()


def ask(peer, turns, **fields):
    fields = {"sampling": GREEDY, "max_tokens": 12, "want_ids": True, "ignore_eos": True, **fields}
    return peer.ask(chat(turns), **fields)


def outcome(result):
    return [list(result.ids), result.reasoning, result.answer, result.usage.prompt_tokens]


def start(*options):
    return Qwend(tiny_model(), "--backend", "cpu", "--context", "2048", "--slots", "2", *options)


def the_second_turn_reads_what_is_new_and_says_the_same():
    with start("--cache-mib", "64") as qwend, qwp.Peer(qwend.socket) as peer:
        want = outcome(ask(peer, SECOND, no_cache=True))
        assert peer.status().cache_used_bytes == 0
        first = ask(peer, FIRST).usage
        second = ask(peer, SECOND)
        assert first.cached_tokens == 0
        assert 0 <= first.prompt_tokens - second.usage.cached_tokens <= 8, (first, second.usage)
        assert outcome(second) == want
        off = ask(peer, SECOND, no_cache=True)
        assert off.usage.cached_tokens == 0 and outcome(off) == want


def no_account_of_a_gateway_gets_what_another_left():
    config = "[class gateway]\nmatch = any\naccounts = yes\n"
    options = ("--backend", "cpu", "--context", "2048", "--slots", "2", "--cache-mib", "64")
    with Qwend(tiny_model(), *options, config=config) as qwend, qwp.Peer(qwend.socket) as peer:
        cached = [ask(peer, FIRST, **fields).usage.cached_tokens
                  for fields in ({"account": "a"}, {"account": "b"}, {}, {"account": "a"}, {"account": "b"}, {})]
        assert cached[:3] == [0, 0, 0] and min(cached[3:]) > 0, cached


def no_uid_gets_what_another_left():
    if os.geteuid() != 0:
        return "needs root, to act as a second uid"
    with start("--cache-mib", "64") as qwend:
        with qwp.Peer(qwend.socket) as peer:
            ask(peer, FIRST)
            mine = ask(peer, FIRST)
            assert mine.usage.cached_tokens > 100

        def as_other():
            with qwp.Peer(qwend.socket) as other:
                return [[again.usage.cached_tokens, outcome(again)] for again in (ask(other, FIRST), ask(other, FIRST))]

        theirs = fork_as(OTHER_UID, as_other)()
        assert theirs[0] == [0, outcome(mine)], theirs[0]
        assert theirs[1] == [mine.usage.cached_tokens, outcome(mine)], theirs[1]
    return None


def the_next_engine_begins_with_an_empty_cache():
    with start("--cache-mib", "64") as qwend, qwp.Peer(qwend.socket) as peer:
        want = outcome(ask(peer, FIRST))
        assert ask(peer, FIRST).usage.cached_tokens > 100
        os.kill(qwend.engine_pid(), 9)
        again = ask(peer, FIRST)
        assert outcome(again) == want and again.usage.cached_tokens == 0, again.usage
        assert ask(peer, FIRST).usage.cached_tokens > 100


def status_tells_its_size_and_what_it_saved():
    with start("--cache-mib", "64") as qwend, qwp.Peer(qwend.socket) as peer:
        ask(peer, FIRST)
        cached = ask(peer, FIRST).usage.cached_tokens
        status = peer.wait_status(lambda s: s.cache_used_bytes > 0)
        assert 60 << 20 < status.cache_bytes <= 64 << 20, status
        assert status.cache_used_bytes <= status.cache_bytes
        assert status.cache_pages > 100 and status.cache_checkpoints > 10
        assert status.cached_tokens == cached > 0
        shown = json.loads(qwend.ctl("status", "--json").stdout)
        assert shown["cache_bytes"] == status.cache_bytes and shown["cached_tokens"] == cached
        text = qwend.ctl("status").stdout
        assert f"room for {64 * status.cache_pages} tokens and {status.cache_checkpoints} checkpoints" in text, text


def a_size_of_zero_turns_it_off():
    with start("--cache-mib", "0") as qwend, qwp.Peer(qwend.socket) as peer:
        ask(peer, FIRST)
        assert ask(peer, FIRST).usage.cached_tokens == 0
        status = peer.status()
        assert status.HasField("cache_bytes") and status.cache_bytes == 0 and status.cache_checkpoints == 0
        assert "cache " not in qwend.ctl("status").stdout.replace("KV cache", "")


if __name__ == "__main__":
    sys.exit(qwp.run([
        the_second_turn_reads_what_is_new_and_says_the_same,
        no_account_of_a_gateway_gets_what_another_left, no_uid_gets_what_another_left,
        the_next_engine_begins_with_an_empty_cache,
        status_tells_its_size_and_what_it_saved,
        a_size_of_zero_turns_it_off,
    ]))
