"""Questions about qwend itself: the facts of facts.json, each in many phrasings, and who the model is.

What is held out is a phrasing of a fact, and also whole phrasings of a kind (whatever the fact): sentences that were
never trained, of words that were.  The thinking only names what is asked about, which turns all
phrasings into one look-up."""

import json
from functools import lru_cache
from pathlib import Path

from .base import Task, ask, make_key
from .phrasings import KINDS, PROSE, vary

FILE = Path(__file__).parent.parent / "facts.json"


@lru_cache(maxsize=1)
def load_facts():
    """(facts, weights)."""
    facts = json.loads(FILE.read_text(encoding="utf-8"))
    return facts, [KINDS[f["kind"]][0] if f["kind"] in KINDS else 4 for f in facts]


def loosely(r, question):
    """As people type: at times in lower case, without the last sign, with some words before."""
    if r.random() < 0.12:
        question = question[0].lower() + question[1:]
    if r.random() < 0.12:
        question = question.rstrip("?.")
    if r.random() < 0.08:
        question = r.choice(["Please tell me: ", "A question: ", "Hi! ", "qwend question: "]) + question
    return question


def make_facts(r):
    facts, weights = load_facts()
    return fact_task(r, r.choices(facts, weights)[0])


def fact_task(r, fact):
    kind, name = fact["kind"], fact["name"]
    if kind == "prose":
        form = vary(r, r.choice(PROSE[name]))
        question, think = form, f"qwend: {name}"
    else:
        form = vary(r, r.choice(KINDS[kind][2]))
        question = form.format(n=question_name(r, kind, name))
        think = KINDS[kind][1].format(n=name, a=fact["answer"].rstrip(".").removeprefix("The key "))
    keys = (make_key("form", kind, form), make_key("fact", kind, name, form))
    want = {"all": fact["need"], "none": []}
    return Task("facts", keys, ask(loosely(r, question)), think, fact["answer"], score="facts", want=want)


def question_name(r, kind, name):
    """An error may be named by its number, its name, or both."""
    if kind == "status":
        return r.choice([name, *name.split()])
    return name[:-1] if kind == "folder" and r.random() < 0.3 else name
