"""fake.py - a private qwend on the fake engine (tests/fixture/fake_engine.c), and what that engine must say.

The engine's tokens follow from seed, prompt and position, so expected() is the whole truth about a stream."""

import os
import queue
import signal
import threading
import time
import zlib

import harness
import qwend_pb2 as pb
import qwp

BUILD = os.environ["QWEND_BUILD"]
ENGINE = os.path.join(BUILD, "tests/fixture/fake_engine")
MASK = (1 << 64) - 1


def mix(x):
    """splitmix64's finaliser, as in fake_engine.c."""
    x ^= x >> 30
    x = x * 0xBF58476D1CE4E5B9 & MASK
    x ^= x >> 27
    x = x * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def tokens(seed, body, n):
    crc = zlib.crc32(body)
    return [mix((mix((seed + k) & MASK) + crc) & MASK) % 1000003 for k in range(n)]


def expected(seed, body, n):
    return "".join(f"{k}:{token} " for k, token in enumerate(tokens(seed, body, n)))


class Fake(harness.Qwend):
    """Fake(delay_ms=5, slots=2): a daemon whose engine behaves so; options of qwend in `options`."""

    def __init__(self, *options, config=None, engine=None, **behaviour):
        model = "fake:" + ",".join(f"{k}={v}" for k, v in behaviour.items())
        super().__init__(model, *self._engine(engine or ENGINE), *options, config=config)

    def _engine(self, engine):
        return "--engine", engine

    def peer(self, **kw):
        return qwp.Peer(self.socket, **kw)

    def serving(self, **kw):
        peer = self.peer(**kw)
        peer.wait_status(lambda s: s.state == pb.StatusReply.SERVING)
        return peer

    def kill_engine(self, sig=signal.SIGKILL):
        os.kill(self.engine_pid(), sig)

    def wait_exit(self):
        return self.process.wait(harness.WAIT_S)


def sampling(seed):
    return pb.Sampling(seed=seed)


def gather(functions, wait_s=harness.WAIT_S):
    """Runs functions in threads, wait_s at most; their results in order.  The first exception is raised at once."""
    results, ended = [None] * len(functions), queue.Queue()

    def call(i, function):
        try:
            ended.put((i, function(), None))
        except BaseException as error:  # an assertion in a thread is a failed story
            ended.put((i, None, error))

    for i, function in enumerate(functions):
        threading.Thread(target=call, args=(i, function), daemon=True).start()
    end = time.monotonic() + wait_s
    for _ in functions:
        try:
            i, results[i], error = ended.get(timeout=max(0, end - time.monotonic()))
        except queue.Empty:
            raise AssertionError(f"a client hangs: not all have ended after {wait_s} s") from None
        if error:
            raise error
    return results


def check(result, seed, body, n):
    """The stream is exactly what the engine makes of seed and body, n tokens long."""
    assert result.answer == expected(seed, body, n), f"got {result.answer[:200]!r} …"
    assert result.usage.answer_tokens == n and result.usage.seed == seed, result.usage
