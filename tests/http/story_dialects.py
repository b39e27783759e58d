#!/usr/bin/env python3
"""story_dialects.py - each dialect's answers, streams and errors, byte for byte on the demo model at temperature 0, and their
meaning."""
import json
import sys

import golden as transcript
import qwp
from gateway import Connection, Gateway, chat
from harness import Qwend, golden

SUM = "What is 7 + 8?"
USER = [{"role": "user", "content": SUM}]

# name, path, body; each also streamed where it can be
ASKED = [
    ("chat", "/v1/chat/completions", chat(SUM, logprobs=True, top_logprobs=1)),
    ("completion", "/v1/completions", {"prompt": "<|im_start|>user\n" + SUM + "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
                                       "temperature": 0, "logprobs": 1}),
    ("native", "/completion", {"prompt": "<|im_start|>user\n" + SUM + "<|im_end|>\n<|im_start|>assistant\n", "n_predict": 8,
                               "temperature": 0}),
    ("messages", "/v1/messages", {"model": "m", "max_tokens": 64, "temperature": 0, "messages": USER, "system": "Be brief.",
                                  "thinking": {"type": "enabled", "budget_tokens": 1024}}),
    ("responses", "/v1/responses", {"input": SUM, "temperature": 0}),
    ("ollama-chat", "/api/chat", {"model": "m", "messages": USER, "options": {"temperature": 0}, "stream": False}),
    ("ollama-generate", "/api/generate", {"model": "m", "prompt": SUM, "options": {"temperature": 0}, "think": False,
                                          "stream": False}),
]


def raw(method, path, body=None):
    """Everything that came, head included, on a connection that is closed behind it."""
    with HTTP.connect() as connection:
        connection.sock.sendall(Connection.pack(method, path, body, {"Connection": "close"}))
        connection.is_closed()
        return connection.data


def answers_are_what_they_were():
    for name, path, body in ASKED:
        transcript.compare(name, raw("POST", path, body))


def dechunk(data):
    """The pieces of a chunked answer say when something was ready, which time decides: their sum counts."""
    head, _, rest = data.partition(b"\r\n\r\n")
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        n = int(size, 16)
        body, rest = body + rest[:n], rest[n + 2:]
    return head + b"\r\n\r\n" + body


def streams_are_what_they_were():
    for name, path, body in ASKED:
        transcript.compare(name + "-stream", dechunk(raw("POST", path, {**body, "stream": True})))


def errors_have_each_dialects_own_shape():
    lines = []
    for path, body in [("/v1/chat/completions", chat(SUM, temperature="x")), ("/v1/messages", {"messages": USER}),
                       ("/v1/messages", {"max_tokens": 1, "messages": [{"role": "robot", "content": "x"}]}),
                       ("/v1/messages", {"max_tokens": 1, "messages": USER, "tools": [{"name": "x"}], "tool_choice": {"type": "any"}}),
                       ("/v1/messages", {"max_tokens": 1, "messages": [{"role": "user", "content": [{"type": "image"}]}]}),
                       ("/v1/responses", {"input": [{"type": "web_search_call"}]}), ("/v1/responses", {"input": SUM, "previous_response_id": "x"}),
                       ("/v1/responses", {"input": SUM, "text": {"format": {"type": "json_schema"}}}),
                       ("/api/chat", {"messages": USER, "format": "json"}), ("/api/chat", {"messages": "x"}),
                       ("/api/chat", {"messages": USER, "options": {"temperature": True}}), ("/api/nothing", {}),
                       ("/v1/messages", b"{"), ("/api/generate", {"prompt": "x", "template": "y"})]:
        got = HTTP.post(path, body)
        lines.append(f"{path} {got.status} {got.body.decode()}")
    transcript.compare("errors", ("\n".join(lines) + "\n").encode())


def messages_are_read_in_all_their_forms():
    system = [{"type": "text", "text": "Be", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "brief."}]
    blocks = [{"role": "user", "content": [{"type": "text", "text": SUM}]},
              {"role": "assistant", "content": [{"type": "thinking", "thinking": "7+8=15", "signature": ""},
                                                {"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "15"}]},
              {"role": "user", "content": "And plus 1?"}]
    body = {"max_tokens": 20, "temperature": 0, "system": system, "messages": blocks, "metadata": {"user_id": "u"}}
    got = HTTP.post("/v1/messages", body)
    assert got.status == 200 and got.json["content"][0]["type"] == "text", got
    assert got.headers["x-qwend-ignored"] == "metadata", got
    usage = got.json["usage"]
    counted = HTTP.post("/v1/messages/count_tokens", {"system": system, "messages": blocks}).json
    assert counted == {"input_tokens": usage["input_tokens"] + usage["cache_read_input_tokens"]}, (counted, usage)
    same = HTTP.post("/v1/messages/count_tokens", {"system": "Be\nbrief.", "messages": blocks}).json
    assert same == counted
    stopped = HTTP.post("/v1/messages", {"max_tokens": 20, "temperature": 0, "messages": USER, "stop_sequences": ["5"]}).json
    assert (stopped["stop_reason"], stopped["stop_sequence"], stopped["content"][0]["text"]) == ("stop_sequence", "5", "1")
    cut = HTTP.post("/v1/messages", {"max_tokens": 1, "temperature": 0, "messages": USER}).json
    assert cut["stop_reason"] == "max_tokens", cut


def responses_are_read_in_all_their_forms():
    plain = HTTP.post("/v1/responses", {"input": SUM, "instructions": "Be brief.", "temperature": 0}).json
    items = HTTP.post("/v1/responses", {"temperature": 0, "input": [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
        {"role": "user", "content": SUM}]}).json
    assert [o["content"] for o in plain["output"]] == [o["content"] for o in items["output"]]
    again = HTTP.post("/v1/responses", {"temperature": 0, "reasoning": {"effort": "none"}, "input": [
        {"role": "user", "content": SUM}, *plain["output"], {"role": "user", "content": "And plus 1?"}]})
    assert again.status == 200 and [o["type"] for o in again.json["output"]] == ["message"], again
    cut = HTTP.post("/v1/responses", {"input": SUM, "max_output_tokens": 2}).json
    assert cut["status"] == "incomplete" and cut["incomplete_details"] == {"reason": "max_output_tokens"}, cut


def ollama_lists_shows_and_streams_by_default():
    tags = HTTP.ask("GET", "/api/tags").json
    assert tags["models"][0]["name"] == "qwend demo" and tags["models"][0]["details"]["format"] == "gguf"
    assert HTTP.ask("GET", "/api/ps").json["models"][0]["context_length"] == 4096
    assert HTTP.post("/api/show", {"model": "x"}).json["capabilities"] == ["completion", "thinking", "tools"]
    assert HTTP.ask("GET", "/api/version").json["version"].count(".") == 2
    assert HTTP.post("/api/generate", {"model": "x"}).json["done_reason"] == "load"
    got = HTTP.post("/api/chat", {"messages": USER, "options": {"temperature": 0, "num_predict": 30, "num_ctx": 2048, "seed": 1,
                                                                 "stop": ["never"]}, "keep_alive": "5m"})
    lines = [json.loads(line) for line in got.body.splitlines()]
    assert got.headers["content-type"] == "application/x-ndjson" and [x["done"] for x in lines] == [False] * (len(lines) - 1) + [True]
    assert got.headers["x-qwend-ignored"] == "options.num_ctx, keep_alive", got
    assert "".join(x["message"]["content"] for x in lines) == "15" and any("thinking" in x["message"] for x in lines)
    raw_text = HTTP.post("/api/generate", {"prompt": "a b c", "raw": True, "stream": False, "options": {"num_predict": 2}}).json
    assert raw_text["prompt_eval_count"] == len(HTTP.post("/tokenize", {"content": "a b c"}).json["tokens"])


STORIES = [
    answers_are_what_they_were, streams_are_what_they_were, errors_have_each_dialects_own_shape, messages_are_read_in_all_their_forms,
    responses_are_read_in_all_their_forms, ollama_lists_shows_and_streams_by_default,
]

if __name__ == "__main__":
    with Qwend(golden("demo.gguf"), "--context", "4096", "--cache-mib", "0") as QWEND, Gateway(QWEND) as HTTP:
        QWEND.wait_line("serves")
        sys.exit(qwp.run(STORIES))
