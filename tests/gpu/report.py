#!/usr/bin/env python3
"""report.py - what tests/gpu/run.sh found, as Markdown.

    report.py DIR gpu|emu

Reads DIR/*.log, writes DIR/report.md, prints it.  Status 1 if anything failed, or if nothing was checked.  Standard library only.
"""
import csv
import os
import re
import statistics
import sys

from serve import FIGURES

DIR, MODE = sys.argv[1:3]


def log(name):
    try:
        with open(os.path.join(DIR, name + ".log"), encoding="utf-8", errors="replace") as f:
            return f.read().splitlines()
    except FileNotFoundError:
        return []


def names():
    """Of the steps that were taken, in their order."""
    try:
        with open(os.path.join(DIR, "steps"), encoding="utf-8") as f:
            return f.read().splitlines()
    except FileNotFoundError:
        return []


def failed_steps():
    try:
        with open(os.path.join(DIR, "failed"), encoding="utf-8") as f:
            return f.read().splitlines()
    except FileNotFoundError:
        return []


def read_gb_s():
    """What a plain read of the weights got, in the same run; 0: nothing was measured."""
    return max((float(m[1]) for m in (re.match(r"read (\S+)$", line) for line in log("speed")) if m), default=0.0)


def checks():
    """(step, ok lines, FAILED lines) of each step that has any."""
    for name in names():
        lines = log(name)
        ok = [line for line in lines if line.startswith("ok ")]
        bad = [line for line in lines if line.startswith("FAILED ")]
        if ok or bad:
            yield name, ok, bad


def speeds():
    """{what: tokens a second}"""
    return {m[1]: float(m[2]) for m in (re.match(r"speed (\S+) (\S+)$", line) for line in log("speed")) if m}


def stages():
    """[(phase, stage, us, GB/s)], a step each"""
    found = (re.match(r"stage (\S+) (\S+) (\S+) (\S+)$", line) for line in log("speed"))
    return [(m[1], m[2], float(m[3]), float(m[4])) for m in found if m]


def speed_table():
    found = speeds()
    if found:
        yield from ("", "## Speed", "| what | tokens a second |", "|---|--:|")
        yield from (f"| {what} | {value:,.1f} |" for what, value in found.items())


def ratio_table():
    """What the design's goals are about."""
    found, plain = speeds(), read_gb_s()
    one = found.get("decode-1-at-0")
    if not one:
        return
    yield from ("", "## Ratios", "| what | ratio |", "|---|--:|")
    n_bytes = sum(us * gb * 1e3 for phase, _, us, gb in stages() if phase == "decode-1")
    if plain and n_bytes:
        yield f"| one sequence: {n_bytes / 1e6:,.0f} MB a token, of a plain read's {plain:,.0f} GB/s | {n_bytes * one / 1e9 / plain:.3f} |"
    for what, value in found.items():
        m = re.match(r"decode-(\d+)-at-(\d+)$", what)
        if m and what != "decode-1-at-0" and m[1] in ("1", "16"):
            yield f"| {m[1]} at {m[2]} / 1 at 0 | {value / one:.2f} |"
    served = services()
    for name, what in (("one_tok_s", "decode-1-at-0"), ("one_sampled_tok_s", "decode-1-at-0"), ("eight_tok_s", "decode-8-at-0"),
                       ("sixteen_tok_s", "decode-16-at-0"), ("sixteen_sampled_tok_s", "decode-16-at-0")):
        if name in served and what in found:
            yield f"| through the daemon, {name} / {what} | {served[name] / found[what]:.2f} |"


def services():
    """{figure: value} of serve.py"""
    return {m[1]: float(m[2]) for m in (re.match(r"serve (\S+) (\S+)$", line) for line in log("serve")) if m}


def stage_table():
    rows, plain = stages(), read_gb_s()
    if not rows:
        return
    yield from ("", "## Stages, a step",
                "| phase | stage | µs | of the step | GB/s |" + (f" of a read's {plain:,.0f} |" if plain else ""),
                "|---|---|--:|--:|--:|" + ("--:|" if plain else ""))
    for phase, name, us, gb in rows:
        step = sum(other for of, _, other, _ in rows if of == phase)
        yield (f"| {phase} | {name} | {us:,.0f} | {100 * us / step:.0f} % | {gb:,.0f} |" +
               (f" {100 * gb / plain:.0f} % |" if plain else ""))


def kernels(step):
    """{(kernel, its grid): [us]} of what ncu saw."""
    units = {"ns": 1e-3, "nsecond": 1e-3, "us": 1.0, "usecond": 1.0, "ms": 1e3, "msecond": 1e3, "s": 1e6, "second": 1e6}
    lines = log(step)
    head = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), len(lines))
    found = {}
    for row in csv.DictReader(lines[head:]):
        if row.get("Metric Name") == "gpu__time_duration.sum" and row["Metric Unit"] in units:
            name = re.sub(r"\(.*", "", re.sub(r"^void ", "", row["Kernel Name"]))
            us = float(row["Metric Value"].replace(",", "")) * units[row["Metric Unit"]]
            found.setdefault((name, row["Grid Size"]), []).append(us)
    return found


def kernel_tables():
    for step in names():
        found = kernels(step) if step.startswith("profile-") else {}
        total = sum(sum(us) for us in found.values())
        if not total:
            continue
        n = sum(len(us) for us in found.values())
        yield from ("", f"## Kernels of a step: {step[8:]}", f"{n} launches, {total:,.0f} µs by ncu, gaps not counted", "",
                    "| kernel | grid | launches | µs each | µs | share |", "|---|---|--:|--:|--:|--:|")
        for (name, grid), us in sorted(found.items(), key=lambda item: -sum(item[1])):
            yield (f"| {name} | {grid} | {len(us)} | {statistics.median(us):.1f} | {sum(us):,.0f} | {100 * sum(us) / total:.0f} % |")


def service_table():
    found = services()
    if found:
        yield from ("", "## The service", "| figure | measured | |", "|---|--:|---|")
        yield from (f"| {name} | {value:,.1f} {FIGURES[name][1]} | {FIGURES[name][2]} |" for name, value in found.items()
                    if name in FIGURES)
        yield from (f"- {line}" for line in log("serve") if line.startswith("ok "))


def sanitizers():
    found = [(name[10:], line.strip("= ")) for name in names() if name.startswith("sanitizer-")
             for line in log(name) if "SUMMARY" in line]
    if found:
        yield from ("", "## compute-sanitizer, every op on small shapes")
        yield from (f"- {tool}: {line}" for tool, line in found)


def host():
    """The CPU backend of the machine that the GPU is in."""
    lines = log("cpu")
    speed = [(m[1], float(m[2])) for m in (re.match(r"host (\S+) (\S+)$", line) for line in lines) if m]
    if not lines:
        return
    yield from ("", "## The host's CPU")
    yield from (f"- {line}" for line in lines if line.startswith(("model name", "ok ", "host: no ")))
    flags = next((line.split(":", 1)[1].split() for line in lines if re.match(r"(flags|Features)\s*:", line)), [])
    yield f"- of its flags: {' '.join(f for f in flags if re.match(r'avx|amx|fma|f16c|asimd|i8mm|sve', f)) or 'none that matter'}"
    if speed:
        yield from ("", "| instruction set | prompt of 512, four layers: tokens a second | to the first |", "|---|--:|--:|")
        yield from (f"| {isa} | {tok_s:,.0f} | {tok_s / speed[0][1]:.2f} |" for isa, tok_s in speed)


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
    yield from ratio_table()
    yield from stage_table()
    yield from kernel_tables()
    yield from service_table()
    yield from sanitizers()
    yield from host()
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
