"""story_upgrade.py - qwenctl upgrade: the broker becomes the binary that stands where its own stood.  Same process, same
socket; requests go on, and libqwend's callers notice nothing.  What could not start is refused, and nothing has changed."""

import os
import random
import shutil
import stat
import sys
import tempfile

import fake
import openmetrics
import qwend_pb2 as pb
import qwp
from fake import Fake, check, gather, sampling
from fakesd import FakeService
from libqwend import END, Client, body
from qwp import prompt

UPGRADES = 15
ID = bytes(range(16))


class Copied(Fake):
    """With a binary of its own, which a story may replace."""

    def _program(self, build):
        self.bin = tempfile.mkdtemp(prefix="qwend-story-bin-")
        self.binary = os.path.join(self.bin, "qwend")
        shutil.copy(super()._program(build)[0], self.binary)
        return [self.binary]

    def replace(self, text):
        """As a package manager does: another file under the same name."""
        other = self.binary + ".new"
        with open(other, "w", encoding="ascii") as f:
            f.write(text)
        os.chmod(other, 0o755)
        os.rename(other, self.binary)

    def __exit__(self, *unused):
        super().__exit__(*unused)
        shutil.rmtree(self.bin)


def upgrade(d):
    done = d.ctl("upgrade")
    assert done.returncode == 0 and done.stdout.startswith("upgraded: qwend "), (done, d.log())


def attach(peer, next_seq=0, request_id=ID, **fields):
    return peer.open(pb.Attach(request_id=request_id, next_seq=next_seq, **fields))


def one_stream_after_the_other(d, who, is_over):
    turn = 0
    while turn == 0 or not is_over():
        client, n = Client(d), random.randint(1, 600)
        text = f"{who}.{turn}"
        client.generate(text, n, detachable=who % 2, credit=(None, 200)[who % 3 == 0])
        got, ended = client.read()
        assert ended == END, (who, turn, ended, client.lib.qwend_error(client.q), d.log())
        assert got == fake.expected(1, body(text), n), (who, turn, len(got))
        client.close()
        turn += 1


def upgrade_many_times(d, control):
    over = []

    def upgrades():
        for _ in range(UPGRADES):
            upgrade(d)
            with d.peer() as p:                     # so that each of them had something to do
                before = p.wait_status(lambda s: s.state == pb.StatusReply.SERVING)
                p.wait_status(lambda s: s.output_tokens > before.output_tokens + 20)
        over.append(True)

    gather([lambda who=who: one_stream_after_the_other(d, who, lambda: over) for who in range(6)] + [upgrades], 120)
    control.close()


def nobody_notices_upgrades():
    """Without systemd: the broker passes on what it has, weights and their part."""
    with Fake(delay_ms=1, weights=6) as d:
        engine_pid = d.serving().status().engine_pid
        upgrade_many_times(d, d.serving())
        assert d.process.poll() is None, "it is another process"
        with d.peer() as p:
            status = p.status()
            assert status.pid == d.process.pid and status.engine_pid == engine_pid and not status.running, status
            d.kill_engine()                         # its death is noticed by whoever has it now
            assert p.wait_status(lambda s: s.engine_restarts and s.state == pb.StatusReply.SERVING).weights_adopted
        mode = os.stat(d.socket).st_mode
        assert stat.S_ISSOCK(mode)
        assert d.terminate() == 0
        assert not os.path.exists(d.socket), "whose socket is it?"


def nobody_notices_upgrades_under_systemd():
    with FakeService(delay_ms=1, weights=1) as d:
        upgrade_many_times(d, d.serving())
        assert d.n_starts == 1
        assert [name.split("-")[1] for name in d.stored()] == ["journal", "weights", "weights"], d.stored()
        peer = d.peer()
        stream = peer.generate(prompt("x"), sampling=sampling(1), max_tokens=300, request_id=ID)
        peer.wait_for(pb.Delta, stream)
        d.kill_broker()                             # the store is as good as after a start
        with d.peer() as p:
            check(p.collect(attach(p)), 1, prompt("x"), 300)
            assert p.status().weights_adopted


def no_upgrade_counts_as_a_death():
    with Fake(deaf=1) as d, d.serving() as p:
        stream = p.generate(prompt("x"), max_tokens=3, request_id=ID)
        p.wait_for(pb.Accepted, stream)
        for _ in range(6):
            with d.serving() as control:
                control.wait_status(lambda s: s.running)
            upgrade(d)
        with d.peer() as again:
            attached = attach(again)
            assert again.wait_for(pb.Accepted, attached).msg.request_id == ID
            assert again.call(pb.ListRequests(), pb.Requests).requests[0].replays == 0


def a_held_service_stays_held():
    with Fake() as d, d.serving():
        assert d.ctl("drain").returncode == 0
        upgrade(d)
        assert d.ctl("ask", "x").returncode == 5
        assert d.ctl("resume").returncode == 0
        assert d.ctl("ask", "-n", "3", "x").returncode == 0
        upgrade(d)
        assert d.ctl("ask", "-n", "3", "x").returncode == 0


def begin(p, n, **fields):
    stream, result = p.generate(prompt("x"), sampling=sampling(1), max_tokens=n, **fields), qwp.Result()
    while not result.n_deltas:
        result.add(p.next_frame(stream))
    return stream, result


def refuse(d, words, code):
    done = d.ctl("upgrade")
    assert done.returncode == code and words in done.stderr, (done, words)


def upgrades_leave_no_descriptor_behind_and_take_the_metrics_along():
    with tempfile.TemporaryDirectory() as folder:
        metrics = os.path.join(folder, "metrics.sock")
        with Fake("--metrics", metrics, weights=1) as d:
            counts = set()
            for _ in range(5):
                upgrade(d)
                with d.serving() as p:
                    p.wait_status(lambda s: s.connections == 1)
                    counts.add(len(os.listdir(f"/proc/{d.process.pid}/fd")))
                assert openmetrics.value(openmetrics.parse(openmetrics.read(metrics)), "qwend_journal_limit_bytes") == 128 << 20
            assert len(counts) == 1, counts
            assert d.terminate() == 0 and not os.listdir(folder)


def what_cannot_be_executed_does_not_take_over():
    with Copied(delay_ms=2) as d, d.serving() as p:
        pid = p.status().engine_pid
        stream, result = begin(p, 500)
        os.remove(d.binary)
        refuse(d, "No such file", 10)
        d.replace("#!/bin/sh\nexit 3\n")
        refuse(d, "--version ends with status 3", 10)
        d.replace("#!/bin/sh\nkill -9 $$\n")
        refuse(d, "is killed by signal 9", 10)
        d.replace("no program\n")
        refuse(d, "--version ends with status 127", 10)
        check(p.collect(stream, result=result), 1, prompt("x"), 500)
        assert p.status().engine_pid == pid, "its engine paid for that"


def a_binary_that_goes_at_the_last_moment_leaves_the_old_one_serving():
    """It says its version and is gone: execve() itself fails."""
    with Copied(delay_ms=2) as d, d.serving() as p:
        stream, result = begin(p, 300)
        d.replace('#!/bin/sh\nrm "$0"\n')
        refuse(d, "cannot be executed: No such file", 10)
        result = p.collect(stream, result=result)
        check(result, 1, prompt("x"), 300)
        assert result.usage.replays == 0, result.usage
        with d.peer() as q:                         # the socket is listened on as before
            check(q.ask(prompt("y"), sampling=sampling(2), max_tokens=10), 2, prompt("y"), 10)


def a_newer_binary_takes_over():
    with Copied(delay_ms=2) as d, d.serving() as p:
        stream = p.generate(prompt("x"), sampling=sampling(1), max_tokens=300, request_id=ID)
        p.wait_for(pb.Delta, stream)
        shutil.copy(d.binary, d.binary + ".new")
        os.rename(d.binary + ".new", d.binary)      # the running one is "(deleted)" now
        upgrade(d)
        assert os.readlink(f"/proc/{d.process.pid}/exe") == d.binary
        with d.peer() as q:
            check(q.collect(attach(q)), 1, prompt("x"), 300)


def upgraded_under_a_stream(d, change):
    """change() and upgrade while there is one: whether the engine is the same."""
    with d.serving() as p:
        before = p.status().engine_pid
        stream, result = begin(p, 400, request_id=ID)
        change()
        upgrade(d)
        try:
            while True:
                result.add(p.next_frame(stream))
        except qwp.Closed:
            pass
    with d.peer() as p:
        result = p.collect(attach(p, result.n_deltas), result=result)
        check(result, 1, prompt("x"), 400)
        after = p.status()
        assert after.weights_adopted == (after.engine_pid != before), after
        kinds = [e.kind for e in result.events]     # a death may be told before the upgrade, after it, and to nobody
        assert pb.Event.RESUMED not in kinds[:-1] and set(kinds) <= {pb.Event.ENGINE_RESTART, pb.Event.RESUMED}, kinds
        assert not (kinds and after.engine_pid == before), kinds
        return after.engine_pid == before


def an_engine_that_is_still_the_right_one_is_kept():
    with Fake(delay_ms=2, weights=1) as d:
        assert upgraded_under_a_stream(d, lambda: None)


def an_engine_whose_binary_was_replaced_is_replaced():
    with tempfile.TemporaryDirectory() as folder:
        engine = os.path.join(folder, "engine")
        shutil.copy(fake.ENGINE, engine)

        def change():
            shutil.copy(fake.ENGINE, engine + ".new")
            os.rename(engine + ".new", engine)

        with Fake(delay_ms=2, weights=1, engine=engine) as d:
            assert not upgraded_under_a_stream(d, change)


def an_engine_that_was_told_other_numbers_is_replaced():
    with Fake(delay_ms=2, weights=1) as d:
        def change():
            with open(os.path.join(d.folder, "qwend.conf"), "a", encoding="utf-8") as f:
                f.write("threads = 3\n")

        assert not upgraded_under_a_stream(d, change)


def an_engine_that_dies_on_the_way_is_replaced():
    with Fake(delay_ms=2, weights=1) as d:
        assert not upgraded_under_a_stream(d, d.kill_engine)


def a_mistake_in_the_configuration_is_found_before():
    with Fake(config="[daemon]\n[class all]\nmatch = any\nadmin = reload\n") as d, d.serving() as p:
        with open(os.path.join(d.folder, "qwend.conf"), "a", encoding="utf-8") as f:
            f.write("nonsense = 1\n")
        refuse(d, "nonsense", 2)
        check(p.ask(prompt("x"), sampling=sampling(1), max_tokens=3), 1, prompt("x"), 3)


def who_may_not_reload_may_not_upgrade():
    with Fake(config="[daemon]\n[class all]\nmatch = any\nadmin = drain\n") as d, d.serving():
        refuse(d, "may not", 4)


def without_a_journal_there_is_nothing_to_go_on_from():
    with Fake("--journal-mib", "0") as d, d.serving() as p:
        assert "restart" not in p.welcome.capabilities
        done = d.ctl("upgrade")
        assert done.returncode and "journal_mib = 0" in done.stderr, done
        check(p.ask(prompt("x"), sampling=sampling(1), max_tokens=3), 1, prompt("x"), 3)


if __name__ == "__main__":
    sys.exit(qwp.run([
        nobody_notices_upgrades, nobody_notices_upgrades_under_systemd, no_upgrade_counts_as_a_death,
        a_held_service_stays_held,
        upgrades_leave_no_descriptor_behind_and_take_the_metrics_along, what_cannot_be_executed_does_not_take_over,
        a_binary_that_goes_at_the_last_moment_leaves_the_old_one_serving, a_newer_binary_takes_over,
        an_engine_that_is_still_the_right_one_is_kept, an_engine_whose_binary_was_replaced_is_replaced,
        an_engine_that_was_told_other_numbers_is_replaced, an_engine_that_dies_on_the_way_is_replaced,
        a_mistake_in_the_configuration_is_found_before, who_may_not_reload_may_not_upgrade,
        without_a_journal_there_is_nothing_to_go_on_from]))
