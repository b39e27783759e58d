#!/usr/bin/env python3
"""vectors.py - run a folder of reference data through qwend-probe and say how far we are from it.

    tests/vectors.py DIR --probe build/daemon/probe/qwend-probe [--only KIND] [--summary FILE]

DIR is laid out as tests/golden/README.md says; a kind whose folder is missing is left out.  Called by `./dev test` on
tests/golden and by `./dev test vectors DIR` on any other folder.  Python's standard library only, so that it runs on a
bare machine.  It trusts nothing but the files: every expected value comes from DIR, every actual one from the probe.

Limits.  An engine with float32 activations on exactly dequantised weights agrees to 2e-3 in every logit (README of the
data: three implementations agree to 3e-4).  One that quantises activations may be 1.2 times as far from the reference
as llama.cpp's CPU code is, in rms and in mean KL (agreement.json).  Everything else must be equal.
"""
import argparse
import array
import hashlib
import json
import math
import os
import re
import subprocess
import sys
import time
import unicodedata

LOADABLE = {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS", "IQ4_NL"}
FLOAT_ACTIVATIONS = {"F32", "F16"}      # weight types that meet float32 activations on the cpu backend too
MAX_ABS = 2e-3
SLACK = 1.2
NEAR_TIE = 4.0                          # greedy ids count up to the first margin below this many rms
PROB_TOLERANCE = 1e-5                   # no sampler case is decided by less
SHOWN = 5                               # failures shown per kind
# How the cpu backend may be told to do the same work; not one bit of the logits may depend on it.
OTHER_WAYS = (["--chunk", "1", "--threads", "1"], ["--chunk", "7", "--threads", "3"],
              ["--chunk", "64", "--threads", "4"], ["--chunk", "64", "--threads", "2", "--neighbours", "3"])


class Kind:
    """What one kind of data came to: counts, the first failures, notes on how close it was."""

    def __init__(self, name):
        self.name, self.passed, self.failed, self.shown, self.notes = name, 0, 0, [], []

    def check(self, ok, what):
        """what: a string, or a function that makes one (only called on failure)."""
        if ok:
            self.passed += 1
            return
        self.failed += 1
        if len(self.shown) < SHOWN:
            self.shown.append(what() if callable(what) else what)

    def report(self):
        print(f"{self.name:10} {self.passed:5} passed {self.failed:4} failed")
        for note in self.notes:
            print(f"           {note}")
        for line in self.shown:
            print(f"           FAIL {line}")
        if self.failed > len(self.shown):
            print(f"           … and {self.failed - len(self.shown)} more")
        sys.stdout.flush()


class Probe:
    def __init__(self, path):
        self.path = path

    def run(self, args, data):
        """One qwend-probe process: its stdout; ProbeError if it fails."""
        done = subprocess.run([self.path, *args], input=data, capture_output=True, check=False)
        if done.returncode != 0:
            text = done.stderr.decode("utf-8", "replace").strip().split("\n")[0]
            raise ProbeError(f"qwend-probe {' '.join(args)}: exit {done.returncode}: {text}")
        return done.stdout

    def lines(self, args, texts):
        """One JSON line in, one JSON line out."""
        out = self.run(args, "".join(t + "\n" for t in texts).encode()).decode("utf-8").split("\n")
        if out and out[-1] == "":
            out.pop()
        if len(out) != len(texts):
            raise ProbeError(f"qwend-probe {' '.join(args)}: {len(texts)} lines in, {len(out)} lines out")
        return [json.loads(line) for line in out]


class ProbeError(Exception):
    pass


def read_jsonl(path):
    with open(path, encoding="utf-8") as f:
        return [line.rstrip("\n") for line in f if line.strip()]


def read_floats(data):
    values = array.array("f")
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def raw_members(line):
    """The members of a JSON object as source text, so that numbers reach the probe spelled as they were."""
    decoder, members, at = json.JSONDecoder(), {}, line.index("{") + 1
    while True:
        at = re.compile(r"[\s,]*").match(line, at).end()
        if line[at] == "}":
            return members
        key, at = decoder.raw_decode(line, at)
        at = re.compile(r"\s*:\s*").match(line, at).end()
        _, end = decoder.raw_decode(line, at)
        members[key], at = line[at:end], end


def first_difference(got, want):
    n = min(len(got), len(want))
    at = next((i for i in range(n) if got[i] != want[i]), n)
    return f"at {at}: got {got[at:at + 8]!r}, expected {want[at:at + 8]!r} (lengths {len(got)}, {len(want)})"


# ---- tokenizer

def check_tokenizer(probe, folder):
    kind = Kind("tokenizer")
    for name in sorted(os.listdir(folder)):
        found = re.fullmatch(r"vocab-(\w+)\.gguf", name)
        if not found:
            continue
        vocab, size = os.path.join(folder, name), found.group(1)
        cases = [json.loads(line) for line in read_jsonl(os.path.join(folder, f"cases-{size}.jsonl"))]
        for mode, key in (("all", "ids"), ("user", "ids_user"), ("none", "ids_none")):
            texts = [json.dumps({"text": case["text"]}) for case in cases]
            for case, got in zip(cases, probe.lines(["tokenize", vocab, "--special", mode], texts)):
                want = case.get(key, case["ids"])
                kind.check(got["ids"] == want, lambda: f"{size} {case['id']} --special {mode} "
                           + first_difference(got["ids"], want))
        check_detokenize(probe, kind, vocab, size, cases)
        check_long(probe, kind, folder, vocab, size)
    return kind


def check_detokenize(probe, kind, vocab, size, cases):
    asked = [json.dumps({"ids": case.get("ids_none", case["ids"])}) for case in cases]
    for case, got in zip(cases, probe.lines(["detokenize", vocab], asked)):
        want = unicodedata.normalize("NFC", case["text"])
        kind.check(got["text"] == want, lambda: f"{size} {case['id']} detokenize "
                   + first_difference(got["text"], want))


def check_long(probe, kind, folder, vocab, size):
    path = os.path.join(folder, f"long-{size}.json")
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as f:
        want = json.load(f)
    with open(os.path.join(folder, want["file"]), encoding="utf-8", newline="") as f:
        text = f.read()
    began = time.monotonic()
    ids = probe.lines(["tokenize", vocab], [json.dumps({"text": text})])[0]["ids"]
    seconds = time.monotonic() - began
    packed = b"".join(i.to_bytes(4, "little") for i in ids)
    kind.check(hashlib.sha256(packed).hexdigest() == want["sha256_ids_u32le"],
               lambda: f"{size} {want['file']}: {len(ids)} ids (expected {want['n_ids']}), "
               + first_difference(ids, want["first_ids"]))
    kind.notes.append(f"{size}: {want['bytes']} bytes, {len(ids)} ids in {seconds:.2f} s (process start included)")


# ---- chat

def check_chat(probe, folder, vocab):
    kind = Kind("chat")
    lines = read_jsonl(os.path.join(folder, "cases.jsonl"))
    asked = []
    for line in lines:
        members = raw_members(line)
        keep = [k for k in ("messages", "tools", "enable_thinking", "add_generation_prompt") if k in members]
        asked.append("{" + ",".join(f'"{k}":{members[k]}' for k in keep) + "}")
    for line, got in zip(lines, probe.lines(["render", vocab], asked)):
        case = json.loads(line)
        key = "error" if "error" in case else "expected"
        want, have = case[key], got.get("error" if key == "error" else "text")
        kind.check(have == want, lambda: f"{case['id']}: " + (first_difference(have, want) if have is not None else
                                                             f"got {got!r}, expected {key} {want!r}"))
    return kind


# ---- sampler

def check_sampler(probe, folder):
    kind = Kind("sampler")
    worst = 0.0
    with open(os.path.join(folder, "meta.json"), encoding="utf-8") as f:
        meta = json.load(f)
    lines = read_jsonl(os.path.join(folder, "cases.jsonl"))
    logits = os.path.join(folder, meta["logits_file"])
    for line, got in zip(lines, probe.lines(["sample", logits, "--vocab", str(meta["n_vocab"])], lines)):
        case = json.loads(line)
        fault, distance = compare_distribution(case, got)
        worst = max(worst, distance)
        kind.check(fault is None, lambda: f"{case['id']}: {fault}")
    kind.notes.append(f"worst probability differs by {worst:.1e} (limit {PROB_TOLERANCE:.0e})")
    return kind


def compare_distribution(case, got):
    """(None or what is wrong, largest difference of a probability).  Two ids may swap where their probabilities are equal."""
    ids, probs, distance = got["ids"], got["probs"], 0.0
    shown = len(case["probs"])
    n_kept = got.get("n_kept", len(ids))
    if n_kept != case["n_kept"] and not ("n_kept" not in got and len(ids) == shown):
        return f"kept {n_kept} tokens, expected {case['n_kept']}", 0.0
    if len(ids) < shown or len(probs) < shown:
        return f"{len(ids)} ids and {len(probs)} probs, expected {shown}", 0.0
    want = dict(zip(case["ids"], case["probs"]))
    for rank in range(shown):
        distance = max(distance, abs(probs[rank] - case["probs"][rank]))
        if distance > PROB_TOLERANCE:
            return f"rank {rank}: probability {probs[rank]}, expected {case['probs'][rank]}", distance
        tied = want.get(ids[rank], case["probs"][-1])
        if ids[rank] != case["ids"][rank] and not math.isclose(tied, case["probs"][rank], rel_tol=1e-6):
            return f"rank {rank}: id {ids[rank]}, expected {case['ids'][rank]}", distance
    return None, distance


# ---- blocks

def check_blocks(probe, folder):
    kind = Kind("blocks")
    with open(os.path.join(folder, "meta.json"), encoding="utf-8") as f:
        types = [entry["type"] for entry in json.load(f)]
    refused = []
    for name in types:
        with open(os.path.join(folder, name + ".bin"), "rb") as f:
            blocks = f.read()
        if name in LOADABLE:
            with open(os.path.join(folder, name + ".f32"), "rb") as f:
                check_dequant(probe, kind, name, blocks, f.read())
        else:
            refused.append(name)
            done = subprocess.run([probe.path, "dequant", name], input=blocks, capture_output=True, check=False)
            text = done.stderr.decode("utf-8", "replace")
            kind.check(done.returncode > 0 and not done.stdout and name in text,
                       f"{name} should be refused by name: exit {done.returncode}, stderr {text[:120]!r}")
    kind.notes.append(f"refused by name: {', '.join(refused)}")
    return kind


def check_dequant(probe, kind, name, blocks, want):
    try:
        got = probe.run(["dequant", name], blocks)
    except ProbeError as error:
        kind.check(False, str(error))
        return
    if got == want:
        kind.check(True, "")
        return
    have, expected = read_floats(got), read_floats(want)
    pairs = [(i, a, b) for i, (a, b) in enumerate(zip(have, expected)) if a != b]
    at = f"value {pairs[0][0]} is {pairs[0][1]!r}, expected {pairs[0][2]!r}" if pairs else "zeros differ in sign"
    kind.check(False, f"{name}: {len(pairs)} of {len(expected)} values differ ({len(have)} came); {at}")


# ---- models

def check_models(probe, folder, backends):
    kind = Kind("models")
    for model in sorted(os.listdir(folder)):
        for name in sorted(os.listdir(os.path.join(folder, model))):
            if not name.endswith(".json"):
                continue
            path = os.path.join(folder, model, name)
            for backend in backends:
                try:
                    check_model(probe, kind, path, backend)
                except ProbeError as error:
                    kind.check(False, f"{name} {backend}: {error}")
    return kind


def check_model(probe, kind, path, backend):
    folder, name = os.path.split(path)
    with open(path, encoding="utf-8") as f:
        meta = json.load(f)
    gguf = os.path.join(folder, meta["gguf"])
    with open(os.path.join(folder, meta["logits_file"]), "rb") as f:
        want = read_floats(f.read())
    rows, asked = ask_rows(meta)
    answer = probe.run(["logits", gguf, "--backend", backend], asked)
    got, label = read_floats(answer), f"{name[:-5]} {backend}"
    if len(got) != len(rows) * meta["n_vocab"]:
        kind.check(False, f"{label}: {len(got)} logits, expected {len(rows)} rows of {meta['n_vocab']}")
        return
    seen = measure_rows(got, want, rows, meta["n_vocab"])
    judge_rows(kind, label, meta, backend, seen)
    allowed = MAX_ABS if is_exact(meta, backend) else SLACK * meta["agreement"]["llama_vs_hf_rms"]
    check_greedy(probe, kind, label, meta, gguf, backend, min(seen["rms"], allowed))
    for way in OTHER_WAYS if backend == "cpu" else ():
        kind.check(probe.run(["logits", gguf, "--backend", backend, *way], asked) == answer,
                   f"{label}: {' '.join(way)} changes bits")


def ask_rows(meta):
    """What to ask for, and the row of the reference that each answer row belongs to.

    The model is causal, so prompt and greedy continuation go in as one text: its inner positions are the prompt's."""
    rows, lines = [], []
    for prompt in meta["prompts"]:
        ids = prompt["ids"] + prompt["greedy"][:-1]
        lines.append(json.dumps({"ids": ids, "positions": prompt["positions"] + [len(ids) - 1]}) + "\n")
        rows += [prompt["row"] + k for k in range(len(prompt["positions"]))] + [prompt["greedy_last_row"]]
    return rows, "".join(lines).encode()


def measure_rows(got, want, rows, n_vocab):
    worst, squares, kl_sum, kl_worst = 0.0, 0.0, 0.0, 0.0
    for i, row in enumerate(rows):
        have, ref = got[i * n_vocab:(i + 1) * n_vocab], want[row * n_vocab:(row + 1) * n_vocab]
        differences = [abs(a - b) for a, b in zip(have, ref)]
        if not all(map(math.isfinite, have)):
            return {"max": math.inf, "rms": math.inf, "kl": math.inf, "kl_max": math.inf}
        worst = max(worst, max(differences))
        squares += math.fsum(d * d for d in differences)
        kl = divergence(ref, have)
        kl_sum, kl_worst = kl_sum + kl, max(kl_worst, kl)
    return {"max": worst, "rms": math.sqrt(squares / (len(rows) * n_vocab)), "kl": kl_sum / len(rows), "kl_max": kl_worst}


def divergence(ref, have):
    """KL(softmax(ref) || softmax(have)) in nats."""
    a, b = max(ref), max(have)
    log_ref = a + math.log(math.fsum(math.exp(x - a) for x in ref))
    log_have = b + math.log(math.fsum(math.exp(x - b) for x in have))
    return math.fsum(math.exp(x - log_ref) * ((x - log_ref) - (y - log_have)) for x, y in zip(ref, have))


def is_exact(meta, backend):
    """Does this backend keep the activations of this file in float32?"""
    return backend == "ref" or set(meta["tensor_types"]) <= FLOAT_ACTIVATIONS


def judge_rows(kind, label, meta, backend, seen):
    if is_exact(meta, backend):
        kind.notes.append(f"{label}: max {seen['max']:.1e} of {MAX_ABS:.0e}")
        kind.check(seen["max"] <= MAX_ABS, f"{label}: a logit is {seen['max']:.3g} off, limit {MAX_ABS:.0e}")
        return
    peer = meta["agreement"]
    kl, rms = seen["kl"] / peer["kl_mean"], seen["rms"] / peer["llama_vs_hf_rms"]
    kind.notes.append(f"{label}: mean KL {seen['kl']:.2e} = {kl:.2f} of llama.cpp's, rms {seen['rms']:.3f} = {rms:.2f}")
    kind.check(kl <= SLACK, f"{label}: mean KL {seen['kl']:.3e}, limit {SLACK} x {peer['kl_mean']:.3e}")
    kind.check(rms <= SLACK, f"{label}: rms {seen['rms']:.4f}, limit {SLACK} x {peer['llama_vs_hf_rms']:.4f}")


def check_greedy(probe, kind, label, meta, gguf, backend, rms):
    asked = [json.dumps({"ids": p["ids"], "n": len(p["greedy"])}) for p in meta["prompts"]]
    answers = probe.lines(["greedy", gguf, "--backend", backend], asked)
    for prompt, got in zip(meta["prompts"], answers):
        ties = (k for k, margin in enumerate(prompt["greedy_margin"]) if margin < NEAR_TIE * rms)
        n = next(ties, len(prompt["greedy"]))
        kind.check(got["ids"][:n] == prompt["greedy"][:n],
                   lambda: f"{label}: greedy from {len(prompt['ids'])} ids, {n} before a near-tie, "
                   + first_difference(got["ids"][:n], prompt["greedy"][:n]))


# ---- main

def any_vocab(folder):
    """Rendering needs no weights, but the probe wants a model: the smallest vocabulary will do."""
    path = os.path.join(folder, "tokenizer")
    names = sorted(n for n in os.listdir(path) if n.endswith(".gguf")) if os.path.isdir(path) else []
    return os.path.join(path, names[-1]) if names else None


def run_kinds(probe, folder, only, backends):
    def at(name):
        return os.path.join(folder, name)

    kinds = {
        "blocks": lambda: check_blocks(probe, at("blocks")),
        "sampler": lambda: check_sampler(probe, at("sampler")),
        "chat": lambda: check_chat(probe, at("chat"), any_vocab(folder)),
        "tokenizer": lambda: check_tokenizer(probe, at("tokenizer")),
        "models": lambda: check_models(probe, at("models"), backends),
    }
    for name, run in kinds.items():
        if (only and name != only) or not os.path.isdir(at(name)):
            continue
        try:
            kind = run()
        except ProbeError as error:
            kind = Kind(name)
            kind.check(False, str(error))
        kind.report()
        yield kind


def main():
    parser = argparse.ArgumentParser(description="Runs reference data through qwend-probe.")
    parser.add_argument("folder")
    parser.add_argument("--probe", required=True)
    parser.add_argument("--only", choices=["blocks", "sampler", "chat", "tokenizer", "models"])
    parser.add_argument("--backend", action="append", choices=["ref", "cpu"], help="for models; default: both")
    parser.add_argument("--summary", help="write {passed, failed} there")
    args = parser.parse_args()
    kinds = list(run_kinds(Probe(args.probe), args.folder, args.only, args.backend or ["ref", "cpu"]))
    if not kinds:
        sys.exit(f"vectors.py: nothing of blocks, sampler, chat, tokenizer, models in {args.folder}")
    passed, failed = sum(k.passed for k in kinds), sum(k.failed for k in kinds)
    if args.summary:
        with open(args.summary, "w", encoding="utf-8") as f:
            json.dump({"passed": passed, "failed": failed}, f)
    print(f"vectors    {passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
