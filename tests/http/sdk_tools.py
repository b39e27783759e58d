"""sdk_tools.py SOCKET - tools through the official SDKs, against an engine that says the two calls of story_tools.py: what the SDKs
make of them, and each event by their own types.  Runs in the Python of build/pypi; says "NAME: ok" for each check, or raises."""
import json
import sys

import anthropic
import httpx
import httpx2
import ollama
import openai
from anthropic.types import RawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

USER = [{"role": "user", "content": "x"}]
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}, "lines": {"type": "integer"}, "all": {"type": "boolean"}}}
ARGUMENTS = [{"path": "a.c", "lines": 7, "all": True}, {"path": "7"}]
NESTED = [{"type": "function", "function": {"name": "read", "description": "Read a file.", "parameters": SCHEMA}}]
FLAT = [{"type": "function", "name": "read", "description": "Read a file.", "parameters": SCHEMA, "strict": False}]


def check_events(path, body, kinds):
    got = RAW.post(path, json={**body, "stream": True})
    assert got.status_code == 200, got.text
    adapter = TypeAdapter(kinds)
    for line in got.text.split("\n"):
        if line.startswith("data: {"):
            adapter.validate_python(json.loads(line[6:]))


def openai_calls(client):
    got = client.chat.completions.create(model="any", messages=USER, tools=NESTED, max_tokens=999)
    ChatCompletion.model_validate(got.model_dump(exclude_unset=True))
    calls = got.choices[0].message.tool_calls
    assert [json.loads(c.function.arguments) for c in calls] == ARGUMENTS and got.choices[0].finish_reason == "tool_calls"
    check_events("/v1/chat/completions", {"messages": USER, "tools": NESTED, "max_tokens": 999}, ChatCompletionChunk)
    with client.chat.completions.stream(model="any", messages=USER, tools=NESTED, max_tokens=999) as stream:
        stream.until_done()
        assert len(stream.get_final_completion().choices[0].message.tool_calls) == 2
    whole = client.responses.create(model="any", input="x", tools=FLAT, max_output_tokens=999)
    Response.model_validate(whole.model_dump(exclude_unset=True))
    assert [json.loads(o.arguments) for o in whole.output if o.type == "function_call"] == ARGUMENTS
    check_events("/v1/responses", {"input": "x", "tools": FLAT, "max_output_tokens": 999}, ResponseStreamEvent)
    with client.responses.stream(model="any", input="x", tools=FLAT, max_output_tokens=999) as stream:
        assert [o.type for o in stream.get_final_response().output] == ["message", "function_call", "function_call"]
    print("openai: ok", flush=True)


def anthropic_calls(client):
    tools = [{"name": "read", "description": "Read a file.", "input_schema": SCHEMA}]
    got = client.messages.create(model="any", max_tokens=999, messages=USER, tools=tools)
    assert [b.input for b in got.content if b.type == "tool_use"] == ARGUMENTS and got.stop_reason == "tool_use"
    check_events("/v1/messages", {"max_tokens": 999, "messages": USER, "tools": tools}, RawMessageStreamEvent)
    with client.messages.stream(model="any", max_tokens=999, messages=USER, tools=tools) as stream:
        assert [b.input for b in stream.get_final_message().content if b.type == "tool_use"] == ARGUMENTS
    history = [*USER, {"role": "assistant", "content": got.content},
               {"role": "user", "content": [{"type": "tool_result", "tool_use_id": b.id, "content": "x"} for b in got.content if b.type == "tool_use"]}]
    assert client.messages.create(model="any", max_tokens=999, messages=history, tools=tools).stop_reason == "tool_use"
    print("anthropic: ok", flush=True)


def ollama_calls(client):
    got = client.chat(model="any", messages=USER, tools=NESTED, options={"num_predict": 999})
    assert [dict(c.function.arguments) for c in got.message.tool_calls] == ARGUMENTS
    parts = list(client.chat(model="any", messages=[*USER, got.message, {"role": "tool", "tool_name": "read", "content": "x"}], tools=NESTED,
                             options={"num_predict": 999}, stream=True))
    assert [dict(c.function.arguments) for p in parts for c in p.message.tool_calls or ()] == ARGUMENTS
    print("ollama: ok", flush=True)


PATH, BASE = sys.argv[1], "http://localhost"
with httpx2.Client(transport=httpx2.HTTPTransport(uds=PATH), base_url=BASE, timeout=60) as RAW:
    openai_calls(openai.OpenAI(base_url=BASE + "/v1", api_key="-", max_retries=0, http_client=httpx2.Client(transport=httpx2.HTTPTransport(uds=PATH))))
    anthropic_calls(anthropic.Anthropic(base_url=BASE, api_key="-", max_retries=0,
                                        http_client=httpx2.Client(transport=httpx2.HTTPTransport(uds=PATH))))
    ollama_calls(ollama.Client(host=BASE, transport=httpx.HTTPTransport(uds=PATH)))
