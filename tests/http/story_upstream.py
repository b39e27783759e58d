#!/usr/bin/env python3
"""story_upstream.py - another server that takes what the daemon cannot: who is asked when, what it is told, and that a failure of
either, after any byte, is either not noticed or told."""
import json
import os
import subprocess
import sys
import time

import qwp
from fake import Fake
from gateway import Gateway, chat
from harness import WAIT_S
from mock_upstream import Upstream, chunk, stream
from story_caps import sanitized

CHAT = "/v1/chat/completions"
REMOTE = "Remote \u00e9 answer"
BODY = chat("x", max_tokens=3, seed=5)


def told(http, up, policy):
    return Gateway(http, "--upstream-url", "unix:" + up.path, "--upstream-policy", policy, "--upstream-model", "big")


def content(got):
    assert got.status == 200, got
    return got.json["choices"][0]["message"]["content"]


def nothing_leaves_unless_it_is_said():
    with Fake() as d, d.serving():
        up = Upstream(d.folder)
        with told(d, up, "local-only") as http:
            assert content(http.post(CHAT, BODY)) != REMOTE and http.ask("GET", "/upstream").json["policy"] == "local-only"
        with Gateway(d) as http:
            assert http.ask("GET", "/upstream").json == {"policy": "local-only", "well": False, "user": f"uid:{os.getuid()}",
                                                         "requests_sent": 0, "bytes_sent": 0}
        assert not up.requests


def upstream_first_asks_it_and_tells_it_all_that_counts():
    with Fake() as d, d.serving():
        up = Upstream(d.folder)
        key = os.path.join(d.folder, "key")
        with open(key, "w", encoding="ascii") as f:
            f.write("sk-up\n")
        with Gateway(d, "--upstream-url", "unix:" + up.path, "--upstream-policy", "upstream-first", "--upstream-model", "big",
                     "--upstream-key", key) as http:
            got = http.post(CHAT, {**BODY, "temperature": 0.5, "top_p": 0.9, "stop": ["q", "\""], "reasoning_effort": "low"})
            assert content(got) == REMOTE and got.json["choices"][0]["message"]["reasoning"] == "Hm.", got
            assert got.json["usage"]["prompt_tokens"] == 7 and got.json["usage"]["completion_tokens"] == 5
            head, body = up.requests[0]
            assert "Authorization: Bearer sk-up" in head and head.startswith("POST /v1/chat/completions HTTP/1.1")
            assert body == {"model": "big", "messages": [{"role": "user", "content": "x"}], "temperature": 0.5, "top_p": 0.9,
                            "max_tokens": 3, "seed": 5, "stop": ["q", "\""], "chat_template_kwargs": {"enable_thinking": True},
                            "stream": True, "stream_options": {"include_usage": True}}, body
            for path, asked in [("/v1/messages", {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "stream": True}),
                                ("/v1/responses", {"input": "x", "stream": True}),
                                ("/api/chat", {"messages": [{"role": "user", "content": "x"}]})]:
                said = http.post(path, asked).body.decode()
                assert "mote " in said and "Hm." in said, said
            count = http.ask("GET", "/upstream").json
            assert count["requests_sent"] == 4 and count["bytes_sent"] > 400 and count["well"], count
            http.wait_line("leaves the machine")
            for stays in ({"local_only": True}, {"logit_bias": {"1": 1}}, {"logprobs": True}):
                assert content(http.post(CHAT, {**BODY, **stays})) != REMOTE, stays
            assert http.post("/v1/completions", {"prompt": "x"}).status == 200
            assert len(up.requests) == 4
            assert "sk-up" not in http.log()


def a_failure_at_each_byte_is_not_noticed_or_told():
    whole = stream()
    first_word = whole.index(b"Hm.") + len(b'Hm."}, "finish_reason": null}]}\n')
    with Fake() as d, d.serving():
        up = Upstream(d.folder)
        with told(d, up, "upstream-first") as http:
            local = content(http.post(CHAT, {**BODY, "local_only": True}))
            for n in range(len(whole)):
                up.answer = whole[:n]
                got = http.post(CHAT, BODY)
                if n < first_word:              # not a word was said: the daemon answers
                    assert content(got) == local, (n, got)
                elif got.status == 200:         # only what comes behind the end is missing
                    assert content(got) == REMOTE and n > whole.index(b'"stop"'), (n, got)
                else:
                    assert (got.status, got.json["error"]["code"]) == (502, "upstream_failed"), (n, got)
                if n % 3 == 0:                      # and it is well again, before it is left alone
                    up.answer = whole
                    assert content(http.post(CHAT, BODY)) == REMOTE
            up.answer = whole[:first_word + 200]
            got = http.post(CHAT, {**BODY, "stream": True})
            assert got.status == 200 and b'"upstream_failed"' in got.body and b"[DONE]" not in got.body, got


def what_is_no_answer_makes_the_daemon_answer():
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    with Fake() as d, d.serving():
        up = Upstream(d.folder)
        with told(d, up, "upstream-first") as http:
            local = content(http.post(CHAT, {**BODY, "local_only": True}))
            for answer in [b"", b"nonsense", b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 429 No\r\nContent-Length: 2\r\n\r\nno",
                           b"HTTP/1.1 301 Away\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
                           head + b"data: {\n\n", head + b"data: []\n\n", head + b"data: [DONE]\n\n", head + b"x" * (2 << 20),
                           head + b'data: {"error":{"message":"x"}}\n\n', head + b'data: {"choices":[{"delta":7}]}\n\n']:
                up.answer = answer
                assert content(http.post(CHAT, BODY)) == local, answer[:80]
                up.answer = stream()
                content(http.post(CHAT, BODY))


def one_that_keeps_failing_is_left_alone():
    with Fake() as d, d.serving():
        up = Upstream(d.folder, b"")
        with told(d, up, "upstream-first") as http:
            for _ in range(8):
                assert http.post(CHAT, BODY).status == 200
            assert len(up.requests) == 5 and not http.ask("GET", "/upstream").json["well"]
            http.wait_line("5 failures in a row")


def local_first_asks_it_when_the_daemon_cannot():
    with Fake(load_ms=3600000) as d:                            # it loads for ever
        up = Upstream(d.folder)
        with told(d, up, "local-first") as http:
            assert content(http.post(CHAT, BODY)) == REMOTE
            d.process.kill()                                    # it is gone
            d.process.wait()
            assert content(http.post(CHAT, BODY)) == REMOTE
            assert http.post(CHAT, {**BODY, "local_only": True}).status == 503
            up.answer = b""
            got = http.post(CHAT, BODY)
            assert got.status == 502, got
    with Fake(slots=1, delay_ms=20) as d, d.serving() as p:     # it has no slot for too long
        up = Upstream(d.folder)
        with Gateway(d, "--upstream-url", "unix:" + up.path, "--upstream-policy", "local-first", "--upstream-wait-s", "1") as http, \
                http.connect() as runs:
            runs.request("POST", CHAT, chat("x", stream=True, max_tokens=100000))
            assert runs.head()[0] == 200 and runs.chunk()
            got = http.post(CHAT, {**BODY, "stream": True})
            assert "mote " in got.body.decode(), got
            p.wait_status(lambda s: s.running == 1 and s.queued == 0)
    with Fake() as d, d.serving():                              # and never else
        up = Upstream(d.folder)
        with told(d, up, "local-first") as http:
            assert content(http.post(CHAT, BODY)) != REMOTE
            assert http.post(CHAT, chat("x", temperature="hot")).status == 400 and not up.requests


def a_slow_reader_holds_the_upstream_too():
    words = b"".join(b"data: " + json.dumps(chunk({"content": "y" * 9000})).encode() + b"\n\n" for _ in range(400))
    end = b"data: " + json.dumps(chunk({}, "stop")).encode() + b"\n\ndata: [DONE]\n\n"
    with Fake() as d, d.serving():
        up = Upstream(d.folder, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + words + end)
        with told(d, up, "upstream-first") as http, http.connect() as slow:
            slow.request("POST", CHAT, {**BODY, "stream": True})
            assert slow.head()[0] == 200
            end_s = time.monotonic() + 1            # nothing tells that it has stopped: it is given the time to overrun
            while time.monotonic() < end_s:
                http.ask("GET", "/upstream")
            assert http.rss_kib() < 24 << 10 or sanitized()
            said = slow.response_body().decode()
            assert said.count("y") >= 400 * 9000 and said.endswith("[DONE]\n\n")


def what_cannot_be_asked_is_refused_at_the_start():
    program = os.path.join(os.environ["QWEND_BUILD"], "client/http/qwend-http")
    with Fake() as d:
        for options, word in [(["--upstream-url", "ftp://x"], "upstream_url"), (["--upstream-policy", "sometimes"], "local-first"),
                              (["--upstream-url", "http://x", "--upstream-key", "/nowhere"], "upstream_key")]:
            done = subprocess.run([program, "--config", os.devnull, "--allow-root", "--listen", "unix:" + d.folder + "/x.sock", *options],
                                  capture_output=True, text=True, timeout=WAIT_S, check=False)
            assert done.returncode == 2 and word in done.stderr, done


STORIES = [
    nothing_leaves_unless_it_is_said, upstream_first_asks_it_and_tells_it_all_that_counts,
    a_failure_at_each_byte_is_not_noticed_or_told, what_is_no_answer_makes_the_daemon_answer, one_that_keeps_failing_is_left_alone,
    local_first_asks_it_when_the_daemon_cannot, a_slow_reader_holds_the_upstream_too, what_cannot_be_asked_is_refused_at_the_start,
]

if __name__ == "__main__":
    sys.exit(qwp.run(STORIES))
