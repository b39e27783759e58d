"""Trains the demo model: train.py RECIPE RUN [--data FOLDER] [--minutes N].

RECIPE is a TOML file (recipe.toml), RUN a folder for the checkpoint and the metrics, FOLDER (RUN unless given) has the
recipe's data sets, made by data.py.  The learning rate and the mix of
data are laid out over the whole run, so a run may be stopped (by --minutes, SIGINT or SIGTERM) and started again as
often as one likes and ends with the same model.  Every process has one thread and its own rows of each step; they
share parameters and gradients in memory, see optimizer.py.
"""

import argparse
import json
import multiprocessing
import os
import signal
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import torch

from batches import Batches, DataError, Dataset, Phase
from model import CHUNK, Config, Model, loss_sum, n_params
from optimizer import Optimizer, Shared

SAVE_SECONDS = 180
METRIC_STEPS = 25  # a line of metrics is a mean over so many steps
STUCK_SECONDS = 1800  # a process that waits longer than this for another gives up; compiling takes minutes
TABLES = {"optimizer", "mtp", "quantize", "model", "phase"}
BOUNDS = {  # of the recipe's numbers, both ends allowed
    "seed": (0, 2**31), "procs": (1, 64), "compile": (0, 1), "steps": (1, 10**8), "rows": (1, 10**4),
    "row_tokens": (CHUNK, 2**15), "optimizer.lr": (0, 1), "optimizer.warmup_steps": (1, 10**6), "optimizer.clip": (0, 1e9),
    "optimizer.decay_from": (0, 0.999), "optimizer.final": (0, 1), "mtp.from": (0, 1), "mtp.rows": (0, 1),
    "quantize.from": (0, 1),
}  # fmt: skip


class RecipeError(Exception):
    """Says what is wrong with the recipe or the run."""


def read_recipe(path):
    try:
        recipe = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as e:
        raise RecipeError(f"{path}: {e}") from e
    top = {key for key in BOUNDS if "." not in key} | TABLES
    if set(recipe) != top:
        raise RecipeError(f"{path}: missing or unknown keys: {', '.join(sorted(set(recipe) ^ top))}")
    for key, (low, high) in BOUNDS.items():
        table, _, name = key.rpartition(".")
        value = (recipe[table] if table else recipe).get(name)
        if not isinstance(value, (int, float)) or not low <= value <= high:
            raise RecipeError(f"{path}: {key} is {value}, not a number from {low} to {high}")
    check_recipe(path, recipe)
    return recipe


def check_recipe(path, recipe):
    """What holds between its entries."""
    if recipe["rows"] % recipe["procs"]:
        raise RecipeError(f"{path}: rows {recipe['rows']} is no multiple of procs {recipe['procs']}")
    if recipe["row_tokens"] % CHUNK:
        raise RecipeError(f"{path}: row_tokens {recipe['row_tokens']} is no multiple of {CHUNK}")
    if recipe["optimizer"].get("kind") not in ("muon", "adamw"):
        raise RecipeError(f"{path}: optimizer.kind is neither muon nor adamw")
    for i, phase in enumerate(recipe["phase"]):
        if not set(phase) <= {"data", "share", "from", "to"} or not {"data", "share"} <= set(phase):
            raise RecipeError(f"{path}: phase {i} has the keys {', '.join(phase)}; data, share and perhaps from, to are meant")
    try:
        Config(**recipe["model"])
    except (TypeError, ValueError) as e:
        raise RecipeError(f"{path}: model: {e}") from e


def open_batches(recipe):
    data, phases = {}, []
    for i, p in enumerate(recipe["phase"]):
        folder = os.path.join(recipe["data"], p["data"])
        data.setdefault(folder, Dataset(folder, recipe["seed"] + i, recipe["row_tokens"]))
        phases.append(Phase(data[folder], p["share"], p.get("from", 0.0), p.get("to", 1.0)))
    return Batches(phases, recipe["rows"], recipe["row_tokens"], recipe["steps"], recipe["seed"])


def lr_at(step, n_steps, o):
    """Linear warm-up, flat, then linear down to `final` of the rate from `decay_from` of the run on."""
    fraction = step / n_steps
    down = 1.0 if fraction < o["decay_from"] else (1 - fraction) / (1 - o["decay_from"])
    return o["lr"] * min(1.0, (step + 1) / o["warmup_steps"]) * max(o["final"], down)


def rounds(recipe, step):
    """Whether this step is computed with rounded weights."""
    return step >= recipe["quantize"]["from"] * recipe["steps"]


class Worker:
    """One process's forward and backward passes."""

    def __init__(self, recipe, model, shared, rank, wait):
        torch.set_num_threads(1)
        self.recipe, self.model, self.rank = recipe, model, rank
        shared.adopt(model, rank)
        self.optimizer = Optimizer(shared, rank, wait)
        self.batches = open_batches(recipe)
        per_proc = recipe["rows"] // recipe["procs"]
        self.mine = slice(rank * per_proc, (rank + 1) * per_proc)
        self.drafted = max(1, round(per_proc * recipe["mtp"]["rows"]))
        if recipe["compile"]:
            layers = list(model.model.layers) + list(model.mtp.layers)
            for layer in layers:
                layer.forward = torch.compile(layer.forward, dynamic=False)

    def step(self, step):
        """(loss sum, learnt, draft loss sum, drafted, drafts right, gradient norm, applied) of this process's rows."""
        ids, pos, targets = self.batches.rows(step)
        n_all = int((targets >= 0).sum())
        ids, pos, targets = (torch.from_numpy(x[self.mine]) for x in (ids, pos, targets))
        with torch.autocast("cpu", torch.bfloat16):
            hidden = self.model.hidden(ids, pos, torch.bfloat16)
            learnt = targets >= 0
            loss = loss_sum(self.model.head(hidden[learnt], torch.bfloat16), targets[learnt])
            total, drafts = loss / n_all, (0.0, 0, 0)
            if step >= self.recipe["mtp"]["from"] * self.recipe["steps"]:
                part = slice(self.drafted)
                draft_loss, *counts = self.draft(hidden[part].detach(), ids[part], pos[part], targets[part])
                drafts = (draft_loss.item(), *counts)
                total = total + draft_loss * (self.mine.stop - self.mine.start) / (self.drafted * n_all)
        total.backward()
        o = self.recipe["optimizer"]
        lr = lr_at(step, self.recipe["steps"], o)
        norm, applied = self.optimizer.step(lr, o["clip"], step + 1, rounds(self.recipe, step + 1))
        return loss.item(), int(learnt.sum()), *drafts, norm, applied

    def draft(self, hidden, ids, pos, targets):
        """Nothing flows back into the body: the head learns what the body does and does not change it."""
        targets = torch.cat([targets[:, 1:], torch.full_like(targets[:, :1], -1)], 1)
        ends = torch.cat([pos[:, 1:] == 0, torch.ones_like(pos[:, :1], dtype=torch.bool)], 1)
        learnt = (targets >= 0) & ~ends
        drafted = self.model.drafts(hidden, ids, pos, torch.bfloat16)[learnt]
        logits = self.model.head(drafted, torch.bfloat16, detached=True)
        right = int((logits.argmax(-1) == targets[learnt]).sum())
        return loss_sum(logits, targets[learnt]), int(learnt.sum()), right


class Run:
    """The folder: checkpoint.pt and metrics.jsonl."""

    def __init__(self, folder, recipe, shared):
        self.folder, self.recipe, self.shared = Path(folder), recipe, shared
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path = self.folder / "checkpoint.pt"
        self.fixed = json.dumps({k: v for k, v in recipe.items() if k not in ("data", "compile")}, sort_keys=True)

    def load(self):
        """(step, seconds so far, usual gradient norm) of the checkpoint, whose arrays are taken over."""
        if not self.path.exists():
            self.forget_metrics(0)
            return 0, 0.0, None
        state = torch.load(self.path, weights_only=True)
        if state["recipe"] != self.fixed:
            raise RecipeError(f"{self.path}: made with another recipe; choose another folder or restore the recipe")
        for name in ("values", "first", "second"):
            getattr(self.shared, name).copy_(state[name])
        self.shared.show(rounds(self.recipe, state["step"]))
        self.forget_metrics(state["step"])
        return state["step"], state["seconds"], state["usual"]

    def forget_metrics(self, step):
        """Drops what was written behind the checkpoint: those steps will be done again."""
        path = self.folder / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        path.write_text("".join(x for x in lines if json.loads(x)["step"] <= step), encoding="utf-8")

    def save(self, step, seconds, usual):
        """Whole or not at all: a rename replaces the last checkpoint."""
        s = self.shared
        state = {"step": step, "seconds": seconds, "usual": usual, "recipe": self.fixed, "places": s.places}
        state |= {"values": s.values, "first": s.first, "second": s.second, "config": self.recipe["model"]}
        fresh = self.path.with_suffix(".new")
        with open(fresh, "wb") as out:
            torch.save(state, out)
            out.flush()
            os.fsync(out.fileno())
        os.replace(fresh, self.path)

    def metric(self, **values):
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as out:
            out.write(json.dumps(values) + "\n")


class Progress:
    """A bar on a terminal, a line a minute elsewhere."""

    def __init__(self, n_steps, row_tokens):
        self.n_steps, self.row_tokens = n_steps, row_tokens
        self.terminal = sys.stderr.isatty()
        self.shown = 0.0

    def show(self, step, rate, loss, final=False):
        now = time.monotonic()
        if not final and now - self.shown < (0.5 if self.terminal else 60):
            return
        self.shown = now
        left = (self.n_steps - step) * self.row_tokens / max(rate, 1e-9) / 60
        bar = ("#" * round(30 * step / self.n_steps)).ljust(30, ".")
        line = f"[{bar}] {step}/{self.n_steps} loss {loss:.3f} {rate:.0f} tokens/s {left:.0f} min left"
        print(f"\r{line} " if self.terminal else line, end="" if self.terminal and not final else "\n", file=sys.stderr)


class Means:
    """Sums over METRIC_STEPS steps, by process 0's rows: they are a random share of all rows."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.sums = np.zeros(5)
        self.norms, self.skipped = [], 0

    def add(self, loss, learnt, draft_loss, drafted, right, norm, applied):
        self.sums += (loss, learnt, draft_loss, drafted, right)
        self.norms.append(norm)
        self.skipped += not applied

    def values(self):
        loss, learnt, draft_loss, drafted, right = self.sums
        out = {"loss": round(loss / max(learnt, 1), 5), "norm": round(float(np.median(self.norms)), 4)}
        if drafted:
            out |= {"draft_loss": round(draft_loss / drafted, 5), "draft_right": round(right / drafted, 4)}
        return out | ({"skipped": self.skipped} if self.skipped else {})


class Clock:
    """Seconds of training so far and tokens a second of late."""

    def __init__(self, seconds):
        self.before, self.start = seconds, time.monotonic()
        self.last, self.rate = self.start, 0.0

    def tick(self, n_tokens):
        now = time.monotonic()
        rate = n_tokens / (now - self.last)
        self.last = now
        self.rate = rate if not self.rate or rate > 4 * self.rate else 0.95 * self.rate + 0.05 * rate

    def seconds(self):
        return self.before + time.monotonic() - self.start


def follow(recipe, model, shared, rank, wait, start, usual, stop):
    """A process that does its rows until process 0 says stop.  Signals go to process 0."""
    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, signal.SIG_IGN)
    worker = Worker(recipe, model, shared, rank, wait)
    worker.optimizer.usual = usual
    step = start
    while not stop.is_set():
        worker.step(step)
        step += 1
        wait()


def lead(recipe, worker, run, start, seconds, stop, minutes):
    """Process 0: trains, tells of it, saves.  Between the two waits at a step's end nobody computes."""
    asked = []
    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, lambda *_: asked.append(True))
    step_tokens = recipe["rows"] * recipe["row_tokens"]
    progress, clock, means = Progress(recipe["steps"], step_tokens), Clock(seconds), Means()
    deadline = time.monotonic() + minutes * 60
    saved = time.monotonic()
    step, loss = start, None
    while not stop.is_set():
        done = worker.step(step)
        means.add(*done)
        loss = means.values()["loss"] if loss is None else loss
        clock.tick(step_tokens)
        step += 1
        if step % METRIC_STEPS == 0:
            values = means.values()
            loss = values["loss"]
            rate = {"tokens": step * step_tokens, "seconds": round(clock.seconds(), 1), "rate": round(clock.rate)}
            run.metric(step=step, lr=round(lr_at(step - 1, recipe["steps"], recipe["optimizer"]), 7), **values, **rate)
            means.reset()
        last = step == recipe["steps"] or bool(asked) or time.monotonic() > deadline
        if last or time.monotonic() - saved > SAVE_SECONDS:
            run.save(step, clock.seconds(), worker.optimizer.usual)
            saved = time.monotonic()
        if last:
            stop.set()
        worker.optimizer.wait()
        progress.show(step, clock.rate, loss, last)
    return step


def train(recipe, folder, minutes):
    """Returns the number of steps done in all."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe["seed"])
    model = Model(Config(**recipe["model"]))
    shared = Shared(model, recipe["procs"], recipe["optimizer"]["kind"])
    run = Run(folder, recipe, shared)
    start, seconds, usual = run.load()
    if start >= recipe["steps"]:
        return start
    fork = multiprocessing.get_context("fork")
    barrier, stop = fork.Barrier(recipe["procs"], timeout=STUCK_SECONDS), fork.Event()
    others = [
        fork.Process(target=follow, args=(recipe, model, shared, r, barrier.wait, start, usual, stop), daemon=True)
        for r in range(1, recipe["procs"])
    ]
    for process in others:
        process.start()
    print(f"{n_params(model)} parameters, {recipe['procs']} processes, from step {start}", file=sys.stderr)
    worker = Worker(recipe, model, shared, 0, barrier.wait)
    worker.optimizer.usual = usual
    step = lead(recipe, worker, run, start, seconds, stop, minutes)
    for process in others:
        process.join()
    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("run")
    parser.add_argument("--data", help="where the data sets are; RUN unless given")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so long; the same command goes on")
    args = parser.parse_args()
    try:
        recipe = read_recipe(args.recipe) | {"data": args.data or args.run}
        step = train(recipe, args.run, args.minutes)
    except (RecipeError, DataError) as e:
        sys.exit(f"train.py: {e}")
    print(f"{step} of {recipe['steps']} steps done{'' if step >= recipe['steps'] else '; the same command goes on'}")


if __name__ == "__main__":
    main()
