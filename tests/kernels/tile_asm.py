#!/usr/bin/env python3
"""tile_asm.py OBJECT... - what compilers made of mm_tile.c, read back with objdump.

That the objects compute what they should is shown by running them (test_cpu_tiles.c); here is what a run in an
emulation does not show: that the products stand as they were written, eight instructions to a quarter of a step and
at most an address between them, and that a configuration is a constant, which no compiler can take the stores of away.
"""
import re
import subprocess
import sys

FUNCTIONS = {"mm_q4k_amx": "tdpbsud", "mm_q5k_amx": "tdpbsud", "mm_q6k_amx": "tdpbssd", "mm_iq4xs_amx": "tdpbssd"}
QUARTERS = (0, 0x400, 0x800, 0xc00)  # of rows and of planes
ADDRESSES = {"mov", "lea"}
TILE_WORD = re.compile(r"(ldtilecfg|tile\w+|tdp\w+)\b")


def functions_of(path):
    """{name: [(mnemonic, operands)]} of an object or archive."""
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], capture_output=True, text=True, check=True).stdout
    found, now = {}, None
    for line in text.splitlines():
        head = re.match(r"[0-9a-f]+ <(\w+)>:", line)
        if head:
            now = found.setdefault(head.group(1), [])
        elif now is not None and "\t" in line:
            word = line.split("\t", 1)[1].split(None, 1)
            now.append((word[0], word[1].split("#")[0].strip() if len(word) > 1 else ""))
    return found


def shape_of(mnemonic, operands):
    """An instruction without the registers of its address: tileloadd (%r8,%rcx,1),%tmm4 -> (tileloadd, 0, 4)"""
    tiles = tuple(int(t) for t in re.findall(r"%tmm(\d)", operands))
    if mnemonic.startswith("tdp"):
        return (mnemonic, *tiles)
    offset = re.search(r"(-?)(0x[0-9a-f]+)?\(", operands)
    return (mnemonic, int(offset.group(2) or "0", 16) if offset else 0, *tiles)


def quarter(high, base):
    """Sums 0..3, rows 4 and 5, planes 6 and 7; AT&T: second factor, first, sum.  Offsets between tiles are the structs'."""
    rows = 4096 + 256 + 64  # sizeof(struct mm_tile_rows)
    return [("tileloadd", base, 4), ("tileloadd", base, 6), (high, 6, 4, 0), ("tileloadd", base + 4096, 7),
            ("tdpbsud", 7, 4, 1), ("tileloadd", base + rows, 5), (high, 6, 5, 2), ("tdpbsud", 7, 5, 3)]


def faults_of(name, code):
    high = FUNCTIONS[name]
    tile_words = [(m, o) for m, o in code if TILE_WORD.match(m)]
    names = [m for m, _ in tile_words]
    if names.count("ldtilecfg") != 1 or not names or names[0] != "ldtilecfg" or "(%rip)" not in tile_words[0][1]:
        yield "is not configured once, first, from a constant"
    if names.count("tilerelease") != 1:
        yield f"releases {names.count('tilerelease')} times"
    known = {"ldtilecfg", "tilerelease", "tilezero", "tileloadd", "tilestored", "tdpbsud", high}
    if set(names) != known:
        yield f"has {sorted(set(names) ^ known)} too much or not at all"
    shapes = [shape_of(m, o) if TILE_WORD.match(m) else None for m, o in code if m not in ADDRESSES]
    for base in QUARTERS:
        wanted = quarter(high, base)
        if not any(shapes[i:i + len(wanted)] == wanted for i in range(len(shapes))):
            yield f"has no quarter of a step at {base:#x} in one piece"
    for tile in range(4):
        if not any(s and s[0] == "tilezero" and s[-1] == tile for s in shapes):
            yield f"never zeroes sum {tile}"
        if not any(s and s[0] == "tilestored" and s[-1] == tile for s in shapes):
            yield f"never stores sum {tile}"


def main():
    n_faults = 0
    for path in sys.argv[1:]:
        functions = functions_of(path)
        for name in FUNCTIONS:
            faults = list(faults_of(name, functions[name])) if name in functions else ["is not there"]
            n_faults += len(faults)
            for fault in faults:
                print(f"{path}: {name} {fault}")
    if len(sys.argv) < 2:
        sys.exit("tile_asm.py: no objects")
    sys.exit(n_faults > 0)


if __name__ == "__main__":
    main()
