"""story_admin.py - the configuration read again and the service held, with streams that go on, on the fake engine."""

import os
import signal
import socket
import sys
import tempfile

import harness
import qwend_pb2 as pb
import qwp
from fake import Fake, check, sampling
from qwp import MORE

ALL = "[class all]\nmatch = any\nadmin = drain,reload,kill\n"
RELOAD, DRAIN, RESUME = pb.Admin.RELOAD, pb.Admin.DRAIN, pb.Admin.RESUME


def write(daemon, text, name="qwend.conf"):
    path = os.path.join(daemon.folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


def admin(peer, verb):
    return peer.call(pb.Admin(verb=verb), pb.Done).text


def begin(peer, seed, n):
    """A stream of n tokens that runs, and what came of it."""
    stream, result = peer.generate(b"x", sampling=sampling(seed), max_tokens=n), qwp.Result()
    while not result.n_deltas:
        result.add(peer.next_frame(stream))
    return stream, result


def a_reload_changes_what_is_asked_next_and_not_what_runs():
    with Fake(config=ALL, delay_ms=2) as d, d.serving() as p, d.peer() as q:
        stream, result = begin(p, 1, 300)
        write(d, "[class all]\nmatch = any\nmax_output = 5\n")
        d.process.send_signal(signal.SIGHUP)
        d.wait_line(r"reloaded: 3 classes$")
        assert "class all gets at most 5" in qwp.refused(lambda: p.ask(b"x", max_tokens=6), 304)
        qwp.refused(lambda: q.ask(b"x", max_tokens=6), 304)
        check(q.ask(b"x", sampling=sampling(2), max_tokens=5), 2, b"x", 5)
        qwp.refused(lambda: admin(q, RELOAD), 301)
        check(p.collect(stream, result=result), 1, b"x", 300)


def drop_ins_that_came_later_are_found():
    with Fake(config=ALL) as d, d.serving() as p:
        write(d, "[class all]\nmax_output = 5\n[class more]\nmatch = uid:123456\n", "qwend.conf.d/50.conf")
        assert admin(p, RELOAD) == "reloaded: 4 classes"
        qwp.refused(lambda: p.ask(b"x", max_tokens=6), 304)


def a_fault_keeps_what_held_and_says_where_it_is():
    with Fake(config=ALL) as d, d.serving() as p:
        for text, words in [("[class all]\nmatch = any\nallow = no\nwieght = 1\n", "qwend.conf:4: unknown key 'wieght'"),
                            ("[daemon]\nslots = many\n", "qwend.conf:2: slots is 'many'"),
                            ("[class all]\nmatch = uid:no-such-user\n", "there is no such user"),
                            ("[class all]\nweight = 1\n", "[class all] has no match")]:
            write(d, text)
            n_lines = len(d.lines)
            said = qwp.refused(lambda: admin(p, RELOAD), 201)
            assert words in said, said
            assert words in d.wait_line("not reloaded, what held before still does: ", n_lines)
            assert p.ask(b"x", max_tokens=3).usage.answer_tokens == 3
        write(d, ALL)
        assert admin(p, RELOAD) == "reloaded: 3 classes"


def keys_that_need_a_restart_are_named():
    with Fake("--drain-s", "7", config="[daemon]\nslow_s = 50\n" + ALL) as d, d.serving() as p:
        write(d, "[daemon]\nslow_s = 51\ndrain_s = 9\nmax_mib = 100\n" + ALL)    # drain_s: the option wins
        assert admin(p, RELOAD) == "reloaded: 3 classes; only a restart changes slow_s, max_mib"


class Notified:
    """A stand-in for systemd's notify socket; what the daemon says there, in order."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        path = os.path.join(self.folder.name, "notify")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(path)
        self.sock.settimeout(harness.WAIT_S)
        os.chmod(self.folder.name, 0o755)
        os.environ["NOTIFY_SOCKET"] = path
        return self

    def __exit__(self, *unused):
        del os.environ["NOTIFY_SOCKET"]
        self.sock.close()
        self.folder.cleanup()

    def wait(self, start):
        """The next message that begins so; others (the watchdog's) are passed over."""
        while not (text := self.sock.recv(4096).decode()).startswith(start):
            pass
        return text


def the_service_manager_hears_of_each_reload():
    with Notified() as notified, Fake(config=ALL) as d, d.serving() as p:
        notified.wait("READY=1")
        for text, status in [(ALL, "serving"), ("[class all]\nx = 1\n", "not reloaded: ")]:
            write(d, text)
            d.process.send_signal(signal.SIGHUP)
            lines = notified.wait("RELOADING=1").split("\n")
            name, _, value = lines[1].partition("=")
            assert name == "MONOTONIC_USEC" and int(value) > 0, lines
            ready = notified.wait("READY=1")
            assert ready.startswith("READY=1\nSTATUS=" + status), ready
        write(d, ALL)
        assert admin(p, RELOAD) == "reloaded: 3 classes"
        admin(p, DRAIN)
        assert "held by an administrator" in notified.wait("STATUS=")


def who_has_no_right_is_refused():
    with Fake(config="[class all]\nmatch = any\nadmin = reload\n") as d, d.serving() as p:
        assert "class all may not drain" in qwp.refused(lambda: admin(p, DRAIN), 301)
        assert "may not drain" in qwp.refused(lambda: admin(p, RESUME), 301)
        assert admin(p, RELOAD)
        qwp.refused(lambda: p.call(pb.Admin(), pb.Done), 201)


def drain_lets_what_runs_end_and_resume_takes_requests_again():
    with Fake(config=ALL, slots=1, delay_ms=2) as d, d.serving() as p, d.peer() as q:
        running, result = begin(p, 1, 200)
        waiting = [p.generate(b"x", max_tokens=1), p.open(pb.Generate(max_tokens=1), MORE)]
        p.wait_for(pb.Accepted, waiting[0])
        assert admin(q, DRAIN) == "draining: 1 requests run on, 2 that waited were refused"
        for stream in waiting:
            assert p.wait_for(pb.Error, stream).msg.code == 403
        assert "an administrator holds the service" in qwp.refused(lambda: q.ask(b"x", max_tokens=1), 403)
        qwp.refused(lambda: q.call(pb.Tokenize(text="x"), pb.Tokens), 403)
        assert q.status().state == pb.StatusReply.DRAINING
        check(p.collect(running, result=result), 1, b"x", 200)
        assert admin(q, RESUME) == "requests are taken again"
        assert admin(q, RESUME) == "requests were taken already"
        check(p.ask(b"x", sampling=sampling(2), max_tokens=9), 2, b"x", 9)


def a_held_service_can_be_stopped():
    with Fake(config=ALL) as d, d.serving() as p:
        admin(p, DRAIN)
        assert d.terminate() == 0


def many_reloads_under_load_lose_nothing():
    with Fake(config=ALL + "accounts = yes\n", slots=4, delay_ms=1) as d, d.serving() as p, d.peer() as q:
        streams = [p.generate(b"x", sampling=sampling(i), max_tokens=100, account=f"a{i % 5}") for i in range(20)]
        for i in range(50):
            write(d, ALL + f"accounts = yes\nmax_running = {1 + i % 3}\ntokens_per_min = {60 * (1 + i % 7)}\n")
            admin(q, RELOAD)
        for i, stream in enumerate(streams):
            check(p.collect(stream), i, b"x", 100)


def qwenctl_reloads_drains_and_resumes():
    with Fake(config=ALL) as d, d.serving():
        done = d.ctl("reload")
        assert (done.returncode, done.stdout) == (0, "reloaded: 3 classes\n"), done
        assert d.ctl("drain").stdout == "draining: 0 requests run on, 0 that waited were refused\n"
        assert d.ctl("ask", "x").returncode == 5
        assert d.ctl("resume", "-q").stdout == ""
        write(d, "[class all]\nmatch = any\n")
        assert d.ctl("reload").returncode == 0
        denied = d.ctl("reload")
        assert denied.returncode == 4 and "may not reload" in denied.stderr, denied


if __name__ == "__main__":
    sys.exit(qwp.run([
        a_reload_changes_what_is_asked_next_and_not_what_runs, drop_ins_that_came_later_are_found,
        a_fault_keeps_what_held_and_says_where_it_is, keys_that_need_a_restart_are_named,
        the_service_manager_hears_of_each_reload, who_has_no_right_is_refused,
        drain_lets_what_runs_end_and_resume_takes_requests_again, a_held_service_can_be_stopped,
        many_reloads_under_load_lose_nothing, qwenctl_reloads_drains_and_resumes]))
