"""The pieces that a word has for the model: the byte pair merges of tokenizer.json, in plain Python.

The letter tasks show the model its own pieces, so they need them; CI has no tokenizer library.  Before there
is a tokenizer.json (while it is being trained) every word is one piece."""

import json
from functools import lru_cache
from pathlib import Path

FILE = Path(__file__).parent.parent / "tokenizer.json"
SPACE = "\u0120"  # how byte-level BPE writes a blank


@lru_cache(maxsize=1)
def load():
    """(rank of each merge, vocabulary), both empty without a tokenizer."""
    if not FILE.exists():
        return {}, {}
    model = json.loads(FILE.read_text(encoding="utf-8"))["model"]
    pairs = (m.split(" ") if isinstance(m, str) else m for m in model["merges"])
    return {tuple(pair): rank for rank, pair in enumerate(pairs)}, model["vocab"]


@lru_cache(maxsize=1 << 16)
def split(word):
    """Makes " st", "raw", "berry" of " strawberry"; ASCII, one pre-token (letters with at most one blank before
    them).  A blank that is a token of its own is shown with the piece behind it."""
    ranks, _ = load()
    if not ranks:
        return (word,)
    parts = list(word.replace(" ", SPACE))
    while len(parts) > 1:
        rank, i = min((ranks.get((parts[i], parts[i + 1]), len(ranks)), i) for i in range(len(parts) - 1))
        if rank == len(ranks):
            break
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    if parts[0] == SPACE and len(parts) > 1:
        parts[:2] = [SPACE + parts[1]]
    return tuple(p.replace(SPACE, " ") for p in parts)


@lru_cache(maxsize=1)
def letter_pieces():
    """Every piece of two letters or more, with the blank it may start with, in the order of the
    vocabulary."""
    _, vocab = load()
    shown = (piece.replace(SPACE, " ") for piece in sorted(vocab, key=vocab.get))
    return [p for p in shown if len(p.strip()) > 1 and p.strip().isascii() and p.strip().isalpha()]
