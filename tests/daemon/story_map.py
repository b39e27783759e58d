#!/usr/bin/env python3
"""story_map.py - `qwenctl map` on the demo model: formats, order, a journal that survives any death, limits, what is said where."""

import json
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import tempfile
import time

import qwp
from fakesd import Service
from harness import WAIT_S, Qwend, golden, sanitized
from qwp import pb

SUM = "What is {{.}}?"
QUICK = ("--temp", "0", "--no-think")
N, KILLS = (500, 4) if sanitized() else (2000, 10)
RECORDS = "".join(f"{i} + {i * 7 % 90}\n" for i in range(2000))


def command(*arguments, d=None):
    d = d or QWEND
    return [d.qwenctl, "--socket", d.socket, "map", *arguments]


def run(*arguments, data="", status=0, d=None, said=None, env=None):
    done = subprocess.run(command(*arguments, d=d), input=data.encode() if isinstance(data, str) else data, capture_output=True,
                          timeout=WAIT_S, env=env, check=False)
    assert done.returncode == status, (done.returncode, done.stderr.decode())
    for one in [said] if isinstance(said, str) else said or ():
        assert one in done.stderr.decode(), (one, done.stderr.decode())
    return done


def lines(data):
    return [json.loads(line) for line in data.decode().splitlines()]


def texts(done):
    return [line["text"] for line in lines(done.stdout)]


def read(path):
    with open(path, "rb") as f:
        return f.read()


def idle():
    with qwp.Peer(QWEND.socket) as peer:
        peer.wait_status(lambda s: s.running == s.queued == 0)


def each_format_is_read():
    asked = ["--temp", "0"]
    assert texts(run(*asked, SUM, data="3 + 4\r\n\n27 + 48")) == ["7", "75"]
    assert texts(run(*asked, "--in=nul", SUM, data="3 + 4\0" "27 + 48\0")) == ["7", "75"]
    assert texts(run(*asked, "--in=ndjson", "What is {{.q.0}} + {{ .n }}?", data='{"q":["3"],"n":4}\n\n{"q":["27"],"n":48}\n')) == ["7", "75"]
    rows = '\ufeffa,"b"\r\n3,4\n"27","48"\n'
    assert texts(run(*asked, "--in=csv", "What is {{.a}} + {{.b}}?", data=rows)) == ["7", "75"]
    with tempfile.TemporaryDirectory() as folder:
        names = [os.path.join(folder, name) for name in ("one", "two words")]
        for name, text in zip(names, ("3 + 4", "27 + 48")):
            with open(name, "w", encoding="utf-8") as f:
                f.write(text)
        for separator, more in (("\n", ()), ("\0", ("-0",))):
            done = run(*asked, "--in=files", *more, "-k", ".path", "What is {{.text}}?", data=separator.join(names))
            assert texts(done) == ["7", "75"] and [line["_key"] for line in lines(done.stdout)] == names
        assert texts(run(*asked, "--input", names[1], "What is {{.}}?")) == ["75"]
    assert texts(run(*asked, data="What is 3 + 4?\n")) == ["7"]      # no template: the record itself


def a_dry_run_counts_and_asks_nothing():
    dry = run("--dry-run", "--in=lines", "In one line:", data="a file\n", said="1 records, ")
    assert b"In one line:\n\na file<|im_end|>" in dry.stdout
    with qwp.Peer(QWEND.socket) as peer:
        before = peer.status().requests
        longer = "Add the two numbers and answer with the sum of them, in digits, with no word before it and none behind it. " + SUM
        run(*QUICK, longer, data=RECORDS[:4000])
        after = peer.status().requests
        dry = run("--dry-run", *QUICK, longer, data=RECORDS[:4000], said="tokens of each are the same beginning: read once")
        assert peer.status().requests == after > before
    n, shared, left = map(int, re.search(rb"(\d+) records, .*\n(\d+) tokens of each.*; (\d+) tokens to read", dry.stderr).groups())
    assert n == RECORDS[:4000].count("\n") + 1 and shared > 32 and left < n * shared, dry.stderr
    assert re.search(rb"about [0-9.]+s, if it is as in the last map with this model: answers of \d+ tokens, ", dry.stderr), dry.stderr


def what_is_wrong_is_named_and_the_rest_goes_on():
    done = run("--temp", "0", "--in=ndjson", "-k", ".id", "What is {{.q}}?", status=11, said=[
        "record 2 (line 3): not JSON", "record 3 (line 4): there is no field .q", "record 5 (line 6): not UTF-8: 0xff at byte 7",
        "record 6 (line 7): there is no field .id"],
        data=b'{"id":1,"q":"3 + 4"}\n\n{"id":2,\n{"id":3}\n{"id":4,"q":"27 + 48"}\n{"id":"\xff"}\n{"q":"1 + 1"}\n')
    assert texts(done) == ["7", "75"] and [line["_key"] for line in lines(done.stdout)] == ["1", "4"]
    done = run("--temp", "0", "--in=csv", "What is {{.a}} + {{.b}}?", status=11, said=[
        "record 2 (line 3): 1 fields where the first line names 2", "record 3 (line 4): a quote within a field",
        "record 4 (line 5): text behind the closing quote", "record 6 (line 8): a quoted field does not end"],
        data='a,b\n3,4\nonly\n5"x,6\n"7"x,8\n"27\n",48\n"1,2\n')
    assert len(texts(done)) == 2
    run("--in=files", SUM, data="/nonexistent/file\n", status=11, said="record 1 (line 1): /nonexistent/file: No such file")
    with tempfile.TemporaryDirectory() as folder:
        errors = os.path.join(folder, "errors")
        done = run(*QUICK, "--errors", errors, "-n", "1", SUM, data="x\n" + "word " * 300000 + "\nx\n", status=11)
        failed = lines(read(errors))
        assert not done.stderr and len(failed) == 1 and failed[0]["record"] == 2 and failed[0]["code"] == 202, failed
        first, third = lines(done.stdout)
        assert third["_key"] == first["_key"] + "#2" and third["text"] == first["text"]


def a_record_has_a_limit():
    data = b"3 + 4\n" + b"x" * (9 << 20) + b"\n27 + 48\n" + b"y" * (9 << 20)
    done = run("--temp", "0", SUM, data=data, status=11,
               said=["record 2 (line 2): longer than 8388608 bytes", "record 4 (line 4): longer than 8388608 bytes"])
    assert texts(done) == ["7", "75"]


def usage_is_checked():
    for arguments, said in ((("--resume", SUM), "--resume goes on with a file"), (("--mixed", SUM), "--mixed goes with --resume"),
                            (("--ordered", "--unordered", SUM), "exclude each other"), (("{{.a",), "without its }}"),
                            (("{{.a..b}}",), '".a..b" in the template is no field'), (("-k", "id", SUM), "--key needs a path"),
                            (("--max-failures=many", SUM), "--max-failures needs"), (("--in=csv", "-0", SUM), "not for CSV"),
                            (("--in=xml", SUM), "--in"), (("-j", "65", SUM), "--jobs"), (("--input", "/nowhere", SUM), "/nowhere"),
                            (("-o", "/dev/null", SUM), "is no file"), (("--dry-run", "-o", "x", SUM), "--dry-run asks nothing"),
                            (("-o", "/nowhere/x", SUM), "/nowhere/x: No such file")):
        run(*arguments, data="1\n", status=2, said=said)


def the_journal_is_kept_to():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "out")
        run(*QUICK, "-o", path, SUM, data="1 + 1\n2 + 2\n")
        whole = read(path)
        run(*QUICK, "-o", path, SUM, data="1 + 1\n", status=2, said="is there already")
        run(*QUICK, "-o", path, "--resume", SUM + " Now.", data="1 + 1\n", status=2, said="line 1: made with another template")
        run(*QUICK, "-n", "9", "-o", path, "--resume", SUM, data="1 + 1\n", status=2, said="--mixed goes on")
        assert read(path) == whole
        with open(path, "ab") as f:
            f.write(b'{"_key":"torn","_h":"')
        run(*QUICK, "-o", path, "--resume", "--usage", SUM, data="1 + 1\n2 + 2\n3 + 3\n", said="1 records answered, 0 failed, 2 of before")
        assert read(path).startswith(whole) and len(lines(read(path))) == 3
        run(*QUICK, "-n", "9", "-o", path, "--resume", "--mixed", SUM, data="4 + 4\n")
        assert len({line["_h"] for line in lines(read(path))}) == 2
        with open(path, "wb") as f:
            f.write(b"{}\n" + whole)
        run(*QUICK, "-o", path, "--resume", SUM, data="1 + 1\n", status=2, said="line 1: no line of a journal")
        with open(path, "wb") as f, subprocess.Popen(command(*QUICK, "-o", path, "--resume", SUM), stdin=subprocess.PIPE) as other:
            other.stdin.write(b"1 + 1\n")
            other.stdin.flush()
            wait_for(lambda: read(path).count(b"\n") == 1)
            run(*QUICK, "-o", path, "--resume", SUM, data="1 + 1\n", status=2, said="written by another map")
            other.stdin.close()
            assert other.wait(WAIT_S) == 0


def wait_for(look):
    """For what another process writes to a file: there is no event for that."""
    end = time.monotonic() + WAIT_S
    while not look():
        assert time.monotonic() < end


def killed_again_and_again_it_comes_to_the_same():
    rng = random.Random(20261126)
    with tempfile.TemporaryDirectory() as folder:
        records, path, alone = (os.path.join(folder, name) for name in ("records", "out", "alone"))
        with open(records, "w", encoding="utf-8") as f:
            f.write("".join(RECORDS.splitlines(True)[:N]))
        run(*QUICK, "-i", records, "-o", alone, SUM)
        wanted = read(alone)
        assert [line["usage"]["prompt"] > 0 for line in lines(wanted)] == [True] * N
        for kill in range(KILLS):
            had = read(path).count(b"\n") if kill else 0
            aim = had + rng.randrange(1, (N - had) // (KILLS - kill + 1))
            with subprocess.Popen(command(*QUICK, "-i", records, "-o", path, "--resume", SUM, "--sync-every", "7")) as killed:
                wait_for(lambda: os.path.exists(path) and read(path).count(b"\n") >= aim)
                killed.send_signal(signal.SIGKILL)
                assert killed.wait(WAIT_S) == -9
        torn = read(path)
        assert torn.count(b"\n") < N
        with open(path, "r+b") as f:        # as a machine that lost power would leave it
            f.truncate(len(torn) - 5)
        run(*QUICK, "-i", records, "-o", path, "--resume", "--unordered", SUM)
        assert sorted(read(path).splitlines()) == sorted(wanted.splitlines())
        idle()


def order_is_that_of_the_records_unless_it_is_not_wanted():
    data = "".join(f"{i} + 1\n" for i in range(60))
    keys = [line["_key"] for line in lines(run(*QUICK, "-j1", SUM, data=data).stdout)]
    assert [line["_key"] for line in lines(run(*QUICK, "-j8", "--ordered", SUM, data=data).stdout)] == keys
    assert sorted(line["_key"] for line in lines(run(*QUICK, "-j8", "--unordered", SUM, data=data).stdout)) == sorted(keys)


def as_many_run_as_the_daemon_has_slots_and_the_beginning_is_read_once():
    system = "You are exact. " * 60
    run(*QUICK, "-n", "1", "--system", system, SUM, data="".join(f"{i} + 1\n" for i in range(40)))
    with qwp.Peer(QWEND.socket) as peer:
        before = peer.status()
        run(*QUICK, "-n", "1", "--system", "X" + system, SUM, data="".join(f"{i} + 2\n" for i in range(40)))
        after = peer.status()
    read_tokens = after.prompt_tokens - before.prompt_tokens - (after.cached_tokens - before.cached_tokens)
    assert read_tokens < (after.prompt_tokens - before.prompt_tokens) / 4, (before, after)


def limits_stop_it():
    many = "".join(f"{i} + 1\n" for i in range(400))
    done = run(*QUICK, "--budget-tokens", "300", "--usage", SUM, data=many, status=7, said="the budget of 300 tokens is used up")
    assert 0 < len(lines(done.stdout)) < 400
    bad = "".join("{\n" if i % 4 == 0 else f'{{"q":"{i} + 1"}}\n' for i in range(400))
    for limit, least in (("5", 6), ("10%", 3)):
        done = run(*QUICK, "--in=ndjson", "--max-failures", limit, "What is {{.q}}?", data=bad, status=11,
                   said="more failures than --max-failures allows")
        assert least <= done.stderr.count(b"not JSON") < 40 and len(lines(done.stdout)) < 399
    run(*QUICK, "--timeout", "1ms", SUM, data=many, status=9)
    idle()


def a_signal_or_a_reader_that_goes_ends_it():
    with subprocess.Popen(command(*QUICK, SUM), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as stopped:
        stopped.stdin.write(b"3 + 4\n")
        stopped.stdin.flush()
        assert json.loads(stopped.stdout.readline())["text"]
        stopped.send_signal(signal.SIGINT)
        assert stopped.wait(WAIT_S) == 130
    with subprocess.Popen(command(*QUICK, SUM), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as gone:
        gone.stdout.close()
        gone.stdin.write(RECORDS.encode())
        gone.stdin.flush()
        assert gone.wait(WAIT_S) == 141
        try:
            gone.stdin.close()
        except BrokenPipeError:
            pass
    idle()


def a_terminal_sees_a_bar_and_a_pipe_a_line_in_ten_seconds():
    with tempfile.TemporaryDirectory() as folder:
        records = os.path.join(folder, "records")
        with open(records, "w", encoding="utf-8") as f:
            f.write(RECORDS)
        main, terminal = pty.openpty()
        with subprocess.Popen(command("--temp", "0", "-i", records, SUM), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=terminal, env={**os.environ, "TERM": "xterm"}) as shown:
            os.close(terminal)
            seen = b""
            while b"/2000, " not in seen or b"left" not in seen:
                assert select.select([main], [], [], WAIT_S)[0]
                seen += os.read(main, 4096)
            shown.send_signal(signal.SIGINT)
            try:
                while chunk := os.read(main, 4096):
                    seen += chunk
            except OSError:     # the terminal's other end is closed
                pass
            assert shown.wait(WAIT_S) == 130
        os.close(main)
        assert b"qwenctl: [" in seen and b"] " in seen and b" tokens/s, " in seen and seen.count(b"\r\x1b[K") >= 1, seen
        began = time.monotonic()
        said = run(*QUICK, SUM, data=RECORDS[:2000]).stderr.decode().splitlines()
        assert len(said) <= (time.monotonic() - began) / 10, said
        assert all(re.fullmatch(r"qwenctl: \d+, \d+ tokens/s", line) for line in said), said
        idle()


def a_daemon_that_dies_costs_nothing():
    with Service(golden("demo.gguf"), "--slots", "4") as d, tempfile.TemporaryDirectory() as folder:
        with qwp.Peer(d.socket) as peer:
            peer.wait_status(lambda s: s.state == pb.StatusReply.SERVING)
        path, alone = os.path.join(folder, "out"), os.path.join(folder, "alone")
        data = RECORDS[:len(RECORDS) // 4].rpartition("\n")[0]
        run(*QUICK, "-o", alone, SUM, data=data, d=d)
        total = read(alone).count(b"\n")
        with subprocess.Popen(command(*QUICK, "-o", path, SUM, d=d), stdin=subprocess.PIPE) as job:
            job.stdin.write(data.encode())
            job.stdin.close()
            for kill in range(3):
                wait_for(lambda: os.path.exists(path) and read(path).count(b"\n") >= total * (kill + 1) // 5)
                if kill == 1 and (engine := d.engine_pid()):
                    os.kill(engine, signal.SIGKILL)
                d.kill_broker()
            assert job.wait(WAIT_S) == 0
        assert read(path) == read(alone)


def a_daemon_that_is_full_is_waited_for_and_one_that_refuses_is_not():
    rules = "[class all]\nmatch = any\n"
    data = "".join(f"{i} + 1\n" for i in range(60))
    keys = [line["_key"] for line in lines(run(*QUICK, SUM, data=data).stdout)]
    for rule in ("max_streams = 2", "max_queued = 1"):
        with Qwend(golden("demo.gguf"), "--slots", "1", config=f"{rules}{rule}\n") as d:
            done = run(*QUICK, "-j", "16", SUM, data=data, d=d)
            assert [line["_key"] for line in lines(done.stdout)] == keys and not done.stderr, rule
    with Qwend(golden("demo.gguf"), config=f"{rules}priority = interactive\n") as d:
        done = run(*QUICK, "-j", "2", SUM, data=data, d=d, status=4, said="DENIED")
        assert not done.stdout and done.stderr.count(b"DENIED") < 10
        assert len(lines(run(*QUICK, "--priority=interactive", SUM, data=data, d=d).stdout)) == 60


if __name__ == "__main__":
    with Qwend(golden("demo.gguf"), "--slots", "4") as QWEND:
        os.environ["XDG_STATE_HOME"] = QWEND.folder  # where map keeps its speeds
        with qwp.Peer(QWEND.socket) as first:
            first.wait_status(lambda s: s.state == pb.StatusReply.SERVING)
        STATUS = qwp.run([
            each_format_is_read, a_dry_run_counts_and_asks_nothing, what_is_wrong_is_named_and_the_rest_goes_on, a_record_has_a_limit, usage_is_checked,
            the_journal_is_kept_to, killed_again_and_again_it_comes_to_the_same, order_is_that_of_the_records_unless_it_is_not_wanted,
            as_many_run_as_the_daemon_has_slots_and_the_beginning_is_read_once, limits_stop_it, a_signal_or_a_reader_that_goes_ends_it,
            a_terminal_sees_a_bar_and_a_pipe_a_line_in_ten_seconds,
            a_daemon_that_is_full_is_waited_for_and_one_that_refuses_is_not, a_daemon_that_dies_costs_nothing])
    sys.exit(STATUS)
