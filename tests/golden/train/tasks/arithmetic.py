"""Addition, subtraction and multiplication up to 3 x 2 digits.

The thinking writes the problem in digits, whatever the words were, then works in columns from the units.
Each line holds all that its result depends on (both digits and the carry), so a line is one look-up and no
line needs the whole number."""

from .base import Task, ask, compared, digits_of, make_key, number
from .words import NAMES, THINGS, in_words

ADD = [
    "What is {a} + {b}?", "What is {a} plus {b}?", "{a}+{b}", "{a} + {b}", "{a} + {b} = ?",
    "Calculate {a} + {b}.", "Calculate {a} plus {b}.", "Add {a} and {b}.", "Add {b} to {a}.",
    "What is the sum of {a} and {b}?", "How much is {a} plus {b}?", "Compute {a}+{b}.",
    "Please add {a} and {b}.", "What do {a} and {b} make together?",
]  # fmt: skip
SUB = [
    "What is {a} - {b}?", "What is {a} minus {b}?", "{a}-{b}", "{a} - {b}", "{a} - {b} = ?",
    "Calculate {a} - {b}.", "Calculate {a} minus {b}.", "Subtract {b} from {a}.", "Take {b} away from {a}.",
    "How much is {a} minus {b}?", "What is the difference between {a} and {b}?", "Compute {a}-{b}.",
    "What is left of {a} without {b}?",
]  # fmt: skip
MUL = [
    "What is {a} * {b}?", "What is {a} times {b}?", "{a}*{b}", "{a} * {b}", "{a} x {b}", "{a} * {b} = ?",
    "Calculate {a} * {b}.", "Calculate {a} times {b}.", "Multiply {a} by {b}.", "Multiply {a} and {b}.",
    "What is the product of {a} and {b}?", "How much is {a} times {b}?", "Compute {a}*{b}.",
    "What is {a} x {b}?",
]  # fmt: skip
ADD_STORY = [
    "{name} has {a} {things} and gets {b} more. How many {things} does {name} have now?",
    "There are {a} {things} in one box and {b} in another. How many {things} are there in all?",
    "{name} had {a} {things} and bought {b} {things}. How many are there now?",
]
SUB_STORY = [
    "{name} has {a} {things} and gives away {b}. How many {things} are left?",
    "There were {a} {things}, and {name} took {b} of them. How many {things} are left?",
    "Of {a} {things} {name} lost {b}. How many does {name} still have?",
]
MUL_STORY = [
    "{name} has {b} boxes with {a} {things} each. How many {things} are there?",
    "There are {a} {things} in a bag. How many {things} are in {b} bags?",
    "One of the {things} costs {a} cents. How many cents do {b} of them cost?",
]


def column_add(a, b):
    """Lines of a + b from the units: digit + digit + carry = sum."""
    width, carry, lines = max(len(str(a)), len(str(b))), 0, []
    for x, y in zip(digits_of(a, width), digits_of(b, width)):
        lines.append(f"{x}+{y}+{carry}={x + y + carry}")
        carry = (x + y + carry) // 10
    return lines


def column_sub(a, b):
    """Lines of a - b, a >= b, from the units: digit - digit - borrowed = difference, and what is borrowed
    next."""
    width, borrow, lines = len(str(a)), 0, []
    for x, y in zip(digits_of(a, width), digits_of(b, width)):
        d = x - y - borrow
        lines.append(f"{x}-{y}-{borrow}={d % 10} b{int(d < 0)}")
        borrow = int(d < 0)
    return lines


def column_mul(a, y):
    """Lines of a * y, y one digit, from the units: digit * y + carry = product."""
    carry, lines = 0, []
    for x in digits_of(a, len(str(a))):
        lines.append(f"{x}*{y}+{carry}={x * y + carry}")
        carry = (x * y + carry) // 10
    return lines


def long_mul(a, b):
    """Lines of a * b, b of one or two digits: a partial product a digit of b, then their sum."""
    lines, parts = [], []
    for i, y in enumerate(digits_of(b, len(str(b)))):
        parts.append(a * y * 10**i)
        lines += column_mul(a, y) + [f"={parts[-1]}"]
    if len(parts) == 2:
        lines += [f"{parts[0]}+{parts[1]}"] + column_add(*parts)
    return lines


def phrase(r, plain, stories, a, b):
    """The question: mostly digits, sometimes number words, sometimes a little story."""
    kind = r.random()
    if stories and kind < 0.12:
        return r.choice(stories).format(a=a, b=b, name=r.choice(NAMES), things=r.choice(THINGS))
    if kind < 0.30:
        spoken = [
            p for p in plain if not set(p) & set("+-*=x") or "plus" in p or "minus" in p or "times" in p
        ]
        return r.choice(spoken or plain).format(a=in_words(a), b=in_words(b))
    return r.choice(plain).format(a=a, b=b)


def number_task(family, key, question, lines, result):
    return Task(family, (key,), ask(question), "\n".join(lines), str(result), score="number", want=result)


def make_add(r, width=3):
    a, b = number(r, width), number(r, width)
    key = make_key("add", *sorted((a, b)))
    return number_task("add", key, phrase(r, ADD, ADD_STORY, a, b), [f"{a}+{b}"] + column_add(a, b), a + b)


def make_sub(r, width=3):
    """One in eight goes below zero: then the thinking turns it round first, which it knows from comparing the
    digits.  One in ten has operands that are equal or nearly so."""
    a, b = number(r, width), number(r, width)
    if r.random() < 0.1:
        b = min(10**width - 1, max(0, a + r.choice([-11, -10, -9, -2, -1, 0, 0, 0, 1, 2, 9, 10, 11])))
    if (a < b) != (r.random() < 1 / 8):
        a, b = b, a
    key = make_key("sub", a, b)
    lines = [compared(a, b), f"{a}-{b}" if a >= b else f"{a}-{b}=-({b}-{a})"]
    question = phrase(r, SUB[:-3] if a < b else SUB, SUB_STORY if a >= b else None, a, b)
    return number_task("sub", key, question, lines + column_sub(max(a, b), min(a, b)), a - b)


def make_mul(r):
    return product("mul", r, number(r, 3), number(r, 2))


def make_mul3x2(r):
    """The hardest size alone: both operands as long as they get."""
    return product("mul3x2", r, r.randint(100, 999), r.randint(10, 99))


def product(family, r, a, b):
    key = make_key("mul", *sorted((a, b)))
    question = phrase(r, MUL, MUL_STORY, a, b)
    if len(str(b)) > len(str(a)):  # the thinking puts the longer operand first, which saves lines
        a, b = b, a
    return number_task(family, key, question, [f"{a}*{b}"] + long_mul(a, b), a * b)
