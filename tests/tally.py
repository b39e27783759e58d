#!/usr/bin/env python3
"""tally.py - counts the test cases in meson's testlog.json: prints "passed failed skipped", then the names of what failed.

    tally.py TESTLOG [SAID]     appends to the file SAID how the output of each failed test ends

A cmocka program says in its output how many cases it ran, a story program has a TAP line for each; any other test
counts as one.
"""
import json
import re
import sys

CMOCKA = {"passed": r"\[  PASSED  \] (\d+) test", "failed": r"\[  FAILED  \] (\d+) test",
          "skipped": r"\[  SKIPPED \] (\d+) test"}
TAP = {"passed": r"^ok \d+(?!.*# SKIP)", "failed": r"^not ok \d+", "skipped": r"^ok \d+.*# SKIP"}
LINES, LINE_CHARS = 16, 240     # of each stream of a test that failed


def count_cases(test):
    """(passed, failed, skipped) of one line of the log."""
    text = test.get("stdout", "") + test.get("stderr", "")
    n = {key: sum(map(int, re.findall(CMOCKA[key], text))) + len(re.findall(TAP[key], text, re.MULTILINE)) for key in CMOCKA}
    bad = test["result"] not in ("OK", "EXPECTEDFAIL", "SKIP")
    if sum(n.values()) == 0:
        return (int(test["result"] in ("OK", "EXPECTEDFAIL")), int(bad), int(test["result"] == "SKIP"))
    return n["passed"], max(n["failed"], int(bad)), n["skipped"]   # a crash after the last case is a failure too


def last_lines(test):
    """What a person looks for first: of the two streams, the ends."""
    lines = []
    for stream in "stdout", "stderr":
        said = [line[:LINE_CHARS] for line in test.get(stream, "").splitlines() if line.strip()]
        lines += ["..."] * (len(said) > LINES) + said[-LINES:]
    return "".join(f"    {line}\n" for line in lines)


def main():
    totals, bad, said = [0, 0, 0], [], ""
    with open(sys.argv[1], encoding="utf-8") as log:
        for line in log:
            test = json.loads(line)
            n = count_cases(test)
            totals = [a + b for a, b in zip(totals, n)]
            if n[1]:
                name = test["name"].split(" / ")[-1]
                bad.append(f"{name}:{test['result']}")
                said += f"{name} in {sys.argv[1].split('/')[0]} said at the end:\n{last_lines(test)}"
    print(*totals, *bad)
    if len(sys.argv) > 2:
        with open(sys.argv[2], "a", encoding="utf-8") as file:
            file.write(said)


if __name__ == "__main__":
    main()
