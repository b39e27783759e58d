#!/usr/bin/env python3
"""story_lsp.py - the language server against a daemon: on the demo model where text matters, else on the fake engine."""

import os
import subprocess
import sys
import time

import lsp
import qwp
from fake import Fake
from harness import WAIT_S, Qwend, golden, tiny_model
from lsp import Editor
from qwp import pb

A = "file:///work%20shop/a.py"
WORK = "def area(w, h):\n    return w"


def demo():
    return Qwend(golden("demo.gguf"))


def started(d, text=WORK, capabilities=None, **options):
    """An editor with one document open."""
    e = Editor(d.qwenctl, d.socket)
    e.start(capabilities, **options)
    e.open(A, text)
    return e


# completions

def a_completion_is_shown():
    with demo() as d, started(d) as e:
        shown = e.ghost(A)
        assert shown and not shown.isspace() and shown == shown.rstrip()
        assert len(e.ghost(A, invoked=True)) >= len(shown)
        e.type(A, "q")
        assert e.ghost(A)


def a_completion_is_a_list_for_editors_that_know_no_better():
    with demo() as d, Editor(d.qwenctl, d.socket) as e:
        capabilities = e.start({})
        assert capabilities["completionProvider"] == {} and "inlineCompletionProvider" not in capabilities
        assert capabilities["positionEncoding"] == "utf-16"
        e.open(A, WORK)
        items = e.result(e.complete(A, method="textDocument/completion"))["items"]
        assert items[0]["detail"] == "qwend" and items[0]["label"] in items[0]["textEdit"]["newText"]
        assert items[0]["textEdit"]["range"]["start"] == e.end_of(A)


def what_was_proposed_is_typed_without_a_request():
    with Fake(slots=1) as d, d.serving() as p, started(d) as e:
        shown = e.ghost(A)
        assert shown.startswith("0:") and p.status().requests == 1
        for n in (1, 4):
            e.type(A, shown[:n])
            shown = shown[n:]
            assert e.ghost(A) == shown
        assert p.status().requests == 1
        e.type(A, "other")
        assert e.ghost(A).startswith("0:") and p.status().requests == 2


def a_newer_key_takes_the_place_of_an_older():
    with Fake(slots=1, delay_ms=20) as d, d.serving() as p, started(d) as e:
        old = e.complete(A, invoked=True)
        p.wait_status(lambda s: s.running == 1)
        e.type(A, "x")
        new = e.complete(A)
        assert e.result(old)["items"] == [] and e.result(new)["items"]
        assert p.status().requests == 2
        e.type(A, "y")
        old = e.complete(A)         # still waiting for another key: never sent
        e.type(A, "z")
        assert e.result(e.complete(A))["items"] and e.result(old)["items"] == []
        assert p.status().requests == 3


def a_request_goes_on_while_its_text_is_typed():
    with Fake(slots=1, delay_ms=20) as d, d.serving() as p, started(d) as e:
        old = e.complete(A)
        p.wait_status(lambda s: s.output_tokens >= 1)
        e.type(A, "0")              # every answer of the fake engine begins with "0:"
        new = e.complete(A)
        assert e.result(old)["items"] == []
        assert e.result(new)["items"][0]["insertText"].startswith(":")
        assert p.status().requests == 1


def a_cancelled_completion_ends_at_the_daemon():
    with Fake(slots=1, delay_ms=20) as d, d.serving() as p, started(d) as e:
        asked = e.complete(A, invoked=True)
        p.wait_status(lambda s: s.running == 1)
        e.notify("$/cancelRequest", id=asked)
        assert e.error(asked)["code"] == -32800
        p.wait_status(lambda s: s.running == 0)
        e.notify("$/cancelRequest", id=asked)       # too late: nothing
        assert e.ghost(A)


def the_daemon_goes_and_comes_back():
    with demo() as d, started(d) as e:
        assert e.ghost(A)
        d.kill()
        for text in "xyz":
            e.type(A, text)
            assert e.ghost(A) is None
        assert "there is no daemon" in e.error(e.command("qwend.explain", A, (0, 0), (0, 3)))["message"]
        assert len(e.seen("window/showMessage")) == 1 and "qwend" in e.note("window/showMessage")["params"]["message"]
        d.start_again()
        end = len(e.messages)
        while not (shown := e.ghost(A, invoked=True)):      # not more often than it tries to connect
            assert len(e.messages) < end + 10000
        assert shown and len(e.seen("window/showMessage")) == 1


def a_daemon_that_goes_ends_what_runs():
    with Fake(slots=2, delay_ms=20, context=2048) as d, d.serving() as p, started(d) as e:
        asked, chat = e.complete(A, invoked=True), e.request("qwend/chat", messages=[{"role": "user", "content": "x"}])
        p.wait_status(lambda s: s.running == 2)
        d.kill()
        assert e.result(asked)["items"] == [] and "went away" in e.error(chat)["message"]


def a_key_reads_a_handful_of_tokens():
    text = "".join(f"value_{i} = compute({i}) + offset\n" for i in range(60))
    with demo() as d, qwp.Peer(d.socket) as p, started(d, text) as e:
        e.ghost(A)
        read = []
        for key in "result = value_3 + value_4":
            before = p.status()
            e.type(A, key)
            e.ghost(A)
            after = p.status()
            read.append(after.prompt_tokens - before.prompt_tokens - after.cached_tokens + before.cached_tokens)
        assert max(read) <= 64 and len(set(read)) > 1, read


def places_that_were_left_are_read_ahead():
    body = "".join(f"def f{i}(x):\n    return x * {i}\n\n" for i in range(400))
    with Fake(slots=1, config="[class all]\nmatch = any\n") as d, d.serving() as p, started(d, body) as e:
        p.wait_status(lambda s: s.requests == 1)            # its beginning
        for i in range(12):                                 # more than an epoch has room for
            uri = f"file:///work%20shop/b{i}.py"
            e.open(uri, body.replace("x", f"x{i}").replace("f", f"g{i}"))
        assert e.ghost(A)
        e.type(A, "pass\n")
        e.notify("textDocument/didSave", textDocument={"uri": A})
        assert e.ghost(A)
        requests = p.status().requests
        assert 4 <= requests <= 1 + 12 + 2 + 2, requests     # what came while one was read was read together
        e.notify("textDocument/didSave", textDocument={"uri": A})
        e.type(A, "w")
        assert e.ghost(A)
        assert p.status().requests == requests + 1          # the same lines are not worth reading again


def a_model_that_cannot_is_told_of_once():
    with Qwend(tiny_model()) as made:
        path = os.path.join(made.folder, "plain.gguf")
        with open(tiny_model(), "rb") as f, open(path, "wb") as out:
            out.write(f.read().replace(b"<|fim_suffix|>", b"<|fim_saffix|>"))
        with Qwend(path) as d, started(d) as e:
            assert e.ghost(A) is None and e.ghost(A) is None
            assert "<|fim_suffix|>" in e.note("window/showMessage")["params"]["message"]
            assert len(e.seen("window/showMessage")) == 1
            assert e.ghost(A, invoked=True) is None         # by hand it is tried again
            assert len(e.seen("window/showMessage")) == 2


def a_slow_model_is_asked_later():
    with Fake(slots=1, read_ms=300) as d, d.serving() as p, started(d) as e:
        assert e.ghost(A)
        e.type(A, "x")
        began = time.monotonic()
        e.complete(A)
        p.wait_status(lambda s: s.requests == 2)
        assert time.monotonic() - began >= 0.12             # half of 300 ms, where it was 40


def a_class_without_the_priority_is_asked_without():
    with Fake(config="[class all]\nmatch = any\npriority = normal\n") as d, d.serving() as p, started(d) as e:
        assert e.ghost(A) is None               # this is how it learns it
        assert e.ghost(A) and not e.seen("window/showMessage")
        assert e.result(e.command("qwend.explain", A, (0, 0), (1, 0)))["text"]
    with Fake(config="[class all]\nmatch = any\nallow = no\n") as d, started(d) as e:
        assert [e.ghost(A) for _ in range(3)] == [None] * 3
        assert len(e.seen("window/showMessage")) == 1


def completions_can_be_turned_off():
    with Fake() as d, d.serving() as p, started(d, completion=False) as e:
        assert e.ghost(A) is None and p.status().requests == 0


def secrets_are_not_shown_to_the_model():
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n"
    with Fake() as d, d.serving() as p, started(d, ignore=["*.private", "vault/*", "*/hidden/*"]) as e:
        for name, text in [(".env", "PASSWORD=1"), ("id_rsa", "x"), ("a.private", "x"), ("hidden/a.py", "x"),
                           (".ssh/config", "x"), ("note.txt", key), ("b.py", "k = 'AKIAABCDEFGHIJKLMNOP'")]:
            uri = "file:///work%20shop/" + name
            e.open(uri, text)
            assert e.ghost(uri, invoked=True) is None, name
            e.error(e.command("qwend.explain", uri, (0, 0), (0, 1)))
        assert p.status().requests == 0
        uri = "file:///work%20shop/c.py"
        e.open(uri, "k = 'AKIA'")                           # speaks of the form, is none
        assert e.ghost(uri)


# tasks

def an_edit_is_applied_by_the_editor():
    with demo() as d, started(d, "What is 12 + 7?\n") as e:
        names = [a["command"]["command"] for a in e.result(e.request("textDocument/codeAction", textDocument={"uri": A},
                 range={"start": {"line": 0, "character": 0}, "end": {"line": 1, "character": 0}},
                 context={"diagnostics": [{"message": "wrong"}]}))]
        assert names == ["qwend.fix", "qwend.explain", "qwend.document", "qwend.test"], names
        asked = e.command("qwend.rewrite", A, (0, 0), (1, 0), instruction="What is 12 + 7?")
        edit = e.wait(lambda m: m.get("method") == "workspace/applyEdit", "the edit")
        change = edit["params"]["edit"]["documentChanges"][0]
        assert change["textDocument"] == {"uri": A, "version": 1}
        assert change["edits"][0]["range"]["end"] == {"line": 1, "character": 0}
        assert change["edits"][0]["newText"].endswith("\n")
        e.send({"jsonrpc": "2.0", "id": edit["id"], "result": {"applied": True}})
        assert e.result(asked) == {"applied": True}
        kinds = [m["params"]["value"]["kind"] for m in e.seen("$/progress")]
        assert kinds[0] == "begin" and kinds[-1] == "end", kinds


def an_edit_of_an_older_version_is_not_made():
    with Fake(slots=1, delay_ms=10) as d, d.serving() as p, started(d, WORK) as e:
        asked = e.command("qwend.fix", A, (0, 0), (1, 0))
        p.wait_status(lambda s: s.running == 1)
        e.type(A, " ")
        assert e.error(asked)["code"] == -32801 and not e.seen("workspace/applyEdit")


def an_explanation_is_a_message_where_nobody_shows_it():
    with Fake(slots=1) as d, started(d) as e:
        told = e.result(e.command("qwend.explain", A, (0, 0), (1, 0)))
        shown = e.note("window/showMessage")["params"]["message"]
        assert len(told["text"]) > 300 and shown == told["text"], (shown, told)


def an_answer_that_was_cut_edits_nothing():
    with Fake(slots=1) as d, started(d, WORK) as e:        # the fake engine stops by length only
        assert "to its end" in e.error(e.command("qwend.document", A, (0, 0), (1, 0)))["message"]


def a_chat_streams():
    with demo() as d, started(d) as e:
        asked = e.request("qwend/chat", messages=[{"role": "user", "content": "What is 12 + 7?"}],
                          partialResultToken="mine", workDoneToken=7)
        result = e.result(asked)
        parts = [m["params"]["value"]["text"] for m in e.seen("$/progress") if m["params"]["token"] == "mine"]
        assert result["text"] == "".join(parts) and len(parts) > 1 and not result["cut"], (result, parts)
        for messages in ([], [{"role": "tool", "content": "x"}], [{"role": "user"}],
                         [{"role": "user", "content": "x"}] * 257):
            assert e.error(e.request("qwend/chat", messages=messages))["code"] == -32602


def tasks_are_cancelled_and_counted():
    with Fake(slots=1, delay_ms=20, context=2048) as d, d.serving() as p, started(d) as e:
        ask = [{"role": "user", "content": "x"}]
        running = [e.request("qwend/chat", messages=ask, workDoneToken=f"t{i}") for i in range(8)]
        assert "8 tasks" in e.error(e.request("qwend/chat", messages=ask))["message"]
        assert "8 tasks" in e.error(e.command("qwend.explain", A, (0, 0), (0, 3)))["message"]
        p.wait_status(lambda s: s.running == 1 and s.queued == 7)
        e.notify("$/cancelRequest", id=running[0])
        e.notify("window/workDoneProgress/cancel", token="t1")
        for asked in running[:2]:
            assert e.error(asked)["code"] == -32800
        p.wait_status(lambda s: s.running + s.queued == 6)
        e.result(e.request("shutdown"))
        p.wait_status(lambda s: s.running + s.queued == 0)


# the protocol

def what_is_no_question_is_refused():
    with Fake() as d, Editor(d.qwenctl, d.socket) as e:
        assert e.error(e.request("textDocument/completion"))["code"] == -32002
        e.start()
        assert e.error(e.request("initialize"))["code"] == -32600
        assert e.error(e.request("textDocument/hover"))["code"] == -32601
        for method in ("textDocument/inlineCompletion", "textDocument/codeAction"):
            assert e.error(e.request(method, textDocument={"uri": "file:///none"}))["code"] == -32602
        e.open(A, WORK)
        assert e.error(e.request("textDocument/inlineCompletion", textDocument={"uri": A},
                                 position={"line": -1, "character": 0}))["code"] == -32602
        assert e.error(e.command("qwend.nothing", A, (0, 0), (0, 1)))["code"] == -32602
        assert "nothing is marked" in e.error(e.command("qwend.fix", A, (1, 0), (0, 1)))["message"]
        assert "instruction" in e.error(e.command("qwend.rewrite", A, (0, 0), (0, 1)))["message"]
        for message in ([], {"jsonrpc": "2.0"}, {"jsonrpc": "2.0", "id": [1], "method": "shutdown"}):
            e.send(message)
            assert e.answer(None)["error"]["code"] == -32600
        e.result(e.request("shutdown"))
        assert e.error(e.request("shutdown"))["code"] == -32600
        e.notify("exit")
        assert e.process.wait(WAIT_S) == 0


def text_that_cannot_be_read_spoils_what_is_open():
    with Fake() as d, d.serving() as p, started(d) as e:
        e.process.stdin.write(lsp.frame(b'{"method":"textDocument/didChange","params":"\xff'))
        e.process.stdin.flush()
        assert e.answer(None)["error"]["code"] == -32700
        assert e.ghost(A) is None and p.status().requests == 0      # who knows what was in it
        e.notify("textDocument/didChange", textDocument={"uri": A, "version": 5}, contentChanges=[{"text": WORK}])
        assert e.ghost(A)


def a_stream_that_cannot_be_followed_ends():
    for head, why in [(b"Content-Length: 99999999999\r\n\r\n", "above"), (b"Content-Length: x\r\n\r\n", "no number"),
                      (b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", "two"), (b"A: b\r\n\r\n", "no Content-Length"),
                      (b"GET / HTTP/1.1\r\n\r\n", "no colon"), (b"A: " + b"b" * 5000, "more than 4096")]:
        with Fake() as d, Editor(d.qwenctl, d.socket) as e:
            e.process.stdin.write(head)
            e.process.stdin.flush()
            assert e.process.wait(WAIT_S) == 2 and why in e.process.stderr.readline().decode(), why
    with Fake() as d, started(d) as e:
        e.process.stdin.close()
        assert e.process.wait(WAIT_S) == 1              # it was not told to end


def an_editor_that_does_not_read_is_given_up():
    with Fake() as d:
        with subprocess.Popen([d.qwenctl, "lsp", "--socket", d.socket], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            try:
                for _ in range(3):      # each is answered with its id, at once
                    process.stdin.write(lsp.frame({"jsonrpc": "2.0", "id": "x" * (15 << 20), "method": "none"}))
                process.stdin.close()
            except BrokenPipeError:
                pass
            assert process.wait(WAIT_S) == 10, process.stderr.read()


def documents_are_bounded():
    with Fake() as d, started(d) as e:
        e.open("file:///big", "x" * ((8 << 20) + 1))
        assert "not followed" in e.note("window/showMessage")["params"]["message"]
        for i in range(255):
            e.open(f"file:///{i}", "x")
        assert e.ghost("file:///254")
        e.open("file:///255", "x")
        e.note("window/showMessage")
        assert e.error(e.complete("file:///255"))["code"] == -32602
        e.notify("textDocument/didClose", textDocument={"uri": "file:///0"})
        e.open("file:///255", "x")
        assert e.ghost("file:///255")


if __name__ == "__main__":
    sys.exit(qwp.run([f for name, f in list(globals().items()) if callable(f) and getattr(f, "__module__", "") == "__main__"
                      and name not in ("demo", "started")]))
