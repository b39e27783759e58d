"""Repeating what was said: the curriculum for copying, on which all other tasks build.

Pilots without it spelt pieces and counted letters correctly after a million tokens, but of words that were
not in the question: finding and copying pieces is what a small model learns last, unless it is asked for that
alone, densely."""

from .base import Task, ask, number
from .letters import all_words, made_up
from .pieces import letter_pieces

REPEAT = [
    "Repeat:\n{x}",
    "Repeat this:\n{x}",
    "Copy:\n{x}",
    "{x}\n\nRepeat this.",
    "{x}\n\nCopy it.",
    "Say {x}",
]
TWICE = ["Repeat twice:\n{x}", "Say this twice:\n{x}", "{x}\n\nRepeat it twice."]
MOST_THINGS = 8  # short lists: there is less to confuse


def thing(r):
    """A piece of the vocabulary (those that start a word), a word, a made-up one, a number."""
    kind = r.random()
    if kind < 0.6:
        pieces = [p for p in (r.choice(letter_pieces()) for _ in range(8)) if p[0] == " "]
        return pieces[0].strip() if pieces else "a"
    if kind < 0.9:
        return r.choice(all_words()[r.random() < 0.5])
    return made_up(r) if kind < 0.95 else str(number(r, 4))


def make_copy(r):
    """A third is said twice, which also teaches to copy from the answer itself."""
    text = " ".join(thing(r) for _ in range(r.randint(2, MOST_THINGS)))
    if r.random() < 1 / 3:
        return Task("copy", (), ask(r.choice(TWICE).format(x=text)), "twice", f"{text} {text}")
    return Task("copy", (), ask(r.choice(REPEAT).format(x=text)), "copy", text)
