"""The accuracies of a model's files: evaluate.py --probe QWEND-PROBE --out RESULTS.json BF16.gguf Q8_0.gguf Q4_K_M.gguf

Asks every suite of suites/, with thinking and without, of every file; then how far each file is from the first one
(KL divergence, over the first --kl-limit items of each suite).  Writes RESULTS.json after each step, goes on from there
when it is started again, and prints the tables of docs/DEMO.md.  Needs nothing but Python and qwend-probe.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

SUITES = Path(__file__).parent / "suites"
MAX_TOKENS = 512
MODES = ("off", "on")


class Results:
    """{key: report of qwend-probe}, on disk after each."""

    def __init__(self, path, probe):
        self.path, self.probe = Path(path), probe
        self.done = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}

    def get(self, key, model, suite, mode, *more):
        """The report's line over all items of the suite."""
        if key not in self.done:
            print(key, file=sys.stderr, flush=True)
            command = [self.probe, "eval", model, suite, "--think", mode, "--max-tokens", str(MAX_TOKENS), "--json", *more]
            report = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            self.done[key] = report["all"]
            self.path.write_text(json.dumps(self.done, indent=1), encoding="utf-8")
        return self.done[key]


def type_of(path):
    """"Q4_K_M" of "demo-Q4_K_M.gguf"."""
    return Path(path).stem.rpartition("-")[2]


def percent(line):
    return f"{100 * line['accuracy']:.1f}"


def row(cells):
    return "| " + " | ".join(cells) + " |"


def accuracy_table(results, models, limit):
    """One row a suite: direct and thinking, a column a file; mean tokens of the last file's answers."""
    types = [type_of(m) for m in models]
    yield row(["suite", "n", *[f"direct {t}" for t in types], *[f"thinking {t}" for t in types], "tokens direct", "tokens thinking"])
    yield row(["---", "---:"] + ["---:"] * (2 * len(types) + 2))
    for suite in sorted(SUITES.glob("*.jsonl")):
        cells, tokens = [], []
        for mode in MODES:
            lines = [results.get(f"{suite.stem} {mode} {type_of(m)}", m, str(suite), mode, *limit) for m in models]
            cells += map(percent, lines)
            tokens.append(f"{lines[-1]['mean_reasoning_tokens'] + lines[-1]['mean_answer_tokens']:.0f}")
        yield row([suite.stem, str(lines[0]["n"]), *cells, *tokens])


def kl_table(results, models, limit):
    """Means over all suites, weighted by tokens."""
    yield row(["file", "thinking", "tokens", "mean KL, nats", "largest KL", "same best token"])
    yield row(["---", "---", "---:", "---:", "---:", "---:"])
    for model in models[1:]:
        for mode in MODES:
            keys = [(s, f"kl {s.stem} {mode} {type_of(model)}") for s in sorted(SUITES.glob("*.jsonl"))]
            lines = [results.get(k, model, str(s), mode, "--kl", models[0], *limit) for s, k in keys]
            n = sum(x["tokens"] for x in lines)
            mean = sum(x["tokens"] * x["mean_kl"] for x in lines) / n
            same = sum(x["tokens"] * x["same_best"] for x in lines) / n
            worst = max(x["max_kl"] for x in lines)
            yield row([type_of(model), mode, str(n), f"{mean:.2e}", f"{worst:.2f}", f"{100 * same:.2f} %"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="named NAME-TYPE.gguf; the first is the reference")
    parser.add_argument("--probe", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--limit", help="items of each suite; all unless given")
    parser.add_argument("--kl-limit", default="50")
    args = parser.parse_args()
    results = Results(args.out, args.probe)
    for line in accuracy_table(results, args.models, ["--limit", args.limit] if args.limit else []):
        print(line)
    print()
    for line in kl_table(results, args.models, ["--limit", args.kl_limit]):
        print(line)


if __name__ == "__main__":
    main()
