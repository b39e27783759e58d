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

# As ncu of CUDA 13.0 writes it, some columns left out.
NCU = '''==PROF== Connected to process 637 (gpu_driver)
ok profile: decode of 1 at 16: done
==PROF== Disconnected from process 637
"ID","Process ID","Kernel Name","Block Size","Grid Size","Metric Name","Metric Unit","Metric Value"
"0","637","void norm_q8<1>(kern_cuda_norm)","(1024, 1, 1)","(1, 1, 1)","gpu__time_duration.sum","ns","24,000"
"1","637","void matmul_small_rows<1>(small_op)","(256, 1, 1)","(264, 1, 1)","gpu__time_duration.sum","us","1,200.0"
"2","637","void norm_q8<1>(kern_cuda_norm)","(1024, 1, 1)","(1, 1, 1)","gpu__time_duration.sum","ns","26,000"
'''
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
        return self.program("driver", text)

    def program(self, name, text):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write("#!/bin/sh\n" + text)
        os.chmod(path, stat.S_IRWXU)
        return path

    def test_the_emulated_backend_passes_and_is_reported(self):
        done = self.run_sh()
        self.assertEqual(done.returncode, 0, done.stdout)
        report = self.report()
        self.assertIn(" checks passed, 0 failed; steps: ops, model-d1-k256-Q4_K_M, model-d2-f32-F32-host, keep, random-model, speed, cpu", report)
        self.assertIn("0 of 6 rows have other bits with the table of embeddings in main memory, pinned as a copy", report)
        for name in ("keep", "keep in main memory"):
            self.assertIn(f"ok {name}: a process that got it over a socket maps it, the maker dead", report)
        for line in ("| prefill-10-by-512 | ", "| decode-1-at-0 | ", "| decode-16-at-0 | ", "| decode-1-at-16 | ", "| decode-4-at-2 | ",
                     "| decode-1-at-80 | ", "| decode-16 | delta | ", "| 16 at 2 / 1 at 0 | "):
            self.assertIn(line, report)
        self.assertNotIn("## Failures", report)
        self.assertIn("ok host: all were held against ", report)
        self.assertRegex(report, r"## The host's CPU\n(- .*\n)*- of its flags: \S")

    def test_failures_are_in_the_report(self):
        driver = self.fake_driver('case $2 in ops) echo "FAILED embed Q4_0: wrong"; exit 1 ;; keep) kill -SEGV $$ ;; esac\n'
                                  'echo "ok $2: fine"\n')
        self.assertEqual(self.run_sh(driver=driver).returncode, 1)
        report = self.report()
        self.assertIn("4 checks passed, 1 failed", report)
        self.assertIn("- ops: FAILED embed Q4_0: wrong", report)
        self.assertIn("- step keep: status 139", report)

    def test_what_a_profiler_saw_is_added_up(self):
        ncu = self.program("ncu", f"cat <<'CSV'\n{NCU}CSV\n")
        driver = self.fake_driver('echo "ok $2: fine"\n')
        done = self.run_sh("--ncu", ncu, driver=driver)
        self.assertEqual(done.returncode, 0, done.stdout)
        report = self.report()
        self.assertIn("## Kernels of a step: decode-1\n3 launches, 1,250 µs by ncu", report)
        self.assertIn("| matmul_small_rows<1> | (264, 1, 1) | 1 | 1200.0 | 1,200 | 96 % |\n"
                      "| norm_q8<1> | (1, 1, 1) | 2 | 25.0 | 50 | 4 % |\n", report)

    def test_a_gpus_own_steps_are_all_taken(self):
        """With programs that only say what they were asked: what a machine without a GPU can tell."""
        say = 'echo "ok $2: $*"\n'
        for name, text in {"nvidia-smi": 'case $1 in *=memory.total) echo 81559 ;; *) echo "NVIDIA H200, 580.1" ;; esac\n', "ncu": say,
                           "compute-sanitizer": 'echo "========= ERROR SUMMARY: 0 errors"\n'}.items():
            self.program(name, text)
        llama, driver = self.program("llama-bench", 'echo "| qwen | pp512 | 1 |"\n'), self.fake_driver(say)
        serve = self.program("qwend", "exit 1\n")
        done = subprocess.run(["sh", RUN, "--out", self.out, "--use", driver, driver, "--llama-bench", llama, "--serve", serve, serve],
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env={**os.environ, "PATH": f"{self.folder.name}:{os.environ['PATH']}"})
        report = self.report()
        self.assertIn("steps: machine, ops, keep, model-d1-k256-MIX, model-d1-k256-Q4_K_M, model-d1-k256-Q4_0, model-d1-k256-IQ4_XS, "
                      "model-d2-f32-F32, model-d3-mtp-Q4_K_M, model-d2-f32-F32-host, random-model, speed, profile-decode-1, profile-decode-16, "
                      "profile-prefill-512, serve, llama, ops-large, sanitizer-memcheck, sanitizer-racecheck, sanitizer-synccheck, cpu-model, cpu",
                      report, done.stdout)
        for folder, _, files in os.walk(self.out):   # a step may take less than a tick of the file system's clock
            for name in files:
                os.utime(os.path.join(folder, name), (1, 1))
        subprocess.run([sys.executable, os.path.join(os.path.dirname(RUN), "report.py"), self.out, "gpu"], check=False,
                       stdout=subprocess.DEVNULL)
        self.assertEqual(self.report(), report)
        self.assertIn("| qwen | pp512 | 1 |", report)
        self.assertIn("- racecheck: ERROR SUMMARY: 0 errors", report)
        self.assertIn("- serve: FAILED start: RuntimeError: the daemon ended", report)   # it cannot live
        with open(os.path.join(self.out, "speed.log"), encoding="utf-8") as f:
            self.assertIn("random.gguf 4096 32768 128 131072", f.read())

    def test_a_step_that_does_not_end_is_told(self):
        driver = self.fake_driver('[ $2 = keep ] && exit 124; echo "ok $2: fine"\n')
        self.assertEqual(self.run_sh(driver=driver).returncode, 1)
        self.assertIn("- step keep: not ended after 60 s", self.report())

    def test_checking_nothing_is_no_success(self):
        self.assertEqual(self.run_sh(driver=self.fake_driver("exit 0\n")).returncode, 1)

    def test_a_call_whose_time_is_up_is_gone_on_with(self):
        driver = self.fake_driver('echo "$2" >>"$0.calls"; echo "ok $2: fine"\n')
        first = self.run_sh("--limit", "100", driver=driver)
        self.assertEqual((first.returncode, first.stdout), (3, "ops: no time left in this call: call again\n"))
        self.assertEqual(self.run_sh("--limit", "300", driver=driver).returncode, 0)
        self.assertEqual(self.run_sh(driver=driver).returncode, 0)
        with open(driver + ".calls", encoding="utf-8") as f:
            self.assertEqual(f.read().split(), ["ops", "model", "model", "keep", "speed", "host"])   # each once

    def test_without_a_driver_it_says_so(self):
        done = self.run_sh(driver=os.path.join(self.folder.name, "none"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("there is no driver", done.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
