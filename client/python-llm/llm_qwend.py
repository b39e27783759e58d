"""llm_qwend - qwend as a model of the `llm` tool: `llm -m qwend "Why is the sky blue?"`.

The daemon is found as everywhere ($QWEND_SOCKET, the system's, the user's own); nothing leaves the machine and there is no key."""

import contextlib
from typing import List, Literal, Optional, Union

import llm
import qwend
from llm.parts import ReasoningPart, StreamEvent, TextPart, ToolCallPart, ToolResultPart
from pydantic import Field


class Options(llm.Options):
    """Those of a request that make sense here; what is not given is what the model recommends."""

    max_tokens: Optional[int] = Field(None, ge=1, description="tokens of the answer, reasoning included")
    thinking: Optional[bool] = Field(None, description="reason before answering")
    temperature: Optional[float] = Field(None, ge=0, description="0: always the best token")
    top_k: Optional[int] = Field(None, ge=0, description="only the k best tokens; 0: off")
    top_p: Optional[float] = Field(None, ge=0, le=1, description="only the best tokens that make up p; 1: off")
    min_p: Optional[float] = Field(None, ge=0, le=1, description="only tokens of p times the best; 0: off")
    repeat_penalty: Optional[float] = Field(None, gt=0, description="1: off")
    presence_penalty: Optional[float] = Field(None, description="0: off")
    frequency_penalty: Optional[float] = Field(None, description="0: off")
    seed: Optional[int] = Field(None, ge=0, lt=1 << 64, description="the same one gives the same answer")
    stop: Optional[Union[str, List[str]]] = Field(None, description="the answer ends before it")
    priority: Optional[Literal["interactive", "normal", "batch"]] = Field(None, description="batch: gives way to others")
    deadline_ms: Optional[int] = Field(None, ge=1, description="the answer ends then")
    no_cache: Optional[bool] = Field(None, description="leave the prefix cache alone")


def _message(message):
    """llm's message as qwend's."""
    given = {"role": message.role, "content": "", "reasoning": "", "tool_calls": []}
    for part in message.parts:
        if isinstance(part, TextPart):
            given["content"] += part.text
        elif isinstance(part, ReasoningPart):
            given["reasoning"] += part.text
        elif isinstance(part, ToolCallPart):
            given["tool_calls"].append({"name": part.name, "arguments": part.arguments})
        elif isinstance(part, ToolResultPart):
            given["content"] += part.output
        else:
            raise llm.ModelError(f"qwend reads no {type(part).__name__}")
    return given


def _request(prompt):
    return [_message(message) for message in prompt.messages], prompt.options.model_dump(exclude_none=True)


@contextlib.contextmanager
def _told():
    """What goes wrong as the error that llm shows in one line."""
    try:
        yield
    except (qwend.QwendError, ValueError) as error:
        raise llm.ModelError(str(error)) from error


def _shown(event):
    kind = {"answer": "text", "reasoning": "reasoning"}.get(event.type)
    return StreamEvent(type=kind, chunk=event.text) if kind else None


def _finish(response, q, usage):
    details = {"cached": usage.cached_tokens, "reasoning": usage.reasoning_tokens}
    response.set_usage(input=usage.prompt_tokens, output=usage.reasoning_tokens + usage.answer_tokens,
                       details={name: n for name, n in details.items() if n})
    if q.model_name:        # not while it was loading when this connected
        response.set_resolved_model(q.model_name)
    response.response_json = {"finish": usage.finish, "seed": usage.seed, "request_id": usage.request_id}


class Qwend(llm.Model):
    model_id = "qwend"
    can_stream = True
    Options = Options

    def execute(self, prompt, stream, response, conversation):
        with _told():
            messages, options = _request(prompt)
            with qwend.connect(client="llm") as q, q.stream(messages, **options) as answer:
                yield from filter(None, map(_shown, answer))
                _finish(response, q, answer.usage)


class AsyncQwend(llm.AsyncModel):
    model_id = "qwend"
    can_stream = True
    Options = Options

    async def execute(self, prompt, stream, response, conversation):
        with _told():
            messages, options = _request(prompt)
            async with await qwend.aio.connect(client="llm") as q, await q.stream(messages, **options) as answer:
                async for event in answer:
                    if shown := _shown(event):
                        yield shown
                _finish(response, q, answer.usage)


@llm.hookimpl
def register_models(register):
    register(Qwend(), AsyncQwend())
