#!/usr/bin/env python3
"""bench_service.py - what the service costs beyond the model: a private qwend, asked through qwenctl.

    tests/bench/bench_service.py --build build [--asks 40] [--context N] MODEL.gguf

Prints: load time; memory of broker and engine (VmHWM); what one `qwenctl ask` takes over the engine's own time (process
start, connect, hello, answer, exit: the wall clock of qwenctl less prefill and decode as the daemon reports them);
speeds through the socket; context switches and CPU time of the idle daemon over a few seconds.
"""
import argparse
import datetime
import json
import os
import select
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "daemon"))
from harness import Qwend, status_field  # noqa: E402

IDLE_S = 5.0        # long enough for one missed periodic timer of a second to show five times


def ask(qwend, prompt, n):
    """(wall ms, the end object of --json)."""
    began = time.monotonic()
    done = qwend.ctl("ask", "--json", "--no-think", "--max-tokens", str(n), "--seed", "1", prompt)
    wall = (time.monotonic() - began) * 1e3
    if done.returncode != 0:
        sys.exit(f"bench_service.py: qwenctl: exit {done.returncode}: {done.stderr}")
    return wall, json.loads(done.stdout)


def bench_overhead(qwend, n_asks):
    extra = []
    for _ in range(n_asks):
        wall, end = ask(qwend, "Why is the sky blue?", 4)
        extra.append(wall - engine_ms(end["timing"]))
    extra.sort()
    print(f"qwenctl ask over the engine's own time: median {statistics.median(extra):.2f} ms, "
          f"p90 {extra[int(len(extra) * 0.9)]:.2f} ms, n = {n_asks}")


def engine_ms(timing):
    return timing["prefill_ms"] + timing["decode_ms"]


def bench_speed(qwend, n_prompt_words, n_tokens):
    _, end = ask(qwend, "word " * n_prompt_words, n_tokens)
    usage, timing = end["usage"], end["timing"]
    print(f"through the socket: prefill {usage['prompt']} tok at {usage['prompt'] / timing['prefill_ms'] * 1e3:.1f} tok/s, "
          f"decode {usage['output']} tok at {timing['tok_s']:.1f} tok/s")


def idle_sample(pids):
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    switches = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            switches += status_field(f"{pid}/task/{task}", "voluntary_ctxt_switches")
    return ticks, switches


def bench_idle(qwend):
    pids = [qwend.process.pid, qwend.engine_pid()]
    ticks, switches = idle_sample(pids)
    select.select([], [], [], IDLE_S)
    after_ticks, after_switches = idle_sample(pids)
    print(f"idle for {IDLE_S:.0f} s: {after_switches - switches} context switches, "
          f"{(after_ticks - ticks) * 1000 // os.sysconf('SC_CLK_TCK')} ms of CPU (broker and engine, all threads)")


def wait_loaded(qwend):
    """`ask` waits for the model itself; the first one says how long that took."""
    began = time.monotonic()
    ask(qwend, "Hi", 1)
    return time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description="What the service costs beyond the model.")
    parser.add_argument("model")
    parser.add_argument("--build", default="build")
    parser.add_argument("--asks", type=int, default=40)
    parser.add_argument("--words", type=int, default=400, help="length of the prompt whose prefill is timed")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--context", default="4096")
    args = parser.parse_args()
    with Qwend(args.model, "--context", args.context, build=args.build) as qwend:
        loaded = wait_loaded(qwend)
        print(f"{os.path.basename(args.model)}, {os.cpu_count()} CPUs, {datetime.date.today()}")
        print(f"ready for the first answer {loaded:.2f} s after the socket was")
        bench_overhead(qwend, args.asks)
        bench_speed(qwend, args.words, args.tokens)
        print(f"memory at its highest: broker {status_field(qwend.process.pid, 'VmHWM') / 1024:.0f} MiB, "
              f"engine {status_field(qwend.engine_pid(), 'VmHWM') / 1024:.0f} MiB")
        bench_idle(qwend)


if __name__ == "__main__":
    main()
