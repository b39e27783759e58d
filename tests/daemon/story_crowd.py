#!/usr/bin/env python3
"""story_crowd.py - fifty clients of two uids at once; each gets the answer that it gets alone.

Half of the clients run as uid 65534 in a forked child, so this needs root; elsewhere it is skipped and says why.
"""
import json
import os
import sys

import qwp
from harness import Qwend, tiny_model
from other_user import OTHER_UID, fork_as
from qwp import pb

CLIENTS = 50
TOKENS = 24


def question(n):
    """Client n's own prompt and sampling: every other one greedy, thinking on for every third."""
    sampling = pb.Sampling(temperature=0.0) if n % 2 else pb.Sampling(temperature=1.0, seed=1000 + n)
    return {"sampling": sampling, "max_tokens": TOKENS, "want_ids": True, "ignore_eos": True,
            "thinking": pb.THINKING_ON if n % 3 == 0 else pb.THINKING_OFF}


def prompt(n):
    return qwp.prompt(f"Client {n} asks: " + "what is the number " * (n % 7) + f"{n}?")


def outcome(result):
    return [list(result.ids), result.reasoning, result.answer, result.usage.prompt_tokens, result.usage.finish]


def ask_at_once(path, numbers):
    """One connection each, all requests under way before the first answer is read."""
    peers = {n: qwp.Peer(path, client=f"client {n}") for n in numbers}
    streams = {n: peer.generate(prompt(n), **question(n)) for n, peer in peers.items()}
    return {n: outcome(peers[n].collect(streams[n])) for n in numbers}


def fifty_clients_of_two_uids_get_what_they_get_alone():
    if os.geteuid() != 0:
        return "needs root, to act as a second uid"
    with Qwend(tiny_model(), "--slots", "4", "--backend", "cpu", "--context", "2048", config=CONFIG) as qwend:
        with qwp.Peer(qwend.socket) as peer:
            alone = {n: outcome(peer.ask(prompt(n), **question(n))) for n in range(CLIENTS)}
        ours, theirs = range(0, CLIENTS, 2), range(1, CLIENTS, 2)
        wait = fork_as(OTHER_UID, lambda: ask_at_once(qwend.socket, theirs))
        together = ask_at_once(qwend.socket, ours) | {int(n): row for n, row in wait().items()}
        for n in range(CLIENTS):
            assert together[n] == alone[n], f"client {n}: {together[n]} among others, {alone[n]} alone"
        assert len({json.dumps(row[0]) for row in alone.values()}) > CLIENTS // 2, "the answers should differ"
    return None


CONFIG = "[daemon]\n"

if __name__ == "__main__":
    sys.exit(qwp.run([fifty_clients_of_two_uids_get_what_they_get_alone]))
