"""Questions with one answer, from their callers' arguments."""

from . import request
from .values import enum_number
from .wire import CLASSES


def detokenize(ids):
    return CLASSES["Detokenize"](ids=list(ids))


def cancel(request_id):
    return CLASSES["Cancel"](mine=True) if request_id is None else CLASSES["Cancel"](request_id=request.request_id(request_id))


def tokenize(text, special):
    number = enum_number("Special", special)
    if number is None:
        raise ValueError(f"special is {special!r}: all, user or none")
    return CLASSES["Tokenize"](text=text, special=number)


def _thinking(value):
    return None if value is None else enum_number("Thinking", "on" if value else "off")


def render(prompt, thinking, prompt_arguments):
    return CLASSES["Render"](body=request.pack_prompt(prompt, **prompt_arguments), thinking=_thinking(thinking))


def score(prompt, continuation, options):
    options = dict(options)
    head = request.pack_generate({name: options.pop(name) for name in ("thinking", "priority", "account") if name in options})
    body = request.pack_prompt(prompt, continuation=continuation, **options)
    return CLASSES["Score"](body=body, thinking=head.thinking, priority=head.priority, account=head.account)


def admin(verb):
    number = enum_number("Admin.Verb", verb)
    if number is None:
        raise ValueError(f"{verb!r} is nothing that an administrator can ask for")
    return CLASSES["Admin"](verb=number)
