#!/usr/bin/env python3
"""probe.py - qwend-probe as a program: what its verbs print, and how they refuse bad options, lines and files.

    probe.py PROBE GOLDEN RANDOM_GGUF

Answers are checked against tests/golden or against each other; refusals word for word.  Standard library only.
"""
import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest

PROBE, GOLDEN, RANDOM = sys.argv[1:4]
MODEL = os.path.join(GOLDEN, "models/d1-k256/d1-k256-Q4_K_M.gguf")
VOCAB = os.path.join(GOLDEN, "tokenizer/vocab-tiny.gguf")


def probe(*args, stdin=""):
    data = stdin if isinstance(stdin, bytes) else stdin.encode()
    return subprocess.run([PROBE, *args], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def lines(*objects):
    return "".join(json.dumps(o) + "\n" for o in objects)


class Refusals(unittest.TestCase):
    def refused(self, status, text, *args, stdin=""):
        done = probe(*args, stdin=stdin)
        self.assertEqual(done.stderr.decode().splitlines()[0], text)
        self.assertEqual((done.returncode, done.stdout), (status, b""))

    def test_usage_is_explained(self):
        self.refused(2, 'qwend-probe: no verb "fly"', "fly")
        self.refused(2, "qwend-probe logits: an operand is missing", "logits")
        self.refused(2, 'qwend-probe logits: "b" is one operand too many', "logits", "a", "b")
        self.refused(2, "qwend-probe logits: no option --fast", "logits", "--fast", MODEL)
        self.refused(2, "qwend-probe logits: --chunk needs a value", "logits", MODEL, "--chunk")
        self.refused(2, 'qwend-probe logits: --chunk is "0", should be an integer in [1, 4096]', "logits", MODEL, "--chunk=0")
        self.refused(2, 'qwend-probe bench: --reps is "2x", should be an integer in [1, 1000]', "bench", MODEL, "--reps", "2x")
        for rows in ("0", "65", "3,", "1,2,3,4,5,6,7,8,9", "x"):
            self.refused(2, f'qwend-probe bench: --rows is "{rows}", should be up to 8 numbers in [1, 64], with commas', "bench",
                         MODEL, "--rows", rows)
        self.refused(2, "qwend-probe inspect: --json takes no value", "inspect", MODEL, "--json=1")

    def test_options_of_the_model_are_checked(self):
        line = lines({"ids": [1], "positions": [0]})
        self.refused(1, 'qwend-probe: --kv is "f8", should be f32, f16 or q8_0', "logits", MODEL, "--kv", "f8", stdin=line)
        done = probe("logits", MODEL, "--backend", "abacus", stdin=line)
        self.assertEqual(done.returncode, 1)
        self.assertIn('no backend "abacus"; this build has: auto', done.stderr.decode())

    def test_lines_are_named(self):
        good = lines({"ids": [1], "positions": [0]})
        for bad, text in [
            ("{\n", "not JSON: string or '}' expected near end of file (column 0)"),
            ("[1]\n", "should be a JSON object"),
            ('{"ids":[1],"ids":[2]}\n', None),
            (lines({"positions": [0]}), '"ids" should be an array of at least one integer'),
            (lines({"ids": [], "positions": [0]}), '"ids" should be an array of at least one integer'),
            (lines({"ids": ["1"], "positions": [0]}), '"ids" should be made of integers in [0, 1023]'),
            (lines({"ids": [1024], "positions": [0]}), '"ids" has 1024, should be in [0, 1023]'),
            (lines({"ids": [-1], "positions": [0]}), '"ids" has -1, should be in [0, 1023]'),
            (lines({"ids": [1], "positions": [1]}), '"positions" has 1, should be in [0, 0]'),
            (lines({"ids": [1, 2], "positions": [1, 0]}), '"positions" should be ascending, but 0 follows 1'),
        ]:
            done = probe("logits", MODEL, stdin=good + "\n" + bad)
            self.assertEqual(done.returncode, 1, bad)
            said = done.stderr.decode()
            self.assertTrue(said.startswith("qwend-probe: line 3: "), said)
            if text:
                self.assertEqual(said, f"qwend-probe: line 3: {text}\n")

    def test_greedy_needs_a_count(self):
        self.refused(1, 'qwend-probe: line 1: "n" is missing', "greedy", MODEL, stdin=lines({"ids": [1]}))
        self.refused(1, 'qwend-probe: line 1: "n" has 0, should be in [1, 262143]', "greedy", MODEL,
                     stdin=lines({"ids": [1], "n": 0}))

    def test_files_are_named(self):
        self.refused(1, "qwend-probe: /none.gguf: cannot be opened: No such file or directory", "inspect", "/none.gguf")
        self.refused(1, f"qwend-probe: {VOCAB}: token_embd.weight is missing: the file holds no model", "logits", VOCAB,
                     stdin=lines({"ids": [1], "positions": [0]}))

    def test_dequant_wants_whole_blocks_of_a_known_type(self):
        self.refused(1, 'qwend-probe: dequant: no loadable weight type "Q9_Z"', "dequant", "Q9_Z")
        self.refused(1, "qwend-probe: dequant: the input ends 3 bytes into a block of 34 (Q8_0)", "dequant", "Q8_0", stdin=b"abc")


class Answers(unittest.TestCase):
    def answer(self, *args, stdin=""):
        done = probe(*args, stdin=stdin)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return done.stdout

    def test_help_lists_each_verb(self):
        text = self.answer("help").decode()
        for verb in ("inspect", "tokenize", "detokenize", "render", "logits", "greedy", "sample", "dequant", "bench", "fit"):
            self.assertRegex(text, rf"(?m)^  {verb} ")

    def test_inspect_describes_a_model(self):
        d = json.loads(self.answer("inspect", MODEL, "--json", "--ctx", "1000", "--slots", "2"))
        self.assertEqual((d["version"], d["file_bytes"]), (3, os.path.getsize(MODEL)))
        self.assertEqual(len(d["tensors"]), 55)
        self.assertIn({"name": "blk.3.attn_q.weight", "type": "Q4_K", "ne": [256, 512], "bytes": 73728}, d["tensors"])
        self.assertIn({"key": "qwen35.rope.dimension_sections", "value": "[4 i32] 3, 3, 2, 0"}, d["metadata"])
        m = d["model"]
        self.assertEqual((m["n_layers"], m["n_attn"], m["n_vocab"], m["n_params"]), (4, 1, 1024, 2112088))
        # f16: 2 heads of 64, keys and values; M of 4 heads of 64 x 64 and 3 rows of 512 for 3 layers, f32
        self.assertEqual(m["memory"]["kv_per_token"], 2 * 64 * 2 * 2)
        self.assertEqual(m["memory"]["per_slot"], 3 * (4 * 64 * 64 + 3 * 512) * 4)
        self.assertEqual((m["memory"]["ctx"], m["memory"]["slots"]), (1000, 2))
        bench = json.loads(self.answer("bench", MODEL, "--prefill", "0", "--decode", "1", "--reps", "1", "--json"))
        self.assertEqual(d["machine"], {"cpu_isa": bench["isa"], "threads": bench["threads"]})
        self.assertGreater(len(self.answer("inspect", MODEL).splitlines()), 100)

    def test_inspect_says_why_a_vocabulary_is_no_model(self):
        d = json.loads(self.answer("inspect", VOCAB, "--json"))
        self.assertEqual(d["model"], {"refused": "token_embd.weight is missing: the file holds no model"})
        self.assertEqual(d["tensors"], [])

    def test_inspect_shows_a_hostile_file_safely(self):
        def text(b):
            return struct.pack("<Q", len(b)) + b
        with tempfile.NamedTemporaryFile(suffix=".gguf") as f:
            f.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text(b"\x1b[2Jkey\xff\n") + struct.pack("<II", 4, 7))
            f.flush()
            self.assertEqual(json.loads(self.answer("inspect", f.name, "--json"))["metadata"],
                             [{"key": "?[2Jkey??", "value": "7"}])
            self.assertNotIn(b"\x1b", self.answer("inspect", f.name))

    def test_greedy_and_logits_agree(self):
        ids = [14, 230, 863]
        out = json.loads(self.answer("greedy", MODEL, "--threads", "2", stdin=lines({"ids": ids, "n": 3})))["ids"]
        self.assertEqual(len(out), 3)
        rows = self.answer("logits", MODEL, stdin=lines({"ids": ids + out, "positions": [2, 3, 4]}))
        self.assertEqual(len(rows), 3 * 1024 * 4)
        floats = memoryview(rows).cast("f")
        for i in range(3):
            row = floats[i * 1024:(i + 1) * 1024].tolist()
            self.assertEqual(row.index(max(row)), out[i])

    def test_more_positions_than_a_step_has_rows(self):
        ids = [(i * 37) % 1024 for i in range(150)]
        want = lines({"ids": ids, "positions": list(range(150))})
        rows = self.answer("logits", MODEL, stdin=want)
        self.assertEqual(len(rows), 150 * 1024 * 4)
        self.assertEqual(rows, self.answer("logits", MODEL, "--chunk", "5", "--neighbours", "2", stdin=want))

    def test_dequant_gives_the_golden_values(self):
        for name in ("Q4_K", "IQ4_XS", "BF16"):
            with open(os.path.join(GOLDEN, "blocks", name + ".bin"), "rb") as f:
                blocks = f.read()
            with open(os.path.join(GOLDEN, "blocks", name + ".f32"), "rb") as f:
                self.assertEqual(self.answer("dequant", name, stdin=blocks), f.read())

    def test_bench_reports_rates(self):
        d = json.loads(self.answer("bench", MODEL, "--prefill", "16", "--decode", "4", "--reps", "3", "--json"))
        self.assertEqual((d["prefill"]["n"], d["decode"]["n"], d["reps"]), (16, 4, 3))
        self.assertGreater(d["prefill"]["tok_s"], 0)
        self.assertGreater(d["decode"]["tok_s"], 0)
        self.assertGreaterEqual(d["peak_rss_kib"], d["rss_kib"])
        self.assertGreater(d["rss_kib"], os.path.getsize(MODEL) // 1024)
        self.assertNotIn("decode_stages", d)
        d = json.loads(self.answer("bench", MODEL, "--prefill", "16", "--decode", "4", "--reps", "2", "--stages", "--json"))
        self.assertGreater(d["read_gb_s"], 0)
        d8 = json.loads(self.answer("bench", MODEL, "--prefill", "0", "--decode", "4", "--reps", "1", "--rows", "1,3,8", "--json"))
        self.assertEqual([(r["rows"], r["n"]) for r in d8["decode_rows"]], [(1, 4), (3, 12), (8, 32)])
        head = next(s for s in d["decode_stages"] if s["stage"] == "head")
        self.assertEqual(head["phases"], 1)  # of each token
        for part in ("prefill_stages", "decode_stages"):
            for stage in d[part]:
                self.assertGreaterEqual(stage["phases"], stage["shared"])
        self.assertEqual(json.loads(self.answer("bench", MODEL, "--prefill", "0", "--decode", "1", "--reps", "1", "--json"))
                         ["prefill"], None)


class Bench(unittest.TestCase):
    """tests/bench/bench_cpu.py with a peer that says what a test wants."""

    def bench(self, *args):
        script = os.path.join(GOLDEN, "../bench/bench_cpu.py")
        build = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(PROBE))))
        return subprocess.run([sys.executable, script, "--build", build, "--quick", *args], capture_output=True, text=True)

    def peer(self, folder, text):
        path = os.path.join(folder, "llama-bench")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"#!/bin/sh\necho '{text}'\n")
        os.chmod(path, 0o755)
        return path

    def test_ratios_are_of_one_round(self):
        with tempfile.TemporaryDirectory() as folder:
            said = [{"n_prompt": 512, "n_gen": 0, "avg_ts": 2.0}, {"n_prompt": 0, "n_gen": 8, "avg_ts": 0.5}]
            done = self.bench("--json", "--isa", "scalar", "--llama-bench", self.peer(folder, json.dumps(said)), MODEL)
        self.assertEqual(done.returncode, 0, done.stderr)
        d = json.loads(done.stdout)
        self.assertEqual(d["isa"], "scalar")
        for name in ("decode_share", "batch8_ratio", "verify3_ratio", "rss_ratio", "load_ratio"):
            self.assertGreater(d[name]["median"], 0)
        self.assertAlmostEqual(d["decode_vs_llama"]["median"], d["decode_tok_s"]["median"] / 0.5)
        self.assertAlmostEqual(d["prefill512_vs_llama"]["median"], d["prefill512_tok_s"]["median"] / 2.0)
        self.assertNotIn("decode_vs_ik", d)

    def test_a_peer_that_says_nothing_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            path = self.peer(folder, "[]")
            done = self.bench("--ik-bench", path, MODEL)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn(f"{path}: its JSON has no prefill and decode figures", done.stderr)


class RandomModels(unittest.TestCase):
    SHAPE = {"layers": 4, "dim": 256, "ff": 512, "heads": 4, "kv-heads": 2, "head-dim": 64, "rot": 16, "delta-k": 2,
             "delta-v": 4, "delta-dim": 64, "vocab": 1100}

    def write(self, path, **options):
        shape = {**self.SHAPE, **{k.replace("_", "-"): v for k, v in options.items()}}
        args = [x for k, v in shape.items() for x in ("--" + k, str(v))]
        subprocess.run([RANDOM, "--vocab-file", VOCAB, *args, path], check=True)

    def test_every_type_gives_finite_logits(self):
        for options in ({}, {"tied": 1, "mtp": 1}, *({"type": t} for t in ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K", "Q5_K", "Q6_K"))):
            with tempfile.NamedTemporaryFile(suffix=".gguf") as f:
                self.write(f.name, **options)
                done = probe("logits", f.name, stdin=lines({"ids": list(range(40)), "positions": [39]}))
                self.assertEqual((done.returncode, done.stderr), (0, b""), options)
                row = memoryview(done.stdout).cast("f").tolist()
                mean = sum(row) / len(row)
                deviation = (sum((x - mean) ** 2 for x in row) / len(row)) ** 0.5
                self.assertTrue(0.3 < deviation < 3, (options, deviation))  # a unit hidden times unit columns: about 1

    def test_the_same_options_give_the_same_bytes(self):
        with tempfile.NamedTemporaryFile() as a, tempfile.NamedTemporaryFile() as b, tempfile.NamedTemporaryFile() as c:
            self.write(a.name)
            self.write(b.name)
            self.write(c.name, seed=2)
            first = a.read()
            self.assertEqual(first, b.read())
            self.assertNotEqual(first, c.read())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
