"""Letters: spelling, counting, reversing.

A model sees pieces, not letters.  So the thinking writes the word piece by piece, as the question has it,
each followed by its letters: the piece is copied, its letters are looked up.  Counting carries the count so
far behind every letter; reversing numbers the letters and then walks the numbers down.  `make_pieces` is the
curriculum for the look-up: every piece of the vocabulary is spelt."""

import random
from functools import lru_cache

from .base import Task, ask, make_key
from .pieces import letter_pieces, split
from .words import load_words

COUNT = [
    "How many {c} are in {w}?", "How many {c}'s are in {w}?", "How many times does {c} occur in {w}?",
    "How many times does the letter {c} occur in {w}?", "How many letters {c} are there in {w}?",
    "Count the {c} in {w}.", "Count the letter {c} in {w}.", "How often is the letter {c} in {w}?",
    "How many {c} are in the word {w}?", "How many {c}'s are in the word {w}?", "How many {c} does {w} have?",
    "In {w}, how many {c} are there?",
]  # fmt: skip
REVERSE = [
    "Reverse {w}.", "Reverse the word {w}.", "Write {w} backwards.", "What is {w} backwards?",
    "Spell {w} backwards.", "Turn the word {w} around.", "What is the reverse of {w}?",
    "Read {w} from the end.", "Reverse the letters of {w}.",
]  # fmt: skip
SPELL = [
    "Spell {w}.",
    "Spell the word {w}.",
    "How do you spell {w}?",
    "What are the letters of {w}?",
    "How is {w} spelt?",
]
COUNT_PIPED = [
    "How many {c} are in this word?",
    "Count the letter {c}.",
    "How many {c}?",
    "How often does {c} occur?",
]
REVERSE_PIPED = ["Reverse this word.", "Reverse it.", "Write this backwards.", "Spell this backwards."]
SPELL_PIPED = ["Spell this word.", "Spell it."]
COMPOUND_SEED, COMPOUNDS, LONGEST = 35, 30000, 14
REVERSE_LONGEST = 9  # one digit numbers each letter
MOST = 4  # answers of counting are 0..4, equally often


@lru_cache(maxsize=1)
def all_words():
    """The list and made-up compounds of it ("lemontree"): letters that repeat are rare in single words."""
    words = [w for w in load_words() if len(w) > 2]
    r = random.Random(COMPOUND_SEED)
    short = [w for w in words if len(w) < 9]
    made = {a + b for a, b in ((r.choice(short), r.choice(short)) for _ in range(COMPOUNDS))}
    return words, sorted(w for w in made if len(w) <= LONGEST)


@lru_cache(maxsize=1)
def by_count():
    """[n] -> (pairs of single words, pairs of compounds): all (word, letter) with the letter n times in the
    word, n > 0."""
    table = [([], []) for _ in range(MOST + 1)]
    for kind, words in enumerate(all_words()):
        for w in words:
            for c in sorted(set(w)):
                if w.count(c) <= MOST:
                    table[w.count(c)][kind].append((w, c))
    return table


def placed(r, forms, piped, word, **more):
    """(question, the pre-token that the model sees): after a blank, in quotes, or as piped text in front; the
    last two take the blank away."""
    kind = r.random()
    if kind < 0.15:
        return f"{word}\n\n{r.choice(piped).format(**more)}", word
    if kind < 0.35:
        return r.choice(forms).format(w=f'"{word}"', **more), word
    return r.choice(forms).format(w=word, **more), " " + word


def made_up(r):
    """A word that is none: two to four syllables."""
    return "".join(
        r.choice("bcdfghjklmnprstvwz") + r.choice("aeiou") + r.choice(["", "", *"lnrst"])
        for _ in range(r.randint(2, 3))
    )


def draw_count(r):
    """(word, letter) for counting: the answer is 0..4, equally often; single words are rare where they repeat
    letters."""
    n = r.randint(0, MOST)
    if n:
        single, compound = by_count()[n]
        word, c = r.choice(compound if not single or len(single) < 400 or r.random() < 0.4 else single)
        if len(single) and r.random() < 0.1:
            word, c = r.choice(single)
    else:
        word = r.choice(all_words()[r.random() < 0.4])
        c = r.choice([c for c in "abcdefghijklmnopqrstuvwxyz" if c not in word])
    return word, c


def make_count(r):
    return count_task(r, *draw_count(r))[0]


def count_task(r, word, c):
    """(task, pre-token of the word)."""
    question, token = placed(r, COUNT, COUNT_PIPED, word, c=f'"{c}"' if r.random() < 0.15 else c)
    return Task("count", (make_key("word", word),), ask(question), count_lines(token, c), str(word.count(c)),
                score="number",
                want=word.count(c)), token  # fmt: skip


def count_lines(token, c):
    """ "r:", then " st: s0 t0" and so on: a piece a line, each letter with the count of c so far."""
    n, lines = 0, [f"{c}:"]
    for piece in split(token):
        letters = []
        for x in piece.strip():
            n += x == c
            letters.append(f"{x}{n}")
        lines.append(f"{piece}: {' '.join(letters)}")
    return "\n".join(lines)


def reverse_lines(token):
    """Letters numbered from the front, piece by piece; then a line that walks the numbers down."""
    n, lines, seen = 0, ["back:"], []
    for piece in split(token):
        letters = []
        for x in piece.strip():
            n += 1
            letters.append(f"{x}{n}")
            seen.append(f"{n}{x}")
        lines.append(f"{piece}: {' '.join(letters)}")
    return "\n".join(lines + ["".join(reversed(seen))])


def make_reverse(r):
    kind = r.random()
    while True:
        word = made_up(r) if kind < 0.1 else r.choice(all_words()[kind < 0.35])
        if len(word) <= REVERSE_LONGEST:
            break
    question, token = placed(r, REVERSE, REVERSE_PIPED, word)
    return Task(
        "reverse", (make_key("word", word),), ask(question), reverse_lines(token), word[::-1], spelt=True
    )


def spelling(piece):
    return f"{piece}: {' '.join(piece.strip())}"


def make_spell(r):
    """A whole word, its pieces first."""
    word = r.choice(all_words()[r.random() < 0.3])
    question, token = placed(r, SPELL, SPELL_PIPED, word)
    think = "\n".join(["spell:"] + [spelling(piece) for piece in split(token)])
    return Task("spell", (make_key("word", word),), ask(question), think, " ".join(word))


def make_pieces(r):
    """Six pieces of the vocabulary, whatever they are, spelt one a line.  The first starts without a blank:
    the template trims it."""
    pieces = letter_pieces()
    chosen = [r.choice(pieces) for _ in range(6)]
    if chosen[0].startswith(" "):
        chosen[0] = chosen[0].strip() if chosen[0].strip() in pieces_set() else "a"
    question = "Spell each piece:\n" + "\n".join(chosen)
    return Task("pieces", (), ask(question), "spell", "\n".join(spelling(p) for p in chosen))


@lru_cache(maxsize=1)
def pieces_set():
    return frozenset(letter_pieces())
