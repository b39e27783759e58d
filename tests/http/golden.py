"""golden.py - what the gateway said once, byte for byte, but for ids, times and durations, which are masked."""
import os
import re

MASKS = [
    (rb"[0-9a-f]{32}", b"ID"),
    (rb'"(created|created_at)":\d+', rb'"\1":0'),
    (rb'"(created_at|modified_at)":"[^"]*"', rb'"\1":"T"'),
    (rb'"(\w+_duration|\w+_ms|\w+_per_second)":[0-9.e+-]+', rb'"\1":0'),
    (rb"Date: [^\r]*", b"Date: D"),
    (rb"qwend-http/[0-9.]+", b"qwend-http/V"),
    (rb"Content-Length: \d+", b"Content-Length: N"),
]


def mask(data):
    for pattern, text in MASKS:
        data = re.sub(pattern, text, data)
    return data


def compare(name, data):
    """With QWEND_GOLDEN_WRITE set the file is written instead: look at what changed before it is committed."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "transcripts", name)
    data = mask(data)
    if os.environ.get("QWEND_GOLDEN_WRITE"):
        with open(path, "wb") as f:
            f.write(data)
    with open(path, "rb") as f:
        wanted = f.read()
    assert data == wanted, f"{name} differs at byte {next((i for i, (a, b) in enumerate(zip(data, wanted)) if a != b), -1)}:\n" \
        f"{data[:3000].decode('utf-8', 'replace')}"
