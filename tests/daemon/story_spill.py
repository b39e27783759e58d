#!/usr/bin/env python3
"""story_spill.py - a prefix cache that survives: a stop and a start, an engine's death, a broken file, a full disk."""
import os
import shutil
import subprocess
import sys
import tempfile

import qwp
from harness import Qwend, tiny_model
from other_user import OTHER_UID, fork_as
from story_cache import FIRST, RULES, SECOND, ask, outcome

LONG = [("system", RULES * 3), FIRST[1]]  # enough to be written while nothing runs


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
        return Qwend(model or tiny_model(), "--backend", "cpu", "--context", "4096", "--slots", "2", "--cache-mib", "64",
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


def another_uid_finds_nothing_of_it_after_the_restart():
    if os.geteuid() != 0:
        return "needs root, to act as a second uid"
    with Folder() as folder:
        with folder.start() as qwend, qwp.Peer(qwend.socket) as peer:
            want = outcome(ask(peer, FIRST))
            stop(qwend)
        with folder.start() as qwend:
            def as_other():
                with qwp.Peer(qwend.socket) as other:
                    theirs = ask(other, FIRST)
                    return [theirs.usage.cached_tokens, outcome(theirs)]

            assert fork_as(OTHER_UID, as_other)() == [0, want]
            with qwp.Peer(qwend.socket) as peer:
                mine = ask(peer, FIRST)
                assert mine.usage.cached_tokens > 100 and outcome(mine) == want
            stop(qwend)
        owners = {name.split("-")[0] for name in folder.files()}
        assert owners == {"0", str(OTHER_UID)}, folder.files()
    return None


def what_asks_for_no_cache_is_on_no_disk():
    with Folder() as folder:
        with folder.start() as qwend, qwp.Peer(qwend.socket) as peer:
            ask(peer, SECOND, no_cache=True)
            stop(qwend)
        assert folder.files() == []


def an_engine_that_dies_leaves_what_it_wrote_while_it_rested():
    with Folder() as folder, folder.start() as qwend, qwp.Peer(qwend.socket) as peer:
        want = outcome(ask(peer, LONG, no_cache=True))
        ask(peer, LONG)
        peer.wait_status(lambda s: s.cache_dir_used_bytes > 0)
        os.kill(qwend.engine_pid(), 9)
        again = ask(peer, LONG)
        assert outcome(again) == want and again.usage.cached_tokens > 256, again.usage
        assert "on disk" in qwend.ctl("status").stdout


def engines_that_die_at_any_moment_leave_nothing_that_is_wrong():
    with Folder() as folder, folder.start() as qwend, qwp.Peer(qwend.socket) as peer:
        turns, cached = list(LONG), 0
        for i in range(7):
            want = outcome(ask(peer, turns, no_cache=True, max_tokens=4))
            got = ask(peer, turns, max_tokens=4)
            assert outcome(got) == want, i
            cached += got.usage.cached_tokens > 256
            before = peer.status().cache_dir_used_bytes
            if i % 3 == 1:  # when it has written
                peer.wait_status(lambda s, n=before: s.cache_dir_used_bytes != n)
            elif i % 3:  # while it writes, if that can be seen; else before
                peer.wait_status(lambda s, n=before: s.cache_dir_used_bytes != n or "new" in os.listdir(folder.path))
            os.kill(qwend.engine_pid(), 9)
            turns = turns + [("assistant", f"That is process {i}."), ("user", "And which one comes after that? " * 20)]
        assert cached == 5, cached  # all behind the first that was written whole
        stop(qwend)
        assert "new" not in os.listdir(folder.path)


def a_damaged_file_is_named_removed_and_not_used():
    with Folder() as folder:
        with folder.start() as qwend, qwp.Peer(qwend.socket) as peer:
            want = outcome(ask(peer, FIRST))
            stop(qwend)
        for name in folder.files():
            with open(os.path.join(folder.path, name), "r+b") as f:
                f.seek(-100, os.SEEK_END)
                f.write(b"\xff" * 4)
        damaged = folder.files()
        with folder.start() as qwend, qwp.Peer(qwend.socket) as peer:
            got = ask(peer, FIRST)
            line = qwend.wait_line(r"cache file .*: the checksum of its state does not fit; removed")
            assert outcome(got) == want and any(name in line for name in damaged), line


def a_full_disk_is_said_once_and_fails_nobody():
    with Folder() as folder:
        os.mkdir(folder.path, 0o700)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", folder.path],
                                 capture_output=True, check=False)
        if mounted.returncode:
            return "needs root with the right to mount"
        try:
            with folder.start() as qwend, qwp.Peer(qwend.socket) as peer:
                want = outcome(ask(peer, LONG))
                assert "nothing more is written" in qwend.wait_line("cache folder .*No space left")
                assert outcome(ask(peer, LONG)) == want
                assert peer.status().cache_dir_used_bytes == 0
                stop(qwend)
                assert qwend.log().count("No space left") == 1, qwend.log()
        finally:
            subprocess.run(["umount", folder.path], check=True)
    return None


def a_folder_that_others_can_read_is_not_used():
    with Folder() as folder:
        os.mkdir(folder.path)
        os.chmod(folder.path, 0o750)
        with folder.start() as qwend, qwp.Peer(qwend.socket) as peer:
            qwend.wait_line("cache_dir is not used: .*mode 750, should be")
            ask(peer, FIRST)
            assert not peer.status().HasField("cache_dir_bytes")
            stop(qwend)
        assert folder.files() == []


if __name__ == "__main__":
    sys.exit(qwp.run([
        the_second_turn_after_a_restart_reads_what_is_new_and_says_the_same,
        another_uid_finds_nothing_of_it_after_the_restart,
        what_asks_for_no_cache_is_on_no_disk,
        an_engine_that_dies_leaves_what_it_wrote_while_it_rested,
        engines_that_die_at_any_moment_leave_nothing_that_is_wrong,
        a_damaged_file_is_named_removed_and_not_used,
        a_full_disk_is_said_once_and_fails_nobody,
        a_folder_that_others_can_read_is_not_used,
    ]))
