#!/usr/bin/env python3
"""bench_serving.py - what it is like to be served: batches, kills, second turns, stalls, shares, probes, slow readers.

    tests/bench/bench_serving.py [--build build] [--quick] [--json] [--only NAME,...] [MODEL.gguf]

Each part starts a qwend of its own, speaks QWP over its socket and prints the figures that it is asked for (FIGURES says
what each means).  Nothing is asserted: a figure that cannot be had is null, and `notes` says why.  Parts with a second
user need root, to be uid 65534 as well; elsewhere both are the same user, and `notes` says so.
"""
import argparse
import bisect
import datetime
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
FIGURES = {  # name: (part, what)
    "batch8_ratio": ("batch", "tokens/s of eight streams while all run / of one alone"),
    "different_outputs": ("different", "of 200 mixed requests, how many differ from what each is alone: in a batch of eight, with "
                                       "cache hits, after preemptions, after kills"),
    "kills": ("kills", "engines killed under 8 to 32 streams of which one at least is owed 16 tokens or more"),
    "kills_lost": ("kills", "tokens that a stream never got"),
    "kills_doubled": ("kills", "tokens that a stream got twice"),
    "kills_different": ("kills", "streams that ended otherwise than undisturbed"),
    "kill_to_token_p99_ms": ("kills", "from a kill to the next token of a stream that it hit"),
    "broker_kills": ("broker", "brokers killed under six streams that are read through libqwend, every fifth with its engine"),
    "broker_kills_unresumed": ("broker", "of those streams, how many did not end as they do undisturbed"),
    "turn2_ttft_ratio": ("chat", "time to the first token of the second turn of a long chat: warm / cold (no_cache)"),
    "restart_ttft_ratio": ("restart", "that of the second turn after a restart with cache_dir / without a restart, both of an idle daemon"),
    "trace_reprocessed_ratio": ("trace", "turns 2 to 20 of a chat: tokens read / tokens that the turn added"),
    "stall_ratio": ("stall", "longest gap of a stream while another user's long prompt is read / its median gap alone"),
    "stall_alone_ratio": ("stall", "the same for as long without the prompt: what the machine does to a stream by itself"),
    "fairness_error": ("fairness", "two users, 10:1 offered: |share of the tokens - 0.5| / 0.5"),
    "interactive_ttft_ratio": ("interactive", "(p99 of time to first token under full batch load - one step) / p99 idle"),
    "probe_auc": ("probe", "can another user tell a cached prefix by time to first token: 0.5 is no, 1 is yes"),
    "probe_own_auc": ("probe", "the same asked by the user whose prefixes they are, who may know: it shows that there is a difference"),
    "slow_reader_gap_change": ("slow", "median token gap of others with / without never-reading clients, less 1; the median of some rounds"),
    "idle_connection_kib": ("idle", "memory of the broker for one more idle connection"),
}
PARTS = list(dict.fromkeys(part for part, _ in FIGURES.values()))
FRAME_S = 600.0     # for one frame: a long prompt on a slow machine
IDLE_S = 1.5  # cores that worked half a second ago answer 0.5 to 1 ms sooner: both sides have rested for as long
PACE = 16
WORDS = "river stone lamp paper window engine garden winter copper market signal bridge letter silver forest harbour".split()


# ---- a client

def words(n, seed):
    """n words that no other seed begins with."""
    draw = random.Random(seed)
    return f"{seed} " + " ".join(draw.choice(WORDS) for _ in range(n))


def chat(*turns):
    """(user, assistant, user, ...): a serialised Prompt."""
    prompt = pb.Prompt()
    for i, content in enumerate(turns):
        prompt.messages.add(role="assistant" if i % 2 else "user", content=content)
    return prompt.SerializeToString()


class Stream:
    """One request and when its tokens came."""

    def __init__(self, peer, body, n_tokens, **fields):
        fields = {"sampling": pb.Sampling(temperature=0.0), "thinking": pb.THINKING_OFF, "ignore_eos": True, "want_ids": True,
                  "credit_bytes": 2 << 20, **fields}
        self.peer, self.result, self.times, self.sent = peer, qwp.Result(), [], time.monotonic()
        self.id = peer.generate(body, max_tokens=n_tokens, **fields)

    def add(self, frame):
        """True if it was a token's."""
        if frame.type is pb.Error:
            raise qwp.Refused(frame.msg)
        self.result.add(frame)
        if frame.type is not pb.Delta or not frame.msg.ids:
            return False
        self.times += [time.monotonic()] * len(frame.msg.ids)
        return True

    def done(self):
        return self.result.usage is not None

    def ttft(self):
        return self.times[0] - self.sent


def pace(streams):
    """The median token gap, each taken over PACE tokens, since those that are read at once have gaps of nothing.  Where we
    read so late that even that is too little to be true, the mean by the daemon's own clock."""
    spans = [(b - a) / n for s in streams for n in [min(PACE, len(s.times) - 1)] if n > 0
             for a, b in zip(s.times, s.times[n:])]
    by_daemon = statistics.median(s.result.usage.decode_ms / 1e3 / max(1, len(s.times) - 1) for s in streams)
    seen = statistics.median(spans)
    return seen if seen > by_daemon / 2 else by_daemon


def finish(peer, *streams):
    """Reads until all have ended; the streams."""
    by_id = {s.id: s for s in streams}
    while not all(s.done() for s in streams):
        frame = peer.next_frame(timeout=FRAME_S)
        if frame.stream in by_id:
            by_id[frame.stream].add(frame)
    return streams


def ask(peer, body, n_tokens, **fields):
    return finish(peer, Stream(peer, body, n_tokens, **fields))[0]


def most_files():
    """Lifts the limit of file descriptors as far as may be, for the daemon too: (as it was, what it is)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, 1 << 17), max(hard, 1 << 17)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def auc(times):
    """[[offset, seconds]]: how often an answer to what is cached (offset 0) came before one to what is not."""
    cached, unseen = (sorted(t for offset, t in times if bool(offset) == kind) for kind in (False, True))
    wins = sum(len(unseen) - (bisect.bisect_left(unseen, t) + bisect.bisect_right(unseen, t)) / 2 for t in cached)
    return wins / (len(cached) * len(unseen))


def flood(path, n_open, body, n_tokens, begin, end, stop=None, **fields):
    """Keeps n_open requests under way until `end`, or until there is something to read at fd `stop`; how many tokens came
    between the two times."""
    n, serial = 0, 0
    with qwp.Peer(path) as peer:
        live = {}
        while time.monotonic() < end and not (stop and qwp.readable(stop, 0)):
            while len(live) < n_open:
                serial += 1
                stream = Stream(peer, body(serial), n_tokens, **fields)
                live[stream.id] = stream
            try:
                frame = peer.next_frame(timeout=min(0.5, max(0.001, end - time.monotonic())))
            except TimeoutError:
                continue
            if live[frame.stream].add(frame) and begin <= time.monotonic() <= end:
                n += len(frame.msg.ids)
            if live[frame.stream].done():
                del live[frame.stream]
    return n


def p99(values):
    return sorted(values)[int(len(values) * 0.99)] if values else None


# ---- a quick client

class Recorder:
    """bench_streams: streams that a C program reads, which has more time for each token than we.  .wait() and .end(): the times
    of each request's tokens, once it has what it was to have, or now."""

    def __init__(self, bench, daemon, n_streams, n_tokens, max_tokens):
        program = os.path.join(bench.args.build, "tests/bench/bench_streams")
        self.process = subprocess.Popen([program, daemon.socket, str(n_streams), str(n_tokens), str(max_tokens)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        if self.process.stdout.readline() != "begun\n":
            self.__exit__()
            raise RuntimeError("bench_streams has no streams")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def end(self):
        self.process.stdin.close()
        return self.wait()

    def wait(self):
        lines = self.process.stdout.read().split("\n")
        if self.process.wait():
            raise RuntimeError("bench_streams failed")
        return [[int(t) / 1e9 for t in line.split()] for line in lines if line]


# ---- the second user

class Other:
    """Runs work() as uid 65534 beside us (as ourselves where we are not root)."""

    def __init__(self, bench, work):
        if os.geteuid() == 0:
            wait = other_user.fork_as(other_user.OTHER_UID, work)
        else:
            bench.note("not root: the second user is the same user")
            wait = work
        self.result = None
        self.thread = threading.Thread(target=lambda: setattr(self, "result", wait()), daemon=True)
        self.thread.start()

    def running(self):
        return self.thread.is_alive()

    def wait(self):
        self.thread.join()
        return self.result


# ---- the bench

class Bench:
    def __init__(self, args):
        self.args, self.notes, self.figures, self.part, self.seed = args, {}, {}, None, 0
        self.counts = {}

    def note(self, text):
        self.notes.setdefault(self.part, text)

    def n(self, quick, full, least=1):
        """A count: of the quick run or of the full one, scaled."""
        return max(least, int((quick if self.args.quick else full) * self.args.scale))

    def start(self, slots, *options):
        context = min(self.args.context, 1 << 20)
        daemon = harness.Qwend(self.args.model, "--slots", str(slots), "--context", str(context), *options,
                               build=self.args.build)
        try:
            daemon.__enter__()
            with qwp.Peer(daemon.socket) as peer:
                peer.wait_status(lambda s: s.state in (pb.StatusReply.SERVING, pb.StatusReply.FAILED), timeout=FRAME_S)
                status = peer.status()
                if status.state == pb.StatusReply.FAILED:
                    raise RuntimeError(f"the daemon does not serve: {status.note}")
                self.context = status.context
                ask(peer, chat("warm up"), 4)
        except BaseException:
            daemon.__exit__()
            raise
        return daemon

    def fresh(self, n_words):
        """A prompt that nobody has sent before."""
        self.seed += 1
        return chat(words(n_words, self.seed))

    def document(self, peer, n_tokens):
        """Words that are about n_tokens long."""
        sample = len(peer.call(pb.Tokenize(text=words(200, 0)), pb.Tokens).ids) / 200
        self.seed += 1
        return words(int(n_tokens / sample), self.seed)

    # -- batches

    def batch(self):
        n_tokens = self.n(1000, 1000, 8)
        with self.start(8) as daemon:
            rates = [[self.rate_of_all(daemon, n, min(n_tokens, self.context // 4)) for n in (1, 8)] for _ in range(self.n(3, 5))]
            one, eight = (statistics.median(r) for r in zip(*rates))
            self.counts["batch8_tokens_s"] = [one, eight]
            return {"batch8_ratio": eight / one}

    def rate_of_all(self, daemon, n_streams, n_tokens):
        """Tokens/s of all while all run, from when the last one has begun.  The time in which their prompts are read does not
        count: it is that of prompts."""
        with Recorder(self, daemon, n_streams, n_tokens, self.context // 2) as recorder:
            streams = recorder.wait()
        begin, end = max(s[0] for s in streams), max(s[-1] for s in streams)
        return sum(1 for s in streams for t in s if t > begin) / (end - begin)

    def different(self):
        """Mixed requests one by one; then eight at a time, with what was cached, preempted, and with their engines killed."""
        draw, asked = random.Random(7), []
        for i in range(self.n(200, 200, 8)):
            how = (pb.Sampling(temperature=0.0), pb.Sampling(temperature=0.7, seed=i), pb.Sampling(temperature=0.0, repeat_penalty=1.2),
                   pb.Sampling(temperature=1.0, top_k=20, top_p=0.9, seed=i))[i % 4]
            asked.append((self.fresh(draw.choice((3, 20, 90))), draw.choice((8, 40, 120)), how))
        with self.start(8) as daemon, qwp.Peer(daemon.socket) as peer:
            def eight_at_a_time(between=lambda: None, **fields):
                waiting, live, done = list(enumerate(asked)), {}, {}
                while waiting or live:
                    while waiting and len(live) < 8:
                        i, (body, n, how) = waiting.pop(0)
                        stream = Stream(peer, body, n, sampling=how, **fields)
                        live[stream.id] = (i, stream)
                    frame = peer.next_frame(timeout=FRAME_S)
                    i, stream = live[frame.stream]
                    stream.add(frame)
                    between()
                    if stream.done():
                        done[i] = live.pop(frame.stream)[1]
                return [done[i] for i in range(len(asked))]

            def kill_sometimes():
                nonlocal n_tokens
                n_tokens += 1
                pid = daemon.engine_pid() if n_tokens % 400 == 0 else None
                if pid:
                    os.kill(pid, signal.SIGKILL)

            n_tokens, stop = 0, os.pipe()
            want = [list(ask(peer, body, n, sampling=how, no_cache=True).result.ids) for body, n, how in asked]
            ways = {"batch": eight_at_a_time(no_cache=True)}
            eight_at_a_time()
            ways["cached"] = eight_at_a_time()
            others = Other(self, lambda: flood(daemon.socket, 8, lambda i: chat(words(8, 400000 + i)), 8, 0,
                                               time.monotonic() + FRAME_S, stop[0], priority=pb.PRIORITY_INTERACTIVE))
            ways["preempted"] = eight_at_a_time(priority=pb.PRIORITY_BATCH)
            os.write(stop[1], b"x")
            others.wait()
            ways["killed"] = eight_at_a_time(kill_sometimes)
            os.close(stop[0])
            os.close(stop[1])
        usages = {way: [s.result.usage for s in streams] for way, streams in ways.items()}
        self.counts["different"] = {"requests": len(asked), "cached_tokens": sum(u.cached_tokens for u in usages["cached"]),
                                    "preemptions": sum(u.preemptions for u in usages["preempted"]),
                                    "replays": sum(u.replays for u in usages["killed"])}
        return {"different_outputs": sum(list(s.result.ids) != w for streams in ways.values() for s, w in zip(streams, want))}

    # -- kills

    def kills(self):
        """Eight to 32 streams on eight slots; a kill is one only if it hits a stream that has tokens and is owed 16 more."""
        wanted, n_tokens = self.n(100, 1000), self.n(160, 320, 64)
        seen = {"kills": 0, "kills_lost": 0, "kills_doubled": 0, "kills_different": 0}
        times = []
        with self.start(8) as daemon, qwp.Peer(daemon.socket) as peer:
            kinds = [pb.Sampling(temperature=0.0), pb.Sampling(temperature=0.0, repeat_penalty=1.1),
                     pb.Sampling(temperature=1.0, seed=11), pb.Sampling(temperature=0.8, top_k=40, seed=23)]
            asked = [(self.fresh(12), kinds[i % len(kinds)]) for i in range(32)]
            want = [list(ask(peer, body, n_tokens, sampling=how).result.ids) for body, how in asked]
            while seen["kills"] < wanted:
                n = random.randint(8, 32)
                streams = [Stream(peer, body, n_tokens, sampling=how) for body, how in asked[:n]]
                self.under_fire(daemon, peer, streams, n_tokens, wanted, seen, times)
                seen["kills_different"] += sum(list(s.result.ids) != w for s, w in zip(streams, want))
        return {**seen, "kill_to_token_p99_ms": p99(times) * 1e3 if times else None}

    def under_fire(self, daemon, peer, streams, n_tokens, wanted, seen, times):
        """Until all streams have ended: a kill whenever all that have begun have moved since the last one, at a random moment."""
        by_id, begun, moved, hit, killed_at, due = {s.id: s for s in streams}, set(), set(), set(), 0.0, None
        while not all(s.done() for s in streams):
            targets = {s.id for s in streams if s.times and len(s.times) <= n_tokens - 16}
            live = {i for i in begun if not by_id[i].done()}
            if due is None and targets and live <= moved and seen["kills"] < wanted:
                due = time.monotonic() + random.random() * 0.05
            timeout = FRAME_S if due is None else max(0.0, due - time.monotonic())
            if due is not None and not peer.kept and not peer.data and not qwp.readable(peer.sock, timeout):
                pid = daemon.engine_pid()
                due, moved = None, set()
                if pid and targets:
                    killed_at, hit = time.monotonic(), targets
                    os.kill(pid, signal.SIGKILL)
                    seen["kills"] += 1
                continue
            frame = peer.next_frame(timeout=FRAME_S)
            stream = by_id[frame.stream]
            if frame.type is pb.Accepted and not frame.msg.position:
                begun.add(stream.id)
            if frame.type is pb.Event and frame.msg.kind == pb.Event.RESUMED:
                gap = frame.msg.from_token - len(stream.result.ids)
                seen["kills_lost"] += max(0, gap)
                seen["kills_doubled"] += max(0, -gap)
                if stream.id in hit:
                    hit.discard(stream.id)
                    stream.resumed = True
            if stream.add(frame):
                moved.add(stream.id)
                if getattr(stream, "resumed", False):
                    stream.resumed = False
                    times.append(time.monotonic() - killed_at)

    # -- the broker

    def broker(self):
        """As story_store.py has it, under its stand-in for systemd."""
        kills_wanted = self.n(20, 200)
        with fakesd.Service(self.args.model, "--slots", "4", build=self.args.build) as daemon:
            with daemon.peer() as peer:
                peer.wait_status(lambda s: s.state == pb.StatusReply.SERVING, timeout=FRAME_S)
            alone = [store.ask(daemon, i, 0) for i in range(len(store.ASKED))]
            kills = fakesd.Kills(daemon, kills_wanted, with_engine=lambda i: i % 5 == 4)

            def one(i):
                n, unresumed = 0, 0
                while not kills.over:
                    try:
                        unresumed += store.ask(daemon, i, n % 2, lambda: kills.on_text(i)) != alone[i]
                    except AssertionError:
                        unresumed += 1
                    n += 1
                kills.leave(i)
                return n, unresumed

            *counts, _ = fake.gather([lambda i=i: one(i) for i in range(len(alone))] + [lambda: kills.run(0.2)], FRAME_S * 6)
            self.counts["broker_answers"] = sum(n for n, _ in counts)
            return {"broker_kills": kills.done, "broker_kills_unresumed": sum(u for _, u in counts)}

    # -- chats

    def chat(self):
        with self.start(2) as daemon, qwp.Peer(daemon.socket) as peer:
            n_tokens = int(min(4096, self.context * 0.6) * min(1.0, self.args.scale * 2))
            warm, cold = [], []
            for _ in range(self.n(1, 3)):
                document = self.document(peer, n_tokens)
                first = ask(peer, chat(document), 16)
                body = chat(document, first.result.answer or "yes", "And what else?")
                cold.append(ask(peer, body, 4, no_cache=True))
                warm.append(ask(peer, body, 4))
            self.counts["chat_tokens"] = warm[-1].result.usage.prompt_tokens
            self.counts["chat_cached_tokens"] = warm[-1].result.usage.cached_tokens
            return {"turn2_ttft_ratio": statistics.median(s.ttft() for s in warm) / statistics.median(s.ttft() for s in cold)}

    def restart(self):
        warm, again = [], []
        with tempfile.TemporaryDirectory(prefix="qwend-bench-") as root:
            folder = os.path.join(root, "cache")
            for _ in range(self.n(3, 11)):
                with self.start(2, "--cache-dir", folder) as daemon, qwp.Peer(daemon.socket) as peer:
                    n_tokens = int(min(4096, self.context * 0.6) * min(1.0, self.args.scale * 2))
                    document = self.document(peer, n_tokens)
                    first = ask(peer, chat(document), 16)
                    time.sleep(IDLE_S)
                    warm.append(ask(peer, chat(document, first.result.answer or "yes", "And what else?"), 4))
                    daemon.terminate()
                with self.start(2, "--cache-dir", folder) as daemon, qwp.Peer(daemon.socket) as peer:
                    time.sleep(IDLE_S)
                    # not the same question, whose end is known as well
                    again.append(ask(peer, chat(document, first.result.answer or "yes", "And who else?"), 4))
        self.counts["restart_tokens"] = again[-1].result.usage.prompt_tokens
        self.counts["restart_cached_tokens"] = again[-1].result.usage.cached_tokens
        self.counts["restart_ttft_ms"] = [statistics.median(s.ttft() for s in kind) * 1e3 for kind in (warm, again)]
        return {"restart_ttft_ratio": statistics.median(s.ttft() for s in again) / statistics.median(s.ttft() for s in warm)}

    def trace(self):
        with self.start(2) as daemon, qwp.Peer(daemon.socket) as peer:
            turns, read, new, before = [self.document(peer, self.context * 0.2)], 0, 0, 0
            for turn in range(self.n(20, 20, 3)):
                usage = (stream := ask(peer, chat(*turns), 12)).result.usage
                if turn:
                    read += usage.prompt_tokens - usage.cached_tokens
                    new += usage.prompt_tokens - before
                before = usage.prompt_tokens
                turns += [stream.result.answer or "yes", self.document(peer, self.context * 0.02)]  # as a tool's result
            self.counts["trace_tokens"] = before
            return {"trace_reprocessed_ratio": read / new}

    # -- between users

    def stall(self):
        """One stream that never rests: some time alone, then beside another user's long prompt, then as long alone again."""
        with self.start(4) as daemon, qwp.Peer(daemon.socket) as peer:
            pause = max(1.0, 64 * pace([ask(peer, self.fresh(10), 16)]))
            long = chat(self.document(peer, min(30000, self.context * 0.9) * min(1.0, self.args.scale * 2)))

            def read_long():
                with qwp.Peer(daemon.socket) as theirs:
                    stream = ask(theirs, long, 1)
                    return [stream.sent, stream.times[0]]

            with Recorder(self, daemon, 1, 0, self.context // 4) as recorder:
                time.sleep(pause)
                begin, end = Other(self, read_long).wait()
                time.sleep(end - begin)
                requests = recorder.end()
            gaps = [(a, b) for times in requests for a, b in zip(times, times[1:])]
            before, during, after = ([b - a for a, b in gaps if first <= b and a <= last]
                                     for first, last in ((0.0, begin), (begin, end), (end, float("inf"))))
            alone = statistics.median(before)
            self.counts["stall_read_s"] = end - begin
            self.counts["stall_gap_ms"] = [alone * 1e3, *(f(g) * 1e3 for g in (during, after) for f in (statistics.median, p99, max))]
            return {"stall_ratio": max(during) / alone, "stall_alone_ratio": max(after) / alone}

    def fairness(self):
        seconds = self.n(20, 60, 3)
        with self.start(4) as daemon:
            begin = time.monotonic() + 2.0
            theirs = Other(self, lambda: flood(daemon.socket, 4, lambda i: chat(words(8, 100000 + i)), 32, begin,
                                               begin + seconds))
            mine = flood(daemon.socket, 40, lambda i: chat(words(8, 200000 + i)), 32, begin, begin + seconds)
            modest = theirs.wait()
            self.counts["fairness_tokens"] = [mine, modest]
            return {"fairness_error": abs(modest / (mine + modest) - 0.5) / 0.5 if mine + modest else None}

    def interactive(self):
        n_tries = self.n(300, 2000, 3)
        with self.start(4) as daemon, qwp.Peer(daemon.socket) as peer:
            def keystroke():
                return ask(peer, self.fresh(10), 4, priority=pb.PRIORITY_INTERACTIVE)

            idle = [keystroke().ttft() for _ in range(n_tries)]
            end, stop = time.monotonic() + self.n(60, 300, 20), os.pipe()
            others = Other(self, lambda: flood(daemon.socket, 12, lambda i: chat(words(10, 300000 + i)), 256, 0, end, stop[0],
                                               priority=pb.PRIORITY_BATCH))
            peer.wait_status(lambda s: s.running == 4 and s.queued >= 4, timeout=FRAME_S)
            busy = []
            while len(busy) < n_tries and time.monotonic() < end - 2:
                busy.append(keystroke())
            step = pace(busy)
            self.counts["interactive_tries"] = len(busy)
            self.counts["interactive_ttft_ms"] = {kind: [round(q * 1e3, 2) for q in (statistics.median(t), p99(t), max(t))]
                                                  for kind, t in (("idle", idle), ("busy", [s.ttft() for s in busy]))}
            os.write(stop[1], b"x")
            others.wait()
            os.close(stop[0])
            os.close(stop[1])
            return {"interactive_ttft_ratio": (p99([s.ttft() for s in busy]) - step) / p99(idle)}

    def probe(self):
        """Rounds of some prefixes each, which the victim asks for and whoever is curious asks for again: the cache keeps them
        all.  Each text has as many digits and words as any other."""
        n_rounds, n_each, n_words = self.n(40, 40, 1), 50, 150
        times, own = [], []
        with self.start(2) as daemon:
            for first in range(0, n_rounds * n_each, n_each):
                seeds = range(100000 + first, 100000 + first + n_each)

                def attack(unseen):
                    order = [(seed, offset) for seed in seeds for offset in (0, unseen)]
                    random.Random(first).shuffle(order)
                    with qwp.Peer(daemon.socket) as peer:
                        return [[offset, ask(peer, chat(words(n_words, seed + offset)), 1).ttft()] for seed, offset in order]

                with qwp.Peer(daemon.socket) as victim:
                    for seed in seeds:
                        ask(victim, chat(words(n_words, seed)), 1)
                times += Other(self, lambda: attack(200000)).wait()
                own += attack(400000)
        return {"probe_auc": auc(times), "probe_own_auc": auc(own)}

    # -- those who do not read

    def slow(self):
        """Rounds without and with the readers, whom nobody waits for: all have had what they may have."""
        n_readers, n_tokens = self.n(1000, 1000, 4), self.n(2048, 4096, 16)
        soft, hard = most_files()
        n_readers = min(n_readers, (hard - 6000) // 8)
        with self.start(4, "--max-connections", str(2 * n_readers + 64), "--max-requests", str(2 * n_readers + 64),
                        "--max-mib", "1024", "--slow-s", "600") as daemon, qwp.Peer(daemon.socket) as peer:
            def gaps():
                return statistics.median(pace(finish(peer, *[Stream(peer, self.fresh(8), n_tokens, priority=pb.PRIORITY_INTERACTIVE)
                                                             for _ in range(2)])) for _ in range(3))

            def n_paused():
                requests = peer.call(pb.ListRequests(), pb.Requests).requests
                return sum(r.state == pb.RequestInfo.PAUSED for r in requests)

            def never_read(end):
                peers = [qwp.Peer(daemon.socket) for _ in range(n_readers)]
                for p in peers:
                    p.generate(chat("x"), max_tokens=100, credit_bytes=4, ignore_eos=True)
                qwp.readable(end, FRAME_S)
                return len(peers)

            alone, with_them = [gaps()], []
            for _ in range(self.n(3, 9)):
                end = os.pipe()
                others = Other(self, lambda: never_read(end[0]))
                peer.wait_status(lambda s: s.connections > n_readers and not s.queued and n_paused() == n_readers, timeout=FRAME_S)
                with_them.append(gaps())
                os.write(end[1], b"x")
                others.wait()
                os.close(end[0])
                os.close(end[1])
                peer.wait_status(lambda s: s.connections < n_readers, timeout=FRAME_S)
                alone.append(gaps())
            memory = harness.status_field(daemon.process.pid, "VmHWM")
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.counts["slow_readers"] = n_readers
        self.counts["slow_reader_broker_kib"] = memory
        return {"slow_reader_gap_change": statistics.median(w * 2 / (a + b) for a, w, b in zip(alone, with_them, alone[1:])) - 1}

    def idle(self):
        """Half of them another user's: of what the other has left, each may have half."""
        n_wanted = self.n(10000, 10000, 50)
        soft, hard = most_files()
        # the broker wants an fd for each connection that it may have, and some hundred more
        n = min(n_wanted, (hard - 1200) // 3 * 2 - 64)
        if n < n_wanted:
            self.note(f"the limit of file descriptors ({hard}) leaves room for {n} connections")
        with self.start(1, "--max-connections", str(n * 3 // 2 + 64), "--max-requests", "64") as daemon:
            end = os.pipe()

            def hold():
                peers = [qwp.Peer(daemon.socket) for _ in range(n // 2)]
                qwp.readable(end[0], FRAME_S)
                return len(peers)

            with qwp.Peer(daemon.socket) as watcher:
                for _ in range(50):
                    qwp.Peer(daemon.socket).close()
                watcher.wait_status(lambda s: s.connections == 1, timeout=FRAME_S)
                before = harness.status_field(daemon.process.pid, "VmRSS")
                others = Other(self, hold)
                peers = [qwp.Peer(daemon.socket) for _ in range(n - n // 2 - 1)]
                watcher.wait_status(lambda s: s.connections == n, timeout=FRAME_S)
                after = harness.status_field(daemon.process.pid, "VmRSS")
                os.write(end[1], b"x")
                others.wait()
                for peer in peers:
                    peer.close()
            os.close(end[0])
            os.close(end[1])
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.counts["idle_connections"] = n
        return {"idle_connection_kib": (after - before) / (n - 1)}

    def run(self, parts):
        for part in parts:
            self.part, began = part, time.monotonic()
            names = [name for name, (of, _) in FIGURES.items() if of == part]
            self.figures.update(dict.fromkeys(names))
            try:
                self.figures.update(getattr(self, part)())
            except Exception as error:  # the other parts are still worth having
                self.notes[part] = f"{type(error).__name__}: {error}"[:300]
            print(f"{part}: {time.monotonic() - began:.1f} s", file=sys.stderr)


def report(bench, as_json):
    if as_json:
        print(json.dumps({**bench.figures, "model": os.path.basename(bench.args.model), "cpus": os.cpu_count(),
                          "load": os.getloadavg()[0], "date": str(datetime.date.today()), "quick": bench.args.quick,
                          "scale": bench.args.scale, "counts": bench.counts, "notes": bench.notes}))
        return
    print(f"{os.path.basename(bench.args.model)}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.2f}, {datetime.date.today()}")
    for name, value in bench.figures.items():
        text = "-" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"
        print(f"{name:24} {text:>10}  {FIGURES[name][1]}")
    for part, note in bench.notes.items():
        print(f"note: {part}: {note}")


def parse():
    parser = argparse.ArgumentParser(description="What it is like to be served.")
    demo, tiny = (os.path.join(ROOT, "tests/golden", p) for p in ("demo.gguf", "models/d1-k256/d1-k256-Q4_K_M.gguf"))
    parser.add_argument("model", nargs="?", default=demo if os.path.exists(demo) else tiny)
    parser.add_argument("--build", default="build")
    parser.add_argument("--quick", action="store_true", help="smaller counts: under 8 minutes on the demo model")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--only", default="", metavar="NAME,...", help="figures or parts: " + ", ".join(PARTS))
    parser.add_argument("--context", type=int, default=8192)
    parser.add_argument("--scale", type=float, default=1.0, help="all counts times this, to try the bench itself")
    args = parser.parse_args()
    chosen = [FIGURES[name][0] if name in FIGURES else name for name in args.only.split(",") if name]
    unknown = [name for name in chosen if name not in PARTS]
    if unknown:
        parser.error(f"--only: no figure or part is called {unknown[0]}")
    return args, [part for part in PARTS if not chosen or part in chosen]


def main():
    bench = Bench(ARGS)
    bench.run(CHOSEN)
    report(bench, ARGS.json)


if __name__ == "__main__":
    ARGS, CHOSEN = parse()
    sys.path[:0] = [os.path.join(HERE, "..", "daemon"), os.path.join(ARGS.build, "tests/daemon")]
    os.environ.setdefault("QWEND_BUILD", os.path.abspath(ARGS.build))
    os.environ.setdefault("QWEND_GOLDEN", os.path.join(ROOT, "tests/golden"))
    import fake
    import fakesd
    import harness
    import other_user
    import qwend_pb2 as pb
    import qwp
    import story_store as store
    main()
