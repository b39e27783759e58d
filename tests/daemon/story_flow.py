"""story_flow.py - credit, slow readers, and how the daemon starts, refuses to start, and stops."""

import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time

import fake
import harness
import qwend_pb2 as pb
import qwp
from fake import Fake, check, sampling
from qwp import Refused, prompt


def state_of(p):
    return [r.state for r in p.call(pb.ListRequests(), pb.Requests).requests]


def credit_is_kept_to_the_byte():
    """The text of all Deltas never exceeds what was granted, and stops between characters of a token's text."""
    n = 60
    with Fake() as d, d.serving() as p:
        whole = fake.expected(1, prompt("x"), n).encode()
        stream = p.generate(prompt("x"), sampling=sampling(1), max_tokens=n, credit_bytes=10)
        granted, result = 10, qwp.Result()
        while not result.usage:
            frame = p.next_frame(stream)
            result.add(frame)
            got = len(result.answer)
            assert got <= granted, (got, granted)
            if got == granted and got < len(whole):
                p.send(pb.Credit(bytes=7), stream)
                granted += 7
        check(result, 1, prompt("x"), n)


def without_credit_the_request_is_paused_and_its_neighbour_runs():
    with Fake(slots=2, delay_ms=1) as d, d.serving() as p, d.peer() as q:
        stream = p.generate(prompt("x"), sampling=sampling(1), max_tokens=100, credit_bytes=4)
        p.wait_for(pb.Delta, stream)
        ends = time.monotonic() + qwp.TIMEOUT_S
        while state_of(q) != [pb.RequestInfo.PAUSED]:
            assert time.monotonic() < ends
        made = q.status().output_tokens
        check(q.ask(prompt("y"), sampling=sampling(2), max_tokens=200), 2, prompt("y"), 200)
        assert q.status().output_tokens == made + 200, "a paused request made tokens"
        p.send(pb.Credit(bytes=100000), stream)
        rest = p.wait_for(pb.Usage, stream).msg
        assert rest.answer_tokens == 100 and rest.finish == pb.FINISH_LENGTH


def a_paused_request_survives_the_engine_and_goes_on():
    with Fake(delay_ms=1) as d, d.serving() as p:
        stream = p.generate(prompt("x"), sampling=sampling(1), max_tokens=100, credit_bytes=40)
        result = qwp.Result()
        while len(result.answer) < 40:
            result.add(p.next_frame(stream))
        p.wait_status(lambda s: pb.RequestInfo.PAUSED in state_of(p))
        d.kill_engine()
        p.wait_status(lambda s: s.engine_restarts == 1 and s.state == pb.StatusReply.SERVING)
        p.send(pb.Credit(bytes=100000), stream)
        check(p.collect(stream, result=result), 1, prompt("x"), 100)


def readers_that_do_not_read_hold_no_slot():
    """Ten of them and one slot: whoever reads is served, and so are they in the end."""
    n, seeds = 60, range(10, 20)
    with Fake(slots=1) as d, d.serving() as p, d.peer() as q:
        streams = [p.generate(prompt("x"), sampling=sampling(seed), max_tokens=n, credit_bytes=4) for seed in seeds]
        check(q.ask(prompt("y"), sampling=sampling(2), max_tokens=n), 2, prompt("y"), n)
        q.wait_status(lambda s: state_of(q) == [pb.RequestInfo.PAUSED] * len(seeds) and s.running <= 1 and not s.queued)
        for stream, seed in reversed(list(zip(streams, seeds))):
            p.send(pb.Credit(bytes=100000), stream)
            check(p.collect(stream), seed, prompt("x"), n)


def who_waits_for_his_reader_waits_first_when_he_is_read():
    with Fake(slots=1, delay_ms=1) as d, d.serving() as p, d.peer() as q:
        slow = p.generate(prompt("x"), sampling=sampling(1), max_tokens=100, credit_bytes=4)
        q.wait_status(lambda s: state_of(q) == [pb.RequestInfo.PAUSED])
        first, second = (q.generate(prompt("y"), sampling=sampling(s), max_tokens=300) for s in (2, 3))
        begun = qwp.Result()
        begun.add(q.wait_for(pb.Delta, first))
        p.send(pb.Credit(bytes=100000), slow)
        result = p.collect(slow)
        check(result, 1, prompt("x"), 100)
        assert result.usage.preemptions == 1, result.usage
        assert len(state_of(q)) == 1, "the other one went first"
        check(q.collect(first, result=begun), 2, prompt("y"), 300)
        check(q.collect(second), 3, prompt("y"), 300)


def a_parked_request_can_be_cancelled_and_left():
    with Fake(slots=1) as d, d.serving() as q, d.peer() as p:
        streams = [p.generate(prompt("x"), sampling=sampling(1), max_tokens=50, credit_bytes=4) for _ in range(3)]
        q.wait_status(lambda s: state_of(q) == [pb.RequestInfo.PAUSED] * 3)
        p.send(pb.Cancel(), streams[0])
        assert p.wait_for(pb.Usage, streams[0]).msg.finish == pb.FINISH_CANCEL
        p.close()
        q.wait_status(lambda s: not state_of(q) and s.connections == 1)
        check(q.ask(prompt("y"), sampling=sampling(2), max_tokens=5), 2, prompt("y"), 5)


def a_request_whose_reader_stays_away_ends_with_601():
    with Fake("--slow-s", "1", delay_ms=1) as d, d.serving() as p:
        stream = p.generate(prompt("x"), max_tokens=100000, credit_bytes=4)
        try:
            p.collect(stream)
            raise AssertionError("it went on")
        except Refused as refused:
            assert refused.code == 601 and "credit" in refused.error.text, refused
        assert p.status().running == 0


def too_much_credit_is_refused():
    with Fake(delay_ms=1) as d, d.serving() as p:
        stream = p.generate(prompt("x"), max_tokens=100000, credit_bytes=2 << 20)
        p.wait_for(pb.Accepted, stream)
        p.send(pb.Credit(bytes=2 << 20), stream)
        try:
            p.collect(stream)
            raise AssertionError("it went on")
        except Refused as refused:
            assert refused.code == 201 and "2097152" in refused.error.text, refused


def a_slow_reader_pauses_its_own_request_and_gets_everything():
    """Tokens of 8 KiB: more than 1 MiB is made before the client reads at all."""
    n, size = 400, 8192
    with Fake(size=size) as d, d.serving() as control, d.peer() as p:
        stream = p.generate(prompt("x"), sampling=sampling(1), max_tokens=n, credit_bytes=2 << 20)
        granted = 2 << 20
        control.wait_status(lambda s: pb.RequestInfo.PAUSED in state_of(control))
        memory = harness.status_field(d.process.pid, "VmRSS")
        assert memory < 40000, f"{memory} kB for one unread stream"
        result = qwp.Result()
        while not result.usage:
            frame = p.next_frame(stream)
            result.add(frame)
            if frame.type is pb.Delta:
                p.send(pb.Credit(bytes=len(frame.msg.text)), stream)
                granted += len(frame.msg.text)
        tokens = fake.tokens(1, prompt("x"), n)
        assert result.answer == "".join(f"{k}:{t} ".ljust(size, "x") for k, t in enumerate(tokens))


def a_client_that_never_reads_loses_its_request_and_no_other():
    with Fake("--slow-s", "1", size=8192, slots=2) as d, d.serving() as p, d.peer() as q:
        p.generate(prompt("x"), max_tokens=100000, credit_bytes=2 << 20)
        ends = time.monotonic() + qwp.TIMEOUT_S
        while q.status().running:
            assert time.monotonic() < ends
        d.wait_line("601 .*output was full")
        check_size(q.ask(prompt("y"), sampling=sampling(1), max_tokens=3, credit_bytes=2 << 20))
        assert p.wait_for(pb.Error).msg.code == 601  # it is there for who reads at last


def check_size(result):
    assert len(result.answer) == 3 * 8192


def text_of_more_bytes_than_credit_is_cut_between_characters():
    with Fake(size=300, utf8=1) as d, d.serving() as p:
        stream = p.generate(prompt("x"), max_tokens=3, credit_bytes=50)
        result = qwp.Result()
        while not result.usage:
            frame = p.next_frame(stream)
            result.add(frame)
            if frame.type is pb.Delta:
                frame.msg.text.decode()  # whole characters only
                p.send(pb.Credit(bytes=len(frame.msg.text)), stream)
        assert result.answer.count("é") > 300


# ---- the daemon's own life

def sigterm_lets_running_requests_end_and_refuses_others():
    with Fake(slots=1, delay_ms=2) as d, d.serving() as p, d.peer() as q:
        running = p.generate(prompt("x"), sampling=sampling(1), max_tokens=200)
        p.wait_for(pb.Delta, running)
        waiting = p.generate(prompt("y"), max_tokens=1)
        p.wait_for(pb.Accepted, waiting)
        d.process.send_signal(signal.SIGTERM)
        try:
            p.collect(waiting)
            raise AssertionError("a request that had not begun ran")
        except Refused as refused:
            assert refused.code == 403 and refused.error.retry_after_ms, refused
        assert q.status().state == pb.StatusReply.DRAINING
        try:
            q.ask(prompt("z"), max_tokens=1)
            raise AssertionError("a new request ran")
        except Refused as refused:
            assert refused.code == 403, refused
        event = p.wait_for(pb.Event, running).msg
        assert event.kind == pb.Event.DRAINING
        assert p.wait_for(pb.Usage, running).msg.answer_tokens == 200
        assert p.is_closed() and d.wait_exit() == 0
        assert not os.path.exists(d.socket)


def the_drain_is_bounded_and_a_second_sigterm_cuts_it():
    for second in (False, True):
        with Fake("--drain-s", "60" if second else "1", delay_ms=2) as d, d.serving() as p:
            stream = p.generate(prompt("x"), max_tokens=1000000)
            p.wait_for(pb.Delta, stream)
            d.process.send_signal(signal.SIGTERM)
            p.wait_for(pb.Event, stream)
            if second:
                d.process.send_signal(signal.SIGINT)
            try:
                p.wait_for(pb.Usage, stream)
                raise AssertionError("it ended well")
            except Refused as refused:
                assert refused.code == 403, refused
            assert d.wait_exit() == 0


def an_idle_daemon_stops_at_once():
    with Fake() as d, d.serving():
        d.process.send_signal(signal.SIGTERM)
        assert d.wait_exit() == 0


def a_stale_socket_is_replaced_and_a_living_one_is_not():
    with Fake() as d:
        p = d.serving()
        other = start("--socket", d.socket)
        assert other.wait(qwp.TIMEOUT_S) == 1
        assert f"another qwend is listening on {d.socket}" in other.stderr.read()
        assert p.status().pid == d.process.pid
        d.process.kill()
        d.process.wait()
        assert os.path.exists(d.socket)  # left behind
        again = start("--socket", d.socket)
        try:
            assert "ready " + d.socket in wait_line(again, "ready")
            with qwp.Peer(d.socket) as q:
                assert q.status().pid == again.pid
        finally:
            again.kill()
            again.wait()
        again.stderr.close()
        other.stderr.close()


def a_file_that_is_no_socket_is_left_alone():
    with tempfile.NamedTemporaryFile() as f:
        other = start("--socket", f.name)
        assert other.wait(qwp.TIMEOUT_S) == 1
        assert "is not a socket" in other.stderr.read()
        assert os.path.exists(f.name)
        other.stderr.close()


def start(*options, model="fake:", env=None, root=True, fds=(), before=None):
    """A qwend without a harness, for those that are not meant to start."""
    argv = [os.path.join(fake.BUILD, "daemon/broker/qwend"), "--engine", fake.ENGINE, "--config", "/dev/null"]
    argv += ["--model", model] if model else []
    argv += ["--allow-root"] if root and not os.getuid() else []
    return subprocess.Popen([*argv, *options], stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})},
                            pass_fds=fds, preexec_fn=before)


def wait_line(process, text):
    for line in process.stderr:
        if text in line:
            return line
    raise AssertionError(f"no {text!r} on stderr")


def what_cannot_start_says_why():
    cases = [(("--socket", "/nonexistent/folder/sock"), {}, 1, "No such file or directory"),
             (("--socket", "/tmp/" + "x" * 120), {}, 1, "longer than"),
             (("--slots", "0"), {}, 2, "--slots: slots is '0', must be a number from 1 to 64"),
             (("--sots", "1"), {}, 2, "did you mean '--slots'?"),
             (("-slots", "1"), {}, 2, "unknown option '-slots', did you mean '--slots'?"),
             (("--verbose", "-xy"), {}, 2, "unknown option '-xy'"),
             (("--backend", "tpu"), {}, 2, "must be one of auto, cuda, cpu, ref"),
             (("--slots",), {}, 2, "--slots needs a value"), (("what",), {}, 2, "unexpected argument 'what'"),
             ((), {"model": None}, 2, "no model"), (("--config", "/nonexistent"), {}, 2, "No such file"),
             (("--engine", "/nonexistent"), {}, 1, "/nonexistent"),
             (("--cpu-isa", "x" * 33), {}, 1, "Start.isa: 33 bytes, at most 32"),
             ((), {"model": b"/m\xff.gguf"}, 1, "Start.model_path: not UTF-8"),
             (("--max-connections", "100000", "--max-requests", "100000"), {"few_fds": True}, 1, "file descriptors")]
    if not os.getuid():
        cases.append(((), {"root": False}, 2, "refuses"))
    for options, how, rc, text in cases:
        before = None
        if how.pop("few_fds", False):
            def before():
                resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
        process = start(*options, **how, before=before)
        out = process.stderr.read()
        assert process.wait(qwp.TIMEOUT_S) == rc and text in out, (options, out)
        process.stderr.close()


def the_configuration_file_counts_and_argv_wins():
    with Fake("--slow-s", "1", config="[daemon]\nslow_s = 50\nmax_connections = 4 ; few\n", delay_ms=1) as d:
        p = d.serving()
        stream = p.generate(prompt("x"), max_tokens=100000, credit_bytes=4)
        try:
            p.collect(stream, timeout=20)
            raise AssertionError("it went on")
        except Refused as refused:
            assert refused.code == 601, refused
        q = d.peer()
        with d.peer(hello=False) as third:
            assert third.wait_for(pb.Error, 0).msg.code == 302
        p.close()
        q.close()
    for text, words in (("[daemon]\nmodle = x\n", ":2: unknown key 'modle', did you mean 'model'?"),
                        ("[daemon]\nslots = 4\nslots = 5\n", ":3: 'slots' was already set in line 2"),
                        ("[deamon]\nslots = 4\n", ":2: unknown section [deamon]"),
                        ("[daemon]\nslots = many\n", ":2: slots is 'many'"), ("[daemon]\nslots\n", ":2: neither")):
        with tempfile.NamedTemporaryFile("w") as f:
            f.write(text)
            f.flush()
            process = start("--config", f.name)
            out = process.stderr.read()
            assert process.wait(qwp.TIMEOUT_S) == 2 and f.name + words in out, out
            process.stderr.close()


def start_activated(listener, **env):
    """A qwend that gets this socket as systemd passes one."""
    def activate():
        os.dup2(listener.fileno(), 3)
        os.set_inheritable(3, True)

    # LISTEN_PID must be the daemon's own: a shell knows it, and exec keeps it
    argv = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", os.path.join(fake.BUILD, "daemon/broker/qwend"),
            "--engine", fake.ENGINE, "--config", "/dev/null", "--model", "fake:", "--socket", "/nonexistent/x"]
    argv += [] if os.getuid() else ["--allow-root"]
    return subprocess.Popen(argv, preexec_fn=activate, close_fds=False, stderr=subprocess.PIPE, text=True,
                            env={**os.environ, "LISTEN_FDS": "1", **env})


def a_passed_socket_that_knows_no_users_is_refused():
    for family, kind, word in ((socket.AF_INET, socket.SOCK_STREAM, "not a Unix stream socket"),
                               (socket.AF_UNIX, socket.SOCK_SEQPACKET, "not a Unix stream socket"),
                               (socket.AF_UNIX, socket.SOCK_STREAM, "not a listening socket")):
        with socket.socket(family, kind) as listener:
            listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else b"\0qwend-story-%d" % os.getpid())
            if "listening" not in word:
                listener.listen()
            process = start_activated(listener)
            try:
                assert process.wait(qwp.TIMEOUT_S) == 1
                out = process.stderr.read()
                assert word in out, out
            finally:
                process.kill()
                process.wait()
                process.stderr.close()


def the_service_manager_is_told_and_fed():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(folder + "/notify")
        notify.settimeout(qwp.TIMEOUT_S)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(folder + "/sock")
        listener.listen()

        process = start_activated(listener, NOTIFY_SOCKET=folder + "/notify", WATCHDOG_USEC="200000")
        try:
            seen = set()
            while not {"READY=1", "WATCHDOG=1", "STATUS=serving"} <= seen:
                seen |= set(notify.recv(4096).decode().split("\n"))
            with qwp.Peer(folder + "/sock") as p:
                engine = p.status().engine_pid
                with open(f"/proc/{engine}/environ", "rb") as f:
                    assert b"NOTIFY_SOCKET" not in f.read()
            for _ in range(3):
                while notify.recv(4096) != b"WATCHDOG=1":
                    pass
            process.send_signal(signal.SIGTERM)
            while not notify.recv(4096).startswith(b"STOPPING=1"):
                pass
            assert process.wait(qwp.TIMEOUT_S) == 0
            assert os.path.exists(folder + "/sock"), "the manager's socket was removed"
        finally:
            process.kill()
            process.wait()
            process.stderr.close()


def nothing_of_a_prompt_is_logged():
    canary = "xyzzy-canary"
    with Fake("--verbose", context=100, delay_ms=1) as d, d.serving(client="who\nam i\x1b[31m") as p:
        p.ask(prompt(canary), max_tokens=3, stop=[canary])
        for fields in ({"body": prompt(canary * 100)}, {"body": prompt(canary), "stop": [""]}):
            try:
                p.ask(**fields)
            except Refused as refused:
                assert canary not in str(refused.error)
        p.call(pb.Tokenize(text=canary), pb.Tokens)
        stream = p.generate(prompt(canary), max_tokens=100000)
        p.wait_for(pb.Delta, stream)
        d.kill_engine()
        p.wait_for(pb.Event, stream, match=lambda m: m.kind == pb.Event.RESUMED)
        with d.peer() as q:
            q.send(pb.Generate(body=prompt(canary)), 2)
            q.is_closed()
        d.wait_line("BAD_STREAM|104")
        assert canary not in d.log() and "\x1b" not in d.log(), d.log()


if __name__ == "__main__":
    sys.exit(qwp.run([
        credit_is_kept_to_the_byte, without_credit_the_request_is_paused_and_its_neighbour_runs,
        a_paused_request_survives_the_engine_and_goes_on, readers_that_do_not_read_hold_no_slot,
        who_waits_for_his_reader_waits_first_when_he_is_read,
        a_parked_request_can_be_cancelled_and_left, a_request_whose_reader_stays_away_ends_with_601,
        too_much_credit_is_refused, a_slow_reader_pauses_its_own_request_and_gets_everything,
        a_client_that_never_reads_loses_its_request_and_no_other,
        text_of_more_bytes_than_credit_is_cut_between_characters,
        sigterm_lets_running_requests_end_and_refuses_others, the_drain_is_bounded_and_a_second_sigterm_cuts_it,
        an_idle_daemon_stops_at_once, a_stale_socket_is_replaced_and_a_living_one_is_not,
        a_file_that_is_no_socket_is_left_alone, what_cannot_start_says_why,
        the_configuration_file_counts_and_argv_wins, a_passed_socket_that_knows_no_users_is_refused, the_service_manager_is_told_and_fed,
        nothing_of_a_prompt_is_logged]))
