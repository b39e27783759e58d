"""From data sets of documents to the rows of each training step; train.py's source of tokens.

A data set is a folder as data.py writes it: tokens.u16 (ids of all documents), mask.u8 (1 where the model must write
the token itself) and docs.u32 (where each document starts).  Which rows belong to which step follows from the recipe
and the step's number alone, so a run that was stopped goes on with exactly the tokens that it would have had, and
each process can take its own rows without being told.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

BLOCK_STEPS = 32  # steps whose documents are packed together: enough of them for rows that are full to the last few tokens


class DataError(Exception):
    """Says which file is wrong, and how."""


class Dataset:
    """Documents in an order that is shuffled anew for each epoch; `share` of the tokens between two points of the run."""

    def __init__(self, folder, seed, row_tokens):
        self.folder = Path(folder)
        self.tokens = self.load("tokens.u16", "<u2")
        self.mask = self.load("mask.u8", "u1")
        starts = self.load("docs.u32", "<u4").astype(np.int64)
        self.check(starts, row_tokens)
        self.bounds = np.append(starts, len(self.tokens))
        self.lengths = np.diff(self.bounds)
        self.seed = seed
        self.epoch = -1
        if self.lengths.max() > row_tokens:
            long = int(self.lengths.argmax())
            raise DataError(f"{folder}: document {long} has {self.lengths[long]} tokens, a row only {row_tokens}")

    def load(self, name, dtype):
        path = self.folder / name
        if not path.exists() or path.stat().st_size == 0:
            raise DataError(f"{path}: missing or empty; data.py writes it")
        return np.memmap(path, dtype, "r")

    def check(self, starts, row_tokens):
        if len(self.mask) != len(self.tokens):
            raise DataError(f"{self.folder}: mask.u8 has {len(self.mask)} entries, tokens.u16 {len(self.tokens)}")
        if starts[0] != 0 or (np.diff(starts) <= 0).any() or starts[-1] >= len(self.tokens):
            raise DataError(f"{self.folder}/docs.u32: starts must rise from 0 and stay below {len(self.tokens)}")

    def shuffle(self, epoch):
        if epoch != self.epoch:
            self.epoch = epoch
            self.order = np.random.default_rng([self.seed, epoch]).permutation(len(self.lengths))
            self.ends = self.lengths[self.order].cumsum()

    def between(self, first, last):
        """Documents that start at token first <= t < last of the endless shuffled sequence."""
        found = []
        n = len(self.tokens)
        for epoch in range(first // n, -(-last // n)):
            self.shuffle(epoch)
            begins = self.ends - self.lengths[self.order]
            lo, hi = np.searchsorted(begins, [first - epoch * n, last - epoch * n])
            found.append(self.order[lo:hi])
        return np.concatenate(found) if found else np.zeros(0, np.int64)


@dataclass
class Phase:
    """`share` is relative to the shares of the phases that are active at the same time."""

    data: Dataset
    share: float
    start: float  # fractions of the run
    end: float

    def active(self, fraction):
        return self.start <= fraction < self.end


def pack(lengths, n_rows, row_tokens):
    """Best fit, longest first: a list of document indices for each row.  What does not fit anywhere is left out."""
    rows = [[] for _ in range(n_rows)]
    by_space = [[] for _ in range(row_tokens + 1)]
    by_space[row_tokens] = list(range(n_rows))
    spaces = 1 << row_tokens  # bit s is set if some row has exactly s tokens left
    for doc in np.argsort(-lengths, kind="stable"):
        n = int(lengths[doc])
        fitting = spaces >> n
        if not fitting:
            continue
        space = n + (fitting & -fitting).bit_length() - 1
        row = by_space[space].pop()
        if not by_space[space]:
            spaces &= ~(1 << space)
        rows[row].append(int(doc))
        by_space[space - n].append(row)
        spaces |= 1 << (space - n)
    return rows


class Batches:
    """rows(step) -> ids, pos, targets, each [n_rows, row_tokens]; the target of an entry that is not learnt is -1."""

    def __init__(self, phases, n_rows, row_tokens, n_steps, seed):
        self.phases, self.n_rows, self.row_tokens = phases, n_rows, row_tokens
        self.n_steps, self.seed = n_steps, seed
        self.block = -1
        self.quotas = self.plan()

    def plan(self):
        """[block][phase] -> how many tokens of the phase come before the block; one more entry closes the last."""
        n_blocks = -(-self.n_steps // BLOCK_STEPS)
        per_block = BLOCK_STEPS * self.n_rows * self.row_tokens
        before = np.zeros((n_blocks + 1, len(self.phases)), np.int64)
        for block in range(n_blocks):
            fraction = block * BLOCK_STEPS / self.n_steps
            shares = np.array([p.share if p.active(fraction) else 0.0 for p in self.phases])
            if not shares.sum() > 0:
                raise DataError(f"no phase has a share of the tokens at {fraction:.3f} of the run")
            before[block + 1] = before[block] + (shares / shares.sum() * per_block).astype(np.int64)
        return before

    def load_block(self, block):
        docs = []
        for i, phase in enumerate(self.phases):
            first, last = (int(x) for x in self.quotas[block : block + 2, i])
            docs += [(phase.data, int(d)) for d in phase.data.between(first, last)]
        lengths = np.array([data.lengths[d] for data, d in docs])
        packed = pack(lengths, BLOCK_STEPS * self.n_rows, self.row_tokens)
        shuffle = np.random.default_rng([self.seed, block])
        shuffle.shuffle(packed)
        self.block, self.packed = block, [[docs[i] for i in shuffle.permutation(row)] for row in packed]

    def rows(self, step):
        block, within = divmod(step, BLOCK_STEPS)
        if block != self.block:
            self.load_block(block)
        shape = (self.n_rows, self.row_tokens)
        ids, pos, targets = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.full(shape, -1, np.int64)
        for row in range(self.n_rows):
            at = 0
            for data, doc in self.packed[within * self.n_rows + row]:
                first, last = data.bounds[doc : doc + 2]
                n = int(last - first)
                ids[row, at : at + n] = data.tokens[first:last]
                pos[row, at : at + n] = np.arange(n)
                learnt = data.mask[first + 1 : last].astype(bool)
                targets[row, at : at + n - 1][learnt] = data.tokens[first + 1 : last][learnt]
                at += n
        return ids, pos, targets
