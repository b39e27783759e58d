"""story_emu.py - the whole daemon on the CUDA backend, which the emulation runs: tests/emu, docs/CUDA.md.

A token takes some 25 ms there, so prompts and answers are short.
"""
import os
import signal
import subprocess
import sys
import tempfile

import qwp
from harness import Qwend, golden, tiny_model
from qwp import pb

BUILD = os.environ["QWEND_BUILD"]
ENGINE = os.path.join(BUILD, "tests/emu/qwend-engine-emu")
GREEDY = {"sampling": pb.Sampling(temperature=0), "thinking": pb.THINKING_OFF, "ignore_eos": True, "want_ids": True}
PROMPTS = ["Hi", "Count the stars"]
N = 12


def daemon(*options, model=None):
    return Qwend(model or tiny_model(), "--engine", ENGINE, "--context", "256", "--slots", "2", "--cache-mib", "0", *options)


def ask(peer, i, n=N):
    return peer.generate(qwp.prompt(PROMPTS[i]), max_tokens=n, **GREEDY)


def ids(result):
    return list(result.ids)


def serving(peer):
    return peer.wait_status(lambda s: s.state == pb.StatusReply.SERVING)


def begun(peer, stream):
    """The first Delta, and what follows will be added to it."""
    result = qwp.Result()
    result.add(peer.wait_for(pb.Delta, stream))
    return result


ALONE = []


def alone(peer):
    """What each prompt is answered with when nothing else runs, in any engine."""
    if not ALONE:
        ALONE.extend(ids(peer.collect(ask(peer, i))) for i in range(2))
    return ALONE


def two_clients_get_beside_each_other_what_each_gets_alone():
    with daemon() as d, qwp.Peer(d.socket) as one, qwp.Peer(d.socket) as two:
        status = serving(one)
        assert (status.backend, status.note) == ("emu", ""), status
        want = alone(one)
        assert [len(w) for w in want] == [N, N] and want[0] != want[1]
        streams = [(one, ask(one, 0)), (two, ask(two, 1))]
        got = [peer.collect(stream) for peer, stream in streams]
        assert [ids(g) for g in got] == want
        assert [g.usage.backend for g in got] == ["emu", "emu"]


def a_cancelled_stream_ends_and_the_other_goes_on():
    with daemon() as d, qwp.Peer(d.socket) as one, qwp.Peer(d.socket) as two:
        want = alone(one)
        cancelled, other = ask(one, 0, 200), ask(two, 1)
        result = begun(one, cancelled)
        one.send(pb.Cancel(), cancelled)
        assert one.collect(cancelled, result=result).usage.finish == pb.FINISH_CANCEL
        assert ids(two.collect(other)) == want[1]


def a_killed_engine_is_followed_by_one_that_goes_on_with_its_weights():
    with daemon() as d, qwp.Peer(d.socket) as one, qwp.Peer(d.socket) as two:
        want = alone(one)
        streams = [(one, ask(one, 0)), (two, ask(two, 1))]
        results = [begun(peer, stream) for peer, stream in streams]
        os.kill(d.engine_pid(), signal.SIGKILL)
        d.wait_line(r"serves .* on emu.*weights taken over")
        assert [ids(peer.collect(stream, result=r)) for (peer, stream), r in zip(streams, results)] == want
        status = one.status()
        assert status.weights_adopted and status.engine_restarts == 1, status


def a_broken_gpu_ends_its_engine_and_no_stream():
    """Errors of a GPU are sticky.  Here each engine's breaks after its self-test and some tokens."""
    with daemon() as d, qwp.Peer(d.socket) as one:
        want = alone(one)
    os.environ["EMU_BREAK"] = "400"
    try:
        with daemon() as d, qwp.Peer(d.socket) as one:
            result = one.ask(qwp.prompt(PROMPTS[0]), max_tokens=N, **GREEDY)
            assert ids(result) == want[0], result.ids
            assert serving(one).engine_restarts > 0
            d.wait_line(r"engine: ended, CUDA: an illegal memory access was encountered")
    finally:
        del os.environ["EMU_BREAK"]


def weights_that_the_device_cannot_hold_go_to_the_cpu():
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, "large.gguf")
        subprocess.run([os.path.join(BUILD, "tests/bench/random_gguf"), "--vocab-file", golden("tokenizer/vocab-tiny.gguf"),
                        "--sparse", "1", "--type", "Q8_0", "--layers", "4", "--dim", "2048", "--ff", "8192", "--vocab", "1024", model],
                       check=True)
        os.environ["EMU_MIB"] = "260"
        try:
            with daemon(model=model) as d, qwp.Peer(d.socket) as peer:
                status = serving(peer)
                assert status.backend == "cpu", status
                assert status.note.startswith("backend auto: no memory for "), status.note
                assert status.note.endswith("; the CPU serves"), status.note
        finally:
            del os.environ["EMU_MIB"]


sys.exit(qwp.run([
    two_clients_get_beside_each_other_what_each_gets_alone, a_cancelled_stream_ends_and_the_other_goes_on,
    a_killed_engine_is_followed_by_one_that_goes_on_with_its_weights, a_broken_gpu_ends_its_engine_and_no_stream,
    weights_that_the_device_cannot_hold_go_to_the_cpu,
]))
