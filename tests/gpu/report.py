#!/usr/bin/env python3
"""report.py - what tests/gpu/run.sh found, as Markdown.

    report.py DIR gpu|emu

Reads DIR/*.log, writes DIR/report.md, prints it.  Status 1 if anything failed, or if nothing was checked.  Standard library only.
"""
import os
import re
import sys

DIR, MODE = sys.argv[1:3]


def log(name):
    try:
        with open(os.path.join(DIR, name + ".log"), encoding="utf-8", errors="replace") as f:
            return f.read().splitlines()
    except FileNotFoundError:
        return []


def names():
    done = os.path.join(DIR, "done")
    return sorted(os.listdir(done), key=lambda n: os.path.getmtime(os.path.join(done, n)))


def failed_steps():
    try:
        with open(os.path.join(DIR, "failed"), encoding="utf-8") as f:
            return f.read().splitlines()
    except FileNotFoundError:
        return []


def peak_gb_s():
    """Of the card, by the clock and width that are known of it; 0: not known."""
    known = {"H100 PCIe": 2039, "H100": 3350, "H200": 4800, "A100": 2039, "RTX 5090": 1792, "RTX 4090": 1008, "RTX 3090": 936,
             "RTX 4060 Ti": 288, "RTX 3060": 360}
    text = " ".join(log("machine"))
    return next((v for k, v in known.items() if k in text), 0)


def checks():
    """(step, ok lines, FAILED lines) of each step that has any."""
    for name in names():
        lines = log(name)
        ok = [line for line in lines if line.startswith("ok ")]
        bad = [line for line in lines if line.startswith("FAILED ")]
        if ok or bad:
            yield name, ok, bad


def speed_table():
    rows = [m.groups() for m in (re.match(r"speed (\S+) (\S+)$", line) for line in log("speed")) if m]
    if rows:
        yield from ("", "## Speed", "| what | tokens a second |", "|---|--:|")
        yield from (f"| {what} | {float(value):,.1f} |" for what, value in rows)


def stage_table():
    rows = [m.groups() for m in (re.match(r"stage (\S+) (\S+) (\S+) (\S+)$", line) for line in log("speed")) if m]
    peak = peak_gb_s()
    if rows:
        share = f" | of {peak} GB/s" if peak else ""
        yield from ("", "## Stages, a step", f"| phase | stage | µs | GB/s{share} |", "|---|---|--:|--:|" + ("--:|" if peak else ""))
        for phase, name, us, gb in rows:
            yield f"| {phase} | {name} | {us} | {gb}" + (f" | {100 * float(gb) / peak:.0f} %" if peak else "") + " |"


def report():
    found = list(checks())
    n_ok, n_bad = sum(len(ok) for _, ok, _ in found), sum(len(bad) for _, _, bad in found)
    yield "# CUDA backend on a GPU" if MODE == "gpu" else "# CUDA backend, rehearsed in the emulation (no speeds of a GPU)"
    yield ""
    yield from (f"    {line}" for line in log("machine"))
    yield ""
    yield f"{n_ok} checks passed, {n_bad} failed; steps: {', '.join(names())}"
    if n_bad or failed_steps():
        yield from ("", "## Failures")
        yield from (f"- step {line}" for line in failed_steps())
        yield from (f"- {name}: {line}" for name, _, bad in found for line in bad)
    yield from ("", "## Models")
    yield from (f"- {line}" for name, ok, _ in found if name.startswith("model-") for line in ok)
    yield from ("", "## Memory that outlives its maker")
    yield from (f"- {line}" for line in log("keep"))
    yield from speed_table()
    yield from stage_table()
    if log("llama"):
        yield from ("", "## llama.cpp beside it", "```", *log("llama")[-8:], "```")


def main():
    found = list(checks())
    text = "\n".join(report()) + "\n"
    with open(os.path.join(DIR, "report.md"), "w", encoding="utf-8") as f:
        f.write(text)
    print(text)
    return int(bool(failed_steps()) or any(bad for _, _, bad in found) or not any(ok for _, ok, _ in found))


if __name__ == "__main__":
    sys.exit(main())
