"""story_gpu.py - which engine the broker starts: qwend-engine-cuda where it is installed and wanted, and what happens
if that one cannot live."""

import os
import shutil
import stat
import sys
import tempfile

import qwend_pb2 as pb
import qwp
from fake import ENGINE, Fake, check, sampling
from qwp import prompt


class Installed(Fake):
    """A broker in a folder of its own, with the engines that lie beside it there: name -> shell script."""

    def __init__(self, engines, *options):
        self.bin = tempfile.mkdtemp(prefix="qwend-bin-")
        for name, text in engines.items():
            path = os.path.join(self.bin, name)
            with open(path, "w", encoding="utf-8") as f:
                f.write(f"#!/bin/sh\n{text}\n")
            os.chmod(path, stat.S_IRWXU)
        super().__init__(*options)

    def _program(self, build):
        return [shutil.copy(os.path.join(build, "daemon/broker/qwend"), self.bin)]

    def _engine(self, engine):
        return ()                                       # no --engine: it is to be found

    def __exit__(self, *unused):
        super().__exit__(*unused)
        shutil.rmtree(self.bin, ignore_errors=True)

    def started(self, name):
        return os.path.exists(os.path.join(self.bin, name + ".started"))


LIVES = f': >"$0.started"; exec {ENGINE} "$@"'
CRASHES = ': >"$0.started"; kill -SEGV $$'


def check_serves(d):
    with d.serving() as p:
        check(p.ask(prompt("x"), sampling=sampling(1), max_tokens=3), 1, prompt("x"), 3)
        return p.status()


def the_one_with_cuda_is_preferred():
    for options in ((), ("--backend", "cuda")):
        with Installed({"qwend-engine": LIVES, "qwend-engine-cuda": LIVES}, *options) as d:
            check_serves(d)
            assert d.started("qwend-engine-cuda") and not d.started("qwend-engine")


def the_plain_one_serves_where_there_is_no_other_or_the_cpu_is_wanted():
    with Installed({"qwend-engine": LIVES}) as d:
        check_serves(d)
    with Installed({"qwend-engine": LIVES, "qwend-engine-cuda": LIVES}, "--backend", "cpu") as d:
        check_serves(d)
        assert d.started("qwend-engine") and not d.started("qwend-engine-cuda")


def one_that_crashes_while_it_loads_is_given_up_and_status_says_so():
    with Installed({"qwend-engine": LIVES, "qwend-engine-cuda": CRASHES}) as d:
        status = check_serves(d)
        assert d.started("qwend-engine-cuda") and d.started("qwend-engine")
        assert status.note == ("backend auto: qwend-engine-cuda killed by signal 11 (Segmentation fault) while it "
                               "loaded; the CPU serves"), status.note
        d.kill_engine()                                 # and it stays so
        with d.serving() as p:
            assert "the CPU serves" in p.wait_status(lambda s: s.engine_restarts == 2 and
                                                     s.state == pb.StatusReply.SERVING).note


def one_that_was_asked_for_by_name_is_not_replaced():
    with Installed({"qwend-engine": LIVES, "qwend-engine-cuda": CRASHES}, "--backend", "cuda") as d, d.peer() as p:
        p.wait_status(lambda s: s.engine_restarts >= 3)
        assert not d.started("qwend-engine")


sys.exit(qwp.run([
    the_one_with_cuda_is_preferred, the_plain_one_serves_where_there_is_no_other_or_the_cpu_is_wanted,
    one_that_crashes_while_it_loads_is_given_up_and_status_says_so, one_that_was_asked_for_by_name_is_not_replaced,
]))
