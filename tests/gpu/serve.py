#!/usr/bin/env python3
"""serve.py - the whole service on one machine, above all on one with a GPU: how soon it serves, one stream and many, second turns,
what an interactive request waits for, and what a killed engine costs.

    serve.py --qwend PROGRAM --engine PROGRAM [--backend cuda] [--log FILE] [--quick] [--limit S] [--only PART,...] MODEL.gguf

Lines: "serve NAME VALUE" for each figure (FIGURES says what it is), "ok NAME: ..." or "FAILED NAME: ..." for what must hold on any
machine, for run.sh's report.  Status 1: something failed.  The daemon's log goes to FILE.  Needs Python 3.9 and this repository's
client/python, nothing else: a GPU is often at hand on a bare machine.

Each stream is read by a process of its own, so that Python keeps up with the sum of them; all are forked at the beginning, while
there is one thread.  A part has its time limit and ends with it, and the others are still worth having."""
import argparse
import os
import random
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing import Pipe
from multiprocessing.connection import wait

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "client", "python"))
import qwend  # noqa: E402

FIGURES = {  # name: (part, unit, what)
    "ready_s": ("start", "s", "from the start of the daemon to the engine that serves"),
    "first_ttft_ms": ("start", "ms", "the very first request's first token: kernels are loaded, nothing is known of costs"),
    "engine_peak_mb": ("start", "MB", "most that the first engine had resident, file pages it read included"),
    "engine_read_mb": ("start", "MB", "what it read by read(2)"),
    "one_tok_s": ("one", "tok/s", "one stream, greedy"),
    "one_ttft_ms": ("one", "ms", "its first token, a prompt of some 20 words"),
    "one_gap_p99_ms": ("one", "ms", "99th percentile of the time between two tokens"),
    "one_sampled_tok_s": ("one", "tok/s", "the same with temperature 0.7, top_k 20, top_p 0.95"),
    "eight_tok_s": ("many", "tok/s", "eight streams together"),
    "sixteen_tok_s": ("many", "tok/s", "sixteen streams together"),
    "sixteen_sampled_tok_s": ("many", "tok/s", "the same, sampled as one_sampled_tok_s"),
    "cold_ttft_ms": ("turn2", "ms", "first token behind a chat of the long prompt, nothing cached"),
    "warm_ttft_ms": ("turn2", "ms", "the same as the second turn of that chat"),
    "cold_tok_s": ("turn2", "tok/s", "prompt tokens read, by the cold one's time"),
    "warm_cached_tokens": ("turn2", "", "of its prompt's tokens"),
    "warm_prompt_tokens": ("turn2", "", ""),
    "idle_ttft_ms": ("interactive", "ms", "an interactive request's first token on an idle daemon, median"),
    "busy_ttft_ms": ("interactive", "ms", "the same while another's very long prompt is read, median"),
    "busy_ttft_max_ms": ("interactive", "ms", ""),
    "busy_tries": ("interactive", "", "requests that came while it was read"),
    "stream_gap_max_ms": ("interactive", "ms", "longest gap of a stream meanwhile"),
    "stream_gap_ms": ("interactive", "ms", "its median gap"),
    "long_read_s": ("interactive", "s", "until the very long prompt had its first token"),
    "long_tokens": ("interactive", "", "of it"),
    "kill_to_token_ms": ("kill", "ms", "kill -9 of the engine under eight streams: to the next token, median of them"),
    "kill_to_token_max_ms": ("kill", "ms", "the last of them"),
    "kill_to_serving_ms": ("kill", "ms", "to the next engine that serves, weights taken over"),
    "kill_same": ("kill", "", "of the eight answers, how many ended as undisturbed: on a GPU, prompts cut otherwise have other bits"),
    "restart_ms": ("restart", "ms", "kill -9 of an idle engine: to the next one that serves"),
    "restart_ttft_ms": ("restart", "ms", "and to the first token of a request sent then"),
    "restart_peak_mb": ("restart", "MB", "most that the next engine had resident"),
    "restart_read_mb": ("restart", "MB", "what it read by read(2)"),
    "stop_s": ("stop", "s", "from SIGTERM to the daemon's end"),
}
PARTS = list(dict.fromkeys(part for part, _, _ in FIGURES.values()))
SLOTS, KILLED = 16, 8
WORDS = "river stone lamp paper window engine garden winter copper market signal bridge letter silver forest harbour".split()
GREEDY = {"thinking": False, "ignore_eos": True, "want_ids": True, "temperature": 0.0, "no_cache": True}
SAMPLED = {**GREEDY, "temperature": 0.7, "top_k": 20, "top_p": 0.95, "seed": 1}
SERVES = r"engine (\d+) serves"
failed = []


def words(n, seed):
    """n words that no other seed begins with."""
    draw = random.Random(seed)
    return f"{seed} " + " ".join(draw.choice(WORDS) for _ in range(n))


def check(ok, name, text):
    print(f"{'ok' if ok else 'FAILED'} {name}: {text}", flush=True)
    if not ok:
        failed.append(name)


def show(**figures):
    for name, value in figures.items():
        print(f"serve {name} {value if isinstance(value, int) else format(value, '.1f')}", flush=True)


# ---- processes beside the main one

class Asked:
    """What became of a request: when each token came, which, and when it went on after its engine's death."""

    def __init__(self):
        self.sent, self.times, self.ids, self.resumed, self.usage = time.monotonic(), [], [], [], None

    def ttft(self):
        return self.times[0] - self.sent

    def rate(self):
        return (len(self.times) - 1) / (self.times[-1] - self.times[0])

    def gaps(self):
        return [b - a for a, b in zip(self.times, self.times[1:])]


def ask(q, prompt, n_tokens, on_token=None, **options):
    asked = Asked()
    with q.stream(prompt, max_tokens=n_tokens, **{**GREEDY, **options}) as stream:
        for event in stream:
            ids = getattr(event, "ids", None)
            if ids:
                asked.times += [time.monotonic()] * len(ids)
                asked.ids += ids
                if on_token:
                    on_token(len(asked.ids))
            elif event.type == "resumed":
                asked.resumed.append((time.monotonic(), event.from_token, len(asked.ids)))
    asked.usage = stream.usage.asdict()
    return asked


def child(work):
    """Forks: (pid, our end of the pipe that work() has)."""
    ours, theirs = Pipe()
    pid = os.fork()
    if not pid:
        ours.close()
        try:
            work(theirs)
        finally:
            os._exit(0)
    theirs.close()
    return pid, ours


def reader(pipe):
    """Requests, one at a time: (socket, prompt, n_tokens, mark, options) -> "up", and after "go" perhaps "mark", then an Asked."""
    while True:
        path, prompt, n_tokens, mark, options = pipe.recv()
        told = False

        def on_token(n):
            nonlocal told
            if mark is not None and n >= mark and not told:
                told = True
                pipe.send("mark")

        try:
            with qwend.connect(path) as q:
                pipe.send("up")
                pipe.recv()
                if mark == 0:
                    on_token(0)
                pipe.send(ask(q, prompt, n_tokens, on_token, **options))
        except Exception as error:  # the main process says it
            pipe.send(f"{type(error).__name__}: {error}")


class Readers:
    def __init__(self, n):
        self.children = [child(reader) for _ in range(n)]

    def begin(self, daemon, jobs):
        """[(prompt, n_tokens, mark, options)], all sent at one moment; their pipes."""
        pipes = [pipe for _, pipe in self.children[:len(jobs)]]
        for pipe, job in zip(pipes, jobs):
            pipe.send((daemon.socket, *job))
        for pipe in pipes:
            self.expect(pipe, "up")
        for pipe in pipes:
            pipe.send("go")
        return pipes

    def expect(self, pipe, wanted):
        """The next thing that it says, which is not that it failed."""
        got = pipe.recv()
        if got != wanted if wanted else isinstance(got, str):
            raise RuntimeError(f"a stream ended with {got!r}")
        return got

    def run(self, daemon, jobs, on_marked=None):
        """The Asked of all; on_marked() once all have come to their mark."""
        pipes = self.begin(daemon, jobs)
        left, n_marked, done = set(pipes), 0, {}
        while left:
            for pipe in wait(left):
                got = pipe.recv()
                if got == "mark":
                    n_marked += 1
                    if n_marked == len(jobs) and on_marked:
                        on_marked()
                elif isinstance(got, str):
                    raise RuntimeError(f"a stream ended with {got}")
                else:
                    done[pipe] = got
                    left.discard(pipe)
        return [done[pipe] for pipe in pipes]

    def close(self):
        for pid, pipe in self.children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            pipe.close()


class Daemon:
    """A qwend in a folder of its own; its log lines with their times."""

    def __init__(self, args):
        self.folder = tempfile.mkdtemp(prefix="qwend-serve-")
        self.socket = os.path.join(self.folder, "qwend.sock")
        config = os.path.join(self.folder, "qwend.conf")
        with open(config, "w", encoding="utf-8") as f:
            f.write("[daemon]\n")
        stderr, self.stderr = os.pipe()
        with open(args.log, "ab") as log:
            self.follower, self.news = child(lambda pipe: self.follow(stderr, log, pipe))
        os.close(stderr)
        self.lines, self.begun = [], time.monotonic()
        self.process = subprocess.Popen(
            [args.qwend, "--socket", self.socket, "--model", args.model, "--engine", args.engine, "--backend", args.backend,
             "--slots", str(SLOTS), "--context", str(args.context), "--config", config, *(["--allow-root"] if os.geteuid() == 0 else [])],
            stdin=subprocess.DEVNULL, stderr=self.stderr)
        os.close(self.stderr)

    def follow(self, stderr, log, pipe):
        os.close(self.stderr)
        with os.fdopen(stderr, "rb") as lines:
            for line in lines:
                pipe.send((time.monotonic(), line.decode("utf-8", "replace").rstrip("\n")))
                log.write(line)
                log.flush()

    def wait_line(self, pattern, after=0.0):
        """(time, line) of the first that matches and came after that moment."""
        n = 0
        while True:
            for at, line in self.lines[n:]:
                if at > after and re.search(pattern, line):
                    return at, line
            n = len(self.lines)
            try:
                self.lines.append(self.news.recv())
            except EOFError:
                raise RuntimeError("the daemon ended: " + " / ".join(line for _, line in self.lines[-3:])) from None

    def stop(self):
        self.process.terminate()
        return self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.waitpid(self.follower, 0)
        shutil.rmtree(self.folder, ignore_errors=True)


def engine_memory(pid):
    """(most resident MB, MB by read(2))"""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM:"))
    with open(f"/proc/{pid}/io", encoding="ascii") as f:
        read = next(int(line.split()[1]) for line in f if line.startswith("rchar:"))
    return peak * 1024 / 1e6, read / 1e6


def card():
    """What a GPU holds now, to be said behind something else; "" where there is none."""
    program = shutil.which("nvidia-smi")
    if not program:
        return ""
    done = subprocess.run([program, "--query-gpu=memory.used", "--format=csv,noheader"], capture_output=True, text=True, timeout=10)
    return f"; the card holds {done.stdout.strip()}"


# ---- the parts

class Serve:
    def __init__(self, args):
        self.args, self.seed, self.n_tokens_word = args, 0, None
        self.readers, self.daemon = Readers(SLOTS), Daemon(args)

    def n(self, full, quick):
        return quick if self.args.quick else full

    def connect(self):
        return qwend.connect(self.daemon.socket)

    def fresh(self, n_words=20):
        """A prompt that nobody has sent before."""
        self.seed += 1
        return words(n_words, self.seed)

    def document(self, q, n_tokens):
        if not self.n_tokens_word:
            self.n_tokens_word = q.count(words(400, 0)) / 400
        return self.fresh(int(n_tokens / self.n_tokens_word))

    def start(self):
        at, line = self.daemon.wait_line(SERVES)
        show(ready_s=at - self.daemon.begun)
        with self.connect() as q:
            status = q.status()
            check(status.state == "serving" and (self.args.backend in ("auto", status.backend)), "serves",
                  f"{line.split('qwend: ', 1)[-1]}; {status.weights_bytes >> 20} MiB of weights, {status.state_bytes >> 20} of state, "
                  f"{status.cache_bytes >> 20} for the cache{card()}")
            show(first_ttft_ms=ask(q, self.fresh(), 4).ttft() * 1e3)
            peak, read = engine_memory(status.engine_pid)
            show(engine_peak_mb=peak, engine_read_mb=read)

    def one(self):
        with self.connect() as q:
            ask(q, self.fresh(), self.n(32, 8))
            greedy = ask(q, self.fresh(), self.n(256, 32))
            gaps = sorted(greedy.gaps())
            show(one_tok_s=greedy.rate(), one_ttft_ms=greedy.ttft() * 1e3, one_gap_p99_ms=gaps[len(gaps) * 99 // 100] * 1e3,
                 one_sampled_tok_s=ask(q, self.fresh(), self.n(256, 32), **SAMPLED).rate())

    def many(self):
        for name, n_streams, how in (("eight_tok_s", 8, GREEDY), ("sixteen_tok_s", 16, GREEDY), ("sixteen_sampled_tok_s", 16, SAMPLED)):
            for n_tokens in (8, self.n(256, 32)):   # the first time a step of this size is built
                streams = self.readers.run(self.daemon, [(self.fresh(), n_tokens, None, how) for _ in range(n_streams)])
            begin, end = max(s.times[0] for s in streams), min(s.times[-1] for s in streams)
            if begin >= end:    # they hardly met
                begin, end = min(s.times[0] for s in streams), max(s.times[-1] for s in streams)
            show(**{name: sum(begin < t <= end for s in streams for t in s.times) / (end - begin)})

    def turn2(self):
        warm, cold = [], []
        with self.connect() as q:
            for _ in range(self.n(3, 1)):
                first = ("user", self.document(q, self.n(4096, 512)))
                answer = ask(q, [first], 16, no_cache=False)
                turn = [first, ("assistant", q.detokenize(answer.ids) or "yes"), ("user", "And what else?")]
                cold.append(ask(q, turn, 4))
                warm.append(ask(q, turn, 4, no_cache=False))
        ttft = statistics.median(s.ttft() for s in cold)
        usage = warm[-1].usage
        show(cold_ttft_ms=ttft * 1e3, warm_ttft_ms=statistics.median(s.ttft() for s in warm) * 1e3,
             cold_tok_s=cold[-1].usage["prompt_tokens"] / cold[-1].ttft(),
             warm_cached_tokens=usage["cached_tokens"], warm_prompt_tokens=usage["prompt_tokens"])
        check(usage["cached_tokens"] > usage["prompt_tokens"] // 2, "turn2", "the second turn finds the first one")

    def interactive(self):
        def keystroke(q):
            return ask(q, self.fresh(10), 4, priority="interactive").ttft()

        with self.connect() as q:
            idle = [keystroke(q) for _ in range(self.n(20, 5))]
            text = self.document(q, min(self.n(16384, 2048), self.args.context * 3 // 4))
            # the stream first; once it runs, the long prompt; once the stream has gone on beside it, keystrokes
            stream, = self.readers.begin(self.daemon, [(self.fresh(), self.args.context // 4, 8, {})])
            self.readers.expect(stream, "mark")
            pid, pipe = self.readers.children[1]
            pipe.send((self.daemon.socket, text, 1, 0, {}))
            self.readers.expect(pipe, "up")
            pipe.send("go")
            self.readers.expect(pipe, "mark")
            busy = [keystroke(q)]
            while not wait([pipe], 0) and len(busy) < 1000:
                busy.append(keystroke(q))
            long = self.readers.expect(pipe, None)
            q.cancel()  # the stream, whatever is left of it
            streamed = self.readers.expect(stream, None)
        begin, end = long.sent, long.times[0]
        gaps = [b - a for a, b in zip(streamed.times, streamed.times[1:]) if b > begin and a < end]
        show(idle_ttft_ms=statistics.median(idle) * 1e3, busy_ttft_ms=statistics.median(busy) * 1e3, busy_ttft_max_ms=max(busy) * 1e3,
             busy_tries=len(busy), long_read_s=long.ttft(), long_tokens=long.usage["prompt_tokens"],
             stream_gap_ms=statistics.median(streamed.gaps()) * 1e3)
        if gaps:    # else it was over before
            show(stream_gap_max_ms=max(gaps) * 1e3)

    def kill(self):
        n_tokens, mark = self.n(400, 600), 32     # few enough, so that the kill finds what is left of all
        jobs = [(self.fresh(), n_tokens, mark, {}) for _ in range(KILLED)]
        alone = self.readers.run(self.daemon, jobs)
        killed_at = []
        with self.connect() as q:
            pid = q.status().engine_pid

        def kill():
            killed_at.append(time.monotonic())
            os.kill(pid, signal.SIGKILL)

        hit = self.readers.run(self.daemon, jobs, kill)
        at, line = self.daemon.wait_line(SERVES, killed_at[0])
        after = [min(t for t in s.times if t > s.resumed[0][0]) - killed_at[0] for s in hit if s.resumed]
        whole = sum(len(s.ids) == n_tokens and all(tok == n for _, tok, n in s.resumed) for s in hit)
        kept = sum(s.ids[:s.resumed[0][2]] == a.ids[:s.resumed[0][2]] for s, a in zip(hit, alone) if s.resumed)
        check(after and whole == KILLED, "kill",
              f"{len(after)} of {KILLED} streams were hit and went on, {kept} as undisturbed until then; no token lost or twice in {whole}")
        check("weights taken over" in line, "kill-weights", line.split("qwend: ", 1)[-1])
        show(kill_to_token_ms=statistics.median(after) * 1e3, kill_to_token_max_ms=max(after) * 1e3,
             kill_to_serving_ms=(at - killed_at[0]) * 1e3, kill_same=sum(s.ids == a.ids for s, a in zip(hit, alone)))

    def restart(self):
        with self.connect() as q:
            pid, size = q.status().engine_pid, os.path.getsize(self.args.model)
            killed_at = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            at, line = self.daemon.wait_line(SERVES, killed_at)
            ask(q, self.fresh(), 4)
            token_at = time.monotonic()
            status = q.status()
        peak, read = engine_memory(status.engine_pid)
        show(restart_ms=(at - killed_at) * 1e3, restart_ttft_ms=(token_at - killed_at) * 1e3, restart_peak_mb=peak, restart_read_mb=read)
        check(status.weights_adopted and read < size / 2e6, "restart",
              f"{line.split('qwend: ', 1)[-1]}; the file has {size / 1e6:.0f} MB{card()}")

    def stop(self):
        begun = time.monotonic()
        status = self.daemon.stop()
        show(stop_s=time.monotonic() - begun)
        check(status == 0, "stop", f"status {status}")

    def run(self, parts):
        for part in parts:
            begun = time.monotonic()
            left = min(self.args.limit_part, self.args.until - begun)
            if left <= 0:
                check(False, part, "no time is left for it")
                continue
            signal.setitimer(signal.ITIMER_REAL, left)
            try:
                getattr(self, part)()
            except Exception as error:  # the other parts are still worth having
                check(False, part, f"{type(error).__name__}: {error}"[:400])
                self.readers.close()
                self.readers = Readers(SLOTS)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            print(f"part {part}: {time.monotonic() - begun:.1f} s", flush=True)

    def close(self):
        self.readers.close()
        self.daemon.close()


def parse():
    parser = argparse.ArgumentParser(description="The whole service on one machine.")
    parser.add_argument("model")
    parser.add_argument("--qwend", required=True)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--backend", default="cuda")
    parser.add_argument("--context", type=int, default=32768)
    parser.add_argument("--log", default=os.devnull, help="where the daemon's lines go")
    parser.add_argument("--quick", action="store_true", help="small counts, to try this program itself")
    parser.add_argument("--limit", type=float, default=90, help="seconds of all parts")
    parser.add_argument("--limit-part", type=float, default=40, help="seconds of one part")
    parser.add_argument("--only", default="", metavar="PART,...", help=", ".join(PARTS) + "; start is always done")
    args = parser.parse_args()
    chosen = [part for part in args.only.split(",") if part]
    unknown = [part for part in chosen if part not in PARTS]
    if unknown:
        parser.error(f"--only: no part is called {unknown[0]}")
    args.until = time.monotonic() + args.limit
    return args, [part for part in PARTS if not chosen or part in chosen or part == "start"]


def late(*unused):
    raise TimeoutError("its time is up")


def main():
    args, parts = parse()
    signal.signal(signal.SIGALRM, late)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve = Serve(args)
    try:
        serve.run(parts)
    finally:
        serve.close()
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
