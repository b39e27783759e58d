"""Writes what is trained: documents as token ids, with a mask of the tokens that the model learns to write.

    write_dataset(folder, n_tokens, seed, phase)

makes in `folder`:
    tokens.u16  token ids of all documents, one after the other (little-endian)
    mask.u8     a byte a token: 1 if the loss counts it (the assistant's own text)
    docs.u32    where each document starts, in tokens; the last one ends with the file

A document is one conversation.  The same arguments give the same bytes.  Run as a program it does just that:
    data.py FOLDER TOKENS [--seed N] [--phase NAME]
Needs `tokenizers` and `numpy` from PyPI.
"""

import argparse
import random
import time
from pathlib import Path

import numpy as np

import tokenizer
from chat import Piece, render_task
from tasks import FAMILIES, PHASES
from tasks.base import train_task

BATCH = 1000  # conversations tokenised at a time: large enough that the calls do not count
PROBES = 60  # of each family and mode, to know its mean length


class Encoder:
    """Pieces of conversations to ids and mask."""

    def __init__(self):
        self.tokenizer = tokenizer.load()
        self.ids_of = self.tokenizer.get_vocab()

    def encode(self, conversations):
        """[(ids, mask)] of a list of piece lists.

        Neighbours that share a flag are joined first: the pre-tokeniser may join characters across their
        border, but never across a border of learnt and given text, which lies behind a line break or a
        special token."""
        runs, owners = [], []
        for i, pieces in enumerate(conversations):
            for piece in join_runs(pieces):
                runs.append(piece)
                owners.append(i)
        plain = [i for i, piece in enumerate(runs) if not piece.spelt]
        encoded = [None] * len(runs)
        for i, e in zip(
            plain, self.tokenizer.encode_batch([runs[i].text for i in plain], add_special_tokens=False)
        ):
            encoded[i] = e.ids
        out = [([], []) for _ in conversations]
        for i, piece, ids in zip(owners, runs, encoded):
            ids = [self.ids_of[c] for c in piece.text] if ids is None else ids
            out[i][0].extend(ids)
            out[i][1].extend([int(piece.learnt)] * len(ids))
        return out


def join_runs(pieces):
    """Joins neighbours that share both flags."""
    out = []
    for piece in pieces:
        if out and out[-1][1:] == piece[1:]:
            out[-1] = Piece(out[-1].text + piece.text, *piece[1:])
        else:
            out.append(piece)
    return out


def document_weights(encoder, phase, seed):
    """How often to draw each family so that it gets its share of the tokens."""
    weights = {}
    for name, share in PHASES[phase].items():
        r = random.Random(f"{seed} {name}")
        probes = [render_task(train_task(FAMILIES[name].make, r), i % 2 == 0) for i in range(2 * PROBES)]
        mean = sum(len(ids) for ids, _ in encoder.encode(probes)) / len(probes)
        weights[name] = share / mean
    return weights


def batches(encoder, phase, seed):
    """Documents for ever.  The modes take turns, so each family is trained as often in the one as in the
    other."""
    weights = document_weights(encoder, phase, seed)
    r = random.Random(f"{seed} {phase}")
    thinking = dict.fromkeys(weights, False)
    while True:
        conversations = []
        for name in r.choices(list(weights), list(weights.values()), k=BATCH):
            thinking[name] = not thinking[name]
            conversations.append(render_task(train_task(FAMILIES[name].make, r), thinking[name]))
        yield encoder.encode(conversations)


def write_dataset(folder, n_tokens, seed, phase="main"):
    """At least n_tokens tokens, ended with a whole document.  Returns (tokens, documents)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    starts, n = [], 0
    with open(folder / "tokens.u16", "wb") as tokens, open(folder / "mask.u8", "wb") as masks:
        for batch in batches(Encoder(), phase, seed):
            for ids, mask in batch:
                starts.append(n)
                n += len(ids)
                tokens.write(np.array(ids, "<u2").tobytes())
                masks.write(bytes(mask))
                if n >= n_tokens:
                    break
            if n >= n_tokens:
                break
    np.array(starts, "<u4").tofile(folder / "docs.u32")
    return n, len(starts)


def main():
    parser = argparse.ArgumentParser(description="writes a training set")
    parser.add_argument("folder")
    parser.add_argument("tokens", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phase", default="main", choices=sorted(PHASES))
    args = parser.parse_args()
    start = time.monotonic()
    n, n_docs = write_dataset(args.folder, args.tokens, args.seed, args.phase)
    print(f"{n} tokens, {n_docs} documents, {n / (time.monotonic() - start):.0f} tokens/s")


if __name__ == "__main__":
    main()
