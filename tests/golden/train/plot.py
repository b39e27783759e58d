"""Draws the loss curve of a run as SVG: plot.py RUN/metrics.jsonl OUT.svg.  Needs nothing but Python.

Two lines: the loss per learnt token in nats, and the draft head's, where it is trained; both means over a span that
grows with the run, so that a long run does not draw noise.
"""

import argparse
import json
import math
import sys
from pathlib import Path

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 760, 360, 60, 44, 30
POINTS = 240  # of a line; more is more file and no more to see
LINES = (("loss", "loss", "#1f6feb"), ("draft_loss", "draft head", "#bf8700"))


def read(path):
    metrics = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    if len(metrics) < 2:
        sys.exit(f"plot.py: {path}: {len(metrics)} lines, two are needed for a curve")
    return metrics


def curve(metrics, key):
    """[(millions of tokens, mean)] of equal spans."""
    have = [(m["tokens"] / 1e6, m[key]) for m in metrics if key in m]
    span = max(1, -(-len(have) // POINTS))
    parts = [have[i : i + span] for i in range(0, len(have), span)]
    return [(p[-1][0], sum(y for _, y in p) / len(p)) for p in parts]


def scale(curves):
    """Linear in tokens, logarithmic in loss, from a round value below to one above all points."""
    right = max(x for c in curves for x, _ in c)
    values = [y for c in curves for _, y in c]
    low, high = 10 ** math.floor(math.log10(min(values))), max(values)

    def place(x, y):
        up = math.log(y / low) / math.log(high / low)
        return LEFT + x / right * (WIDTH - LEFT - 16), HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - TOP)

    return place, right, low, high


def round_step(span):
    """A step of 1, 2 or 5 times a power of ten that divides span into five to ten."""
    power = 10 ** math.floor(math.log10(span / 5))
    return next(power * m for m in (1, 2, 5, 10) if span / (power * m) <= 10)


def text(x, y, words, anchor="middle", colour="#57606a"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def grid(place, right, low, high):
    out = []
    for y in (m * 10**e for e in range(-4, 3) for m in (1, 2, 5)):
        if low <= y <= high:
            (x0, at), (x1, _) = place(0, y), place(right, y)
            out.append(f'<path d="M{x0:.1f} {at:.1f}H{x1:.1f}" stroke="#d0d7de"/>')
            out.append(text(LEFT - 8, at + 4, f"{y:g}", "end"))
    step = round_step(right)
    for i in range(int(right / step) + 1):
        x, y = place(i * step, low)
        out.append(text(x, y + 18, f"{i * step:g}"))
    out.append(text(WIDTH / 2, HEIGHT - 8, "million tokens"))
    return out


def draw(metrics):
    named = [(curve(metrics, key), label, colour) for key, label, colour in LINES]
    named = [n for n in named if n[0]]
    place, right, low, high = scale([c for c, _, _ in named])
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">']
    out.append(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>')
    out += grid(place, right, low, high)
    for i, (points, label, colour) in enumerate(named):
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in (place(*p) for p in points))
        out.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        out.append(text(WIDTH - 16, TOP + 16 * i, f"{label}, nats per token: {points[-1][1]:.4f} at the end", "end", colour))
    return "\n".join([*out, "</svg>"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("metrics")
    parser.add_argument("out")
    args = parser.parse_args()
    Path(args.out).write_text(draw(read(args.metrics)), encoding="utf-8")


if __name__ == "__main__":
    main()
