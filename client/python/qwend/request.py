"""From a caller's arguments to Generate and Prompt.  What can never be right is refused here, with its name; ranges that depend on
the model are the daemon's to judge.

    prompt      a str (one user message), or messages: dicts of role, content, reasoning, tool_calls, or (role, content) pairs
    system      text of a system message before them
    raw, ids    instead of prompt: text that is tokenised as it stands (raw_special: "all", "user", "none"), token ids
    fim         instead of prompt: a gap in a text, a dict of prefix and suffix, and perhaps file, repo (names), extra (other files:
                (name, text) pairs), order ("prefix_first", "suffix_first")
    tools       function descriptions: dicts or JSON texts

max_tokens=0 asks for nothing: the prompt is only read, so that the next one like it is soon answered."""

import json
import math

from .values import enum_number
from .wire import CLASSES

ROLES = ("system", "user", "assistant", "tool")
DAY_MS = 24 * 3600 * 1000
INT32_MAX = (1 << 31) - 1
# option: (lo, hi); those of Sampling, then those of Generate
_SAMPLING_INT = {"top_k": (0, INT32_MAX), "penalty_last_n": (-1, INT32_MAX), "seed": (0, (1 << 64) - 1)}
_SAMPLING_FLOAT = {"temperature": (0, math.inf), "top_p": (0, 1), "min_p": (0, 1), "repeat_penalty": (1e-38, math.inf),
                   "presence_penalty": (-math.inf, math.inf), "frequency_penalty": (-math.inf, math.inf)}
_INT = {"max_tokens": (0, INT32_MAX), "logprobs": (0, 20), "credit_bytes": (4, 2 << 20), "ttft_deadline_ms": (1, DAY_MS),
        "deadline_ms": (1, DAY_MS)}
_BOOL = ("want_ids", "ignore_eos", "detachable", "no_cache")
OPTIONS = tuple([*_SAMPLING_INT, *_SAMPLING_FLOAT, *_INT, *_BOOL, "logit_bias", "stop", "thinking", "priority", "account"])


def _text(name, value):
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    if "\0" in value:
        raise ValueError(f"{name} holds a NUL, at character {value.index(chr(0))}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} is not Unicode text: half of a surrogate pair at character {error.start}") from None
    return value


def _integer(name, value, lo, hi):
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not lo <= value <= hi:
        raise ValueError(f"{name} is {value}: it must be {lo} to {hi}")
    return value


def _float(name, value, lo, hi):
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    if not lo <= value <= hi or not abs(value) < 3.4e38:
        raise ValueError(f"{name} is {value}: out of its range")
    return float(value)


def _bool(name, value):
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {type(value).__name__}")
    return value


def _enum(name, kind, value):
    number = enum_number(kind, value)
    if number is None:
        raise ValueError(f"{name} is {value!r}: no such {kind.lower()}")
    return number


def _json(name, value):
    """A JSON text, or what becomes one."""
    if not isinstance(value, str):
        try:
            value = json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name} is not JSON: {error}") from None
    return _text(name, value)


# ---- the prompt

def _tool_call(where, call):
    unknown = set(call) - {"name", "arguments"}
    if unknown:
        raise ValueError(f"{where} has no {sorted(unknown)[0]!r}")
    return CLASSES["ToolCall"](name=_text(f"{where}.name", call.get("name")),
                               arguments=_json(f"{where}.arguments", call.get("arguments", {})))


def _message(where, given):
    if isinstance(given, (tuple, list)) and len(given) == 2:
        given = {"role": given[0], "content": given[1]}
    if not isinstance(given, dict):
        raise TypeError(f"{where} must be a dict or a (role, content) pair, not {type(given).__name__}")
    unknown = set(given) - {"role", "content", "reasoning", "tool_calls"}
    if unknown:
        raise ValueError(f"{where} has no {sorted(unknown)[0]!r}: role, content, reasoning, tool_calls")
    if given.get("role") not in ROLES:
        raise ValueError(f"{where}.role is {given.get('role')!r}: {', '.join(ROLES)}")
    reasoning = given.get("reasoning") or None
    return CLASSES["Message"](
        role=given["role"], content=_text(f"{where}.content", given.get("content", "")),
        reasoning=None if reasoning is None else _text(f"{where}.reasoning", reasoning),
        tool_calls=[_tool_call(f"{where}.tool_calls[{k}]", call) for k, call in enumerate(given.get("tool_calls") or ())])


def _messages(prompt, system):
    given = [("user", prompt)] if isinstance(prompt, str) else list(prompt)
    if system is not None:
        given.insert(0, ("system", system))
    return [_message(f"messages[{k}]", one) for k, one in enumerate(given)]


def _ids(name, ids):
    return [_integer(f"{name}[{k}]", one, 0, (1 << 32) - 1) for k, one in enumerate(ids)]


def _fim(given):
    known = ("prefix", "suffix", "file", "repo")
    unknown = set(given) - {*known, "extra", "order"}
    if unknown:
        raise ValueError(f"fim has no {sorted(unknown)[0]!r}: prefix, suffix, file, repo, extra, order")
    return CLASSES["Fim"](
        **{name: _text(f"fim.{name}", given[name]) for name in known if given.get(name) is not None},
        extra=[CLASSES["FimExtra"](name=_text(f"fim.extra[{k}]", name), text=_text(f"fim.extra[{k}]", text))
               for k, (name, text) in enumerate(given.get("extra") or ())],
        order=None if given.get("order") is None else _enum("fim.order", "Fim.Order", given["order"]))


def pack_prompt(prompt=None, system=None, raw=None, raw_special=None, ids=None, fim=None, tools=(), continuation=None):
    """The bytes of a Prompt."""
    if sum(one is not None for one in (prompt, raw, ids, fim)) != 1:
        raise TypeError("a request has either a prompt, or raw text, or token ids, or a gap (fim)")
    if prompt is None and system is not None:
        raise TypeError("a system message goes with a prompt, not with raw text, token ids or a gap")
    message = CLASSES["Prompt"]()
    if prompt is not None:
        message.messages = _messages(prompt, system)
        if not message.messages:
            raise ValueError("there are no messages")
    elif raw is not None:
        message.raw = _text("raw", raw)
    elif ids is not None:
        message.ids = CLASSES["TokenIds"](id=_ids("ids", ids))
    else:
        message.fim = _fim(fim)
    if raw_special is not None:
        message.raw_special = _enum("raw_special", "Special", raw_special)
    message.tools = [_json(f"tools[{k}]", tool) for k, tool in enumerate(tools or ())]
    if isinstance(continuation, str):
        message.continuation = _text("continuation", continuation)
    elif continuation is not None:
        message.continuation_ids = CLASSES["TokenIds"](id=_ids("continuation", continuation))
    return message.encode()


# ---- the options

def _sampling(options):
    values = {name: _integer(name, options.pop(name), *span) for name, span in _SAMPLING_INT.items() if name in options}
    values.update((name, _float(name, options.pop(name), *span)) for name, span in _SAMPLING_FLOAT.items() if name in options)
    bias = options.pop("logit_bias", None) or {}
    values["logit_bias"] = [
        CLASSES["LogitBias"](id=_integer("logit_bias", token, 0, (1 << 32) - 1),
                             bias=_float(f"logit_bias[{token}]", value, -math.inf, math.inf))
        for token, value in bias.items()]
    return CLASSES["Sampling"](**values)


def pack_generate(options):
    """Generate without prompt, id and credit.  An option that is None counts as not given."""
    options = {name: value for name, value in options.items() if value is not None}
    values = {"sampling": _sampling(options)}
    values.update((name, _integer(name, options.pop(name), *span)) for name, span in _INT.items() if name in options)
    values.update((name, _bool(name, options.pop(name))) for name in _BOOL if name in options)
    if "thinking" in options:
        values["thinking"] = _enum("thinking", "Thinking", "on" if _bool("thinking", options.pop("thinking")) else "off")
    if "priority" in options:
        values["priority"] = _enum("priority", "Priority", options.pop("priority"))
    if "account" in options:
        values["account"] = _text("account", options.pop("account"))
    stop = options.pop("stop", ())
    values["stop"] = [_text(f"stop[{k}]", one) for k, one in enumerate([stop] if isinstance(stop, str) else stop)]
    if "" in values["stop"]:
        raise ValueError("stop has an empty text: it would end every answer at once")
    if options:
        raise TypeError(f"{sorted(options)[0]!r} is no option of a request")
    return CLASSES["Generate"](**values)


PROMPT_ARGUMENTS = ("system", "raw", "raw_special", "ids", "fim", "tools")


def split(prompt, options):
    """(Generate without prompt, packed Prompt) of what a caller said."""
    options = dict(options)
    body = pack_prompt(prompt, **{name: options.pop(name) for name in PROMPT_ARGUMENTS if name in options})
    return pack_generate(options), body


def request_id(value):
    """16 bytes from 32 hexadecimal digits."""
    try:
        data = bytes.fromhex(value) if isinstance(value, str) and len(value) == 32 else b""
    except ValueError:
        data = b""
    if len(data) != 16:
        raise ValueError(f"{str(value)[:40]!r} is no request id: 32 hexadecimal digits")
    return data

