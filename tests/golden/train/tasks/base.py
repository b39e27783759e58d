"""What every family of tasks is made of: the Task, the held-out rule, and small random helpers.

A family is a function of a random.Random that makes one Task: a question, the thinking that solves it and the
answer. The same Task is trained in both modes, so the direct and the thinking model see the same problems.

Held-out rule: a problem has keys (the operand pair, the word, the fact's phrasing); a key whose SHA-256 is
divisible by 10 is never trained, in any phrasing and in no other family.  A question is held out if one of
its keys is; `context` are the keys of what else stands in the conversation, which must not be trained either
but does not make a test."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

HELD_OUT = 10  # one key of so many
SYSTEM_SHARE = 0.05  # of the conversations open with a system message, which must not confuse the model
SYSTEM = [
    "You are a helpful assistant.", "Be brief.", "Answer briefly.", "You are a careful assistant.",
    "Be friendly.", "You help the users of this machine.", "Answer in one sentence.",
    "You are an assistant in a terminal.",
]  # fmt: skip


@dataclass
class Task:
    """One conversation: `messages` up to and with the question, then either `answer` or `turns`."""

    family: str
    keys: tuple
    messages: list
    think: str = ""
    answer: str = ""
    turns: list = None  # replies of several steps (tool calls); `answer` and `think` are then unused
    tools: list = None
    spelt: bool = False  # the answer is given letter by letter, whatever pieces the tokenizer would take
    context: tuple = ()
    score: str = "exact"
    want: object = None  # what the suite asks for; None: the answer

    def reply(self, thinking):
        """The messages that are to be learnt, in one of the two modes."""
        turns = self.turns or [{"role": "assistant", "reasoning_content": self.think, "content": self.answer}]
        if thinking:
            return turns
        return [{**turn, "reasoning_content": ""} if turn["role"] == "assistant" else turn for turn in turns]


@dataclass
class Family:
    """A name of the suites, how to make its tasks, and how the suite is drawn."""

    name: str
    make: object
    options: dict = field(default_factory=dict)


@lru_cache(maxsize=1 << 16)
def is_held(key):
    """True if the problem of this key (a str) is for tests only."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest(), "big") % HELD_OUT == 0


def make_key(*parts):
    """The one spelling of a key: its parts joined by spaces."""
    return " ".join(map(str, parts))


def train_task(make, r):
    """A task of which nothing is held out."""
    while True:
        task = make(r)
        if not any(map(is_held, task.keys + task.context)):
            break
    if not task.tools and r.random() < SYSTEM_SHARE:
        task.messages = [{"role": "system", "content": r.choice(SYSTEM)}, *task.messages]
    return task


def test_task(make, r):
    """A task whose question is held out."""
    while True:
        task = make(r)
        if any(map(is_held, task.keys)):
            return task


def ask(text):
    """A conversation of one question."""
    return [{"role": "user", "content": text}]


def number(r, digits):
    """A number whose length is uniform in 1..digits, so that short ones are not rare."""
    n = r.randint(1, digits)
    return r.randint(10 ** (n - 1) if n > 1 else 0, 10**n - 1)


def digits_of(n, width):
    """Decimal digits from the units up."""
    return [n // 10**i % 10 for i in range(width)]


def padded(values):
    """Numbers with three digits each."""
    return " ".join(f"{v:03}" for v in values)


def compared(a, b):
    """ "052 057: 0=0 5=5 2<7": digits from the left up to the first that differ."""
    steps = []
    for x, y in zip(f"{a:03}", f"{b:03}"):
        steps.append(f"{x}{'=' if x == y else '<' if x < y else '>'}{y}")
        if x != y:
            break
    return f"{padded([a, b])}: {' '.join(steps)}"
