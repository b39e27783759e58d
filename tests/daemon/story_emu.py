"""story_emu.py - the whole daemon on the CUDA backend, which the emulation runs: tests/emu, docs/CUDA.md.

A token takes some 25 ms there, so prompts and answers are short.
"""
import contextlib
import os
import re
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


@contextlib.contextmanager
def machine(folder, *options, **environment):
    """A model of random weights, and what EMU_* say of the device."""
    model = os.path.join(folder, "model.gguf")
    subprocess.run([os.path.join(BUILD, "tests/bench/random_gguf"), "--vocab-file", golden("tokenizer/vocab-tiny.gguf"),
                    "--type", "Q8_0", *options, model], check=True)
    os.environ.update(environment)
    try:
        yield model
    finally:
        for name in environment:
            del os.environ[name]


def weights_that_the_device_cannot_hold_go_to_the_cpu():
    with tempfile.TemporaryDirectory() as folder, \
            machine(folder, "--sparse", "1", "--layers", "4", "--dim", "2048", "--ff", "8192", "--vocab", "1024", EMU_MIB="260") as model, \
            daemon(model=model) as d, qwp.Peer(d.socket) as peer:
        status = serving(peer)
        assert status.backend == "cpu" and not status.weights_host_bytes, status
        assert re.fullmatch(r"backend auto: no memory for \d+ MiB of weights: Cannot allocate memory \(weights take \d+ MiB, or \d+ with "
                            r"the table of embeddings in main memory, what was asked for \d+ more; 0 are free\); the CPU serves",
                            status.note), status.note


# 9.5 MiB of weights, of which the table is 4.25; a card of 272 MiB has 9.2 for them and 3 MiB of sequences
WIDE = ("--layers", "2", "--interval", "2", "--dim", "256", "--ff", "256", "--heads", "4", "--kv-heads", "2", "--head-dim", "64",
        "--rot", "16", "--delta-k", "2", "--delta-v", "4", "--delta-dim", "64", "--vocab", "16384")
TABLE = 16384 * 256 // 32 * 34


def a_table_that_leaves_no_room_lies_in_main_memory_and_is_handed_on():
    with tempfile.TemporaryDirectory() as folder, machine(folder, *WIDE) as model:
        with daemon(model=model) as d, qwp.Peer(d.socket) as peer:
            status = serving(peer)
            assert (status.backend, status.weights_host_bytes) == ("emu", 0), status
            all_bytes, want = status.weights_bytes, ids(peer.collect(ask(peer, 0, 3)))
        with machine(folder, *WIDE, EMU_MIB="272") as model, daemon(model=model) as d, qwp.Peer(d.socket) as peer:
            before = serving(peer)
            assert (before.backend, before.weights_host_bytes, before.note) == ("emu", TABLE, ""), before
            assert before.weights_locked and all_bytes - (64 << 10) < before.weights_bytes <= all_bytes + (64 << 10), before
            assert "in main memory)" in d.ctl("status").stdout
            assert ids(peer.collect(ask(peer, 0, 3))) == want
            os.kill(d.engine_pid(), signal.SIGKILL)
            d.wait_line(r"serves .* on emu.*weights taken over")
            assert d.ctl("upgrade").returncode == 0, d.log()
            with qwp.Peer(d.socket) as later:
                os.kill(serving(later).engine_pid, signal.SIGKILL)
                status = later.wait_status(lambda s: s.engine_restarts and s.state == pb.StatusReply.SERVING)
                assert status.weights_adopted and status.weights_host_bytes == TABLE, status
                assert ids(later.collect(ask(later, 0, 3))) == want
            assert "loads the model from its file" not in d.log()


def a_table_lies_where_it_is_wanted_or_can_be():
    with tempfile.TemporaryDirectory() as folder:
        with machine(folder, *WIDE, EMU_MIB="272") as model, daemon("--embedding", "device", model=model) as d, qwp.Peer(d.socket) as peer:
            status = serving(peer)
            assert (status.backend, status.weights_host_bytes) == ("emu", 0), status
        with machine(folder, *WIDE, EMU_MIB="272", EMU_PIN="1000000") as model, daemon(model=model) as d, qwp.Peer(d.socket) as peer:
            status = serving(peer)
            assert (status.backend, status.weights_host_bytes) == ("emu", 0), status
            assert status.note == ("the table of embeddings goes on the device: no main memory for 4 MiB of embeddings that the emu "
                                   "backend reads: CUDA: out of memory"), status.note
            os.kill(d.engine_pid(), signal.SIGKILL)     # nor could the next one pin more
            d.wait_line(r"serves .* on emu.*weights taken over")
        with machine(folder, *WIDE, EMU_PIN="0") as model, daemon("--embedding", "host", model=model) as d:
            d.wait_line(r"cannot serve: .*: embedding is host, but the device does not read the table's 4 MiB from main memory: "
                        r"CUDA: out of memory$")


sys.exit(qwp.run([
    two_clients_get_beside_each_other_what_each_gets_alone, a_cancelled_stream_ends_and_the_other_goes_on,
    a_killed_engine_is_followed_by_one_that_goes_on_with_its_weights, a_broken_gpu_ends_its_engine_and_no_stream,
    weights_that_the_device_cannot_hold_go_to_the_cpu, a_table_that_leaves_no_room_lies_in_main_memory_and_is_handed_on,
    a_table_lies_where_it_is_wanted_or_can_be,
]))
