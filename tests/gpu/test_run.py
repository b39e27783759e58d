#!/usr/bin/env python3
"""test_run.py - tests/gpu/run.sh, rehearsed in the emulation: it reports what is right, what is wrong, and goes on where it stopped.

    test_run.py RUN_SH DRIVER RANDOM_GGUF

Standard library only.
"""
import os
import stat
import subprocess
import sys
import tempfile
import unittest

RUN, DRIVER, RANDOM = map(os.path.abspath, sys.argv[1:4])


class Run(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.out = os.path.join(self.folder.name, "out")

    def tearDown(self):
        self.folder.cleanup()

    def run_sh(self, *options, driver=DRIVER):
        return subprocess.run(["sh", RUN, "--rehearse", "--out", self.out, "--use", driver, RANDOM, *options], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def report(self):
        with open(os.path.join(self.out, "report.md"), encoding="utf-8") as f:
            return f.read()

    def fake_driver(self, text):
        path = os.path.join(self.folder.name, "driver")
        with open(path, "w", encoding="utf-8") as f:
            f.write("#!/bin/sh\n" + text)
        os.chmod(path, stat.S_IRWXU)
        return path

    def test_the_emulated_backend_passes_and_is_reported(self):
        done = self.run_sh()
        self.assertEqual(done.returncode, 0, done.stdout)
        report = self.report()
        self.assertIn(" checks passed, 0 failed; steps: ops, model-d1-k256-Q4_K_M, keep, random-model, speed", report)
        self.assertIn("ok keep: a process that got it over a socket maps it, the maker dead", report)
        for line in ("| prefill-24 | ", "| decode-1-at-0 | ", "| decode-16-at-0 | ", "| decode-1-at-20 | ", "| decode-16 | delta | "):
            self.assertIn(line, report)
        self.assertNotIn("## Failures", report)

    def test_failures_are_in_the_report(self):
        driver = self.fake_driver('case $2 in ops) echo "FAILED embed Q4_0: wrong"; exit 1 ;; keep) kill -SEGV $$ ;; esac\n'
                                  'echo "ok $2: fine"\n')
        self.assertEqual(self.run_sh(driver=driver).returncode, 1)
        report = self.report()
        self.assertIn("2 checks passed, 1 failed", report)
        self.assertIn("- ops: FAILED embed Q4_0: wrong", report)
        self.assertIn("- step keep: status 139", report)

    def test_checking_nothing_is_no_success(self):
        self.assertEqual(self.run_sh(driver=self.fake_driver("exit 0\n")).returncode, 1)

    def test_a_call_whose_time_is_up_is_gone_on_with(self):
        driver = self.fake_driver('echo "$2" >>"$0.calls"; echo "ok $2: fine"\n')
        first = self.run_sh("--limit", "100", driver=driver)
        self.assertEqual((first.returncode, first.stdout), (3, "ops: no time left in this call: call again\n"))
        self.assertEqual(self.run_sh("--limit", "300", driver=driver).returncode, 0)
        self.assertEqual(self.run_sh(driver=driver).returncode, 0)
        with open(driver + ".calls", encoding="utf-8") as f:
            self.assertEqual(f.read().split(), ["ops", "model", "keep", "speed"])   # each once

    def test_without_a_driver_it_says_so(self):
        done = self.run_sh(driver=os.path.join(self.folder.name, "none"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("there is no driver", done.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
