"""Reading fields out of a text into JSON.

All values stand in the text, so the model copies; names are drawn so freely (lists, made-up words) that it
cannot recall them.  The thinking lists field and value, a line each."""

import json

from .base import Task, ask, make_key
from .letters import made_up
from .words import NAMES, THINGS

LAST = (
    "Adler Berger Costa Diaz Evans Fischer Garcia Hansen Ito Jansen Keller Lopez Meyer Novak Olsen Peters "
    "Quinn Rossi Schmidt Tanaka Unger Vogel Weber Young Zimmer Baker Carter Davis Ellis Foster"
).split()
CITIES = (
    "Berlin Paris London Madrid Rome Vienna Prague Oslo Lisbon Dublin Warsaw Athens Helsinki Zurich Hamburg "
    "Munich Milan Porto Lyon Geneva Boston Chicago Denver Seattle Toronto Sydney Tokyo Kyoto Lima Cairo"
).split()
JOBS = (
    "baker doctor teacher lawyer nurse painter pilot farmer driver engineer gardener singer writer waiter "
    "cook"
).split()
UNITS = "sshd cron kernel nginx postfix systemd qwend docker cupsd udevd".split()
LEVELS = "error warning info debug".split()
ROOMS = "kitchen office garden library hall cafe museum park school station".split()
MONTHS = "January February March April May June July August September October November December".split()


def any_name(r):
    """A first name, now and then one that nobody has."""
    return made_up(r).capitalize() if r.random() < 0.2 else r.choice(NAMES)


def any_city(r):
    return made_up(r).capitalize() if r.random() < 0.2 else r.choice(CITIES)


def person(r):
    f = {
        "name": f"{any_name(r)} {r.choice(LAST)}",
        "age": r.randint(18, 90),
        "city": any_city(r),
        "job": r.choice(JOBS),
    }
    return f, r.choice([
        "{name}, {age}, lives in {city} and works as a {job}.",
        "My name is {name}, I am {age} years old. I am a {job} in {city}.",
        "{name} is a {job} from {city}, aged {age}.", "In {city} we met {name}, a {job} of {age} years.",
    ])  # fmt: skip


def order(r):
    f = {"order": r.randint(1000, 9999), "customer": any_name(r), "item": r.choice(THINGS),
         "quantity": r.randint(2, 99), "price": r.randint(3, 500)}  # fmt: skip
    return f, r.choice([
        "Order {order}: {customer} buys {quantity} {item} for {price} dollars.",
        "{customer} ordered {quantity} {item}. The price is {price} dollars, the order number {order}.",
        "Please send {quantity} {item} to {customer}; order {order}, {price} dollars.",
    ])  # fmt: skip


def event(r):
    f = {"title": r.choice(["meeting", "concert", "lunch", "lecture", "party", "workshop"]),
         "room": r.choice(ROOMS), "day": r.randint(1, 28), "month": r.choice(MONTHS),
         "host": any_name(r)}  # fmt: skip
    return f, r.choice([
        "The {title} with {host} is on {day} {month} in the {room}.",
        "{host} invites to a {title} in the {room} on {day} {month}.",
        "On {day} {month}: {title} in the {room}, host {host}.",
    ])  # fmt: skip


def log_line(r):
    f = {"unit": r.choice(UNITS), "level": r.choice(LEVELS), "pid": r.randint(100, 9999),
         "user": any_name(r).lower(), "port": r.randint(1024, 65535)}  # fmt: skip
    return f, r.choice([
        "{unit}[{pid}]: {level}: user {user} on port {port}",
        "{level} {unit} pid={pid} user={user} port={port}",
        "{unit} ({pid}) says {level}: {user} came from port {port}",
    ])  # fmt: skip


ASK = [
    "Extract {f} as JSON: {t}", "Give me {f} as JSON.\n{t}",
    "Read {f} from this text and answer in JSON: {t}", "{t}\n\nExtract {f} as a JSON object.",
    "{t}\n\nWrite {f} as JSON.", "{t}\n\n{f} as JSON", "Which {f} are in this text? Answer in JSON.\n{t}",
    "Turn this into JSON with the fields {f}: {t}", "JSON with {f}, please: {t}",
]  # fmt: skip


def make_extract(r):
    """Two to four fields of the text, in an order of their own."""
    fields, text = r.choice((person, order, event, log_line))(r)
    chosen = r.sample(list(fields), r.randint(2, min(4, len(fields))))
    shown = ", ".join(chosen[:-1]) + " and " + chosen[-1]
    question = r.choice(ASK).format(f=shown, t=text.format(**fields))
    want = {name: fields[name] for name in chosen}
    think = "\n".join(f"{name}: {value}" for name, value in want.items())
    key = make_key("extract", *sorted(f"{k}={v}" for k, v in fields.items()))
    return Task("extract", (key,), ask(question), think, json.dumps(want), score="json", want=want)
