#!/usr/bin/env python3
"""Writes unicode_data.c: the Unicode tables of the tokenizer.

    pip install unicodedata2==16.0.0 && ./gen_unicode.py > unicode_data.c

Two versions of Unicode on purpose, since the reference has two.  Its splitter (Oniguruma) knows the general categories
of Unicode 16; its NFC (crate unicode-normalization-alignments) knows the combining classes and compositions of
Unicode 9.  Unicode never changes either for an assigned character, so version 9 is version 16 without the characters
that came later: NEWER lists those of them that have a combining class or a canonical decomposition.  The list was
found by asking the reference about every code point; a newer unicodedata2 would only make it longer.
"""
import unicodedata2 as ud

CLASSES = {"L": 1, "M": 2, "N": 3}  # enum unicode_class; 0: everything else
SPACE = 4
WHITE_SPACE = [*range(0x9, 0xE), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]
QC_YES, QC_MAYBE, QC_NO = 0, 1, 2

# (first, last), combining class or decomposition given after Unicode 9.0
NEWER = [
    (0x7FD, 0x7FD), (0x897, 0x89F), (0x8CA, 0x8D3), (0x9FE, 0x9FE), (0xC3C, 0xC3C), (0xD3B, 0xD3C), (0xEBA, 0xEBA),
    (0x1715, 0x1715), (0x1ABF, 0x1ACE), (0x1DF6, 0x1DF9), (0x1DFA, 0x1DFA), (0xA82C, 0xA82C), (0x105C9, 0x105C9),
    (0x105E4, 0x105E4), (0x10D24, 0x10D27), (0x10D69, 0x10D6D), (0x10EAB, 0x10EAC), (0x10EFD, 0x10EFF),
    (0x10F46, 0x10F50), (0x10F82, 0x10F85), (0x11070, 0x11070), (0x1133B, 0x1133B), (0x11383, 0x113D0),
    (0x1145E, 0x1145E), (0x11839, 0x1183A), (0x11938, 0x1193E), (0x11943, 0x11943), (0x119E0, 0x119E0),
    (0x11A34, 0x11A34), (0x11A47, 0x11A47), (0x11A99, 0x11A99), (0x11D42, 0x11D45), (0x11D97, 0x11D97),
    (0x11F41, 0x11F42), (0x16121, 0x1612F), (0x16D68, 0x16D6A), (0x16FF0, 0x16FF1), (0x1E08F, 0x1E08F),
    (0x1E130, 0x1E136), (0x1E2AE, 0x1E2AE), (0x1E2EC, 0x1E2EF), (0x1E4EC, 0x1E4EF), (0x1E5EE, 0x1E5EF),
]


def is_newer(cp):
    return any(first <= cp <= last for first, last in NEWER)


def classify(cp):
    return SPACE if cp in WHITE_SPACE else CLASSES.get(ud.category(chr(cp))[0], 0)


def decompositions():
    """{code point: (a, b)}, one step, b = 0 for a singleton; without Hangul, which is arithmetic."""
    found = {}
    for cp in range(0x110000):
        text = ud.decomposition(chr(cp))
        if text and text[0] != "<" and not is_newer(cp):
            parts = [int(x, 16) for x in text.split()]
            found[cp] = (parts[0], parts[1] if len(parts) == 2 else 0)
    assert not any(b in found for _, b in found.values())  # unicode.c expands the first part only
    return found


def quick_check(cp, decomposed, seconds):
    if cp in decomposed and ud.normalize("NFC", chr(cp)) != chr(cp):
        return QC_NO
    if cp in seconds or 0x1161 <= cp <= 0x1175 or 0x11A8 <= cp <= 0x11C2:  # Hangul vowels and finals
        return QC_MAYBE
    return QC_YES


def bounds(value):
    """Where value(code point) changes, as (first, value)."""
    table = []
    for cp in range(0x110000):
        v = value(cp)
        if not table or table[-1][1] != v:
            table.append((cp, v))
    return table


def table(name, ctype, rows, width=110):
    print(f"\nconst {ctype} {name}[] = {{")
    line = "   "
    for row in rows:
        if len(line) + len(row) + 2 > width:
            print(line)
            line = "   "
        line += f" {row},"
    print(line + "\n};")
    print(f"const size_t {name}_n = {len(rows)};")


def main():
    assert ud.unidata_version == "16.0.0"
    pairs = decompositions()
    order = sorted(pairs)
    # A pair composes unless Unicode excludes it: then NFC takes the composed character apart.
    composes = [i for i, cp in enumerate(order) if pairs[cp][1] and ud.normalize("NFC", chr(cp)) == chr(cp)]
    composes.sort(key=lambda i: pairs[order[i]])
    seconds = {pairs[order[i]][1] for i in composes}

    def normal(cp):
        combining = 0 if is_newer(cp) else ud.combining(chr(cp))
        return quick_check(cp, pairs, seconds) << 8 | combining

    print("/* unicode_data.c - written by gen_unicode.py, do not edit.  See unicode_data.h.\n"
          " * Categories: Unicode 16.0.  Normalisation: Unicode 9.0, as the reference. */")
    print('#include "unicode_data.h"')
    table("unicode_class_bounds", "uint32_t", [f"0x{cp << 3 | v:x}" for cp, v in bounds(classify)])
    table("unicode_normal_bounds", "uint32_t", [f"0x{cp << 10 | v:x}" for cp, v in bounds(normal)])
    table("unicode_pairs", "struct unicode_pair",
          [f"{{0x{cp:x}, 0x{pairs[cp][0]:x}, 0x{pairs[cp][1]:x}}}" for cp in order])
    table("unicode_compositions", "uint16_t", [str(i) for i in composes])


main()
