"""sdk_agents.py SOCKET - every event that a coding agent is sent, held against the SDKs' own types: names, fields, values.

Runs in the Python of build/pypi; says "NAME: ok" for each check, or raises.  The agents' requests are those of agents.py."""
import json
import sys

import httpx2
from agents import asks, claude, claude_again, claude_now, codex, codex_again, said
from anthropic.types import Message, RawMessageStreamEvent
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

SUM = "What is 7 + 8?"


def events(path, body, kinds):
    """The data of each event, valid as the SDK's union of events has it; pings are for nobody's type."""
    got = CLIENT.post(path, json={**body, "temperature": 0})
    assert got.status_code == 200, got.text
    adapter, found = TypeAdapter(kinds), []
    for line in got.text.split("\n"):
        if line.startswith("data: ") and '"type":"ping"' not in line:
            found.append(json.loads(line[6:]))
            adapter.validate_python(found[-1])
    return found


def whole(path, body, kind):
    got = CLIENT.post(path, json={**body, "temperature": 0, "stream": False})
    assert got.status_code == 200, got.text
    return kind.model_validate(got.json())


def responses():
    first = events("/v1/responses", codex(said("user", SUM)), ResponseStreamEvent)[-1]["response"]
    items = [said("user", SUM), *codex_again(first["output"]), said("user", "And plus 1?")]
    second = events("/v1/responses", codex(*items), ResponseStreamEvent)
    assert second[-1]["type"] == "response.completed", second[-1]
    print("codex, two turns: ok", flush=True)
    cut = events("/v1/responses", codex(said("user", SUM), max_output_tokens=3), ResponseStreamEvent)
    assert cut[-1]["type"] == "response.incomplete"
    told = whole("/v1/responses", codex(said("user", SUM), include=["message.output_text.logprobs"], top_logprobs=1, tools=[]), Response)
    assert told.output[-1].content[0].logprobs[0].token and told.output_text
    print("codex, whole and cut: ok", flush=True)


def messages():
    for shape in (claude, claude_now):
        answer = whole("/v1/messages", shape(asks(SUM)), Message)
        history = [asks(SUM), claude_again([b.model_dump(exclude_none=True) for b in answer.content]), asks("And plus 1?")]
        told = events("/v1/messages?beta=true", shape(*history), RawMessageStreamEvent)
        assert [told[0]["type"], told[-1]["type"]] == ["message_start", "message_stop"]
    print("claude code, two turns: ok", flush=True)


with httpx2.Client(transport=httpx2.HTTPTransport(uds=sys.argv[1]), base_url="http://localhost", timeout=60) as CLIENT:
    responses()
    messages()
