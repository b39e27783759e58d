#!/usr/bin/env python3
"""test_serve.py - tests/gpu/serve.py on the CPU backend and the demo model: it measures all it says it does, and says what fails.

    test_serve.py SERVE_PY QWEND ENGINE MODEL

Standard library only.
"""
import importlib.util
import os
import re
import stat
import subprocess
import sys
import tempfile
import unittest

SERVE, QWEND, ENGINE, MODEL = map(os.path.abspath, sys.argv[1:5])


def figures():
    spec = importlib.util.spec_from_file_location("serve", SERVE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FIGURES


class Serve(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.log = os.path.join(self.folder.name, "log")

    def tearDown(self):
        self.folder.cleanup()

    def serve(self, *options, engine=ENGINE):
        return subprocess.run([sys.executable, SERVE, "--qwend", QWEND, "--engine", engine, "--backend", "cpu", "--quick", "--context",
                               "8192", "--log", self.log, *options, MODEL], text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)

    def engine(self, text):
        path = os.path.join(self.folder.name, "engine")
        with open(path, "w", encoding="utf-8") as f:
            f.write("#!/bin/sh\n" + text)
        os.chmod(path, stat.S_IRWXU)
        return path

    def test_every_figure_is_measured_and_what_must_hold_holds(self):
        done = self.serve()
        self.assertEqual(done.returncode, 0, done.stdout)
        known = figures()
        got = dict(re.findall(r"^serve (\S+) ([\d.]+)$", done.stdout, re.M))
        self.assertEqual(set(got), set(known) - {"stream_gap_max_ms"} | set(got) & {"stream_gap_max_ms"}, done.stdout)
        self.assertGreater(float(got["one_tok_s"]), 0)
        self.assertGreater(int(got["warm_cached_tokens"]), 256)
        for name in ("serves", "turn2", "kill", "kill-weights", "restart", "stop"):
            self.assertRegex(done.stdout, rf"(?m)^ok {name}: ")
        with open(self.log, encoding="utf-8") as f:
            self.assertIn("weights taken over", f.read())

    def test_what_hangs_ends_with_its_part(self):
        done = self.serve("--limit", "2", engine=self.engine("exec sleep 60\n"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("FAILED start: TimeoutError: its time is up", done.stdout)
        self.assertIn("FAILED kill: no time is left for it", done.stdout)

    def test_only_what_is_known(self):
        done = self.serve("--only", "speed")
        self.assertEqual(done.returncode, 2)
        self.assertIn("no part is called speed", done.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
