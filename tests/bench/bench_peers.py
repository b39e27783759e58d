#!/usr/bin/env python3
"""bench_peers.py - one model file through llama.cpp's llama-bench and through qwend-probe, in turn, on this machine.

    tests/bench/bench_peers.py --probe PROBE --llama-bench PROGRAM MODEL.gguf [--prefill 512] [--decode 64] [--threads N]

The two alternate, so that a machine that slows down (heat, neighbours) slows both; medians of the rounds are compared.
llama-bench runs without GPU offload and with its own defaults otherwise.  Prints a table, the machine and the date.
"""
import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys


def run_json(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"bench_peers.py: {' '.join(command)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def bench_llama(args):
    """(prefill, decode) in tokens per second."""
    rows = run_json([args.llama_bench, "-m", args.model, "-p", str(args.prefill), "-n", str(args.decode), "-ngl", "0",
                     "-t", str(args.threads), "-r", "1", "-o", "json"])
    prefill = next(r["avg_ts"] for r in rows if r["n_prompt"] and not r["n_gen"])
    decode = next(r["avg_ts"] for r in rows if r["n_gen"] and not r["n_prompt"])
    return prefill, decode


def bench_probe(args):
    row = run_json([args.probe, "bench", args.model, "--prefill", str(args.prefill), "--decode", str(args.decode),
                    "--threads", str(args.threads), "--reps", "1", "--json"])
    return row["prefill"]["tok_s"], row["decode"]["tok_s"]


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        name = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "unknown CPU")
    return f"{name}, {os.cpu_count()} logical CPUs, load {os.getloadavg()[0]:.2f}"


def spread(values):
    return f"{statistics.median(values):9.2f}  ({min(values):.2f} … {max(values):.2f})"


def main():
    parser = argparse.ArgumentParser(description="The same file through llama-bench and qwend-probe, in turn.")
    parser.add_argument("model")
    parser.add_argument("--probe", required=True)
    parser.add_argument("--llama-bench", required=True)
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print(f"{machine()}; {datetime.date.today()}; {os.path.basename(args.model)}; {args.threads} threads")
    seen = {"llama.cpp": [], "qwend": []}
    for n in range(args.rounds):
        seen["llama.cpp"].append(bench_llama(args))
        seen["qwend"].append(bench_probe(args))
        print(f"round {n + 1} of {args.rounds} done", file=sys.stderr)
    for at, what in ((0, f"prefill {args.prefill}"), (1, f"decode {args.decode}")):
        for peer, rows in seen.items():
            print(f"{what:12} {peer:10} tok/s {spread([row[at] for row in rows])}")
        ratio = statistics.median(r[at] for r in seen["qwend"]) / statistics.median(r[at] for r in seen["llama.cpp"])
        print(f"{what:12} qwend / llama.cpp {ratio:.2f}")


if __name__ == "__main__":
    main()
