#!/usr/bin/env python3
"""fit.py - qwend-probe fit: the figures of docs/CUDA.md for a 9B in Q4_K_M, and what it refuses.

    fit.py PROBE GOLDEN RANDOM_GGUF

The model is a header with holes behind it: nothing of a tensor is read.  Standard library only.
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

PROBE, GOLDEN, RANDOM = sys.argv[1:4]
GIB = 1 << 30


def fit(*args):
    return subprocess.run([PROBE, "fit", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class Fit(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.model = os.path.join(cls.folder.name, "9b.gguf")
        subprocess.run([RANDOM, "--vocab-file", os.path.join(GOLDEN, "tokenizer/vocab-tiny.gguf"), "--sparse", "1", cls.model],
                       check=True)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def fitted(self, *args, status=0):
        done = fit(self.model, *args, "--json")
        self.assertEqual((done.returncode, done.stderr), (status, ""))
        return json.loads(done.stdout)

    def test_cards_hold_what_the_design_says(self):
        # as computed for the design, less 2 % of each sequence's state: value heads have windows of their own.
        # card: free GiB, longest context of one sequence in 1024 tokens, sequences of 4k 16k 32k 128k, for f16 and q8_0
        for vram, free, f16, q8 in (
            (8, 1.97, (61, (11, 3, 1, 0)), (115, (16, 6, 3, 0))),
            (12, 5.87, (186, (33, 10, 5, 1)), (256, (50, 18, 10, 2))),
            (16, 9.77, (256, (55, 17, 9, 2)), (256, (83, 30, 16, 4))),
            (24, 17.57, (256, (100, 31, 16, 4)), (256, (150, 55, 30, 8))),
            (80, 71.77, (256, (409, 130, 68, 17)), (256, (615, 227, 123, 32))),
        ):
            d = self.fitted("--vram", f"{vram}G")
            self.assertAlmostEqual(d["free"] / GIB, free, delta=0.01)
            for name, (ctx, counts) in (("f16", f16), ("q8_0", q8)):
                kv = d["kv"][name]
                self.assertEqual((kv["max_ctx"] >> 10, tuple(kv["sequences"].values())), (ctx, counts), (vram, name))
        self.assertAlmostEqual(d["weights"] / GIB, 5.23, delta=0.01)
        self.assertEqual((d["kv"]["f16"]["per_token"], d["kv"]["q8_0"]["per_token"]), (32 << 10, 17 << 10))
        self.assertAlmostEqual(d["per_slot"] / (1 << 20), 51.4, delta=0.1)

    def test_what_was_asked_for_decides_the_status(self):
        self.assertTrue(self.fitted("--vram", "8G", "--ctx", "4096", "--slots", "11")["fits"])
        self.assertFalse(self.fitted("--vram", "8G", "--ctx", "4096", "--slots", "12", status=1)["fits"])
        self.assertTrue(self.fitted("--vram", "8G", "--ctx", "4096", "--slots", "16", "--kv", "q8_0")["fits"])
        said = fit(self.model, "--vram", "8192M", "--ctx", "4096", "--slots", "12")
        self.assertIn("12 slots of 4096 tokens with f16 KV need 2152 MiB of 2015: they do not fit", said.stdout)
        self.assertIn("The weights do not fit: 0.", fit(self.model, "--vram", "5G").stdout)

    def test_options_are_checked(self):
        for args, text in (
            ((), "qwend-probe fit: --vram is missing"),
            (("--vram", "8"), 'qwend-probe fit: --vram is "8", should be like 8G or 24576M, 1M to 1024G'),
            (("--vram", "-1G"), 'qwend-probe fit: --vram is "-1G", should be like 8G or 24576M, 1M to 1024G'),
            (("--vram", "nanG"), 'qwend-probe fit: --vram is "nanG", should be like 8G or 24576M, 1M to 1024G'),
            (("--vram", "8G", "--ctx", "262145"), "qwend-probe: --ctx is 262145, the model was trained for 262144"),
            (("--vram", "8G", "--kv", "q4"), 'qwend-probe: --kv is "q4", should be f32, f16 or q8_0'),
        ):
            done = fit(self.model, *args)
            self.assertEqual(done.stderr.splitlines()[0], text)
            self.assertIn(done.returncode, (1, 2))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
