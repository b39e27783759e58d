#!/usr/bin/env python3
"""story_qwenctl_demo.py - qwenctl in pipelines with a model that answers: documents, sessions, prompts, cut input."""
import json
import os
import pty
import subprocess
import sys

import qwp
from harness import WAIT_S, Qwend, golden, sanitized


def env():
    build = os.environ["QWEND_BUILD"]
    path = [os.path.join(QWEND.folder, "bin"), os.path.dirname(QWEND.qwenctl), os.path.join(build, "daemon/probe"), os.environ["PATH"]]
    return dict(os.environ, HOME=QWEND.folder, PATH=":".join(path), QWEND_SOCKET=QWEND.socket)


def shell(script, codes=(0,)):
    """A pipeline; a command that fails in it fails it."""
    done = subprocess.run(["bash", "-o", "pipefail", "-c", script], capture_output=True, text=True, env=env(), timeout=WAIT_S,
                          stdin=subprocess.DEVNULL, cwd=QWEND.folder, check=False)
    assert done.returncode in codes, done
    return done.stdout


def ask(*arguments, data=None):
    return QWEND.ctl("ask", *arguments, data=data, env=env())


def a_document_is_asked_about():
    assert "92" in shell("printf '814\\n92\\n377\\n' | qwenctl ask --think 'Sort these numbers.'").split("814")[0]
    assert "3" in shell("qwenctl ask -q --no-think 'What is 1 + 2?' | cat")


def json_goes_through_a_filter():
    text = shell("qwenctl ask --json --no-think 'What is 2 + 2?' | python3 -c 'import json,sys; print(json.load(sys.stdin)[\"text\"])'")
    assert "4" in text, text


def a_session_goes_on():
    shell("qwenctl ask -s sums --no-think 'What is 2 + 3?'; qwenctl ask -c --no-think 'And 4 + 4?'")
    messages = json.loads(shell("qwenctl session export sums"))["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant"] * 2, messages
    assert [m["content"] for m in messages[::2]] == ["What is 2 + 3?", "And 4 + 4?"] and "5" in messages[1]["content"], messages


def the_shown_prompt_is_the_one_that_is_read():
    shown = json.loads(ask("--dry-run", "--json", "--no-think", "What is 2 + 3?").stdout)
    asked = json.loads(ask("--json", "--no-think", "What is 2 + 3?").stdout)
    assert shown["tokens"] == asked["usage"]["prompt"], (shown, asked)
    assert shown["prompt"].startswith("<|im_start|>user\nWhat is 2 + 3?"), shown
    assert ask("--dry-run", "--no-think", "What is 2 + 3?").stdout == shown["prompt"]


DOCUMENT = "".join(f"line {i} of a document\n" for i in range(3000))


def kept_of(*arguments):
    shown = json.loads(ask("--dry-run", "--json", *arguments, "What does it say?", data=DOCUMENT).stdout)
    lines = [line for line in shown["prompt"].split("\n") if line.startswith("line ")]
    return shown, lines


def a_document_that_is_too_long_is_cut_where_asked():
    assert ask("What does it say?", data=DOCUMENT).returncode == 6
    for how in ("head", "tail", "middle"):
        shown, lines = kept_of(f"--overflow={how}", "-n", "100")
        assert CONTEXT - 150 < shown["tokens"] + 100 <= CONTEXT, (how, shown["tokens"])
        assert ("line 0 of a document" in lines) == (how != "tail"), (how, lines[:2])
        assert ("line 2999 of a document" in lines) == (how != "head"), (how, lines[-2:])
        assert "[... left out ...]" in shown["prompt"] and shown["prompt"].count("What does it say?") == 1
        done = ask(f"--overflow={how}", "-n", "100", "-v", "--no-think", "What does it say?", data=DOCUMENT)
        assert done.returncode == 0 and "bytes of the document are kept" in done.stderr, done
    done = ask("--overflow=head", "x " * 4 * CONTEXT, data="short")
    assert done.returncode == 6 and "no room for any of it" in done.stderr, done.stderr[-300:]
    shown, lines = kept_of("--overflow=head", "-n", "100", "--system", "Answer briefly. " * 40)
    assert CONTEXT - 200 < shown["tokens"] + 100 <= CONTEXT, shown["tokens"]


def letters_of_any_alphabet_survive_a_cut():
    data = "äöü ελληνικά 漢字 😀 " * 3000
    for how in ("head", "tail", "middle"):
        shown = json.loads(ask("--dry-run", "--json", f"--overflow={how}", "-n", "50", "?", data=data).stdout)
        assert "\ufffd" not in shown["prompt"] and shown["tokens"] + 50 <= CONTEXT, (how, shown["tokens"])


def a_short_document_is_not_cut():
    assert ask("--dry-run", "--overflow=tail", "?", data="short").stdout == ask("--dry-run", "?", data="short").stdout


def ending_early_is_141():
    """A reader that has enough: the writer is told, and so is the daemon."""
    out = shell("qwenctl ask --ndjson --raw --seed 1 --temp 100 --top-k 0 --top-p 1 --min-p 0 'Once' | head -1 >first; "
                "echo ${PIPESTATUS[0]}")
    assert out == "141\n", out
    with open(os.path.join(QWEND.folder, "first"), encoding="utf-8") as f:
        assert json.load(f)["e"] == "start"
    with qwp.Peer(QWEND.socket) as peer:
        peer.wait_status(lambda status: status.running == 0 and status.queued == 0)


def asking_costs_little_processor_time():
    """With configuration, session and layout on a terminal, beside the engine: 2 ms as measured, 15 ms allowed."""
    if sanitized():
        return "a sanitized build is slower"
    put(".config/qwend/qwenctl.conf", "max-tokens = 500\n")

    def cost_ms():
        terminal, child = pty.openpty()
        with subprocess.Popen(["qwenctl", "ask", "-s", "cost", "hello"], stdin=subprocess.DEVNULL, stdout=child, stderr=child,
                              env=dict(env(), TERM="xterm")) as process:
            os.close(child)
            try:
                while os.read(terminal, 65536):
                    pass
            except OSError:  # EIO: nobody writes any more
                pass
            _, process.returncode, usage = os.wait4(process.pid, 0)
        os.close(terminal)
        assert process.returncode == 0, process.returncode
        return (usage.ru_utime + usage.ru_stime) * 1e3

    best = min(cost_ms() for _ in range(5))
    os.unlink(os.path.join(QWEND.folder, ".config/qwend/qwenctl.conf"))
    assert best <= 15, f"{best:.1f} ms"


def put(path, text):
    path = os.path.join(QWEND.folder, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


CONTEXT = 2048
STORIES = [a_document_is_asked_about, json_goes_through_a_filter, a_session_goes_on, the_shown_prompt_is_the_one_that_is_read,
           a_document_that_is_too_long_is_cut_where_asked, letters_of_any_alphabet_survive_a_cut, a_short_document_is_not_cut, ending_early_is_141,
           asking_costs_little_processor_time]

if __name__ == "__main__":
    with Qwend(golden("demo.gguf"), "--context", str(CONTEXT)) as QWEND:
        sys.exit(qwp.run(STORIES))
