"""Conversion of units whose ratio is whole, in both directions without remainder.

The thinking states the ratio, then multiplies in columns or divides digit by digit; powers of ten only move
zeros."""

from .arithmetic import column_mul, long_mul
from .base import Task, ask, make_key, number

# larger unit, smaller unit, ratio, and whether the way back is asked too
UNITS = [
    ("kilometers", "meters", 1000), ("meters", "centimeters", 100), ("centimeters", "millimeters", 10),
    ("meters", "millimeters", 1000), ("kilograms", "grams", 1000), ("tonnes", "kilograms", 1000),
    ("liters", "milliliters", 1000), ("dollars", "cents", 100), ("euros", "cents", 100), ("seconds",
    "milliseconds", 1000), ("hours", "minutes", 60), ("minutes", "seconds", 60), ("weeks", "days", 7),
    ("feet", "inches", 12), ("years", "months", 12), ("days", "hours", 24),
]  # fmt: skip
SHORT = {
    "kilometers": "km", "meters": "m", "centimeters": "cm", "millimeters": "mm", "kilograms": "kg",
    "grams": "g", "tonnes": "t", "liters": "l", "milliliters": "ml", "seconds": "s", "milliseconds": "ms",
    "minutes": "min", "hours": "h",
}  # fmt: skip
PHRASES = [
    "How many {b} are {n} {a}?", "How many {b} are in {n} {a}?", "Convert {n} {a} to {b}.",
    "What is {n} {a} in {b}?", "{n} {a} in {b}?", "Express {n} {a} in {b}.", "How many {b} make {n} {a}?",
    "Change {n} {a} into {b}.",
]  # fmt: skip


def singular(unit):
    return {"feet": "foot", "inches": "inch"}.get(unit, unit[:-1])


def unit_name(r, unit):
    return SHORT[unit] if unit in SHORT and r.random() < 0.2 else unit


def make_units(r):
    """Half decimal ratios, half the others; a third goes from the smaller unit to the larger."""
    decimal = r.random() < 0.5
    large, small, ratio = r.choice([u for u in UNITS if (u[2] in (10, 100, 1000)) == decimal])
    down = r.random() < 2 / 3 or ratio == 24
    n = max(2, number(r, 3 if decimal else 2))
    have, want, value, result = (large, small, n, n * ratio) if down else (small, large, n * ratio, n)
    lines = [f"1 {singular(large)} = {ratio} {small}"] + (
        multiplied(n, ratio) if down else divided(n * ratio, ratio)
    )
    question = r.choice(PHRASES).format(n=value, a=unit_name(r, have), b=unit_name(r, want))
    key = make_key("unit", value, have, want)
    return Task(
        "units", (key,), ask(question), "\n".join(lines), f"{result} {want}", score="number", want=result
    )


def multiplied(n, ratio):
    if ratio in (10, 100, 1000):
        return [f"{n}*{ratio}={n * ratio}"]
    if ratio == 60:
        return [f"{n}*6", *column_mul(n, 6), f"={6 * n}", f"{6 * n}*10={60 * n}"]
    if ratio == 7:
        return [f"{n}*7", *column_mul(n, 7)]
    a, b = (n, ratio) if len(str(n)) > 1 else (ratio, n)
    return [f"{a}*{b}", *long_mul(a, b)]


def divided(n, ratio):
    if ratio in (10, 100, 1000):
        return [f"{n}/{ratio}={n // ratio}"]
    lines = []
    if ratio == 60:
        lines, n, ratio = [f"{n}/10={n // 10}"], n // 10, 6
    return lines + [f"{n}/{ratio}"] + long_division(n, ratio)


def long_division(n, by):
    """Lines of n / by from the front: what is there, the digit of the result, what is left."""
    lines, rest = [], 0
    for digit in str(n):
        now = rest * 10 + int(digit)
        lines.append(f"{now}/{by}={now // by} r{now % by}")
        rest = now % by
    return lines
