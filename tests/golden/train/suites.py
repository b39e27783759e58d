"""Writes the held-out test sets, suites/*.jsonl, in the format of `qwend-probe eval` (docs/EVAL.md).

Every question is held out: no task with one of its keys is ever trained (tasks/base.py).  The same sources
give the same files; `test_tasks.py` holds the committed ones to that.  Words of the letter suites have two
pieces or more, since the curriculum spells every single piece of the vocabulary."""

import json
import random
from pathlib import Path

from tasks import FAMILIES
from tasks.base import test_task
from tasks.letters import MOST
from tasks.pieces import split

FOLDER = Path(__file__).parent / "suites"
SIZES = {
    "add": 500, "sub": 500, "mul": 500, "mul3x2": 500, "sort": 500, "compare": 500, "dates": 500,
    "units": 500, "count": 500, "reverse": 500, "facts": 500, "extract": 250, "tools": 250, "follow": 500,
    "outside": 200,
}  # fmt: skip
INSIDE = (
    "add mul sort compare dates units count reverse facts facts facts facts self self extract follow".split()
)
N_INSIDE = 200
NOT_REFUSED = {"all": [], "none": ["do not know"]}


def item(name, number, task, score=None, want=None):
    out = {"id": f"{name}-{number:04}", "family": name, "messages": task.messages}
    if task.tools:
        out["tools"] = task.tools
    want = task.want if want is None else want
    return {**out, "score": score or task.score, "answer": task.answer if want is None else want}


def is_fit(name, task):
    """Letters: only words that no curriculum has spelt as a piece."""
    if name not in ("count", "reverse"):
        return True
    word = task.keys[0].split(" ")[1]
    return len(split(word)) > 1 and len(split(" " + word)) > 1


def draw(name, n):
    """n different held-out tasks; the answers of counting are equally frequent to the item."""
    r, seen, tasks, left = (
        random.Random(f"suite {name}"),
        set(),
        [],
        dict.fromkeys(range(MOST + 1), n // (MOST + 1)),
    )
    while len(tasks) < n:
        task = test_task(FAMILIES[name].make, r)
        asked = json.dumps([task.messages, task.tools])
        if asked in seen or not is_fit(name, task) or (name == "count" and not left[task.want]):
            continue
        if name == "count":
            left[task.want] -= 1
        seen.add(asked)
        tasks.append(task)
    return tasks


def inside():
    """Held-out questions of all kinds, of which none may be refused."""
    r = random.Random("suite inside")
    for i in range(N_INSIDE):
        yield item(
            "inside", i + 1, test_task(FAMILIES[INSIDE[i % len(INSIDE)]].make, r), "facts", NOT_REFUSED
        )


def make_suites():
    """{name: [item]}"""
    suites = {
        name: [item(name, i + 1, task) for i, task in enumerate(draw(name, n))] for name, n in SIZES.items()
    }
    return {**suites, "inside": list(inside())}


def text_of(items):
    return "".join(json.dumps(i, ensure_ascii=False, separators=(",", ":")) + "\n" for i in items)


def main():
    FOLDER.mkdir(exist_ok=True)
    for name, items in make_suites().items():
        (FOLDER / f"{name}.jsonl").write_text(text_of(items), encoding="utf-8")
        print(f"{name}: {len(items)}")


if __name__ == "__main__":
    main()
