#!/usr/bin/env python3
"""story_spill.py - a prefix cache that survives: a stop and a start, an engine's death, a broken file, a full disk."""
import os
import shutil
import subprocess
import sys
import tempfile

import qwp
from harness import Qwend, golden, tiny_model
from qwp import pb
from story_cache import FIRST, SECOND, ask, outcome


class Folder:
    """A cache folder of our own, as the service would have it."""

    def __enter__(self):
        self.root = tempfile.mkdtemp(prefix="qwend-spill-")
        self.path = os.path.join(self.root, "cache")
        return self

    def __exit__(self, *unused):
        shutil.rmtree(self.root, ignore_errors=True)

    def files(self):
        return sorted(name for name in os.listdir(self.path) if name != "new") if os.path.isdir(self.path) else []

    def start(self, *options, model=None):
        return Qwend(model or tiny_model(), "--backend", "cpu", "--context", "2048", "--slots", "2", "--cache-mib", "64",
                     "--cache-dir", self.path, *options)


def stop(qwend):
    assert qwend.terminate() == 0, qwend.log()


def the_second_turn_after_a_restart_reads_what_is_new_and_says_the_same():
    with Folder() as folder:
        with folder.start() as qwend, qwp.Peer(qwend.socket) as peer:
            want = outcome(ask(peer, SECOND, no_cache=True))
            first = ask(peer, FIRST).usage
            stop(qwend)
        assert folder.files() and all(name.startswith(f"{os.getuid()}-") for name in folder.files()), folder.files()
        assert os.stat(folder.path).st_mode & 0o777 == 0o700
        assert all(os.stat(os.path.join(folder.path, name)).st_mode & 0o777 == 0o600 for name in folder.files())
        with folder.start() as qwend, qwp.Peer(qwend.socket) as peer:
            second = ask(peer, SECOND)
            assert 0 <= first.prompt_tokens - second.usage.cached_tokens <= 8, (first, second.usage)
            assert outcome(second) == want
            assert outcome(ask(peer, SECOND)) == want
            status = peer.status()
            assert status.cache_dir_bytes == 4096 << 20 and 0 < status.cache_dir_used_bytes < status.cache_dir_bytes


if __name__ == "__main__":
    sys.exit(qwp.run([
        the_second_turn_after_a_restart_reads_what_is_new_and_says_the_same,
    ]))
