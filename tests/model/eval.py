#!/usr/bin/env python3
"""eval.py - qwend-probe eval as a program: figures that are known beforehand, refusals, an interrupt, the table and the JSON.

    eval.py PROBE GOLDEN

The golden models have random weights, so no answer is ever right by knowledge: suites of tests/golden/eval hold facts
that no answer can have, or none can lack.  Standard library only.
"""
import json
import math
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

PROBE, GOLDEN = sys.argv[1:3]
MODEL = os.path.join(GOLDEN, "models/d1-k256/d1-k256-Q4_K_M.gguf")
MIX = os.path.join(GOLDEN, "models/d1-k256/d1-k256-MIX.gguf")
OTHER = os.path.join(GOLDEN, "models/d2-f32/d2-f32-F32.gguf")
KNOWN, ITEMS, HUMANEVAL = (os.path.join(GOLDEN, "eval", name) for name in ("known.jsonl", "items.jsonl", "humaneval.jsonl"))
SHORT = ("--max-tokens", "24")


def evaluate(*args):
    return subprocess.run([PROBE, "eval", *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def suite(*objects):
    """A temporary suite; each object over defaults that are never right."""
    base = {"id": "x", "family": "f", "messages": [{"role": "user", "content": "Hi"}], "score": "exact", "answer": "\u0000"}
    file = tempfile.NamedTemporaryFile("w", suffix=".jsonl")
    file.write("".join(json.dumps({**base, **o}) + "\n" for o in objects))
    file.flush()
    return file


class Json(unittest.TestCase):
    def json(self, *args):
        done = evaluate(*args, "--json")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return json.loads(done.stdout)


class Figures(Json):
    def test_known_scores_come_out(self):
        for think in ("on", "off"):
            d = self.json(MODEL, KNOWN, "--think", think, *SHORT)
            self.assertEqual([(f["family"], f["n"], f["right"]) for f in d["families"]], [("never", 3, 0), ("always", 2, 2)])
            self.assertEqual((d["all"]["n"], d["all"]["right"], d["all"]["accuracy"]), (5, 2, 0.4))
            self.assertEqual((d["think"], d["max_tokens"], d["interrupted"], d["items"]), (think == "on", 24, False, 5))
            self.assertEqual(d["sampling"]["temperature"], 0)
            lo, hi = d["all"]["interval"]
            self.assertTrue(0.11 < lo < 0.12 and 0.76 < hi < 0.77, (lo, hi))
            if think == "off":
                self.assertEqual(d["all"]["mean_reasoning_tokens"], 0)

    def answers(self, *args):
        with tempfile.NamedTemporaryFile("r") as out:
            d = self.json(*args, "--out", out.name)
            lines = [json.loads(line) for line in out]
        self.assertEqual(len(lines), d["all"]["n"])
        self.assertEqual(sum(line["right"] for line in lines), d["all"]["right"])
        self.assertEqual(sum(line["finish"] == "length" for line in lines), d["all"]["cut"])
        n = len(lines)
        self.assertAlmostEqual(sum(line["reasoning_tokens"] for line in lines) / n, d["all"]["mean_reasoning_tokens"])
        self.assertAlmostEqual(sum(line["answer_tokens"] for line in lines) / n, d["all"]["mean_answer_tokens"])
        return {line["id"]: line for line in lines}

    def test_answers_do_not_depend_on_neighbours(self):
        for sampling in ((), ("--temperature", "1", "--seed", "7")):
            alone = self.answers(MODEL, ITEMS, "--parallel", "1", *SHORT, *sampling)
            self.assertEqual(len(alone), 9)
            for more in (("--parallel", "9"), ("--parallel", "4", "--chunk", "7", "--threads", "1")):
                self.assertEqual(self.answers(MODEL, ITEMS, *more, *SHORT, *sampling), alone)

    def test_the_seed_counts_when_sampling(self):
        a, b = (self.answers(MODEL, ITEMS, *SHORT, "--sampling", "card", "--seed", seed) for seed in ("1", "2"))
        self.assertNotEqual(a, b)

    def test_greedy_answers_are_the_verb_greedys(self):
        line = self.answers(MODEL, ITEMS, "--think", "off", *SHORT)["exact-1"]
        prompt = "<|im_start|>user\nSpell cat backwards.<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
        run = lambda verb, o: json.loads(subprocess.run([PROBE, verb, MODEL], input=json.dumps(o).encode(), check=True,
                                                        stdout=subprocess.PIPE).stdout)
        ids = run("tokenize", {"text": prompt})["ids"]
        self.assertEqual(line["prompt_tokens"], len(ids))
        self.assertEqual(line["answer_tokens"], 24)
        out = subprocess.run([PROBE, "greedy", MODEL, "--kv", "f16"], input=json.dumps({"ids": ids, "n": 24}).encode(),
                             check=True, stdout=subprocess.PIPE).stdout
        self.assertEqual(line["answer"], run("detokenize", json.loads(out))["text"])

    def test_choices_by_score_are_what_the_logits_say(self):
        questions = [{"id": str(i), "score": "choice", "answer": "B", "messages": [{"role": "user", "content": q}], **more}
                     for i, (q, more) in enumerate([("Which?", {}), ("A) cat B) dog", {"choices": ["cat", "dog"]}),
                                                    ("C?", {"answer": "G"})])]
        run = lambda verb, o, *more: subprocess.run([PROBE, verb, MODEL, *more], input=json.dumps(o).encode(), check=True,
                                                    stdout=subprocess.PIPE).stdout
        ids = lambda text: json.loads(run("tokenize", {"text": text}))["ids"]
        letters = [ids(letter)[0] for letter in "ABCDEFG"]
        with suite(*questions) as s:
            got = self.answers(MODEL, s.name, "--choice-by", "score", "--think", "off")
        for question, n in zip(questions, (5, 2, 7), strict=True):
            line = got[question["id"]]
            prompt = ids(f"<|im_start|>user\n{question['messages'][0]['content']}<|im_end|>\n<|im_start|>assistant\n"
                         "<think>\n\n</think>\n\n")
            row = run("logits", {"ids": prompt, "positions": [len(prompt) - 1]}, "--kv", "f16")
            row = struct.unpack(f"<{len(row) // 4}f", row)
            whole = max(row) + math.log(math.fsum(math.exp(x - max(row)) for x in row))
            want = [row[letter] - whole for letter in letters[:n]]
            self.assertEqual(len(line["scores"]), n)
            for a, b in zip(line["scores"], want, strict=True):
                self.assertAlmostEqual(a, b, places=5)
            best = "ABCDEFG"[want.index(max(want))]
            self.assertEqual((line["got"], line["answer"], line["right"]), (best, best, best == question["answer"]))
            self.assertEqual((line["prompt_tokens"], line["answer_tokens"]), (len(prompt), 0))

    def test_choices_by_score_are_said_and_not_mixed(self):
        choice = {"score": "choice", "answer": "A"}
        with suite(choice) as s:
            by = ("--choice-by", "score")
            self.assertEqual(self.json(MODEL, s.name, *by, "--think", "off")["choice_by"], "score")
            self.assertIn(b"thinking off, choices by score", evaluate(MODEL, s.name, *by, "--think", "off").stdout)
            for args, words in (((*by,), b"--choice-by score asks for no thought: --think off"),
                                ((*by, "--think", "off", "--kl", MIX), b"--kl needs answers"),
                                (("--choice-by", "luck"), b'--choice-by is "luck", should be text or score')):
                done = evaluate(MODEL, s.name, *args)
                self.assertEqual((done.returncode, words in done.stderr), (2, True), done)
        with suite(choice, {}) as s:
            done = evaluate(MODEL, s.name, *by, "--think", "off")
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"{s.name}:2: it is no multiple choice".encode(), done.stderr)

    def test_a_choice_that_fills_the_context_is_refused(self):
        with suite({"score": "choice", "answer": "A", "messages": [{"role": "user", "content": "word " * 300000}]}) as s:
            done = evaluate(MODEL, s.name, "--choice-by", "score", "--think", "off")
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"and a letter needs room too", done.stderr)

    def test_a_limit_is_a_family_s(self):
        self.assertEqual(self.json(MODEL, KNOWN, "--limit", "1", *SHORT)["all"]["n"], 2)

    def test_the_table_has_a_line_for_each_family(self):
        done = evaluate(MODEL, KNOWN, *SHORT)
        lines = done.stdout.decode().splitlines()
        self.assertRegex(lines[0], r"^family +n +right +accuracy +95 % interval +thinking +answer +cut off$")
        self.assertRegex(lines[1], r"^never +3 +0 +0\.0 % +0\.0 \.\. +56\.1 % +\d+\.\d +\d+\.\d +\d$")
        self.assertRegex(lines[2], r"^always +2 +2 +100\.0 % +34\.2 \.\. 100\.0 % ")
        self.assertRegex(lines[3], r"^all +5 +2 +40\.0 % +11\.8 \.\. +76\.9 % ")
        self.assertIn("thinking on, greedy, at most 24 tokens", lines[5])

    def test_code_runs_in_the_sandbox_or_is_refused(self):
        done = evaluate(MODEL, HUMANEVAL, "--run-code", "--json", *SHORT)
        if b"no sandbox" in done.stderr:
            self.assertEqual(done.returncode, 1)
            self.skipTest(done.stderr.decode())
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(json.loads(done.stdout)["all"]["n"], 2)


class Divergence(Json):
    def test_a_model_is_at_no_distance_from_itself(self):
        d = self.json(MODEL, ITEMS, "--kl", MODEL, *SHORT)
        self.assertEqual((d["all"]["mean_kl"], d["all"]["max_kl"], d["all"]["same_best"]), (0, 0, 1))
        self.assertEqual(d["all"]["n"], 9)

    def test_the_figures_are_those_of_the_logits(self):
        with suite({}) as file:
            d = self.json(MODEL, file.name, "--kl", MIX, "--kv", "f32", "--think", "off", "--max-tokens", "5")["all"]
        prompt = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
        call = lambda model, verb, o: subprocess.run([PROBE, verb, model], input=json.dumps(o).encode(), check=True,
                                                     stdout=subprocess.PIPE).stdout
        ids = json.loads(call(MIX, "tokenize", {"text": prompt}))["ids"]
        answer = json.loads(call(MIX, "greedy", {"ids": ids, "n": d["tokens"]}))["ids"]
        want = {"ids": ids + answer, "positions": list(range(len(ids) - 1, len(ids) + len(answer) - 1))}
        rows = [memoryview(call(m, "logits", want)).cast("f").tolist() for m in (MIX, MODEL)]
        n_vocab, kl = len(rows[0]) // d["tokens"], []
        for i in range(d["tokens"]):
            p, q = (row[i * n_vocab:(i + 1) * n_vocab] for row in rows)
            norm_p, norm_q = (math.log(sum(math.exp(x) for x in row)) for row in (p, q))
            kl.append(sum(math.exp(x - norm_p) * (x - norm_p - y + norm_q) for x, y in zip(p, q)))
        self.assertAlmostEqual(d["mean_kl"], sum(kl) / len(kl), places=6)
        self.assertAlmostEqual(d["max_kl"], max(kl), places=6)

    def test_vocabularies_must_be_the_same(self):
        done = evaluate(MODEL, ITEMS, "--kl", OTHER, *SHORT)
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertIn("they cannot be compared", done.stderr.decode())


class Refusals(unittest.TestCase):
    def refused(self, status, text, *args):
        done = evaluate(*args)
        self.assertEqual(done.stderr.decode().splitlines()[0], text)
        self.assertEqual((done.returncode, done.stdout), (status, b""))

    def test_usage_is_explained(self):
        self.refused(2, "qwend-probe eval: an operand is missing", MODEL)
        self.refused(2, 'qwend-probe eval: "x" is one operand too many', MODEL, ITEMS, "x")
        self.refused(2, 'qwend-probe eval: --think is "maybe", should be on or off', MODEL, ITEMS, "--think", "maybe")
        self.refused(2, 'qwend-probe eval: --format is "xml", should be auto, suite, gpqa, math500 or humaneval', MODEL, ITEMS,
                     "--format", "xml")
        self.refused(2, 'qwend-probe eval: --temperature is "hot", should be a number', MODEL, ITEMS, "--temperature", "hot")
        self.refused(2, "qwend-probe eval: temperature is -1, should be from 0 to 100", MODEL, ITEMS, "--temperature=-1")
        self.refused(2, 'qwend-probe eval: --seed is "-1", should be an integer from 0 to 2^64 - 1', MODEL, ITEMS, "--seed=-1")
        self.refused(2, 'qwend-probe eval: --sampling is "best", should be greedy or card', MODEL, ITEMS, "--sampling", "best")
        self.refused(2, "qwend-probe eval: --kl scores no answers: there is nothing to write to --out", MODEL, ITEMS, "--kl", MIX,
                     "--out", "/none/x")

    def test_the_bad_line_is_named_before_anything_is_asked(self):
        with suite({}, {}, {"score": "vibes"}) as file:
            self.refused(1, f'qwend-probe: {file.name}:3: "score" is "vibes", should be exact, number, choice, json, tool, facts, '
                         "math or code", MODEL, file.name)
        with suite({}, {"messages": [{"role": "user", "content": "word " * 3000000}]}) as file:
            done = evaluate(MODEL, file.name)
            self.assertRegex(done.stderr.decode(), rf"^qwend-probe: {file.name}:2: the prompt has \d+ tokens, the model's context "
                             r"\d+, and the answer needs room too\n$")
        self.refused(1, "qwend-probe: /none.jsonl: No such file or directory", MODEL, "/none.jsonl")
        self.refused(1, "qwend-probe: /none/x: No such file or directory", MODEL, ITEMS, "--out", "/none/x")
        self.refused(1, "qwend-probe: /none.gguf: cannot be opened: No such file or directory", "/none.gguf", ITEMS)

    def test_where_no_sandbox_can_be_made_code_is_refused(self):
        script = 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"'
        done = subprocess.run(["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", PROBE, "eval", MODEL, HUMANEVAL,
                               "--run-code"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if not done.stderr.startswith(b"qwend-probe"):
            self.skipTest("no user namespace to forbid them in: " + done.stderr.decode())
        self.assertEqual((done.returncode, done.stdout), (1, b""))
        self.assertIn(b"qwend-probe: --run-code: no sandbox: namespaces of its own: ", done.stderr)

    def test_code_is_not_run_without_leave(self):
        self.refused(1, f"qwend-probe: {HUMANEVAL}:1: this item is scored by running what the model writes: --run-code allows it, "
                     "in a sandbox", MODEL, HUMANEVAL)


class Interrupts(unittest.TestCase):
    LONG = ("--max-tokens", "2000", "--parallel", "2", "--threads", "1")

    def test_what_was_scored_is_printed(self):
        with suite(*({"id": str(i)} for i in range(5000))) as file, tempfile.NamedTemporaryFile() as out:
            os.unlink(out.name)
            os.mkfifo(out.name)
            child = subprocess.Popen([PROBE, "eval", MODEL, file.name, *self.LONG, "--json", "--out", out.name],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            with open(out.name) as lines:
                lines.readline()
                child.send_signal(signal.SIGINT)
                rest = lines.read()
            stdout, stderr = child.communicate()
            os.unlink(out.name)
            open(out.name, "w").close()  # for the with statement, which removes it
        d = json.loads(stdout)
        self.assertEqual((child.returncode, stderr), (130, b""))
        self.assertEqual((d["interrupted"], d["items"], d["all"]["n"]), (True, 5000, 1 + rest.count("\n")))
        self.assertLess(d["all"]["n"], 5000)

    def test_progress_is_shown_on_a_terminal_only(self):
        master, slave = pty.openpty()
        child = subprocess.Popen([PROBE, "eval", MODEL, KNOWN, *SHORT], stdin=slave, stdout=subprocess.PIPE, stderr=slave)
        os.close(slave)
        stdout = child.communicate()[0]
        shown = b""
        while select.select([master], [], [], 0)[0]:
            try:
                shown += os.read(master, 65536)
            except OSError:  # its other end is closed
                break
        os.close(master)
        self.assertEqual(child.returncode, 0)
        self.assertRegex(shown.decode(), r"\r\[#{24}\] 5/5  \d+ tok/s  0:00:00 left\x1b\[K\r\x1b\[K$")
        self.assertTrue(stdout.startswith(b"family"))
        self.assertNotIn(b"\r", stdout)
        self.assertTrue(re.search(rb"(?m)^all +5 +2 ", stdout))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
