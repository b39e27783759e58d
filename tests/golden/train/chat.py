"""Renders a conversation as the chat template of Qwen 3.5 does, and says which pieces of it are learnt.

This is chat/template.jinja written out by hand for the shapes that the tasks use (text only): a hundred times
as fast as Jinja, and it knows where each piece came from.  `python3 chat.py` (with jinja2 installed) proves
that both give the same text for thousands of tasks and writes chat_cases.jsonl, which the tests hold this
file to where there is no jinja2."""

import json
import random
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
TEMPLATE = HERE.parent / "chat" / "template.jinja"
TOOLS_HEAD = "# Tools\n\nYou have access to the following functions:\n\n<tools>"
TOOLS_TAIL = (
    "\n</tools>\n\nIf you choose to call a function ONLY reply in the following format with NO suffix:\n\n"
    "<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>\nvalue_1\n</parameter>"
    "\n<parameter=example_parameter_2>\nThis is the value for the second parameter\nthat can span\n"
    "multiple lines\n</parameter>\n</function>\n</tool_call>\n\n<IMPORTANT>\nReminder:\n- Function calls "
    "MUST follow the specified format: an inner <function=...></function> block must be nested within "
    "<tool_call></tool_call> XML tags\n- Required parameters MUST be specified\n- You may provide optional "
    "reasoning for your function call in natural language BEFORE the function call, but NOT after\n- If "
    "there is no function call available, answer the question like normal with your current knowledge and "
    "do not tell the user about function calls\n</IMPORTANT>"
)


class Piece(NamedTuple):
    text: str
    learnt: bool  # the model writes this itself
    spelt: bool = False  # one token a letter


def render(messages, tools=None, n_context=None):
    """The pieces of a conversation that ends with an assistant's message.

    Assistant messages from index `n_context` on are learnt (None: all after the last user message), thinking
    included: an empty `reasoning_content` gives the form that the template has with enable_thinking=false.  A
    message with `spelt` has its content marked so."""
    last_query = max(i for i, m in enumerate(messages) if m["role"] == "user")
    n_context = last_query + 1 if n_context is None else n_context
    out = [Piece(render_system(messages, tools), False)]
    for i, message in enumerate(messages):
        if message["role"] == "user":
            out.append(Piece(f"<|im_start|>user\n{message['content'].strip()}<|im_end|>\n", False))
        elif message["role"] == "tool":
            out.append(Piece(render_tool_result(messages, i), False))
        elif message["role"] == "assistant":
            out += render_assistant(message, i > last_query, i >= n_context)
    return [piece for piece in out if piece.text]


def render_system(messages, tools):
    content = messages[0]["content"].strip() if messages[0]["role"] == "system" else None
    if tools:
        lines = "".join("\n" + json.dumps(tool, ensure_ascii=False) for tool in tools)
        more = f"\n\n{content}" if content else ""
        return f"<|im_start|>system\n{TOOLS_HEAD}{lines}{TOOLS_TAIL}{more}<|im_end|>\n"
    return "" if content is None else f"<|im_start|>system\n{content}<|im_end|>\n"


def render_tool_result(messages, i):
    """Results in a row share one user turn."""
    before = "<|im_start|>user" if messages[i - 1]["role"] != "tool" else ""
    last = i + 1 == len(messages) or messages[i + 1]["role"] != "tool"
    return f"{before}\n<tool_response>\n{messages[i]['content'].strip()}\n</tool_response>" + (
        "<|im_end|>\n" if last else ""
    )


def render_assistant(message, has_thinking, learnt):
    content = message["content"].strip()
    out = [Piece("<|im_start|>assistant\n", False)]
    if has_thinking:
        thought = message.get("reasoning_content", "").strip()
        # With thinking off the whole empty block belongs to the prompt.
        out.append(Piece("<think>\n" if thought else "<think>\n\n</think>\n\n", False))
        if thought:
            out.append(Piece(f"{thought}\n</think>\n\n", learnt))
    out.append(Piece(content, learnt, message.get("spelt", False)))
    calls = render_calls(message, bool(content))
    return out + [Piece(f"{calls}<|im_end|>", learnt), Piece("\n", False)]


def render_calls(message, after_text):
    text = ""
    for call in message.get("tool_calls", ()):
        call = call["function"]
        text += "\n\n" if after_text and not text else "\n" if text else ""
        text += f"<tool_call>\n<function={call['name']}>\n"
        for name, value in call["arguments"].items():
            value = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)
            text += f"<parameter={name}>\n{value}\n</parameter>\n"
        text += "</function>\n</tool_call>"
    return text


def render_task(task, thinking):
    """A Task in one of the two modes."""
    reply = task.reply(thinking)
    if task.spelt:
        reply = [*reply[:-1], {**reply[-1], "spelt": True}]
    return render(task.messages + reply, task.tools)


def text_of(pieces):
    return "".join(piece.text for piece in pieces)


def jinja_renderer():
    """The template itself, with the filters that transformers gives it."""
    import jinja2

    def refuse(message):
        raise jinja2.TemplateError(message)

    env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    env.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    env.globals["raise_exception"] = refuse
    template = env.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return lambda messages, tools: template.render(messages=messages, tools=tools)


def main():
    """Compares with Jinja, then stores one case of each family and mode."""
    from tasks import FAMILIES
    from tasks.base import train_task

    expected, r, stored, n = jinja_renderer(), random.Random(1), [], 0
    for family in FAMILIES.values():
        for i in range(400):
            task, thinking = train_task(family.make, r), i % 2 == 0
            messages = task.messages + task.reply(thinking)
            text = expected(messages, task.tools)
            if text != text_of(render_task(task, thinking)):
                sys.exit(
                    f"{family.name}: not as the template has it:\n{text_of(render_task(task, thinking))!r}"
                )
            n += 1
            if i < 2:
                stored.append(
                    {"family": family.name, "messages": messages, "tools": task.tools, "expected": text}
                )
    with open(HERE / "chat_cases.jsonl", "w", encoding="utf-8") as out:
        out.writelines(json.dumps(case, ensure_ascii=False) + "\n" for case in stored)
    print(f"{n} conversations as the template has them; {len(stored)} stored in chat_cases.jsonl")


if __name__ == "__main__":
    main()
