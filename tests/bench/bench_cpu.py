#!/usr/bin/env python3
"""bench_cpu.py - the CPU backend against this machine's limit and against its peers, in turn, in one run.

    tests/bench/bench_cpu.py --build build [--quick] [--json] [--llama-bench PROGRAM] [--ik-bench PROGRAM]
                             [--threads N] [--rounds N] [--isa NAME] [MODEL.gguf]

Without MODEL a file of the 9B's shape and type mix with random weights is written into the build folder, 5.6 GB
(--quick: its first 8 layers, 2.5 GB), and kept.  In each round every engine runs once, so that a machine whose
neighbours change slows all of them; ratios are taken within a round, then the median, the least and the most of the
rounds.  llama.cpp runs without GPU offload, ik_llama.cpp with -rtr too, both else with their defaults.

    decode_share          bytes a token needs (weights, states, KV) x tokens/s, of a plain read by the same threads
    decode_vs_llama, _ik  tokens/s, one stream              prefill512_vs_llama, _ik   tokens/s, a prompt of 512
    batch8_ratio          tokens/s of 8 streams to those of one
    verify3_ratio         time of a step of 3 rows to that of one
    barriers              phases of a token that more than one thread shares: what all wait for
    rss_ratio             peak resident memory to weights + states, as `qwend-probe inspect` counts them
    load_ratio            opening the model to a plain read of its file, each with the file not in the page cache
"""
import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import time

PREFILL = 512
STREAMS = (1, 3, 8)
BAR = 30


def complain(text):
    sys.exit(f"bench_cpu.py: {text}")


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        complain(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def model_of(args):
    if args.model:
        return args.model
    path = os.path.join(args.build, "bench-8-layers.gguf" if args.quick else "bench-9b.gguf")
    if not os.path.exists(path):
        random = os.path.join(args.build, "tests/bench/random_gguf")
        vocab = os.path.join(os.path.dirname(__file__), "../golden/tokenizer/vocab-big.gguf")
        run([random, "--vocab-file", vocab, *(["--layers", "8"] if args.quick else []), path + ".new"])
        os.rename(path + ".new", path)
    return path


def read_cold(path, drop_only=False):
    """Seconds of a plain read of a file that is not in the page cache; drop_only: only leaves it so."""
    with open(path, "rb", buffering=0) as f:
        os.fsync(f.fileno())
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if drop_only:
            return 0.0
        block = bytearray(4 << 20)
        start = time.monotonic()
        while f.readinto(block):
            pass
        return time.monotonic() - start


def peer(program, args, model, more):
    """(prefill, decode) in tokens per second."""
    rows = json.loads(run([program, "-m", model, "-p", str(PREFILL), "-n", str(args.decode), "-ngl", "0", "-t",
                           str(args.threads), "-r", "1", "-o", "json", *more]))
    try:
        prefill = next(r["avg_ts"] for r in rows if r["n_prompt"] and not r["n_gen"])
        decode = next(r["avg_ts"] for r in rows if r["n_gen"] and not r["n_prompt"])
    except (StopIteration, KeyError, TypeError):
        complain(f"{program}: its JSON has no prefill and decode figures")
    return prefill, decode


def one_round(args, model, total_bytes):
    """One of everything; {"figure": value}, what the probe said."""
    read_s = read_cold(model)
    read_cold(model, drop_only=True)
    own = json.loads(run([args.probe, "bench", model, "--prefill", str(PREFILL), "--decode", str(args.decode), "--rows",
                          ",".join(map(str, STREAMS)), "--reps", str(args.reps), "--threads", str(args.threads), "--stages",
                          "--json", *(["--isa", args.isa] if args.isa else [])]))
    rate = {r["rows"]: r["tok_s"] for r in own["decode_rows"]}
    token_gb = sum(s["mb"] for s in own["decode_stages"]) / 1e3
    figures = {
        "prefill512_tok_s": own["prefill"]["tok_s"],
        "decode_tok_s": rate[1],
        "read_gb_s": own["read_gb_s"],
        "decode_share": rate[1] * token_gb / own["read_gb_s"],
        "batch8_ratio": rate[8] / rate[1],
        "verify3_ratio": 3 * rate[1] / rate[3],
        "barriers": sum(s["shared"] for s in own["decode_stages"]),
        "rss_ratio": own["peak_rss_kib"] * 1024 / total_bytes,
        "load_ratio": own["load_s"] / read_s,
    }
    for name, program, more in (("llama", args.llama_bench, []), ("ik", args.ik_bench, ["-rtr", "1"])):
        if program:
            prefill, decode = peer(program, args, model, more)
            figures.update({f"{name}_prefill512_tok_s": prefill, f"{name}_decode_tok_s": decode,
                            f"prefill512_vs_{name}": own["prefill"]["tok_s"] / prefill,
                            f"decode_vs_{name}": rate[1] / decode})
    return figures, own


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        name = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), "unknown CPU")
    return f"{name}, {os.cpu_count()} logical CPUs, load {os.getloadavg()[0]:.2f}"


def figure_table(figures):
    yield "| figure | median | least | most |"
    yield "|---|---:|---:|---:|"
    for name, f in figures.items():
        yield f"| `{name}` | {f['median']:.3g} | {f['least']:.3g} | {f['most']:.3g} |"


def stage_table(own):
    """Where the time of a token goes, and how near to the plain read each stage is."""
    total = sum(s["us"] for s in own["decode_stages"])
    yield f"| stage | time | GB/s | share of a plain read of {own['read_gb_s']:.1f} GB/s |"
    yield "|---|---:|---:|---|"
    for s in own["decode_stages"]:
        share = s["gb_s"] / own["read_gb_s"] if own["read_gb_s"] else 0
        bar = "█" * min(round(share * BAR), BAR + BAR // 3)
        yield f"| {s['stage']} | {s['us'] / total:.1%} | {s['gb_s']:.1f} | {bar} {share:.0%} |"


def main():
    parser = argparse.ArgumentParser(description="The CPU backend against the memory's limit and its peers.")
    parser.add_argument("model", nargs="?")
    parser.add_argument("--build", default="build")
    parser.add_argument("--quick", action="store_true", help="one round of few tokens, a model of 8 layers")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--llama-bench")
    parser.add_argument("--ik-bench")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--isa", help="instruction set of the CPU kernels, instead of the best")
    args = parser.parse_args()
    args.probe = os.path.join(args.build, "daemon/probe/qwend-probe")
    args.decode, args.reps = (8, 2) if args.quick else (32, 1)
    rounds = args.rounds or (1 if args.quick else 5)
    if args.threads < 1 or rounds < 1:
        complain("--threads and --rounds are at least 1")
    model = model_of(args)
    inspected = json.loads(run([args.probe, "inspect", model, "--json", "--slots", str(max(STREAMS)), "--ctx",
                                str(PREFILL + len(STREAMS) * args.decode)]))
    seen, own = [], None
    for n in range(rounds):
        figures, own = one_round(args, model, inspected["model"]["memory"]["total"])
        seen.append(figures)
        print(f"round {n + 1} of {rounds} done", file=sys.stderr)
    figures = {name: {"median": statistics.median(r[name] for r in seen), "least": min(r[name] for r in seen),
                      "most": max(r[name] for r in seen)} for name in seen[0]}
    about = {"machine": machine(), "date": str(datetime.date.today()), "model": os.path.basename(model),
             "isa": own["isa"], "threads": args.threads, "rounds": rounds}
    if args.json:
        print(json.dumps({**about, **figures, "decode_stages": own["decode_stages"],
                          "prefill_stages": own["prefill_stages"]}))
        return
    print("; ".join(f"{k} {v}" for k, v in about.items()), "", *figure_table(figures), "", *stage_table(own), sep="\n")


if __name__ == "__main__":
    main()
