#!/usr/bin/env python3
"""test_wire.py - the codec of client/python against google.protobuf: the same tables, the same bytes, the same refusals."""

import ast
import os
import random
import sys

import qwend
import qwp
from google.protobuf.message import DecodeError
from qwend import errors, wire
from qwend.messages import ENUMS, MESSAGES, NUMBERS, STATUS
from qwp import pb

SEED = 20261126
N = int(os.environ.get("QWEND_FUZZ", "3000"))
FILE = pb.DESCRIPTOR
PACKAGE = os.path.dirname(qwend.__file__)
KINDS = {5: "int32", 13: "uint32", 4: "uint64", 8: "bool", 9: "string", 12: "bytes", 2: "float", 1: "double", 6: "fixed64"}
TEXTS = ["", "a", "Grüße", "\U0001f600 ok", "x" * 200, "\ud7ff\ue000", "\x7f\u0080"]
NUMBERS_OF = {"uint32": [0, 1, 127, 128, 2**32 - 1], "uint64": [0, 1, 2**63, 2**64 - 1], "int32": [0, 1, -1, -2**31, 2**31 - 1],
              "bool": [False, True], "float": [0.0, -1.5, 1.0, 0.5], "double": [0.0, 3.141592653589793, -1e300],
              "fixed64": [0, 2**64 - 1]}


def kind_of(field):
    full = field.enum_type.full_name if field.enum_type else field.message_type.full_name if field.message_type else ""
    return full[len("qwp."):] if full else KINDS[field.type]


def the_tables_are_those_of_protoc():
    for name, cls in FILE.message_types_by_name.items():
        rows = [(f.name, f.number, kind_of(f), f.label == f.LABEL_REPEATED, f.GetOptions().packed) for f in cls.fields]
        assert rows == list(MESSAGES[name]), name
    assert set(MESSAGES) == set(FILE.message_types_by_name)
    enums = {e.name: e for e in FILE.enum_types_by_name.values()}
    enums.update((f"{name}.{e.name}", e) for name, cls in FILE.message_types_by_name.items() for e in cls.enum_types)
    assert ENUMS == {name: {v.name: v.number for v in e.values} for name, e in enums.items()}
    assert NUMBERS == {cls.DESCRIPTOR.name: number for number, cls in qwp.TYPES.items()}


def every_code_has_its_class():
    for name, code in STATUS.items():
        error = errors.from_message(wire.CLASSES["Error"](code=code, text="why", retry_after_ms=7, details=[
            wire.CLASSES["Detail"](key="used", value="3")]))
        assert type(error).__name__ == "".join(p.capitalize() for p in name.split("_")) + "Error"
        assert isinstance(error, errors.RefusedError) and getattr(errors, type(error).__name__) is type(error)
        assert (error.code, error.name, error.text, error.retry_after_ms, error.details) == (code, name, "why", 7, {"used": "3"})
        assert str(error) == f"why ({code} {name})"
    assert type(errors.from_message(wire.CLASSES["Error"](code=499))) is errors.BusyFamily
    assert errors.from_message(wire.CLASSES["Error"](code=999)).code == 999


def fill(rng, cls, theirs, depth=0):
    """The same random values in a message of ours and one of google's; ours is returned."""
    values = {}
    for field in cls.FIELDS:
        if rng.random() < 0.4 or depth > 3:
            continue
        made = []
        for _ in range(rng.choice((1, 1, 3)) if field.repeated else 1):
            if field.kind in wire.CLASSES:
                other = getattr(theirs, field.name).add() if field.repeated else getattr(theirs, field.name)
                other.SetInParent()
                made.append(fill(rng, wire.CLASSES[field.kind], other, depth + 1))
                continue
            made.append(rng.choice(list(ENUMS[field.kind].values())) if field.kind in ENUMS else
                        rng.choice(TEXTS) if field.kind == "string" else
                        rng.randbytes(rng.choice((0, 1, 16, 300))) if field.kind == "bytes" else
                        rng.choice(NUMBERS_OF[field.kind]))
            if field.repeated:
                getattr(theirs, field.name).append(made[-1])
            else:
                setattr(theirs, field.name, made[-1])
        values[field.name] = made if field.repeated else made[0]
    return cls(**values)


def examples(rng, n):
    names = list(MESSAGES)
    for _ in range(n):
        name = rng.choice(names)
        theirs = getattr(pb, name)()
        yield wire.CLASSES[name], fill(rng, wire.CLASSES[name], theirs), theirs


def both_write_and_read_the_same_bytes():
    rng = random.Random(SEED)
    for cls, ours, theirs in examples(rng, N):
        data = theirs.SerializeToString()
        assert ours.encode() == data, (cls.NAME, ours.encode().hex(), data.hex())
        assert cls.decode(data) == ours and cls.decode(data).encode() == data


def repeated_numbers_are_read_packed_or_not():
    for data in (b"\x0a\x03\x01\x02\x03", b"\x08\x01\x08\x02\x08\x03", b"\x08\x01\x0a\x02\x02\x03"):
        assert wire.CLASSES["Tokens"].decode(data).ids == [1, 2, 3]


def mutate(rng, data):
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        what = rng.randrange(4)
        if what == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            data[at:at] = rng.randbytes(rng.randint(1, 4))
        elif what == 2:
            del data[at:at + rng.randint(1, 4)]
        elif at < len(data):
            data[at] = rng.choice((0, 0x7F, 0x80, 0xFF))
    return bytes(data)


def what_is_read_of_noise_google_reads_too():
    """Ours refuses more (docs/PROTOCOL.md §3), never less; what both take means the same."""
    rng, taken, refused = random.Random(SEED + 1), 0, 0
    for cls, ours, theirs in examples(rng, 3 * N):
        data = mutate(rng, theirs.SerializeToString())
        try:
            got = cls.decode(data)
        except errors.ProtocolError:
            refused += 1
            continue
        taken += 1
        again = type(theirs)()
        try:
            again.ParseFromString(data)
        except DecodeError as error:
            raise AssertionError(f"{cls.NAME} {data.hex()}: ours takes it, google does not") from error
        again.DiscardUnknownFields()
        # through ours once more: Python makes a signalling NaN a quiet one
        assert got.encode() == cls.decode(again.SerializeToString()).encode(), (cls.NAME, data.hex())
    assert taken > N // 4 and refused > N // 4, (taken, refused)


def what_no_message_may_be_is_refused():
    for data, cls, why in (
            (b"\x10", "Credit", "cut off"), (b"\x08\x80", "Credit", "cut off"), (b"\x08" + b"\xff" * 11, "Credit", "too long"),
            (b"\x08\xff\xff\xff\xff\x1f", "Credit", "is not a uint32"), (b"\x0d\0\0\0\0", "Credit", "wire type 5"),
            (b"\x0a\x05ab", "Body", "points outside"), (b"\x1a\x01\xff", "Hello", "not UTF-8"), (b"\x1a\x01\0", "Hello", "NUL"),
            (b"\x1a\x02\xc0\x80", "Hello", "not UTF-8"), (b"\x1a\x03\xed\xa0\x80", "Hello", "not UTF-8"),
            (b"\x08\x09", "Event", "is not a Event.Kind"), (b"\x10\x02", "Cancel", "is not a bool"), (b"\x00\x01", "Credit", "number"),
            (b"\x0b\x0c", "Credit", "wire type 3"), (b"\x2a\0\x2a\0", "Welcome", "twice"), (b"\x0b", "Status", "wire type 3"),
            (b"\x98\x06\x01" * 17, "Credit", "more than 16"), (b"\x80\x80\x80\x80\x80\x01\x01", "Credit", "number")):
        try:
            wire.CLASSES[cls].decode(data)
        except errors.ProtocolError as error:
            assert why in str(error) and str(error).startswith(cls), (data.hex(), str(error))
        else:
            raise AssertionError(f"{cls} {data.hex()} was taken: {why}")
    assert wire.CLASSES["Credit"].decode(b"\x98\x06\x01" * 16).bytes is None


def what_no_field_may_hold_is_not_sent():
    for cls, values in (("Credit", {"bytes": -1}), ("Credit", {"bytes": 1 << 32}), ("Credit", {"bytes": True}), ("Body", {"data": "x"}),
                        ("Hello", {"client": "a\0b"}), ("Hello", {"client": "\ud800"}), ("Sampling", {"temperature": 1e300}),
                        ("Generate", {"priority": 9}), ("Tokens", {"ids": [1, "2"]}), ("Welcome", {"model": pb.Model()})):
        try:
            wire.CLASSES[cls](**values)
        except ValueError as error:
            assert cls in str(error) and next(iter(values)) in str(error)
        else:
            raise AssertionError(f"{cls} {values} was taken")


def it_is_python_3_9():
    for name in sorted(os.listdir(PACKAGE)):
        if name.endswith(".py"):
            with open(os.path.join(PACKAGE, name), encoding="utf-8") as f:
                ast.parse(f.read(), name, feature_version=(3, 9))


def the_version_is_the_project_s():
    assert qwend.__version__ == os.environ["QWEND_VERSION"]


if __name__ == "__main__":
    sys.exit(qwp.run([the_tables_are_those_of_protoc, every_code_has_its_class, both_write_and_read_the_same_bytes,
                      repeated_numbers_are_read_packed_or_not, what_is_read_of_noise_google_reads_too,
                      what_no_message_may_be_is_refused, what_no_field_may_hold_is_not_sent, it_is_python_3_9,
                      the_version_is_the_project_s]))
