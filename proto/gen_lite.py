#!/usr/bin/env python3
"""gen_lite.py - QWP/1 as tables, for clients without protobuf: client/python/qwend/messages.py, made from qwend.proto (messages,
enums), frame.h (type numbers) and status.h (codes).

    python3 proto/gen_lite.py            writes it
    python3 proto/gen_lite.py --check    says what is not as the sources have it, exit 1

It reads the dialect these files are written in and refuses what it does not understand; tests/daemon/test_python_wire.py compares
the outcome with what protoc makes of the same file."""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = "client/python/qwend/messages.py"
SCALARS = {"uint32", "uint64", "int32", "bool", "string", "bytes", "float", "double", "fixed64"}


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


class Proto:
    """The tokens of a .proto file, taken one by one."""

    def __init__(self, text):
        self.tokens = re.findall(r'"[^"]*"|[A-Za-z_][\w.]*|\d+|\S', re.sub(r"//[^\n]*", "", text))
        self.enums, self.messages = {}, {}

    def take(self, *wanted):
        token = self.tokens.pop(0) if self.tokens else "the end"
        if wanted and token not in wanted:
            raise SystemExit(f"gen_lite.py: {token} where {' or '.join(wanted)} is due")
        return token

    def file(self):
        while self.tokens:
            token = self.take("syntax", "package", "enum", "message")
            if token == "enum":
                self.enum("")
            elif token == "message":
                self.message()
            else:
                while self.take() != ";":
                    pass

    def enum(self, scope):
        name, values = scope + self.take(), {}
        self.take("{")
        while (value := self.take()) != "}":
            self.take("=")
            values[value] = int(self.take())
            self.take(";")
        self.enums[name] = values

    def message(self):
        name, fields = self.take(), []
        self.take("{")
        while (token := self.take("optional", "repeated", "enum", "reserved", "}")) != "}":
            if token == "enum":
                self.enum(name + ".")
                continue
            if token == "reserved":
                while self.take() != ";":
                    pass
                continue
            kind, field = self.take(), self.take()
            self.take("=")
            number, packed = int(self.take()), False
            if (end := self.take("[", ";")) == "[":
                for part in ("packed", "=", "true", "]", ";"):
                    self.take(part)
                packed = True
            fields.append((field, number, kind, token == "repeated", packed and end == "["))
        self.messages[name] = fields

    def kind(self, message, kind):
        """What a field's type is in the table: a scalar, or the full name of an enum or a message."""
        found = kind if kind in SCALARS | self.enums.keys() | self.messages.keys() else f"{message}.{kind}"
        if found not in SCALARS | self.enums.keys() | self.messages.keys():
            raise SystemExit(f"gen_lite.py: {message}: unknown type {kind}")
        return found


def type_numbers(messages):
    """{message: number}: MSG_STATUS_REPLY is StatusReply; what the broker and the engine say to each other is left out."""
    numbers = {name: int(n) for name, n in re.findall(r"\bMSG_(\w+) = (\d+),", read("proto/frame.h"))
               if int(n) < 1000 or int(n) >= 0x8000}
    found = {"".join(part.capitalize() for part in name.split("_")): n for name, n in numbers.items()}
    if unknown := found.keys() - messages.keys():
        raise SystemExit(f"gen_lite.py: no messages for {sorted(unknown)}")
    return found


def status_codes():
    return {name: int(n) for name, n in re.findall(r"\bSTATUS_(\w+) = (\d+),", read("proto/status.h")) if int(n)}


def generate():
    proto = Proto(read("proto/qwend.proto"))
    proto.file()
    out = ['"""QWP/1 as tables.  Made by proto/gen_lite.py from proto/qwend.proto, frame.h and status.h: run it, do not edit this."""',
           "", "ENUMS = {  # name: {value: number}"]
    out += [f'    "{name}": {values},'.replace("'", '"') for name, values in proto.enums.items()]
    out += ["}", "", "MESSAGES = {  # name: (field, number, type, repeated, packed)..."]
    for name, fields in proto.messages.items():
        out.append(f'    "{name}": (')
        out += [f'        ("{field}", {number}, "{proto.kind(name, kind)}", {repeated}, {packed}),'
                for field, number, kind, repeated, packed in fields]
        out.append("    ),")
    out += ["}", "", "NUMBERS = {  # message: type of its frame"]
    out += [f'    "{name}": {number},' for name, number in type_numbers(proto.messages).items()]
    out += ["}", "", "STATUS = {  # name: code of an Error"]
    out += [f'    "{name}": {code},' for name, code in status_codes().items()]
    return "\n".join(out + ["}", ""])


def main(arguments):
    wanted = generate()
    if arguments == ["--check"]:
        if wanted != read(TARGET):
            print(f"{TARGET} is not what proto/ says: run python3 proto/gen_lite.py and commit")
            return 1
        return 0
    if arguments:
        raise SystemExit("usage: gen_lite.py [--check]")
    with open(os.path.join(ROOT, TARGET), "w", encoding="utf-8") as f:
        f.write(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
