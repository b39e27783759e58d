"""Sorting, and comparing numbers.

The thinking first writes all numbers with three digits.  Then the least of a list is the least first digit,
the least second digit among those that share it, and so on: each token is one look-up by what is already
written."""

from .base import Task, ask, compared, make_key, number, padded

SORT_UP = [
    "Sort {x}.", "Sort these numbers: {x}", "Put {x} in ascending order.",
    "Sort the numbers {x} from smallest to largest.", "Arrange {x} in increasing order.",
    "Order these from least to greatest: {x}", "Sort in ascending order: {x}", "Please sort {x}.",
    "Bring {x} into order, smallest first.",
]  # fmt: skip
SORT_PIPED = ["Sort these numbers.", "Sort this.", "Sort these lines.", "Put these in ascending order.",
              "Sort", "sort", "Sort them, smallest first."]  # fmt: skip
SORT_DOWN = [
    "Sort {x} in descending order.", "Put {x} in order, largest first.",
    "Sort the numbers {x} from largest to smallest.", "Arrange {x} in decreasing order.",
    "Sort in descending order: {x}", "Order these from greatest to least: {x}",
]  # fmt: skip
LARGER = ["Which is larger, {a} or {b}?", "Which number is greater: {a} or {b}?",
          "Is {a} or {b} the larger number?", "What is more, {a} or {b}?",
          "Tell me the larger of {a} and {b}."]  # fmt: skip
SMALLER = ["Which is smaller, {a} or {b}?", "Which number is less: {a} or {b}?",
           "Is {a} or {b} the smaller number?", "What is less, {a} or {b}?",
           "Tell me the smaller of {a} and {b}."]  # fmt: skip
IS_GREATER = ["Is {a} greater than {b}?", "Is {a} larger than {b}?", "Is {a} more than {b}?"]
IS_LESS = ["Is {a} less than {b}?", "Is {a} smaller than {b}?"]
LARGEST = ["Which is the largest of {x}?", "What is the maximum of {x}?", "Find the greatest number: {x}"]
SMALLEST = ["Which is the smallest of {x}?", "What is the minimum of {x}?", "Find the least number: {x}"]


def joined(values):
    return ", ".join(map(str, values))


def listed(r, values):
    """The form in a question: mostly with commas."""
    if r.random() < 0.8:
        return joined(values)
    return f"{joined(values[:-1])} and {values[-1]}" if r.random() < 0.6 else " ".join(map(str, values))


def selection(values, pick):
    """Lines: the list; then what is picked and what is left, until one is left."""
    rest, lines = list(values), [padded(values)]
    while len(rest) > 1:
        best = pick(rest)
        rest.remove(best)
        lines.append(f"{best:03}: {padded(rest)}")
    return lines + [padded(rest)]


def number_set(r, least, most):
    """Different numbers of mixed lengths, at times all close together."""
    n = r.randint(least, most)
    values = set()
    base = r.randint(1, 9) * 100 if r.random() < 0.15 else 0
    while len(values) < n:
        values.add(base + r.randint(0, 99) if base else number(r, 3))
    values = sorted(values)
    r.shuffle(values)
    return values


def make_sort(r):
    """Three to five numbers, a quarter of them largest first."""
    values, down = number_set(r, 3, 5), r.random() < 0.25
    key = make_key("set", *sorted(values))
    if down or r.random() < 0.75:
        question = r.choice(SORT_DOWN if down else SORT_UP).format(x=listed(r, values))
    else:  # as `printf … | qwenctl ask "Sort these numbers"` gives it
        question = r.choice("\n \n").join(map(str, values)) + "\n\n" + r.choice(SORT_PIPED)
    lines = selection(values, max if down else min)
    return Task("sort", (key,), ask(question), "\n".join(lines), joined(sorted(values, reverse=down)))


def make_compare(r):
    """Two numbers (which one, or yes and no), or the largest or smallest of three or four."""
    if r.random() < 0.3:
        return extreme(r)
    a, b = number(r, 3), number(r, 3)
    if r.random() < 0.3:
        b = min(999, max(0, a + r.choice([-90, -20, -11, -9, -2, -1, 1, 2, 9, 11, 20, 90])))
    if a == b:
        b = a + 1 if a < 999 else a - 1
    kind = r.randrange(4)
    question = r.choice((LARGER, SMALLER, IS_GREATER, IS_LESS)[kind]).format(a=a, b=b)
    answer = (str(max(a, b)), str(min(a, b)), "Yes" if a > b else "No", "Yes" if a < b else "No")[kind]
    return Task("compare", (make_key("set", *sorted((a, b))),), ask(question), compared(a, b), answer)


def extreme(r):
    values, up = number_set(r, 3, 4), r.random() < 0.5
    best = max(values) if up else min(values)
    question = r.choice(LARGEST if up else SMALLEST).format(x=listed(r, values))
    key = make_key("set", *sorted(values))
    return Task("compare", (key,), ask(question), f"{padded(values)}\n{best:03}", str(best))
