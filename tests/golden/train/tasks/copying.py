"""Repeating what was said: the curriculum for copying, on which all other tasks build.

Pilots without it spelt pieces and counted letters correctly after a million tokens, but of words that were
not in the question: finding and copying pieces is what a small model learns last, unless it is asked for that
alone, densely."""

from functools import lru_cache

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
COMMON = 120  # frequent pieces
MOST_THINGS = 8  # short lists: there is less to confuse


@lru_cache(maxsize=1)
def starts():
    """The pieces that exist with a blank, the most frequent first, without it."""
    return [piece.strip() for piece in letter_pieces() if piece[0] == " "]


def thing(r):
    """Mostly one of a few frequent pieces: how to copy is learnt sooner where there is less to know about what is
    copied.  The rest is any piece, a word, a made-up word, or a number."""
    kind = r.random()
    if kind < 0.75:
        return r.choice(starts()[:COMMON] if kind < 0.55 else starts())
    if kind < 0.92:
        return r.choice(all_words()[r.random() < 0.5])
    return made_up(r) if kind < 0.97 else str(number(r, 4))


def make_copy(r):
    """A third is said twice, which also teaches to copy from the answer itself."""
    text = " ".join(thing(r) for _ in range(r.randint(2, MOST_THINGS)))
    if r.random() < 1 / 3:
        return Task("copy", (), ask(r.choice(TWICE).format(x=text)), "twice", f"{text} {text}")
    return Task("copy", (), ask(r.choice(REPEAT).format(x=text)), "copy", text)
