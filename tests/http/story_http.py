#!/usr/bin/env python3
"""story_http.py - qwend-http on the real daemon and the demo model: the way from a request to an answer, and away from it."""
import os
import re
import signal
import subprocess
import sys

import qwp
from gateway import Gateway, chat
from harness import Qwend, golden

SUM = "What is 47 * 86?"        # 4042, if it thinks
ENDLESS = {"max_tokens": 3500, "ignore_eos": True}


def wait_idle():
    with qwp.Peer(QWEND.socket) as peer:
        return peer.wait_status(lambda status: status.running == 0 and status.queued == 0)


def health_and_models_come_from_the_daemon():
    assert HTTP.ask("GET", "/health").json == {"status": "ok"}
    models = HTTP.ask("GET", "/v1/models").json
    assert models["object"] == "list" and [m["id"] for m in models["data"]] == ["qwend demo"], models
    assert models["data"][0]["meta"]["n_ctx"] == 4096
    assert HTTP.ask("GET", "/v1/models/qwend%20demo").json == models["data"][0]
    assert HTTP.ask("GET", "/v1/models/other").json["error"]["code"] == "model_not_found"


def a_question_is_answered_whole():
    got = HTTP.post("/v1/chat/completions", chat(SUM))
    assert got.status == 200 and got.headers["content-type"] == "application/json", got
    choice = got.json["choices"][0]
    assert choice["message"]["content"] == "4042" and choice["finish_reason"] == "stop", got
    assert choice["message"]["reasoning_content"] == choice["message"]["reasoning"] and "47*86" in choice["message"]["reasoning"]
    usage = got.json["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], usage
    assert 0 < usage["completion_tokens_details"]["reasoning_tokens"] < usage["completion_tokens"], usage


def a_stream_says_the_same_in_the_order_that_sdks_expect():
    whole = HTTP.post("/v1/chat/completions", chat(SUM)).json
    got = HTTP.post("/v1/chat/completions", chat(SUM, stream=True, stream_options={"include_usage": True}))
    assert got.headers["content-type"] == "text/event-stream", got
    events = [data for _, data in got.events()]
    assert events[-1] == "[DONE]" and events[-2]["choices"] == [], events[-2:]
    assert {k: v for k, v in events[-2]["usage"].items() if "details" not in k} == \
        {k: v for k, v in whole["usage"].items() if "details" not in k}
    chunks = events[:-2]
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}, chunks[0]
    assert chunks[-1]["choices"][0]["delta"] == {} and chunks[-1]["choices"][0]["finish_reason"] == "stop"
    deltas = [c["choices"][0]["delta"] for c in chunks[1:-1]]
    assert all(c["choices"][0]["finish_reason"] is None and c["usage"] is None for c in chunks[:-1])
    message = whole["choices"][0]["message"]
    assert "".join(d.get("content", "") for d in deltas) == message["content"]
    assert "".join(d.get("reasoning", "") for d in deltas) == message["reasoning"]
    n_reasoning = sum("reasoning" in d for d in deltas)
    assert n_reasoning > 10 and all("reasoning" in d for d in deltas[:n_reasoning]), "reasoning comes first"
    assert len({c["id"] for c in chunks}) == 1 and chunks[0]["id"].startswith("chatcmpl-")


def a_client_that_goes_away_frees_the_engine():
    for stream in (True, False):
        with HTTP.connect() as connection:
            connection.request("POST", "/v1/chat/completions", chat("Count", stream=stream, **ENDLESS))
            if stream:
                assert connection.head()[0] == 200 and connection.chunk()
            else:
                with qwp.Peer(QWEND.socket) as peer:
                    peer.wait_status(lambda status: status.running == 1)
        wait_idle()


def another_model_has_its_name_at_once():
    """For clients and for connections that the gateway has had open all the time."""
    with Qwend(golden("models/d1-k256/d1-k256-Q4_K_M.gguf"), "--backend", "cpu", "--context", "4096") as daemon, \
            Gateway(daemon) as http:
        daemon.wait_line("serves")
        got = http.post("/v1/chat/completions", chat("x", max_tokens=5))
        assert got.status == 200, got
        first = got.json["model"]
        assert [m["id"] for m in http.ask("GET", "/v1/models").json["data"]] == [first]
        done = daemon.ctl("use", golden("demo.gguf"))
        assert done.returncode == 0, done
        assert [m["id"] for m in http.ask("GET", "/v1/models").json["data"]] == ["qwend demo"] != [first]
        got = http.post("/v1/chat/completions", chat(SUM)).json
        assert got["model"] == "qwend demo" and got["choices"][0]["message"]["content"] == "4042", got


def what_is_refused_says_what_and_where():
    for body, param, code in [
        (b"{", None, "invalid_json"), (b"[]", None, "invalid_json"), (b'{"a":1,"a":2}', None, "invalid_json"),
        (b'{"messages":"\xff"}', None, "invalid_json"), (b'{"messages":"\\u0000"}', None, "invalid_json"),
        (b"[" * 10000, None, "invalid_json"), ({}, "messages", "invalid_value"), (chat("x", n=9), "n", "invalid_value"),
        (chat("x", temperature="hot"), "temperature", "invalid_type"), (chat("x", stop=["a"] * 17), "stop", "invalid_value"),
        (chat("x", tool_choice="required"), "tool_choice", "unsupported_parameter"),
        (chat("x", tools={}), "tools", "invalid_type"), (chat("x", tools=[7]), "tools[0]", "invalid_type"),
        (chat("x", response_format={"type": "json_schema"}), "response_format", "unsupported_parameter"),
        (chat("x", reasoning_effort="much"), "reasoning_effort", "invalid_value"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type",
         "unsupported_value"),
    ]:
        got = HTTP.post("/v1/chat/completions", body)
        error = got.json["error"]
        assert (got.status, error["param"], error["code"]) == (400, param, code), (body, got)
        assert error["type"] == "invalid_request_error" and error["message"], error
    long = HTTP.post("/v1/chat/completions", chat("word " * 6000))
    assert long.status == 400 and long.json["error"]["code"] == "context_length_exceeded", long
    assert "4096" in long.json["error"]["message"], long
    assert HTTP.ask("GET", "/v1/nothing").status == 404
    wrong = HTTP.ask("GET", "/v1/chat/completions")
    assert wrong.status == 405 and wrong.headers["allow"] == "POST", wrong


def what_changes_nothing_is_named():
    got = HTTP.post("/v1/chat/completions", chat("Hi", max_tokens=1, user="me", frobnicate=1, **{"a\r\nX-Evil: 1": 2}))
    assert got.status == 200 and got.headers["x-qwend-ignored"] == "user, frobnicate, ?", got
    assert "x-evil" not in got.headers


def a_connection_serves_one_request_after_the_other():
    with HTTP.connect() as connection:
        for _ in range(3):
            connection.request("POST", "/v1/chat/completions", chat("Hi", max_tokens=2))
            assert connection.response().status == 200
            connection.request("GET", "/v1/nothing")
            assert connection.response().status == 404
        connection.request("GET", "/health", headers={"Connection": "close"})
        assert connection.response().headers["connection"] == "close" and connection.is_closed()


def sigterm_lets_answers_end():
    with Gateway(QWEND) as http, http.connect() as connection, http.connect() as idle:
        connection.request("POST", "/v1/chat/completions", chat(SUM, stream=True))
        assert connection.head()[0] == 200
        http.process.send_signal(signal.SIGTERM)
        assert idle.is_closed()
        text = b""
        while piece := connection.chunk():
            text += piece
        assert text.endswith(b"data: [DONE]\n\n") and connection.is_closed()
        assert http.process.wait(qwp.TIMEOUT_S) == 0 and not os.path.exists(http.socket)


def prompts_and_answers_are_not_logged():
    HTTP.post("/v1/chat/completions", chat("canary-5d1c0ffee"))
    HTTP.post("/v1/chat/completions", b'{"canary-5d1c0ffee')
    HTTP.wait_line("POST /v1/chat/completions: 400")
    assert "canary" not in HTTP.log()


def each_option_is_in_the_documents_and_the_file():
    help_text = subprocess.run([os.path.join(os.environ["QWEND_BUILD"], "client/http/qwend-http"), "--help"], capture_output=True,
                               text=True, check=True).stdout
    keys = [k.replace("-", "_") for k in re.findall(r"^  --([a-z-]+)", help_text, re.M)]
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
    texts = {}
    for name in ("docs/GATEWAY.md", "systemd/qwend-http.conf"):
        with open(os.path.join(root, name), encoding="utf-8") as f:
            texts[name] = f.read()
    assert len(keys) > 25
    for key in set(keys) - {"config", "version", "help", "allow_root", "verbose"}:
        assert f"`{key}`" in texts["docs/GATEWAY.md"], key
        assert re.search(rf"^;?{key} =", texts["systemd/qwend-http.conf"], re.M), key


STORIES = [
    health_and_models_come_from_the_daemon, a_question_is_answered_whole, a_stream_says_the_same_in_the_order_that_sdks_expect,
    a_client_that_goes_away_frees_the_engine, another_model_has_its_name_at_once, what_is_refused_says_what_and_where,
    what_changes_nothing_is_named, a_connection_serves_one_request_after_the_other, sigterm_lets_answers_end, each_option_is_in_the_documents_and_the_file, prompts_and_answers_are_not_logged,
]

if __name__ == "__main__":
    with Qwend(golden("demo.gguf"), "--context", "4096") as QWEND, Gateway(QWEND) as HTTP:
        QWEND.wait_line("serves")
        sys.exit(qwp.run(STORIES))
