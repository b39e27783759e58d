"""sdk_client.py SOCKET PORT KEY - the official SDKs of OpenAI, Anthropic and Ollama against qwend-http, over its Unix socket and
over TCP.  Runs in the Python of build/pypi; says "NAME: ok" for each check, or raises.

What is streamed is also held against the SDKs' own types, which their clients do not do by themselves."""
import sys

import anthropic
import httpx
import httpx2
import ollama
import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

SUM = "What is 7 + 8?"
USER = [{"role": "user", "content": SUM}]
ENDLESS = {"max_tokens": 3000, "stream": True, "extra_body": {"ignore_eos": True}}


def strict(kind, thing):
    """Valid for the type as pydantic sees it, not only built from whatever came."""
    kind.model_validate(thing.model_dump(exclude_unset=True))
    return thing


def raised(kind, work):
    try:
        work()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def openai_chat(client):
    got = strict(ChatCompletion, client.chat.completions.create(model="any", messages=USER, temperature=0, logprobs=True))
    assert got.choices[0].message.content == "15" and got.choices[0].finish_reason == "stop" and got.usage.total_tokens > 20
    assert got.choices[0].message.reasoning_content.startswith("7+8") and got.choices[0].logprobs.content[0].token == "1"
    chunks = [strict(ChatCompletionChunk, c) for c in client.chat.completions.create(
        model="any", messages=USER, temperature=0, stream=True, stream_options={"include_usage": True})]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "15" and chunks[-1].usage.prompt_tokens == 18
    stopped = client.chat.completions.create(model="any", messages=USER, temperature=0, stop=["5"], n=2, seed=1)
    assert [c.message.content for c in stopped.choices] == ["1", "1"]
    cut = client.chat.completions.create(model="any", messages=USER, max_completion_tokens=1)
    assert cut.choices[0].finish_reason == "length"


def openai_rest(client):
    assert [m.id for m in client.models.list()] == ["qwend demo"] and client.models.retrieve("qwend demo").owned_by == "qwend"
    assert client.completions.create(model="any", prompt="a", max_tokens=1, temperature=0).usage.completion_tokens == 1
    error = raised(openai.BadRequestError, lambda: client.chat.completions.create(model="any", messages=USER, temperature="hot"))
    assert error.param == "temperature" and error.code == "invalid_type" and error.type == "invalid_request_error", error
    raised(openai.BadRequestError, lambda: client.chat.completions.create(
        model="any", messages=USER, tools=[{"type": "function", "function": {"name": "f"}}], tool_choice="required"))
    raised(openai.NotFoundError, lambda: client.models.retrieve("gpt"))
    stream = client.chat.completions.create(model="any", messages=USER, **ENDLESS)
    next(iter(stream))
    stream.close()                      # the story looks whether the daemon is idle again


def openai_responses(client):
    got = strict(Response, client.responses.create(model="any", input=SUM, temperature=0))
    assert got.output_text == "15" and got.status == "completed" and got.usage.output_tokens_details.reasoning_tokens > 5
    with client.responses.stream(model="any", input=SUM, temperature=0) as stream:
        kinds = [event.type for event in stream]
        assert stream.get_final_response().output_text == "15"
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed" and "response.output_text.delta" in kinds
    raised(openai.BadRequestError, lambda: client.responses.create(model="any", input=SUM, previous_response_id="resp_x"))


def anthropic_messages(client):
    got = client.messages.create(model="any", max_tokens=50, messages=USER)
    assert got.content[0].text == "15" and got.stop_reason == "end_turn" and got.usage.output_tokens > 1
    with client.messages.stream(model="any", max_tokens=2000, messages=USER,
                                thinking={"type": "enabled", "budget_tokens": 1024}) as stream:
        events = [event.type for event in stream]
        final = stream.get_final_message()
    assert [b.type for b in final.content] == ["thinking", "text"] and final.content[1].text == "15", final
    assert events[0] == "message_start" and events[-1] == "message_stop"
    assert client.messages.count_tokens(model="any", messages=USER).input_tokens == 20
    stopped = client.messages.create(model="any", max_tokens=50, messages=USER, stop_sequences=["5"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "5")
    error = raised(anthropic.BadRequestError, lambda: client.messages.create(
        model="any", max_tokens=1, messages=USER, tools=[{"name": "f", "input_schema": {"type": "object"}}], tool_choice={"type": "any"}))
    assert error.body["error"]["type"] == "invalid_request_error", error.body
    with client.messages.stream(model="any", max_tokens=3000, messages=USER) as stream:
        next(iter(stream))


def ollama_all(client):
    got = client.chat(model="any", messages=USER, options={"temperature": 0})
    assert got.message.content == "15" and got.message.thinking and got.done_reason == "stop" and got.eval_count > 2
    parts = list(client.chat(model="any", messages=USER, options={"temperature": 0}, stream=True, think=False))
    assert "".join(p.message.content for p in parts) == "15" and parts[-1].done and not parts[0].done
    made = client.generate(model="any", prompt=SUM, options={"temperature": 0, "num_predict": 1}, think=False)
    assert made.response == "1" and made.done_reason == "length"
    assert client.list().models[0].model == "qwend demo" and client.show("any").capabilities == ["completion", "thinking", "tools"]
    assert client.ps().models[0].model == "qwend demo"
    error = raised(ollama.ResponseError, lambda: client.chat(model="any", messages=USER, format="json"))
    assert error.status_code == 400 and "schema" in error.error, error


def run(name, base, transports, key):
    def second():
        return {"transport": transports[1]()}

    client = openai.OpenAI(base_url=base + "/v1", api_key=key, max_retries=0,
                           http_client=httpx2.Client(transport=transports[0]()))
    for check in (openai_chat, openai_rest, openai_responses):
        check(client)
        print(f"{check.__name__} {name}: ok", flush=True)
    anthropic_messages(anthropic.Anthropic(base_url=base, api_key=key, max_retries=0,
                                           http_client=httpx2.Client(transport=transports[0]())))
    print(f"anthropic_messages {name}: ok", flush=True)
    ollama_all(ollama.Client(host=base, headers={"Authorization": f"Bearer {key}"}, **second()))
    print(f"ollama_all {name}: ok", flush=True)


def main(path, port, key):
    run("unix", "http://localhost", (lambda: httpx2.HTTPTransport(uds=path), lambda: httpx.HTTPTransport(uds=path)), "-")
    base = f"http://127.0.0.1:{port}"
    run("tcp", base, (httpx2.HTTPTransport, httpx.HTTPTransport), key)
    raised(openai.AuthenticationError, lambda: openai.OpenAI(base_url=base + "/v1", api_key="wrong").models.list())
    raised(anthropic.AuthenticationError, lambda: anthropic.Anthropic(base_url=base, api_key="wrong").messages.create(
        model="any", max_tokens=1, messages=USER))
    print("wrong keys: ok", flush=True)


main(*sys.argv[1:])
