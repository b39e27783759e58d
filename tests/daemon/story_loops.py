"""story_loops.py - libqwend in every event loop that it has glue for: a connection that breaks under a stream, because the broker
is killed, costs nothing where the broker comes back and is told where it does not.

QWEND_LOOPS: the loops of this build."""

import os
import subprocess
import sys

import qwp
from fakesd import Service
from harness import WAIT_S, Qwend, golden
from qwp import pb

LOOPS = os.environ["QWEND_LOOPS"].split(",")
GONE = b"[gone -32]"


class LoopClient:
    """tests/fixture/loop_client.c: it has printed 100 bytes of its answer and waits for a word."""

    def __init__(self, d, loop, *arguments):
        program = os.path.join(os.environ["QWEND_BUILD"], f"tests/fixture/loop_client_{loop}")
        # unbuffered: communicate() would not give back what a buffer has read beyond the 100 bytes
        self.run = subprocess.Popen([program, d.socket, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, bufsize=0)
        self.text = b""
        while len(self.text) < 100 and (more := self.run.stdout.read(100 - len(self.text))):
            self.text += more

    def finish(self, status=0):
        """Goes on: all that it printed."""
        rest, said = self.run.communicate(b"\n", timeout=WAIT_S)
        assert self.run.returncode == status, (self.run.returncode, said)
        return self.text + rest


def serving(d):
    with qwp.Peer(d.socket) as peer:
        peer.wait_status(lambda s: s.state == pb.StatusReply.SERVING)


def what_breaks_goes_on_in_every_loop():
    with Service(golden("demo.gguf"), "--slots", "2") as d:
        serving(d)
        whole = LoopClient(d, "poll").finish()
        assert len(whole) > 1000
        for loop in LOOPS:
            for kind in ("plain", "detachable"):
                client = LoopClient(d, loop, kind)
                d.kill_broker()
                assert client.finish() == whole, (loop, kind)
            client = LoopClient(d, loop, "cancel")
            assert client.finish().endswith(b"[cancelled]"), loop
        with qwp.Peer(d.socket) as peer:
            peer.wait_status(lambda s: s.running == s.queued == 0)


def what_is_gone_for_good_is_told_in_every_loop():
    for loop in LOOPS:
        with Qwend(golden("demo.gguf")) as d:
            serving(d)
            client = LoopClient(d, loop)
            d.process.kill()
            d.process.wait()
            assert client.finish().endswith(GONE), loop


def the_examples_run():
    folder = os.path.join(os.environ["QWEND_BUILD"], "client/lib")
    examples = sorted(name for name in os.listdir(folder) if name.startswith("example-") and not name.endswith(".p"))
    assert {"example-hello", "example-loop"} <= set(examples)
    with Qwend(golden("demo.gguf")) as d:
        serving(d)
        for name in examples:
            argument = d.socket if name == "example-loop" else "What is 27 + 48?"
            done = subprocess.run([os.path.join(folder, name), argument], env={**os.environ, "QWEND_SOCKET": d.socket},
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT_S, check=False)
            assert done.returncode == 0 and not done.stderr and (name == "example-loop" or done.stdout == "75\n"), (name, done)


if __name__ == "__main__":
    sys.exit(qwp.run([what_breaks_goes_on_in_every_loop, what_is_gone_for_good_is_told_in_every_loop, the_examples_run]))
