"""The tasks that the demo model is trained on: FAMILIES by name, and PHASES, the share of tokens that each one gets.

Only the standard library is used here, so that the tests run wherever Python does.
"""

from . import arithmetic, letters, order
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
        Family("count", letters.make_count),
        Family("reverse", letters.make_reverse),
        Family("spell", letters.make_spell),
        Family("pieces", letters.make_pieces),
    )
}

# Shares of the tokens; they need not add up to anything.
PHASES = {
    "main": {"add": 6, "sub": 7, "mul": 10, "mul3x2": 6, "sort": 12, "compare": 4, "count": 7, "reverse": 9, "spell": 3,
             "pieces": 2},
}  # fmt: skip
