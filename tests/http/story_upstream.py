#!/usr/bin/env python3
"""story_upstream.py - another server that takes what the daemon cannot: who is asked when, what it is told, and that a failure of
either, after any byte, is either not noticed or told."""
import concurrent.futures
import json
import os
import subprocess
import sys
import time

import openmetrics
import qwp
from fake import Fake
from gateway import Gateway, chat
from harness import WAIT_S, sanitized
from mock_upstream import Upstream, chunk, stream

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
            assert http.ask("GET", "/upstream").json == {"policy": "local-only", "servers": [], "user": f"uid:{os.getuid()}",
                                                         "requests_sent": 0, "bytes_sent": 0, "users": []}
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
            assert count["requests_sent"] == 4 and count["bytes_sent"] > 400 and count["servers"][0]["well"], count
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


def an_errors_text_is_not_waited_for():
    with Fake() as d, d.serving():
        up = Upstream(d.folder, b"HTTP/1.1 500 No\r\nConnection: close\r\n\r\nwithout an end")
        up.may_close.clear()
        with told(d, up, "upstream-first") as http:
            local = content(http.post(CHAT, {**BODY, "local_only": True}))
            assert content(http.post(CHAT, BODY)) == local and not up.may_close.is_set()
            http.wait_line("the upstream answered 500|upstream_failed")
            up.may_close.set()


def one_that_keeps_failing_is_left_alone():
    with Fake() as d, d.serving():
        up = Upstream(d.folder, b"")
        with told(d, up, "upstream-first") as http:
            for _ in range(8):
                assert http.post(CHAT, BODY).status == 200
            assert len(up.requests) == 5 and not http.ask("GET", "/upstream").json["servers"][0]["well"]
            http.wait_line("5 failures in a row")


def one_that_refuses_what_is_asked_is_well():
    with Fake() as d, d.serving():
        up = Upstream(d.folder)
        with servers(d, ("any", up, ""), upstream_policy="upstream-first") as http:
            for status in (400, 404, 413, 422):
                up.answer = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status
                for _ in range(6):
                    assert content(ask_model(http, "no such model")) != REMOTE
            up.answer = stream()
            assert content(ask_model(http, "big")) == REMOTE and len(up.requests) == 25


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


def readers_that_now_and_then_wait_get_all():
    """What has been read while more was being written counts too: else both sides wait for the other."""
    words = b"".join(b"data: " + json.dumps(chunk({"content": "y" * n})).encode() + b"\n\n" for n in (9000, 9000, 3, 5) * 200)
    end = b"data: " + json.dumps(chunk({}, "stop")).encode() + b"\n\ndata: [DONE]\n\n"
    with Fake() as d, d.serving():
        up = Upstream(d.folder, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + words + end)
        with told(d, up, "upstream-first") as http:
            def read(_):
                said = http.post(CHAT, {**BODY, "stream": True}).body.decode()
                assert said.count("y") >= 18008 * 200 and said.endswith("[DONE]\n\n")
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                list(pool.map(read, range(32)))


def an_answer_ends_when_the_upstream_says_so():
    """Not when its connection does: some keep that open."""
    words = b"".join(b"data: " + json.dumps(chunk(*c)).encode() + b"\n\n" for c in (({"content": "y"},), ({}, "stop"))) + b"data: [DONE]\n\n"
    with Fake() as d, d.serving():
        up = Upstream(d.folder, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + words, hangs=True)
        with told(d, up, "upstream-first") as http:
            begin = time.monotonic()
            for _ in range(3):
                assert content(http.post(CHAT, BODY)) == "y"
                assert http.post(CHAT, {**BODY, "stream": True}).body.endswith(b"[DONE]\n\n")
            assert time.monotonic() - begin < 30, "it waited for the silence to end"
            assert up.n_left(6), "their connections are not given up"


def servers(d, *ups, options=(), **keys):
    """A gateway with these servers as sections; keys: of section [http]."""
    path = os.path.join(d.folder, f"conf-{id(ups)}")
    with open(path, "w", encoding="ascii") as f:
        f.write("[http]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items()))
        for name, up, text in ups:
            f.write(f"[upstream {name}]\nurl = unix:{up.path}\n{text}")
    return Gateway(d, "--config", path, *options)


def ask_model(http, model, text="x"):
    return http.post(CHAT, {**chat(text, max_tokens=3, seed=5), "model": model})


def the_models_name_says_which_server():
    with Fake() as d, d.serving():
        big, other = Upstream(d.folder), Upstream(d.folder)
        with servers(d, ("big", big, "models = gpt-*, o[134]\n"), ("other", other, "models = other\nmodel = theirs\n"),
                     ("off", other, "policy = local-only\n"), upstream_policy="upstream-first") as http:
            for model in ("gpt-5", "o3"):
                assert content(ask_model(http, model)) == REMOTE and big.requests[-1][1]["model"] == model
            assert content(ask_model(http, "other")) == REMOTE and other.requests[-1][1]["model"] == "theirs"
            for model in ("o2", "qwen", "", "GPT-5x" * 50):
                assert content(ask_model(http, model)) != REMOTE, model
            assert (len(big.requests), len(other.requests)) == (2, 1)
            for path, body in [("/v1/messages", {"max_tokens": 9}), ("/api/chat", {"stream": False})]:
                got = http.post(path, {**body, "model": "gpt-5", "messages": [{"role": "user", "content": "x"}]})
                assert "mote " in got.body.decode(), got


def they_are_asked_in_turn_and_the_daemon_between():
    with Fake() as d, d.serving():
        first, second, last = Upstream(d.folder, b""), Upstream(d.folder, b""), Upstream(d.folder)
        with servers(d, ("first", first, "policy = upstream-first\n"), ("second", second, "policy = upstream-first\n"),
                     ("last", last, "policy = local-first\n")) as http:
            local = content(http.post(CHAT, {**BODY, "local_only": True}))
            assert content(http.post(CHAT, BODY)) == local
            assert [len(u.requests) for u in (first, second, last)] == [1, 1, 0]
            for wrong, right in ((first, second), (second, first)):     # one of them is asked first
                wrong.answer, right.answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ndata: {\n\n", stream()
                assert content(http.post(CHAT, BODY)) == REMOTE
            first.answer, second.answer = b"", stream()
            assert content(http.post(CHAT, BODY)) == REMOTE
            d.process.kill()
            d.process.wait()
            second.answer = b""
            got = http.post(CHAT, {**BODY, "stream": True})
            assert "mote " in got.body.decode() and len(last.requests) == 1, got
            last.answer = b""
            assert http.post(CHAT, BODY).status == 502


def a_conversation_stays_where_it_is():
    with Fake() as d, d.serving():
        ups = [Upstream(d.folder) for _ in range(3)]
        with servers(d, *((f"s{i}", up, f"weight = {i + 1}\n") for i, up in enumerate(ups)), upstream_policy="upstream-first") as http:
            for k in range(12):
                counts = [len(u.requests) for u in ups]
                turns = [{"role": "system", "content": "Budget 1"}, {"role": "user", "content": f"talk {k}"}]
                for turn in range(3):
                    assert content(http.post(CHAT, {"messages": turns})) == REMOTE
                    turns[0] = {"role": "system", "content": f"Budget {turn}"}
                    turns += [{"role": "assistant", "content": REMOTE}, {"role": "user", "content": f"and {turn}"}]
                grown = [len(u.requests) - n for u, n in zip(ups, counts)]
                assert sorted(grown) == [0, 0, 3], grown
            assert sum(len(u.requests) > 0 for u in ups) >= 2


def a_server_that_is_unwell_is_passed_over():
    with Fake() as d, d.serving():
        bad, good = Upstream(d.folder, b""), Upstream(d.folder)
        with servers(d, ("bad", bad, "weight = 1000\n"), ("good", good, ""), upstream_policy="upstream-first") as http:
            for k in range(40):
                assert content(http.post(CHAT, chat(f"talk {k}"))) == REMOTE
            assert len(bad.requests) == 5 and len(good.requests) == 40
            states = {s["name"]: s["well"] for s in http.ask("GET", "/upstream").json["servers"]}
            assert states == {"bad": False, "good": True}, states


def what_has_left_is_counted_for_each_user():
    keys = "alice 0123456789abcdef-a\nboss 0123456789abcdef-b\n"
    alice, boss = {"X-Api-Key": "0123456789abcdef-a"}, {"X-Api-Key": "0123456789abcdef-b"}
    with Fake() as d, d.serving():
        up = Upstream(d.folder)
        path = os.path.join(d.folder, "conf")
        with open(path, "w", encoding="ascii") as f:
            f.write(f"[http]\nadmins = key:boss, uid:{os.getuid()}\nupstream_policy = upstream-first\n[upstream big]\nurl = unix:{up.path}\n")
        with Gateway(d, "--config", path, keys=keys, tcp=True) as http:
            before = metrics(http.ask("GET", "/metrics", headers=boss, tcp=True))
            assert sample(before, "qwend_http_left_requests_total", 'user="key:alice"') is None
            for _ in range(3):
                assert content(http.post(CHAT, chat("canary-77"), alice, tcp=True)) == REMOTE
            up.answer = b""
            assert http.post(CHAT, chat("canary-78"), alice, tcp=True).status == 200
            up.answer = stream()
            assert content(http.post(CHAT, BODY)) == REMOTE
            text = http.ask("GET", "/metrics", headers=boss, tcp=True)
            after = metrics(text)
            openmetrics.check_rise(before, after)
            size = sum(len(json.dumps(b, separators=(",", ":"))) for _, b in up.requests[:4])
            assert sample(after, "qwend_http_left_requests_total", 'user="key:alice"') == 4
            assert sample(after, "qwend_http_left_bytes_total", 'user="key:alice"') == size
            assert sample(after, "qwend_http_left_requests_total", f'user="uid:{os.getuid()}"') == 1
            assert sample(after, "qwend_http_upstream_requests_total", 'server="big"') == 5
            assert sample(after, "qwend_http_upstream_failures_total", 'server="big"') == 1
            assert sample(after, "qwend_http_answers_total", 'status="2xx"') >= 5
            assert b"canary" not in text.body and "canary" not in http.log() and b"0123456789" not in text.body
            got = http.ask("GET", "/metrics", headers=alice, tcp=True)
            assert got.status == 403 and "admins" in got.json["error"]["message"], got
            mine = http.ask("GET", "/upstream", headers=alice, tcp=True).json
            assert mine["requests_sent"] == 4 and "users" not in mine and "url" not in mine["servers"][0], mine
            everybodys = http.ask("GET", "/upstream").json
            assert {u["user"]: u["requests_sent"] for u in everybodys["users"]} == {"key:alice": 4, f"uid:{os.getuid()}": 1}
            assert everybodys["servers"][0]["url"] == "unix:" + up.path
        with Gateway(d) as http:            # nobody is named: who runs it, and root
            assert sample(metrics(http.ask("GET", "/metrics")), "qwend_http_connections") == 1


def metrics(got):
    assert got.status == 200 and got.headers["content-type"].startswith("application/openmetrics-text"), got
    return openmetrics.parse(got.body.decode())


def sample(families, name, label=None):
    for family in families.values():
        for (found, labels), value in family.samples.items():
            if found == name and (label is None or label in labels):
                return value
    return None


def servers_have_caps_and_are_checked():
    program = os.path.join(os.environ["QWEND_BUILD"], "client/http/qwend-http")
    with Fake() as d:
        path = os.path.join(d.folder, "conf")
        for text, word in [
            ("".join(f"[upstream s{i}]\nurl = http://x\n" for i in range(9)), "conf:19: more than 8 upstreams"),
            ("[upstream a b]\nurl = http://x\n", "conf:3: the upstream is called 'a b'"),
            ("[upstream " + "x" * 33 + "]\nurl = http://x\n", "1 to 32 letters"), ("[upstream]\nurl = http://x\n", "section"),
            ("[upstream a]\nweight = 2\n", "[upstream a] has no url"), ("[upstream a]\nurl = ftp://x\n", "must begin with"),
            ("[upstream a]\nurl = http://x\nurl = http://y\n", "already set in line 3"),
            ("[upstream a]\nurl = http://x\nwait = 1\n", "conf:4"), ("[upstream a]\nurl = http://x\nweight = 0\n", "conf:4"),
            ("[upstream a]\nurl = http://x\npolicy = maybe\n", "local-first"), ("[upstream a]\nurl = http://x\nkey = /nowhere\n", "/nowhere"),
            ("[upstream a]\nurl = http://x\nmodels = " + "x" * 256 + "\n", "the line is longer"),
            ("upstream_url = http://x\n[upstream upstream]\nurl = http://y\n", "there is a section"),
        ]:
            with open(path, "w", encoding="ascii") as f:
                f.write("[http]\n" + text)
            done = subprocess.run([program, "--config", path, "--allow-root", "--listen", "unix:" + d.folder + "/x.sock"],
                                  capture_output=True, text=True, timeout=WAIT_S, check=False)
            assert done.returncode == 2 and word in done.stderr, (text, done)


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
    a_failure_at_each_byte_is_not_noticed_or_told, what_is_no_answer_makes_the_daemon_answer, an_errors_text_is_not_waited_for,
    one_that_keeps_failing_is_left_alone, one_that_refuses_what_is_asked_is_well,
    local_first_asks_it_when_the_daemon_cannot, the_models_name_says_which_server, they_are_asked_in_turn_and_the_daemon_between,
    a_conversation_stays_where_it_is, a_server_that_is_unwell_is_passed_over, what_has_left_is_counted_for_each_user,
    servers_have_caps_and_are_checked, a_slow_reader_holds_the_upstream_too, readers_that_now_and_then_wait_get_all,
    an_answer_ends_when_the_upstream_says_so, what_cannot_be_asked_is_refused_at_the_start,
]

if __name__ == "__main__":
    sys.exit(qwp.run(STORIES))
