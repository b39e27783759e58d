#!/usr/bin/env python3
"""story_qwenctl.py - qwenctl against the real daemon: the pipelines of the README, exit codes, JSON shapes.

What qwenctl does on its own (options, terminals, signals) is tested against a scripted server elsewhere.
"""
import json
import os
import signal
import subprocess
import sys

import qwp
from harness import Qwend, tiny_model

ASK = ("ask", "--no-think", "--max-tokens", "12", "--seed", "3")


def ask_streams_the_answer_to_stdout():
    done = QWEND.ctl(*ASK, "Why is the sky blue?")
    assert done.returncode == 0, done
    assert done.stdout and done.stderr == "", done
    assert QWEND.ctl(*ASK, "Why is the sky blue?").stdout == done.stdout, "the same seed, the same answer"


def stdin_is_context():
    diff = "--- a/x\n+++ b/x\n-old\n+new\n"
    with_context = json_of(QWEND.ctl(*ASK, "--json", "Write a commit message", data=diff))
    without = json_of(QWEND.ctl(*ASK, "--json", "Write a commit message"))
    assert with_context["usage"]["prompt"] > without["usage"]["prompt"] + 10


def json_is_one_object_with_text_and_usage():
    one = json_of(QWEND.ctl(*ASK, "--json", "Hello"))
    assert one["e"] == "end" and one["finish"] == "length", one
    assert one["text"] == QWEND.ctl(*ASK, "Hello").stdout.rstrip("\n") or one["text"] == QWEND.ctl(*ASK, "Hello").stdout
    assert one["usage"]["output"] == 12 and one["usage"]["prompt"] > 0


def ndjson_events_add_up_to_the_answer():
    done = QWEND.ctl(*ASK, "--ndjson", "Hello")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["e"] in ("start", "queue") and events[-1]["e"] == "end", events
    text = "".join(event["t"] for event in events if event["e"] == "text")
    assert text == json_of(QWEND.ctl(*ASK, "--json", "Hello"))["text"]


def thinking_is_hidden_in_a_pipe_unless_asked():
    think = ("ask", "--think", "--max-tokens", "24", "--seed", "3")
    assert QWEND.ctl(*think, "Hello").stdout == "", "24 tokens of a random model do not end the reasoning"
    shown = QWEND.ctl(*think, "--show-thinking=stdout", "Hello").stdout
    assert shown and json_of(QWEND.ctl(*think, "--json", "Hello"))["thinking"].strip() in shown


def a_long_input_exits_6_with_the_numbers():
    done = QWEND.ctl(*ASK, "Summarise", data="one two three " * 4000)
    assert done.returncode == 6, done
    assert "1024" in done.stderr and not done.stdout, done.stderr


def no_daemon_exits_3_and_says_how_to_start_one():
    done = subprocess.run([QWEND.qwenctl, "--socket", os.path.join(QWEND.folder, "none.sock"), "status"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 3 and "none.sock" in done.stderr and "qwend" in done.stderr, done


def status_names_model_and_backend():
    status = json_of(QWEND.ctl("status", "--json"))
    assert json.dumps(status).count("d1-k256") >= 1, status
    assert status["backend"] == "cpu" and "GPU" in status["note"], "nobody asked for the CPU, so it says why"
    assert QWEND.ctl("status").returncode == 0


def tokenize_counts_as_the_daemon_does():
    done = QWEND.ctl("tokenize", "--count", "Hello world")
    with qwp.Peer(QWEND.socket) as peer:
        assert int(done.stdout) == len(peer.call(qwp.pb.Tokenize(text="Hello world"), qwp.pb.Tokens).ids)


def start_endless():
    """An ask that would run to the end of the context, once its first bytes are there."""
    process = subprocess.Popen([QWEND.qwenctl, "--socket", QWEND.socket, "ask", "--no-think", "--ndjson", "--seed", "5",
                                "Count for ever"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    line = process.stdout.readline()
    while json.loads(line)["e"] != "text":
        line = process.stdout.readline()
    return process


def wait_idle():
    with qwp.Peer(QWEND.socket) as peer:
        return peer.wait_status(lambda status: status.running == 0 and status.queued == 0)


def a_reader_that_goes_away_frees_the_engine():
    process = start_endless()
    process.stdout.close()
    process.stderr.read()
    assert process.wait(qwp.TIMEOUT_S) in (141, -signal.SIGPIPE), process.returncode
    process.stderr.close()
    wait_idle()


def sigint_cancels_and_exits_130():
    process = start_endless()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=qwp.TIMEOUT_S)
    assert process.returncode in (130, -signal.SIGINT), process.returncode
    wait_idle()


def json_of(done):
    assert done.returncode == 0, done
    return json.loads(done.stdout)


STORIES = [
    ask_streams_the_answer_to_stdout, stdin_is_context, json_is_one_object_with_text_and_usage,
    ndjson_events_add_up_to_the_answer, thinking_is_hidden_in_a_pipe_unless_asked, a_long_input_exits_6_with_the_numbers,
    no_daemon_exits_3_and_says_how_to_start_one, status_names_model_and_backend, tokenize_counts_as_the_daemon_does,
    a_reader_that_goes_away_frees_the_engine, sigint_cancels_and_exits_130,
]

if __name__ == "__main__":
    with Qwend(tiny_model(), "--context", "1024") as QWEND:
        sys.exit(qwp.run(STORIES))
