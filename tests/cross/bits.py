#!/usr/bin/env python3
"""bits.py - whole models on AArch64, under qemu, against the same models here: every logit is the same bits.

    QWEND_PROBE=PROBE bits.py GOLDEN ROOT PROBE_AARCH64

ROOT is where sysroot.sh has the libraries; without a program of this machine the test is skipped.  qemu's processors
differ in what the kernels can use: without being told, each runs its best instruction set.  A prompt is read whole, and
by one to three ids, so that kernels for many rows and for few have their turn.  Standard library only.
"""
import glob
import json
import os
import subprocess
import sys
import unittest

GOLDEN, ROOT, PROBE_AARCH64 = sys.argv[1:4]
PROBE = os.environ.get("QWEND_PROBE")
LIBS = ":".join(os.path.join(ROOT, lib, "aarch64-linux-gnu") for lib in ("usr/lib", "lib"))
MODELS = sorted(glob.glob(os.path.join(GOLDEN, "models/*/*.gguf")))
BEST = {"max": "i8mm", "cortex-a76": "neon", "cortex-a72": "scalar"}
KV = ("f32", "f16", "q8_0")
N_IDS = 65  # of the prompt that is asked: they cross a page


def qemu(cpu):
    return ["qemu-aarch64-static", "-cpu", cpu, "-L", "/usr/aarch64-linux-gnu", "-E", "LD_LIBRARY_PATH=" + LIBS, PROBE_AARCH64]


def run(command, text=""):
    return subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def job(model):
    with open(model.removesuffix("gguf") + "json") as f:
        prompts = json.load(f)["prompts"]
    (ids,) = [p["ids"] for p in prompts if len(p["ids"]) == N_IDS]
    return json.dumps({"ids": ids, "positions": list(range(N_IDS))}) + "\n"


class Bits(unittest.TestCase):
    maxDiff = None

    def logits(self, command, model, kv, chunk):
        done = run([*command, "logits", model, "--kv", kv, "--chunk", str(chunk)], job(model))
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return done.stdout

    def test_each_processor_runs_its_best(self):
        for cpu, isa in BEST.items():
            done = run([*qemu(cpu), "inspect", MODELS[0], "--json"])
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertEqual(json.loads(done.stdout)["machine"]["cpu_isa"], isa, cpu)

    def test_what_a_processor_lacks_is_refused(self):
        for cpu, isa, what in (("cortex-a76", "i8mm", "dot products and I8MM; this machine has: neon, scalar"),
                               ("cortex-a72", "neon", "dot products; this machine has: scalar")):
            done = run([*qemu(cpu), "logits", MODELS[0], "--isa", isa])
            self.assertEqual((done.returncode, done.stdout), (1, b""))
            self.assertIn(f'instruction set "{isa}" needs {what}', done.stderr.decode())

    def test_logits_are_those_of_this_machine(self):
        self.assertEqual(len(MODELS), 6)
        for i, model in enumerate(MODELS):
            kv = KV[i % len(KV)]
            here = self.logits([PROBE], model, kv, 512)
            self.assertGreater(len(here), 60 * 4 * 256)  # rows of a vocabulary
            for cpu in BEST:
                for chunk in (512,) if cpu == "cortex-a72" else (512, 1 + i % 3):
                    there = self.logits(qemu(cpu), model, kv, chunk)
                    self.assertTrue(there == here, (os.path.basename(model), kv, cpu, chunk))


if __name__ == "__main__":
    if not PROBE:
        print("no QWEND_PROBE to compare with")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
