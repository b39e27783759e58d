#!/usr/bin/env python3
"""soak.py - a daemon under all that clients do, for hours: nothing is lost, nothing is kept, nothing is told.

    tests/bench/soak.py [--minutes 120] [--round 300] [--clients 6] [--pause 0] [--build build] [--seed N] [MODEL.gguf]

Two users (as root; else one) ask, cancel, leave, read slowly, detach and attach, count and talk nonsense, while the engine
is killed at random moments.  Each answer that is read to its end must be the one that the same question got in the quiet
beginning.  After each round everybody leaves, and what the broker still holds is written down: file descriptors, memory,
charged bytes, requests.  Every prompt holds a canary, which may be in no log line, no metric and no core file.  Prints
a line a round on stderr and one JSON object; exits 1 if anything is not as it should be.
"""
import argparse
import collections
import glob
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CANARY = "canary5ca1ab1e"
N_QUESTIONS = 40
KILL_S = 8.0  # between two kills, on average
RSS_GROWTH_KIB = 2048
PATIENCE_S = 300.0  # for an answer: a machine with other work beside it is slow, which is no fault of the daemon's


# ---- questions

def question(n):
    """(prompt, fields) of question n; the same ones have the same answer for ever."""
    draw = random.Random(n)
    text = f"{CANARY} {n}: " + " ".join(str(draw.randrange(1000)) for _ in range(draw.choice((2, 10, 60, 300))))
    sampling = pb.Sampling(temperature=0.0) if n % 2 else pb.Sampling(temperature=1.0, seed=n)
    return qwp.prompt(text), {"sampling": sampling, "max_tokens": draw.choice((4, 16, 60, 200)), "want_ids": True, "ignore_eos": True,
                              "thinking": pb.THINKING_ON if n % 3 == 0 else pb.THINKING_OFF,
                              "priority": draw.choice((pb.PRIORITY_INTERACTIVE, pb.PRIORITY_NORMAL, pb.PRIORITY_BATCH)),
                              "credit_bytes": 1 << 20}


# ---- what clients do: each takes (client) and counts what came of it

class Client:
    def __init__(self, path, wanted, pause, seed):
        self.path, self.wanted, self.pause, self.draw = path, wanted, pause, random.Random(seed)
        self.seen = collections.Counter()
        self.faults = []

    def run(self, until):
        actions = [ask, ask, ask, cancel, leave, read_slowly, detach, count, talk_nonsense]
        while time.monotonic() < until:
            action = self.draw.choice(actions)
            self.seen[action.__name__] += 1
            try:
                action(self)
            except qwp.Refused as refused:
                self.seen[f"refused {refused.code}"] += 1
            except Exception as error:  # it has to be told, whatever it is
                self.faults.append(f"{action.__name__}: {type(error).__name__}: {error}"[:300])
            if self.pause:
                over.wait(self.draw.expovariate(1 / self.pause))

    def open(self):
        return qwp.Peer(self.path, timeout=PATIENCE_S)

    def begin(self, peer, **more):
        n = self.draw.randrange(N_QUESTIONS)
        body, fields = question(n)
        return n, peer.generate(body, **{**fields, **more})

    def some(self, peer, stream):
        """Reads a few of its Deltas, or all if there are less."""
        result = qwp.Result()
        for _ in range(self.draw.randrange(1, 12)):
            if result.usage:
                break
            frame = peer.next_frame(stream)
            if frame.type is pb.Error:
                raise qwp.Refused(frame.msg)
            result.add(frame)
        return result

    def check(self, n, result):
        self.seen["answers"] += 1
        if list(result.ids) != self.wanted[n]:
            self.faults.append(f"question {n}: another answer than in the beginning, {len(result.ids)} tokens of {len(self.wanted[n])}")


def ask(client):
    with client.open() as peer:
        n, stream = client.begin(peer)
        client.check(n, peer.collect(stream))


def cancel(client):
    with client.open() as peer:
        _, stream = client.begin(peer)
        result = client.some(peer, stream)
        if not result.usage:
            peer.send(pb.Cancel(), stream)
            peer.collect(stream, result=result)


def leave(client):
    with client.open() as peer:
        _, stream = client.begin(peer)
        client.some(peer, stream)


def read_slowly(client):
    """Eight bytes of credit, then the rest, or it leaves without."""
    with client.open() as peer:
        n, stream = client.begin(peer, credit_bytes=8)
        result = qwp.Result()
        while not result.usage and not result.n_deltas:
            frame = peer.next_frame(stream)
            if frame.type is pb.Error:
                raise qwp.Refused(frame.msg)
            result.add(frame)
        if client.draw.random() < 0.5:
            return
        peer.send(pb.Credit(bytes=1 << 20), stream)
        client.check(n, peer.collect(stream, result=result))


def detach(client):
    """Leaves, comes back on another connection, has it all sent again, lets go of it."""
    with client.open() as peer:
        n, stream = client.begin(peer, detachable=True)
        result = client.some(peer, stream)
    if not result.accepted:
        return
    with client.open() as peer:
        again = peer.open(pb.Attach(request_id=result.accepted[0].request_id, next_seq=0, credit_bytes=1 << 20))
        client.check(n, peer.collect(again))
        assert peer.call(pb.Cancel(request_id=result.accepted[0].request_id), pb.Cancelled).n_cancelled == 1, "it was not kept"


def count(client):
    with client.open() as peer:
        text = CANARY * client.draw.randrange(1, 50)
        ids = peer.call(pb.Tokenize(text=text), pb.Tokens).ids
        back = peer.call(pb.Detokenize(ids=ids), pb.Text)
        assert back.text in (text, text.encode()), "the text changed on its way"


def talk_nonsense(client):
    """Bytes that are no frame, or a frame that is no message: the connection ends, and nothing else."""
    with client.open() as peer:
        junk = client.draw.randbytes(client.draw.randrange(1, 400))
        if client.draw.random() < 0.5:
            peer.sock.sendall(junk)
        else:
            peer.send(junk, 1, number=100)
        peer.sock.shutdown(1)
        peer.is_closed()


def crowd(path, wanted, n_clients, pause, seed, until):
    """Some clients at once, a thread each: (what they did, what was wrong)."""
    clients = [Client(path, wanted, pause, seed + i) for i in range(n_clients)]
    threads = [threading.Thread(target=c.run, args=(until,)) for c in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [sum((c.seen for c in clients), collections.Counter()), [f for c in clients for f in c.faults]]


# ---- the daemon

class Soaked:
    """The daemon under test and what it holds."""

    def __init__(self, args):
        self.args, self.draw, self.kills = args, random.Random(args.seed), 0
        self.seen, self.faults, self.rounds = collections.Counter(), [], []
        self.metrics = os.path.join(args.folder, "metrics.sock")

    def metric(self, name):
        return next(float(line.split()[1]) for line in self.metrics_text().split("\n") if line.startswith(name + " "))

    def metrics_text(self):
        return openmetrics.read(self.metrics)

    def learn(self):
        """Each question's answer while nothing else happens."""
        with qwp.Peer(self.daemon.socket) as peer:
            peer.wait_status(lambda s: s.state == pb.StatusReply.SERVING, timeout=600)
            return [list(peer.ask(body, **fields).ids) for body, fields in map(question, range(N_QUESTIONS))]

    def fire(self, until):
        """Kills engines until then; one that is not there yet is not killed."""
        while (left := until - time.monotonic()) > 0:
            over.wait(min(left, self.draw.expovariate(1 / KILL_S)))
            pid = self.daemon.engine_pid()
            if pid and time.monotonic() < until:
                try:
                    os.kill(pid, signal.SIGKILL)
                    self.kills += 1
                except ProcessLookupError:
                    pass

    def round(self, number, wanted, seconds):
        until = time.monotonic() + seconds
        uids = [0, other_user.OTHER_UID] if os.geteuid() == 0 else [os.geteuid()]
        waits = [other_user.fork_as(uid, lambda i=i: crowd(self.daemon.socket, wanted, self.args.clients, self.args.pause,
                                                           self.args.seed + 1000 * number + 100 * i, until))
                 for i, uid in enumerate(uids)]
        self.fire(until)
        for wait in waits:
            seen, faults = wait()
            self.seen.update(seen)
            self.faults += faults
        self.rounds.append(self.rest())
        print(f"round {number}: {sum(self.seen.values())} acts, {self.kills} kills, {len(self.faults)} faults, {self.rounds[-1]}",
              file=sys.stderr)
        for fault, n in collections.Counter(self.faults).most_common(5):
            print(f"  {n} times: {fault}", file=sys.stderr)

    def rest(self):
        """What is held when nobody is there."""
        pid = self.daemon.process.pid
        with qwp.Peer(self.daemon.socket) as peer:
            peer.wait_status(lambda s: s.state == pb.StatusReply.SERVING and s.connections == 1 and not s.running and not s.queued
                             and self.metric("qwend_held_bytes") == 0, timeout=PATIENCE_S)
            fds = len(os.listdir(f"/proc/{pid}/fd"))
        return {"fds": fds, "rss_kib": harness.status_field(pid, "VmRSS"), "held_bytes": self.metric("qwend_held_bytes")}

    def judge(self):
        first, last = self.rounds[0], self.rounds[-1]
        for name, slack in (("fds", 0), ("rss_kib", RSS_GROWTH_KIB)):
            if last[name] > first[name] + slack:
                self.faults.append(f"{name}: {first[name]} after the first round, {last[name]} after the last")
        told = {"log": self.daemon.log(), "metrics": self.metrics_text()}
        for path in glob.glob(os.path.join(self.daemon.folder, "core*")) + glob.glob("core*"):
            with open(path, "rb") as f:
                told[path] = f.read().decode("latin-1")
        self.faults += [f"the canary is in the {name}" for name, text in told.items() if CANARY in text]

    def run(self):
        minutes, n = self.args.minutes, 0
        with harness.Qwend(self.args.model, "--slots", "4", "--metrics", self.metrics, build=self.args.build) as self.daemon:
            wanted, end = self.learn(), time.monotonic() + minutes * 60
            while time.monotonic() < end:
                self.round(n, wanted, min(self.args.round, max(1.0, end - time.monotonic())))
                n += 1
            self.judge()
        return {"minutes": minutes, "acts": dict(self.seen), "kills": self.kills, "rounds": len(self.rounds),
                "first": self.rounds[0], "last": self.rounds[-1], "faults": self.faults[:20], "n_faults": len(self.faults)}


over = threading.Event()


def parse():
    parser = argparse.ArgumentParser(description="A daemon under all that clients do, for hours.")
    parser.add_argument("model", nargs="?", default=os.path.join(ROOT, "tests/golden/demo.gguf"))
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--round", type=float, default=300, metavar="SECONDS")
    parser.add_argument("--clients", type=int, default=6, help="of each user, at once")
    parser.add_argument("--pause", type=float, default=0.0, metavar="SECONDS", help="of a client between two acts, on average")
    parser.add_argument("--build", default="build")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    ARGS = parse()
    sys.path[:0] = [os.path.join(HERE, "..", "daemon"), os.path.join(ARGS.build, "tests/daemon")]
    import harness
    import openmetrics
    import other_user
    import qwend_pb2 as pb
    import qwp
    with tempfile.TemporaryDirectory(prefix="qwend-soak-") as ARGS.folder:
        report = Soaked(ARGS).run()
    print(json.dumps(report))
    sys.exit(1 if report["n_faults"] else 0)
