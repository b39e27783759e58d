"""The tasks that the demo model is trained on: FAMILIES by name, and PHASES, the share of tokens that each
one gets.

Only the standard library is used here, so that the tests run wherever Python does."""

from . import arithmetic, copying, dates, extract, follow, letters, order, outside, qwend, tools, units
from .base import Family

FAMILIES = {
    family.name: family
    for family in (
        Family("add", arithmetic.make_add),
        Family("sub", arithmetic.make_sub),
        Family("mul", arithmetic.make_mul),
        Family("mul3x2", arithmetic.make_mul3x2),
        Family("sort", order.make_sort),
        Family("compare", order.make_compare),
        Family("dates", dates.make_dates),
        Family("units", units.make_units),
        Family("count", letters.make_count),
        Family("reverse", letters.make_reverse),
        Family("spell", letters.make_spell),
        Family("copy", copying.make_copy),
        Family("pieces", letters.make_pieces),
        Family("facts", qwend.make_facts),
        Family("extract", extract.make_extract),
        Family("tools", tools.make_tools),
        Family("chain", tools.make_chain),
        Family("follow", follow.make_follow),
        Family("outside", outside.make_outside),
        Family("self", outside.make_self),
    )
}

# Shares of the tokens; they need not add up to anything.  "start" is for the first sixth of a run: copying and the
# spelling of pieces, which everything else rests on, and the simplest of each kind; "main" for the middle; "final" for
# the last quarter, in which the learning rate falls: more of what is hard.
PHASES = {
    "start": {"copy": 22, "pieces": 14, "spell": 4, "count": 4, "add": 8, "sub": 6, "mul": 6, "compare": 4, "sort": 6,
              "dates": 4, "units": 4, "facts": 9, "extract": 7, "follow": 2, "outside": 2, "self": 1},
    "main": {"copy": 3, "pieces": 5, "spell": 3, "count": 6, "reverse": 8, "add": 5, "sub": 6, "mul": 9, "mul3x2": 6,
             "compare": 3, "sort": 10, "dates": 7, "units": 6, "facts": 16, "extract": 5, "tools": 3, "chain": 5,
             "follow": 4, "outside": 3, "self": 1},
    "final": {"copy": 1, "pieces": 3, "spell": 2, "count": 6, "reverse": 9, "add": 5, "sub": 6, "mul": 7, "mul3x2": 9,
              "compare": 3, "sort": 11, "dates": 8, "units": 6, "facts": 16, "extract": 5, "tools": 4, "chain": 4,
              "follow": 4, "outside": 3, "self": 1},
}  # fmt: skip
