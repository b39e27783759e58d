"""Calling one of two given tools, in the XML form of the chat template; and what to do with the result.

The tools' text is long and the same every time, so a conversation of training asks for up to three calls one
after the other: each is then learnt at a third of the price.  All replies after the last question keep their
thinking, as the template has it, so every call is learnt exactly as it is used."""

from typing import NamedTuple

from .arithmetic import column_add
from .base import Task, ask, make_key, number
from .extract import any_city, any_name
from .letters import made_up
from .words import THINGS


def folder(r):
    return "/" + "/".join(
        r.choice(["home", "data", "srv", "etc", "var", "backup", made_up(r)]) for _ in range(r.randint(1, 3))
    )


def item(r):
    return r.choice(THINGS)


def amount(r):
    return r.randint(2, 90)


def service(r):
    return r.choice("sshd cron nginx postfix cupsd docker qwend samba mysql redis".split())


def language(r):
    return r.choice("French German Spanish Italian Polish Turkish Greek Dutch".split())


def clock_time(r):
    return f"{r.randrange(24):02}:{r.randrange(0, 60, 5):02}"


class Tool(NamedTuple):
    about: str
    parameters: dict  # name: (JSON type, how a value is drawn)
    phrasings: list
    result: str


TOOLS = {
    "get_weather": Tool(
        "Weather of a city.",
        {"city": ("string", any_city)},
        ["What is the weather in {city}?", "How is the weather in {city}?", "Is it raining in {city}?"],
        "rain",
    ),
    "set_timer": Tool(
        "Start a timer.",
        {"minutes": ("integer", amount)},
        [
            "Set a timer for {minutes} minutes.",
            "Remind me in {minutes} minutes.",
            "Timer: {minutes} minutes.",
        ],
        "ok",
    ),
    "send_message": Tool(
        "Send a text to a person.",
        {"to": ("string", any_name), "text": ("string", item)},
        ['Send "{text}" to {to}.', 'Write "{text}" to {to}.', 'Tell {to}: "{text}".'],
        "sent",
    ),
    "restart_service": Tool(
        "Restart a system service.",
        {"name": ("string", service)},
        ["Restart {name}.", "Please restart the service {name}.", "{name} hangs, restart it."],
        "ok",
    ),
    "disk_usage": Tool(
        "Size of a folder.",
        {"path": ("string", folder)},
        ["How large is {path}?", "How much space does {path} take?", "Size of {path}?"],
        "12 GB",
    ),
    "list_files": Tool(
        "List the files of a folder.",
        {"path": ("string", folder)},
        ["Which files are in {path}?", "List {path}.", "Show me the files of {path}."],
        "a.txt b.txt",
    ),
    "translate": Tool(
        "Translate a word.",
        {"word": ("string", item), "language": ("string", language)},
        ["Translate {word} to {language}.", "What is {word} in {language}?", "{word} in {language}?"],
        "done",
    ),
    "buy": Tool(
        "Buy things.",
        {"item": ("string", item), "quantity": ("integer", amount)},
        ["Buy {quantity} {item}.", "I need {quantity} {item}.", "Please order {quantity} {item}."],
        "ordered",
    ),
    "add_event": Tool(
        "Add an event to the calendar.",
        {"title": ("string", item), "time": ("string", clock_time)},
        ["Add {title} at {time} to my calendar.", "Put {title} at {time} into the calendar."],
        "ok",
    ),
    "find_person": Tool(
        "Find the number of a person.",
        {"name": ("string", any_name), "city": ("string", any_city)},
        ["What is the number of {name} in {city}?", "Find {name} from {city}.", "Call {name} in {city}."],
        "555 0199",
    ),
    "get_time": Tool(
        "Time in a city.",
        {"city": ("string", any_city)},
        ["What time is it in {city}?", "How late is it in {city}?", "Local time in {city}?"],
        "14:05",
    ),
    "play_music": Tool(
        "Play a song.",
        {"artist": ("string", any_name)},
        ["Play something by {artist}.", "I want to hear {artist}.", "Music by {artist}, please."],
        "playing",
    ),
}


def schema(name):
    tool = TOOLS[name]
    properties = {p: {"type": kind} for p, (kind, _) in tool.parameters.items()}
    return {"type": "function", "function": {"name": name, "description": tool.about, "parameters": {
        "type": "object", "properties": properties, "required": list(tool.parameters)}}}  # fmt: skip


def call_of(name, arguments):
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def draw(r, name):
    """(question, arguments) for a tool."""
    arguments = {p: make(r) for p, (_, make) in TOOLS[name].parameters.items()}
    return r.choice(TOOLS[name].phrasings).format(**arguments), arguments


def call_key(name, arguments):
    return make_key("call", name, *arguments.values())


def thought(name, arguments):
    return f"{name}: {', '.join(map(str, arguments.values()))}"


def make_tools(r):
    """One call for a test; in training the conversation goes on (see `make_chain`)."""
    names = r.sample(list(TOOLS), 2)
    name = r.choice(names)
    question, arguments = draw(r, name)
    want = {"name": name, "arguments": arguments}
    return Task("tools", (call_key(name, arguments),), ask(question), turns=[called(name, arguments)],
                tools=[schema(n) for n in names], score="tool", want=want)  # fmt: skip


def called(name, arguments):
    return {"role": "assistant", "content": "", "reasoning_content": thought(name, arguments),
            "tool_calls": [call_of(name, arguments)]}  # fmt: skip


def make_chain(r):
    """Two or three wishes in one question; a call for each, then the results in one line.  At times no tool
    fits."""
    if r.random() < 0.12:
        return no_tool(r)
    names = r.sample(list(TOOLS), 2)
    questions, turns, results, keys = [], [], [], []
    for i in range(r.randint(2, 3)):
        name = r.choice(names)
        question, arguments = draw(r, name)
        questions.append(question)
        keys.append(call_key(name, arguments))
        results.append(TOOLS[name].result)
        turns += [called(name, arguments), {"role": "tool", "content": results[-1]}]
    turns.append({"role": "assistant", "reasoning_content": "done", "content": "; ".join(results) + "."})
    return Task("tools", tuple(keys), ask(" ".join(questions)), turns=turns, tools=[schema(n) for n in names])


def no_tool(r):
    """A small sum, which needs none of the tools."""
    names = r.sample(list(TOOLS), 2)
    a, b = number(r, 2), number(r, 2)
    lines = [f"{a}+{b}", *column_add(a, b)]
    return Task("tools", (make_key("add", *sorted((a, b))),), ask(f"What is {a} + {b}?"), "\n".join(lines),
                str(a + b),
                tools=[schema(n) for n in names])  # fmt: skip
