"""Short conversations: a question and its answer, then a follow-up that needs them.

Earlier turns stand as the template renders them, without thinking; only the last reply is learnt.
"""

from . import arithmetic, dates, letters, order, qwend
from .base import Task, is_held, make_key, number, padded
from .words import NAMES


def talk(*turns):
    """User and assistant in turns, the user last."""
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)]


def follow_task(context, keys, messages, think, answer, **more):
    return Task("follow", keys, messages, think, answer, context=tuple(context), **more)


def make_follow(r):
    kinds = (
        and_then,
        and_then,
        and_then,
        another_letter,
        order_again,
        other_fact,
        other_fact,
        remember,
        days_on,
    )
    return r.choice(kinds)(r)


def and_then(r):
    """The result goes on: plus, minus, times a small number."""
    first = r.choice((arithmetic.make_add, arithmetic.make_sub))(r)
    while first.want < 0 or first.want > 999:
        first = arithmetic.make_add(r)
    a, kind = first.want, r.choice("+-*")
    b = r.randint(2, 9) if kind == "*" else number(r, 2)
    if kind == "-" and b > a:
        kind = "+"
    if kind == "+":
        asked, lines, result = (
            ["And plus {b}?", "Now add {b}.", "Plus {b}?"],
            arithmetic.column_add(a, b),
            a + b,
        )
        key = make_key("add", *sorted((a, b)))
    elif kind == "-":
        asked, lines, result = (
            ["And minus {b}?", "Now subtract {b}.", "Minus {b}?"],
            arithmetic.column_sub(a, b),
            a - b,
        )
        key = make_key("sub", a, b)
    else:
        asked, lines, result = (
            ["And times {b}?", "Now multiply it by {b}.", "Times {b}?"],
            arithmetic.column_mul(a, b),
            a * b,
        )
        lines = [*lines, f"={result}"]
        key = make_key("mul", *sorted((a, b)))
    messages = talk(first.messages[0]["content"], first.answer, r.choice(asked).format(b=b))
    think = "\n".join([f"{a}{kind}{b}", *lines])
    return follow_task(first.keys, (key,), messages, think, str(result), score="number", want=result)


def another_letter(r):
    """The same word, another letter; the word must be looked up in the first question."""
    word, c = letters.draw_count(r)
    first, token = letters.count_task(r, word, c)
    c = r.choice(word) if r.random() < 0.7 else r.choice("aeinrst")
    question = r.choice(
        ["And how many {c}?", "And {c}?", "How many {c} does it have?", "And the letter {c}?"]
    ).format(c=c)
    messages = talk(first.messages[0]["content"], first.answer, question)
    return follow_task((), first.keys, messages, letters.count_lines(token, c), str(word.count(c)),
                       score="number",
                       want=word.count(c))  # fmt: skip


def order_again(r):
    """Of a sorted list the largest or the smallest, or how many they are."""
    first = order.make_sort(r)
    values = [int(v) for v in first.answer.split(", ")]
    kind = r.randrange(3)
    question = (
        r.choice(["Which is the largest?", "And the largest?", "What is the maximum?"]),
        r.choice(["Which is the smallest?", "And the smallest?", "What is the minimum?"]),
        r.choice(["How many numbers are there?", "How many are they?"]),
    )[kind]
    result = (max(values), min(values), len(values))[kind]
    think = padded(values) if kind < 2 else " ".join(f"{i + 1}:{v}" for i, v in enumerate(values))
    think += f"\n{result:03}" if kind < 2 else ""
    messages = talk(first.messages[0]["content"], first.answer, question)
    return follow_task((), first.keys, messages, think, str(result), score="number", want=result)


def other_fact(r):
    """The same question about another option, verb, code or key, of which only the name is given."""
    facts, _ = qwend.load_facts()
    kind = r.choice(["option", "verb", "exit", "key", "default", "option-letter", "option-verbs"])
    first, second = r.sample([f for f in facts if f["kind"] == kind], 2)
    task = qwend.fact_task(r, first)
    form = r.randrange(4)
    question = ["And {n}?", "What about {n}?", "And what about {n}?", "{n}?"][form].format(n=second["name"])
    keys = (make_key("and", kind, first["name"], second["name"], form),)
    think = qwend.KINDS[kind][1].format(n=second["name"])
    want = {"all": second["need"], "none": []}
    return follow_task(task.keys, keys, talk(task.messages[0]["content"], task.answer, question), think,
                       second["answer"],
                       score="facts", want=want)  # fmt: skip


def remember(r):
    """A name or a number that was told is asked for."""
    name, other, n = *r.sample(NAMES, 2), r.randint(2, 99)
    told, asked, answer = r.choice([
        ("My name is {a}.", "What is my name?", "{a}"), ("I am {a}.", "Who am I?", "{a}"),
        ("I am {n} years old.", "How old am I?", "{n}"), ("My friend is called {a}.",
        "What is the name of my friend?", "{a}"), ("{a} has {n} keys.", "How many keys does {a} have?",
        "{n}"), ("I have {n} cats.", "How many cats do I have?", "{n}"), ("{a} is older than {b}.",
                                                                          "Who is older?", "{a}"),
                                                                          ("{a} is taller than {b}.",
                                                                           "Who is taller?", "{a}"),
    ])  # fmt: skip
    told, asked, answer = (text.format(a=name, b=other, n=n) for text in (told, asked, answer))
    return follow_task((), (make_key("told", told),), talk(told, "I see.", asked), told, answer)


def days_on(r):
    """From the day that was found some days further."""
    first = dates.weekday(r)
    n = r.randint(1, 6)
    start = dates.DAYS.index(first.answer)
    question = r.choice(
        ["And {n} days later?", "And {n} days after that?", "And another {n} days later?"]
    ).format(n=n)
    line = " ".join(f"{i} {dates.DAYS[(start + i) % 7]}" for i in range(n + 1))
    key = make_key("weekday", n, first.answer, "on", first.keys[0])
    plain = make_key("weekday", n, first.answer)
    context = first.keys if not is_held(plain) else (*first.keys, plain)
    return follow_task(context, (key,), talk(first.messages[0]["content"], first.answer, question), line,
                       dates.DAYS[(start + n) % 7])  # fmt: skip
