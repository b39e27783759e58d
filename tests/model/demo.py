#!/usr/bin/env python3
"""demo.py - the demo model can do what docs/DEMO.md says, in the small: the first items of its held-out suites.

    demo.py PROBE GOLDEN

The bounds lie under the figures of docs/DEMO.md by what a sample of N items can miss; the CPU's bits are the same
everywhere, so a failure is a change of the model's file or of the arithmetic, never chance.  Standard library only.
"""
import json
import os
import subprocess
import sys
import unittest

PROBE, GOLDEN = sys.argv[1:3]
FILES = ("demo.gguf", "demo-Q4_K_M.gguf")
N = 40
THINKING = {"add": 0.95, "sub": 0.95, "mul": 0.9, "sort": 0.75, "dates": 0.85, "units": 0.85, "count": 0.8, "reverse": 0.8}
DIRECT = {"mul": 0.5, "mul3x2": 0.2}  # at most


def accuracy(file, suite, think):
    command = [PROBE, "eval", os.path.join(GOLDEN, file), os.path.join(GOLDEN, "train/suites", f"{suite}.jsonl")]
    command += ["--think", think, "--limit", str(N), "--max-tokens", "512", "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)["all"]["accuracy"]


class Demo(unittest.TestCase):
    def test_it_solves_held_out_questions_with_thinking(self):
        for file in FILES:
            for suite, least in THINKING.items():
                with self.subTest(file=file, suite=suite):
                    self.assertGreaterEqual(accuracy(file, suite, "on"), least)

    def test_it_cannot_multiply_without(self):
        for suite, most in DIRECT.items():
            self.assertLessEqual(accuracy(FILES[0], suite, "off"), most)

    def test_the_files_name_what_they_are(self):
        for file in FILES:
            done = subprocess.run([PROBE, "inspect", os.path.join(GOLDEN, file), "--json"], stdout=subprocess.PIPE, check=True)
            keys = {k["key"]: k["value"] for k in json.loads(done.stdout)["metadata"]}
            self.assertIn("demo model, trained from scratch", keys["general.description"])
            self.assertIn("apache-2.0", keys["general.license"])
            self.assertEqual(json.loads(done.stdout)["model"]["context_trained"], 32768)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
