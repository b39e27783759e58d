#!/usr/bin/env python3
"""story_tools.py - tools: how they are offered to the model, how its calls come out in each dialect, streamed and whole, and how what
came of them goes back.  The engine says what the story has it say, in pieces of a few bytes; the demo model renders."""
import json
import os
import subprocess
import sys

import qwp
from agents import CLAUDE_TOOLS, CODEX_TOOLS, asks, said
from fake import Fake
from gateway import Gateway
from harness import WAIT_S, Qwend, golden

PYTHON = os.path.join(os.environ["QWEND_BUILD"], "pypi/bin/python")
CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}, "lines": {"type": "integer"}, "all": {"type": "boolean"}}}
OPENAI = [{"type": "function", "function": {"name": "read", "description": "Read a file.", "parameters": SCHEMA}}]
FLAT = [{"type": "function", "name": "read", "description": "Read a file.", "parameters": SCHEMA, "strict": False}]
ANTHROPIC = [{"name": "read", "description": "Read a file.", "input_schema": SCHEMA}]
USER = [{"role": "user", "content": "x"}]


def write_call(name, **values):
    inside = "".join(f"<parameter={k}>\n{v}\n</parameter>\n" for k, v in values.items())
    return f"<tool_call>\n<function={name}>\n{inside}</function>\n</tool_call>"


TWO = "I look.\n\n" + write_call("read", path="a.c", lines=7, all="True") + "\n" + write_call("read", path="7")
ARGUMENTS = [{"path": "a.c", "lines": 7, "all": True}, {"path": "7"}]


def saying(text, step=5, **behaviour):
    path = os.path.join(FOLDER, f"say-{len(os.listdir(FOLDER))}")
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return Fake(say=path, say_step=step, **behaviour)


def chat_calls(http, **fields):
    """Text, calls and finish reason of a chat completion: of a stream and of a whole answer, which say the same."""
    body = {"messages": USER, "tools": OPENAI, "max_tokens": 5000, **fields}
    choice = http.post(CHAT, body).json["choices"][0]
    message, calls, text = choice["message"], [], ""
    for _, chunk in http.post(CHAT, {**body, "stream": True}).events()[:-1]:
        delta = chunk["choices"][0]["delta"]
        text += delta.get("content") or ""
        for call in delta.get("tool_calls", ()):
            assert call.pop("index") == len(calls)
            calls.append(call)
        reason = chunk["choices"][0]["finish_reason"]
    whole = message.get("tool_calls", [])
    assert [c["function"] for c in calls] == [c["function"] for c in whole] and reason == choice["finish_reason"]
    assert text == (message["content"] or "") and len({c["id"] for c in whole}) == len(whole)
    return text, [(c["function"]["name"], json.loads(c["function"]["arguments"])) for c in whole], reason


def chats_have_calls():
    for step in (1, 5, 400):
        with saying(TWO, step) as d, d.serving(), Gateway(d) as http:
            assert chat_calls(http) == ("I look.", [("read", a) for a in ARGUMENTS], "tool_calls")
            assert chat_calls(http, parallel_tool_calls=False) == ("I look.", [("read", ARGUMENTS[0])], "tool_calls")
            for quiet in ({"tool_choice": "none"}, {"tools": []}, {"tools": CODEX_TOOLS[2:]}):
                assert chat_calls(http, **quiet) == (TWO, [], "stop"), quiet
            several = http.post(CHAT, {"messages": USER, "tools": OPENAI, "n": 2, "max_tokens": 999}).json["choices"]
            assert [len(c["message"]["tool_calls"]) for c in several] == [2, 2]
    with saying(write_call("read", path="x")) as d, d.serving(), Gateway(d) as http:
        message = http.post(CHAT, {"messages": USER, "tools": OPENAI}).json["choices"][0]["message"]
        assert message["content"] is None and len(message["tool_calls"]) == 1, message
        old = http.post(CHAT, {"messages": USER, "functions": [OPENAI[0]["function"]]}).json["choices"][0]["message"]
        assert len(old["tool_calls"]) == 1


def what_is_no_call_is_told_as_text():
    for text in ("<tool_call>\nnonsense\n</tool_call> and more", "a <tool_call>\n<function=read>\n<parameter=path>\nx", "<tool_cal"):
        with saying(text) as d, d.serving(), Gateway(d) as http:
            assert chat_calls(http) == (text, [], "stop")
    for text in ("Say <tool_call><function= first.", "<tool_call>\n<function=read> a <tool_call> <function=x> b "):
        for step in (1, 400):   # a call stands behind what a text has of one
            with saying(text + "\n" + write_call("read", path="x"), step) as d, d.serving(), Gateway(d) as http:
                got = chat_calls(http)
                assert got == (text.rstrip(), [("read", {"path": "x"})], "tool_calls"), got
    with saying(TWO) as d, d.serving(), Gateway(d) as http:         # cut within the first one
        text, calls, reason = chat_calls(http, max_tokens=5)
        assert (text, calls, reason) == (TWO[:25], [], "length"), (text, calls, reason)


def messages_have_calls():
    with saying(TWO) as d, d.serving(), Gateway(d) as http:
        body = {"max_tokens": 1000, "messages": USER, "tools": ANTHROPIC, "tool_choice": {"type": "auto"}}
        whole = http.post(MESSAGES, body).json
        assert [b["type"] for b in whole["content"]] == ["text", "tool_use", "tool_use"] and whole["stop_reason"] == "tool_use", whole
        assert [b["input"] for b in whole["content"][1:]] == ARGUMENTS
        events = http.post(MESSAGES, {**body, "stream": True}).events()
        starts = [e["content_block"]["type"] for n, e in events if n == "content_block_start"]
        deltas = [json.loads(e["delta"]["partial_json"]) for n, e in events if n == "content_block_delta" and e["index"]]
        assert starts == ["text", "tool_use", "tool_use"] and deltas == ARGUMENTS
        assert [e["index"] for n, e in events if n == "content_block_stop"] == [0, 1, 2]
        assert events[-2][1]["delta"]["stop_reason"] == "tool_use"
        one = http.post(MESSAGES, {**body, "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}).json
        assert len(one["content"]) == 2


def responses_have_calls():
    with saying(TWO, reason=1) as d, d.serving(), Gateway(d) as http:
        body = {"input": "x", "tools": FLAT, "max_output_tokens": 999}
        whole = http.post(RESPONSES, body).json
        assert [o["type"] for o in whole["output"]] == ["reasoning", "message", "function_call", "function_call"], whole
        assert whole["status"] == "completed" and [json.loads(o["arguments"]) for o in whole["output"][2:]] == ARGUMENTS
        events = http.post(RESPONSES, {**body, "stream": True}).events()
        assert [e["sequence_number"] for _, e in events] == list(range(len(events)))
        done = [e for n, e in events if n == "response.output_item.done"]
        assert [e["output_index"] for e in done] == [0, 1, 2, 3]
        assert [e["item"] for e in done] == events[-1][1]["response"]["output"]
        kinds = [n.removeprefix("response.") for n, e in events if e.get("output_index") == 2]
        assert kinds == ["output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"], kinds


def a_long_call_comes_whole_or_is_refused():
    body = {"input": "x", "tools": FLAT, "max_output_tokens": 10 ** 6}
    with saying(write_call("read", path='"' * 900_000), 4000) as d, d.serving():      # three times, escaped twice
        with Gateway(d, "--max-mib", "256") as http:
            name, end = http.post(RESPONSES, {**body, "stream": True}).events()[-1]
            assert name == "response.completed" and json.loads(end["response"]["output"][0]["arguments"]) == {"path": '"' * 900_000}
        with Gateway(d) as http:
            name, end = http.post(RESPONSES, {**body, "stream": True}).events()[-1]
            assert name == "response.failed" and end["response"]["error"]["code"] == "out_of_memory", end
    with saying(write_call("read", path="\x01" * 1_000_000), 4000) as d, d.serving(), Gateway(d, "--max-mib", "256") as http:
        name, end = http.post(RESPONSES, {**body, "stream": True}).events()[-1]
        assert name == "response.failed" and end["response"]["error"]["code"] == "answer_too_long", end
        assert http.ask("GET", "/health").status == 200


def ollamas_chats_have_calls():
    with saying(TWO) as d, d.serving(), Gateway(d) as http:
        body = {"messages": USER, "tools": OPENAI, "stream": False, "options": {"num_predict": 999}}
        message = http.post("/api/chat", body).json["message"]
        assert [c["function"]["arguments"] for c in message["tool_calls"]] == ARGUMENTS and message["content"] == "I look.", message
        lines = [json.loads(line) for line in http.post("/api/chat", {**body, "stream": True}).body.splitlines()]
        calls = [c["function"]["arguments"] for line in lines for c in line["message"].get("tool_calls", ())]
        assert calls == ARGUMENTS and lines[-1]["done_reason"] == "stop" and lines[-1]["done"]


def calls_have_caps():
    with saying("".join(write_call("read", path=str(i)) for i in range(140)), 400) as d, d.serving(), Gateway(d) as http:
        _, calls, reason = chat_calls(http)
        assert len(calls) == 128 and reason == "tool_calls"
    with Qwend(golden("demo.gguf"), "--context", "4096") as d, Gateway(d) as http:
        d.wait_line("serves")
        call = {"function": {"name": "f", "arguments": "{}"}}
        for fields, param in [({"tools": OPENAI * 257}, "tools"), ({"tools": [{"function": {"name": "x" * 129}}]}, "tools[0]"),
                              ({"tools": [{"function": {"name": "f", "description": "x" * (256 << 10)}}]}, "tools"),
                              ({"tools": OPENAI, "logprobs": True}, "logprobs"),
                              ({"messages": [*USER, {"role": "assistant", "tool_calls": [call] * 129}]}, "messages[1].tool_calls"),
                              ({"messages": [*USER, {"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}]},
                               "messages[1].tool_calls[0].function"), ({"tools": OPENAI, "parallel_tool_calls": 1}, "parallel_tool_calls")]:
            got = http.post(CHAT, {"messages": USER, "max_tokens": 1, **fields})
            assert (got.status, got.json["error"]["param"]) == (400, param), (param, got)
        wrong = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "not JSON"}}]}
        got = http.post(CHAT, {"messages": [*USER, wrong], "max_tokens": 1})
        assert got.status == 400 and "tool call" in got.json["error"]["message"], got


def tools_and_what_came_of_them_are_read():
    """In each dialect the same, as the model's template has it."""
    with Qwend(golden("demo.gguf"), "--context", "4096") as d, Gateway(d) as http:
        d.wait_line("serves")
        turns = [*USER, {"role": "assistant", "content": "I look.", "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "read", "arguments": json.dumps({"path": "a.c", "lines": 7})}}]},
                 {"role": "tool", "tool_call_id": "c", "content": "int x;"}, {"role": "user", "content": "And?"}]
        text = http.post("/apply-template", {"messages": turns, "tools": OPENAI}).json["prompt"]
        tool = json.dumps(OPENAI[0])
        assert tool in text and "<tool_response>\nint x;\n</tool_response>" in text, text
        assert "I look.\n\n<tool_call>\n<function=read>\n<parameter=path>\na.c\n</parameter>\n<parameter=lines>\n7\n</parameter>" in text, text
        wanted = len(http.post("/tokenize", {"content": text}).json["tokens"])
        claude = {"tools": ANTHROPIC, "messages": [
            asks("x"), {"role": "assistant", "content": [{"type": "text", "text": "I look."}, {
                "type": "tool_use", "id": "c", "name": "read", "input": {"path": "a.c", "lines": 7}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "int x;"}]},
                                         {"type": "text", "text": "And?"}]}], "thinking": {"type": "enabled", "budget_tokens": 1024}}
        assert http.post("/v1/messages/count_tokens", claude).json["input_tokens"] == wanted
        codex = {"tools": FLAT, "input": [
            said("user", "x"), said("assistant", "I look.", "output_text"),
            {"type": "function_call", "call_id": "c", "name": "read", "arguments": json.dumps({"path": "a.c", "lines": 7})},
            {"type": "function_call_output", "call_id": "c", "output": "int x;"}, said("user", "And?")]}
        assert http.post("/v1/responses/input_tokens", codex).json["input_tokens"] == wanted
        assert http.post("/v1/responses/input_tokens", {**codex, "tool_choice": "none"}).json["input_tokens"] < wanted
        got = http.post(MESSAGES, {"max_tokens": 1, "messages": USER, "tools": [*CLAUDE_TOOLS, {"type": "web_search_20250305", "name": "web_search"}]})
        assert got.status == 200 and got.headers["x-qwend-ignored"] == "tools.web_search_20250305", got


def sdks_make_calls_of_them():
    if not os.path.exists(PYTHON) or subprocess.run([PYTHON, "-c", "import anthropic, ollama, openai"], stderr=subprocess.DEVNULL,
                                                    check=False).returncode:
        return "build/pypi does not have the SDKs"
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sdk_tools.py")
    with saying(TWO) as d, d.serving(), Gateway(d) as http:
        done = subprocess.run([PYTHON, script, http.socket], capture_output=True, text=True, timeout=WAIT_S, check=False)
        assert done.returncode == 0 and done.stdout.count(": ok") == 3, done.stdout + done.stderr
    return None


STORIES = [
    chats_have_calls, what_is_no_call_is_told_as_text, messages_have_calls, responses_have_calls, a_long_call_comes_whole_or_is_refused,
    ollamas_chats_have_calls, calls_have_caps,
    tools_and_what_came_of_them_are_read, sdks_make_calls_of_them,
]

if __name__ == "__main__":
    with Fake() as HOME:
        FOLDER = HOME.folder
        sys.exit(qwp.run(STORIES))
