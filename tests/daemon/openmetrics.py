"""openmetrics.py - a strict little parser of OpenMetrics 1.0 text, for the tests: what it does not know is an error.

read() has it from a socket; parse() gives {family: Family}; check_rise() holds a later text against an earlier one."""

import re
import socket

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{((?:{LABEL})(?:,{LABEL})*)\}})? (-?[0-9]+(?:\.[0-9]+)?)")
META = re.compile(rf"# (TYPE|UNIT|HELP) ({NAME}) (.+)")
SUFFIXES = {"counter": ["_total"], "gauge": [""], "info": ["_info"], "stateset": [""],
            "histogram": ["_bucket", "_count", "_sum"]}


def read(path, timeout=60.0):
    """All that comes until the daemon closes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(timeout)
        s.connect(path)
        data = b""
        while chunk := s.recv(1 << 16):
            data += chunk
    return data.decode("ascii")


class Family:
    def __init__(self, name, kind):
        self.name, self.kind, self.unit, self.help, self.samples = name, kind, None, None, {}


def _family_of(name, families):
    last = list(families.values())[-1]
    for suffix in SUFFIXES[last.kind]:
        if name == last.name + suffix:
            return last
    raise AssertionError(f"{name} does not belong to {last.kind} {last.name}, which stands before it")


def _on_meta(word, name, text, families):
    if word == "TYPE":
        assert name not in families and text in SUFFIXES, (name, text)
        families[name] = Family(name, text)
        return
    family = list(families.values())[-1]
    assert family.name == name and not family.samples, f"{word} of {name} is out of place"
    if word == "UNIT":
        assert family.unit is None and name.endswith("_" + text), name
        family.unit = text
    else:
        assert family.help is None
        family.help = text


def _on_sample(line, families):
    match = SAMPLE.fullmatch(line)
    assert match, f"no sample: {line!r}"
    name, labels, value = match.groups()
    key = (name, tuple(sorted(re.findall(LABEL, labels or ""))))
    family = _family_of(name, families)
    assert key not in family.samples, f"twice: {line}"
    family.samples[key] = float(value)


def _check_histogram(family):
    series = {}
    for (name, labels), value in family.samples.items():
        rest = tuple(x for x in labels if not x.startswith("le="))
        le = [x[4:-1] for x in labels if x.startswith("le=")]
        one = series.setdefault(rest, {"buckets": []})
        if le:
            one["buckets"].append((float("inf") if le[0] == "+Inf" else float(le[0]), value))
        else:
            one[name.rsplit("_", 1)[1]] = value
    for one in series.values():
        bounds, counts = zip(*one["buckets"])
        assert list(bounds) == sorted(set(bounds)) and bounds[-1] == float("inf"), bounds
        assert list(counts) == sorted(counts) and counts[-1] == one["count"], (family.name, counts, one["count"])
        assert one["sum"] >= 0 and (one["sum"] == 0 or one["count"])


def parse(text):
    lines = text.split("\n")
    assert lines[-2:] == ["# EOF", ""], f"it ends with {lines[-2:]}"
    families = {}
    for line in lines[:-2]:
        meta = META.fullmatch(line)
        if meta:
            _on_meta(*meta.groups(), families)
        else:
            _on_sample(line, families)
    for family in families.values():
        assert family.samples and family.help, family.name
        assert family.kind not in ("counter", "histogram", "gauge") or all(v >= 0 for v in family.samples.values())
        if family.kind == "histogram":
            _check_histogram(family)
        if family.kind == "stateset":
            assert sum(family.samples.values()) == 1, family.samples
    return families


def value(families, name, **labels):
    """Of one series, by the sample's name; 0 if there is none."""
    key = (name, tuple(sorted(f'{k}="{v}"' for k, v in labels.items())))
    return sum(f.samples.get(key, 0) for f in families.values())


def check_rise(before, after):
    """No counter and no bucket falls, none disappears."""
    for name, family in before.items():
        if family.kind in ("counter", "histogram"):
            for key, old in family.samples.items():
                assert after[name].samples[key] >= old, (key, old)
