#!/usr/bin/env python3
"""story_life.py - requests that end early, and the daemon's own end.

One slot and a long prompt that keeps the engine busy: whoever comes next is only served in time if the first one really
gave the engine back.
"""
import os
import sys
import time

import qwp
from harness import Qwend, status_field, tiny_model
from qwp import pb

WORDS = 2400        # a prompt of some 7,000 tokens: dozens of steps
TRIES = 5           # a busy machine may hold up the test itself while the engine reads on
SHORT = {"max_tokens": 2, "thinking": pb.THINKING_OFF, "ignore_eos": True}


def long_prompt():
    return qwp.prompt("the quick brown fox jumps over the lazy dog " * (WORDS // 9))


def start_long(peer):
    """A long request that is being read (prefill) when this returns."""
    stream = peer.generate(long_prompt(), max_tokens=4, ignore_eos=True, no_cache=True)
    peer.wait_for(pb.Accepted, stream, match=lambda m: m.position == 0 and m.prompt_tokens > 0)
    return stream


def cpu_seconds(pid):
    """What all threads of a process have used: unlike the time of day the same on a busy machine."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        user, system = f.read().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def engine_seconds(qwend, act):
    """CPU time of the engine for act()."""
    before = cpu_seconds(qwend.engine_pid())
    act()
    return cpu_seconds(qwend.engine_pid()) - before


def answer_short(peer):
    assert peer.ask(qwp.prompt("Hi"), **SHORT).usage.answer_tokens == 2


def check_engine_is_freed(qwend, peer, begin_and_leave):
    """A long prompt that is given up, and a short answer after it, cost less than half of reading the long one."""
    whole = engine_seconds(qwend, lambda: peer.ask(long_prompt(), max_tokens=1, ignore_eos=True, no_cache=True))

    def both():
        begin_and_leave()
        answer_short(peer)

    spent = []
    while len(spent) < TRIES and (not spent or spent[-1] > whole / 2):
        spent.append(engine_seconds(qwend, both))
    assert spent[-1] < whole / 2, f"the engine worked {spent} s; reading the whole prompt takes {whole} s"


def one_slot():
    return Qwend(tiny_model(), "--slots", "1", "--backend", "cpu", "--context", "8192")


def cancel_in_prefill_frees_the_engine():
    with one_slot() as qwend, qwp.Peer(qwend.socket) as peer, qwp.Peer(qwend.socket) as other:
        def begin_and_cancel():
            stream = start_long(peer)
            peer.send(pb.Cancel(), stream)
            usage = peer.collect(stream).usage
            assert usage.finish == pb.FINISH_CANCEL and usage.answer_tokens == 0, usage

        check_engine_is_freed(qwend, other, begin_and_cancel)


def disconnect_frees_the_engine():
    with one_slot() as qwend, qwp.Peer(qwend.socket) as other:
        def begin_and_leave():
            with qwp.Peer(qwend.socket) as peer:
                start_long(peer)

        check_engine_is_freed(qwend, other, begin_and_leave)


def the_queue_says_who_is_next():
    with one_slot() as qwend, qwp.Peer(qwend.socket) as peer:
        first = start_long(peer)
        second, third = (peer.generate(qwp.prompt("Hi"), **SHORT) for _ in range(2))
        assert peer.expect(pb.Accepted, second).msg.position == 1
        assert peer.expect(pb.Accepted, third).msg.position == 2
        peer.send(pb.Cancel(), first)
        got = [peer.collect(s) for s in (first, second, third)]
        assert [r.usage.finish for r in got] == [pb.FINISH_CANCEL, pb.FINISH_LENGTH, pb.FINISH_LENGTH]
        assert got[1].accepted[-1].position == 0 and got[2].accepted[-1].position == 0


def sigterm_finishes_what_runs_and_refuses_what_comes():
    """What runs waits for credit until the other one was refused, however slow this test is."""
    n = 200
    with Qwend(tiny_model(), "--context", "2048") as qwend, qwp.Peer(qwend.socket) as peer:
        stream = peer.generate(qwp.prompt("Go on"), max_tokens=n, want_ids=True, ignore_eos=True, credit_bytes=4)
        peer.wait_for(pb.Accepted, stream, match=lambda m: m.position == 0 and m.prompt_tokens > 0)
        qwend.process.terminate()
        qwend.wait_line(r"stopping: 1 request")
        try:
            peer.ask(qwp.prompt("me too"), max_tokens=1)
            raise AssertionError("a draining daemon took a request")
        except qwp.Refused as refused:
            assert refused.code == 403, refused
        peer.send(pb.Credit(bytes=1 << 20), stream)
        got = peer.collect(stream)
        assert got.usage.finish == pb.FINISH_LENGTH, got.usage
        assert qwend.process.wait(30) == 0


def an_idle_daemon_does_not_wake():
    """No timer, no polling: over two seconds neither process is scheduled, once it has gone to sleep."""
    with Qwend(tiny_model(), "--context", "1024", "--backend", "cpu") as qwend, qwp.Peer(qwend.socket) as peer:
        peer.ask(qwp.prompt("Hi"), **SHORT)
        pids = [qwend.process.pid, qwend.engine_pid()]
        ends = time.monotonic() + qwp.TIMEOUT_S
        while switches(pids, 2.0) and time.monotonic() < ends:
            pass
        assert switches(pids, 2.0) == 0, "context switches of an idle daemon"


def switches(pids, seconds):
    """Voluntary context switches of the processes in that time, in which the peer stays silent."""
    before = [status_field(pid, "voluntary_ctxt_switches") for pid in pids]
    time.sleep(seconds)     # the thing measured is a span of time
    return sum(status_field(pid, "voluntary_ctxt_switches") for pid in pids) - sum(before)


if __name__ == "__main__":
    sys.exit(qwp.run([cancel_in_prefill_frees_the_engine, disconnect_frees_the_engine, the_queue_says_who_is_next,
                      sigterm_finishes_what_runs_and_refuses_what_comes, an_idle_daemon_does_not_wake]))
