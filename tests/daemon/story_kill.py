#!/usr/bin/env python3
"""story_kill.py - the engine is killed again and again under four running streams, and nobody can tell from the answers.

Two streams are greedy, two are drawn with a seed.  Each has an answer that it got alone and undisturbed; under fire its
ids and its text must be the same: no token lost, doubled or different.  A kill counts only if it hit at least one stream
that had tokens and still owed OWED or more: the daemon says where a stream goes on (the engine is ahead of what has been
read here, so our own count would not tell).  The moment is random; the next kill waits until every live stream has moved
on, because three deaths without a new token are another story (the request is given up, 501).

Half of the model's file is overwritten before the first kill: an engine that read its tensors again could not serve.
"""
import os
import random
import re
import select
import shutil
import signal
import sys
import tempfile
import time

import qwp
from harness import Qwend, tiny_model
from qwp import pb

KILLS = 100
OWED = 16
TOKENS = 320
STREAMS = [
    ("Tell me about rivers.", {"temperature": 0.0}),
    ("List the planets.", {"temperature": 0.0, "repeat_penalty": 1.1}),
    ("Write a poem about rain.", {"temperature": 1.0, "seed": 11}),
    ("Why do cats purr?", {"temperature": 0.8, "top_k": 40, "seed": 23}),
]
MOMENT_S = 0.06     # kills fall within this time after all streams moved: some dozens of steps of the tiny model


class Stream:
    """One request under fire."""

    def __init__(self, peer, number):
        text, options = STREAMS[number]
        self.number, self.result = number, qwp.Result()
        self.id = peer.generate(qwp.prompt(text), sampling=pb.Sampling(**options), max_tokens=TOKENS,
                                thinking=pb.THINKING_OFF, want_ids=True, ignore_eos=True)
        self.moved = self.hit = False   # since the last kill
        self.resumed = False            # RESUMED came, and no token since

    def done(self):
        return self.result.usage is not None

    def add(self, frame):
        self.result.add(frame)
        self.moved |= frame.type is pb.Delta and len(frame.msg.ids) > 0
        if frame.type is pb.Event and frame.msg.kind == pb.Event.RESUMED:
            self.hit |= 0 < frame.msg.from_token <= TOKENS - OWED
            self.resumed = True
        elif frame.type is pb.Delta and self.resumed:
            self.resumed = False
            return True                 # the first token after a death
        return False


def ask_alone(qwend):
    with qwp.Peer(qwend.socket) as peer:
        answers = []
        for number in range(len(STREAMS)):
            stream = Stream(peer, number)
            answers.append(peer.collect(stream.id, result=stream.result))
    return answers


def take_frame(peer, streams):
    frame = peer.next_frame()
    if frame.type is pb.Error:
        raise qwp.Refused(frame.msg)
    return streams[frame.stream].add(frame)


def frame_comes(peer, until):
    """Is there something to read now, or before `until`?"""
    wait = max(0.0, until - time.monotonic())
    return bool(peer.kept or peer.data) or bool(select.select([peer.sock], [], [], wait)[0])


def kill_engine(qwend, last_pid):
    """The pid that was killed; 0 if there is no new engine yet."""
    pid = qwend.engine_pid()
    if pid in (0, last_pid):
        return 0
    os.kill(pid, signal.SIGKILL)
    return pid


def run_round(qwend, kills_wanted, waits):
    """Four streams from start to end, killed as often as it goes; (kills that count, kills in all, the results).

    Appends to waits how long it took from a kill to the first new token of any stream, in seconds."""
    with qwp.Peer(qwend.socket) as peer:
        streams = {s.id: s for s in (Stream(peer, n) for n in range(len(STREAMS)))}
        counted, killed, last_pid, moment, killed_at = 0, 0, 0, None, None

        def was_hit():
            return any(s.hit for s in streams.values())

        while live := [s for s in streams.values() if not s.done()]:
            if moment is None and counted < kills_wanted and all(s.moved for s in live):
                moment = time.monotonic() + random.uniform(0, MOMENT_S)
            if moment is None or frame_comes(peer, moment):
                if take_frame(peer, streams) and killed_at:
                    waits.append(time.monotonic() - killed_at)
                    killed_at = None
                continue
            moment = None
            if pid := kill_engine(qwend, last_pid):
                killed_at = time.monotonic()
                counted, killed, last_pid = counted + was_hit(), killed + 1, pid
                for s in streams.values():
                    s.moved = s.hit = False
        return counted + was_hit(), killed, [streams[i].result for i in sorted(streams)]


def compare(results, alone, killed):
    for number, (got, want) in enumerate(zip(results, alone)):
        where = next((i for i, (a, b) in enumerate(zip(got.ids, want.ids)) if a != b), min(len(got.ids), len(want.ids)))
        assert got.ids == want.ids, (f"stream {number}: {len(got.ids)} ids, {len(want.ids)} alone; they part at {where}: "
                                     f"{got.ids[where:where + 4]} instead of {want.ids[where:where + 4]}")
        assert got.text == want.text, f"stream {number}: ids are equal, the text is not"
        # one more: the last kill of the round before may still have hit this one's Submit
        assert got.usage.replays <= killed + 1, f"stream {number}: {got.usage.replays} replays of {killed} kills"


def spoil(path):
    """The second half of the file, all of it tensors, is lost; size, inode and time stay."""
    with open(path, "r+b") as f:
        at = os.fstat(f.fileno())
        f.seek(at.st_size // 2)
        f.write(b"\xff" * (at.st_size - f.tell()))
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))


def no_token_is_lost_doubled_or_different_in_100_kills():
    with tempfile.TemporaryDirectory(prefix="qwend-story-") as folder:
        model = shutil.copy(tiny_model(), folder)
        under_fire(model)


def under_fire(model):
    with Qwend(model, "--slots", "4", "--backend", "cpu", "--context", "2048") as qwend:
        alone = ask_alone(qwend)
        spoil(model)
        counted, killed, rounds, began, waits = 0, 0, 0, time.monotonic(), []
        while counted < KILLS:
            some, all_kills, results = run_round(qwend, KILLS - counted, waits)
            compare(results, alone, all_kills)
            counted, killed, rounds = counted + some, killed + all_kills, rounds + 1
            assert killed < 10 * KILLS, f"{killed} kills, only {counted} hit a stream in its middle"
        deaths = [line for line in qwend.log().splitlines() if "requests go on" in line]
        assert len(deaths) <= killed and all("signal 9" in line for line in deaths), deaths
        served = re.findall(r"engine \d+ serves .*", qwend.log())
        assert len(served) > KILLS // 2 and all("weights taken over" in line for line in served[1:]), served[:3]
        print(f"# {counted} kills counted ({killed} in all) in {rounds} rounds, {time.monotonic() - began:.1f} s")
        waits.sort()
        print(f"# kill to next token, replay included: median {1e3 * waits[len(waits) // 2]:.0f} ms, "
              f"p99 {1e3 * waits[-1 - len(waits) // 100]:.0f} ms, most {1e3 * waits[-1]:.0f} ms")


if __name__ == "__main__":
    random.seed(os.environ.get("QWEND_STORY_SEED", "1"))
    sys.exit(qwp.run([no_token_is_lost_doubled_or_different_in_100_kills]))
