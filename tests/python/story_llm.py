#!/usr/bin/env python3
"""story_llm.py - the tool `llm` of PyPI with the plugin of client/python-llm, installed as its users would, against the real
daemon on the demo model.  Skipped where build/pypi (./dev test) is not there."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import qwp
from harness import Qwend, golden
from qwp import pb

PYPI = os.path.join(os.environ["QWEND_BUILD"], "pypi/bin")
CLIENT = os.environ["QWEND_CLIENT"]
WAIT_S = 120
ASYNC = """
import asyncio, llm
async def main():
    model = llm.get_async_model("qwend")
    response = model.prompt("What is 27 + 48?", temperature=0)
    assert [c async for c in response] and await response.text() == "75", await response.text()
    assert (await response.usage()).input > 0
    asked = [model.prompt(f"What is {i} + 40?", temperature=0) for i in range(6)]
    assert await asyncio.gather(*(r.text() for r in asked)) == [str(i + 40) for i in range(6)]
    chat = model.conversation()
    await chat.prompt("What is 27 + 48?", temperature=0)
    second = chat.prompt("And now?", temperature=0)
    await second.text()
    assert [m.role for m in second.prompt.messages] == ["user", "assistant", "user"], second.prompt.messages
    assert (await second.usage()).input > 30
asyncio.run(main())
model = llm.get_model("qwend")
kinds = {e.type for e in model.prompt("What is 27 + 48?", temperature=0).stream_events()}
assert kinds == {"reasoning", "text"}, kinds
try:
    model.prompt("x", tools=[len]).text()
except Exception as error:
    print("tools:", error)
"""


def environment():
    return {**os.environ, "QWEND_SOCKET": QWEND.socket, "PYTHONPATH": SITE, "LLM_USER_PATH": HOME, "HOME": HOME}


def install():
    """Both packages as pip makes them of their folders, from copies: pip writes beside what it builds."""
    for name in ("python", "python-llm"):
        shutil.copytree(os.path.join(CLIENT, name), os.path.join(HOME, name))
    done = subprocess.run([os.path.join(PYPI, "python"), "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
                           "--no-build-isolation", "--target", SITE, os.path.join(HOME, "python"), os.path.join(HOME, "python-llm")],
                          capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done.stderr


def llm(*arguments, data=None):
    return subprocess.run([os.path.join(PYPI, "llm"), *arguments], env=environment(), input=data or "", capture_output=True,
                          text=True, timeout=WAIT_S, check=False)


def answer(*arguments, **kw):
    done = llm("-m", "qwend", *arguments, **kw)
    assert done.returncode == 0, done
    return done.stdout.rstrip("\n")


def it_is_found_with_its_options():
    done = llm("models", "-m", "qwend", "--options")
    assert "Qwend: qwend" in done.stdout and "max_tokens: int" in done.stdout and "thinking: boolean" in done.stdout, done
    assert "AsyncQwend" in llm("models", "--async").stdout


def it_answers():
    assert answer("What is 27 + 48?", "-o", "temperature", "0") == "75"
    assert answer("-o", "temperature", "0", "--no-stream", data="What is 27 + 48?") == "75"
    long = answer("Why is the sky blue?", "-o", "thinking", "false", "-o", "temperature", "0")
    assert long.startswith(answer("Why is the sky blue?", "-o", "thinking", "0", "-o", "max_tokens", "3", "-o", "temperature", "0"))
    logged = json.loads(llm("logs", "-n", "1", "--json").stdout)[0]
    assert logged["input_tokens"] > 0 and logged["output_tokens"] == 3 and logged["response_json"]["finish"] == "length", logged


def a_conversation_goes_on():
    answer("What is 27 + 48?", "-o", "temperature", "0", "-s", "You are exact.")
    assert answer("-c", "And now?", "-o", "temperature", "0")
    first, second = json.loads(llm("logs", "-n", "2", "--json").stdout)
    assert first["conversation_id"] == second["conversation_id"] and second["input_tokens"] > first["input_tokens"] + 10


def what_is_wrong_is_told_in_one_line():
    for arguments, said in ((("x", "-o", "top_p", "2"), "less than or equal to 1"), (("x", "-o", "heat", "1"), "heat"),
                            (("x", "--schema", "name, age int"), "does not support schemas"), (("x", "-T", "llm_version"), "does not support tools"),
                            (("a\tb", "-o", "stop", "[]", "-o", "priority", "high"), "priority")):
        done = llm("-m", "qwend", *arguments)
        assert done.returncode and said in done.stderr and "Traceback" not in done.stderr, done
    env = {**environment(), "QWEND_SOCKET": "/nowhere"}
    done = subprocess.run([os.path.join(PYPI, "llm"), "-m", "qwend", "x"], env=env, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=WAIT_S, check=False)
    assert done.returncode and "no daemon on /nowhere" in done.stderr and "Traceback" not in done.stderr, done


def its_streams_are_events_and_asynchronous():
    done = subprocess.run([os.path.join(PYPI, "python"), "-c", ASYNC], env=environment(), capture_output=True, text=True,
                          timeout=WAIT_S, check=False)
    assert done.returncode == 0 and "does not support tools" in done.stdout, done


def what_is_interrupted_is_cancelled():
    with subprocess.Popen([os.path.join(PYPI, "python"), "-u", "-c", """
import llm
for piece in llm.get_model("qwend").prompt("Write a poem about rain.", thinking=False, priority="batch"):
    print(piece, end="", flush=True)
    input()
"""], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        assert run.stdout.read(1)
        run.send_signal(signal.SIGINT)
        assert run.wait(WAIT_S) != 0
    with qwp.Peer(QWEND.socket) as peer:
        peer.wait_status(lambda s: s.running == s.queued == 0)


if __name__ == "__main__":
    if not os.path.exists(os.path.join(PYPI, "llm")):
        print("1..0 # SKIP build/pypi is not there: ./dev test makes it where PyPI can be reached")
        sys.exit(0)
    with tempfile.TemporaryDirectory(prefix="qwend-llm-") as HOME, Qwend(golden("demo.gguf"), "--slots", "4") as QWEND:
        SITE = os.path.join(HOME, "site")
        install()
        with qwp.Peer(QWEND.socket) as first:
            first.wait_status(lambda s: s.state == pb.StatusReply.SERVING)
        STATUS = qwp.run([it_is_found_with_its_options, it_answers, a_conversation_goes_on, what_is_wrong_is_told_in_one_line,
                          its_streams_are_events_and_asynchronous, what_is_interrupted_is_cancelled])
    sys.exit(STATUS)
