"""The messages of QWP/1 as Python objects, and protobuf's wire format for them: made from the tables of messages.py.

What is decoded is checked as docs/PROTOCOL.md §3 has it, so that nothing behind this file meets a value that its field cannot
have.  An absent field is None, a repeated one a list."""

import struct

from .errors import ProtocolError
from .messages import ENUMS, MESSAGES, NUMBERS

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
UNKNOWN_MAX = 16
DEPTH_MAX = 4
_BITS = {"uint32": 32, "uint64": 64, "bool": 1}
_FIXED = {"float": (FIXED32, struct.Struct("<f")), "double": (FIXED64, struct.Struct("<d")),
          "fixed64": (FIXED64, struct.Struct("<Q"))}


def _put_varint(out, value):
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _take_varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ProtocolError("a number is cut off or too long")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                raise ProtocolError("a number is cut off or too long")
            return value, at
        shift += 7


def _take_bytes(data, at):
    length, at = _take_varint(data, at)
    if length > len(data) - at:
        raise ProtocolError("a length points outside of the message")
    return data[at:at + length], at + length


class _Number:
    """uint32, uint64, int32, bool and enums: a varint."""

    wire = VARINT
    packs = True

    def __init__(self, kind):
        self.kind, self.values = kind, frozenset(ENUMS[kind].values()) if kind in ENUMS else None

    def check(self, value):
        if self.kind == "bool":
            return isinstance(value, bool)
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        if self.values is not None:
            return value in self.values
        return -(1 << 31) <= value < 1 << 31 if self.kind == "int32" else not value >> _BITS[self.kind]

    def put(self, out, value):
        _put_varint(out, value & 0xFFFFFFFFFFFFFFFF)

    def take(self, data, at, depth):
        value, at = _take_varint(data, at)
        if self.kind == "int32" and value >> 63:
            value -= 1 << 64
        if self.kind == "bool" and value < 2:
            value = bool(value)
        if not self.check(value):
            raise ProtocolError(f"{value} is not a {self.kind}")
        return value, at


class _Fixed:
    """float, double, fixed64."""

    packs = True

    def __init__(self, kind):
        self.kind, (self.wire, self.form) = kind, _FIXED[kind]

    def check(self, value):
        if self.kind == "fixed64":
            return isinstance(value, int) and not isinstance(value, bool) and not value >> 64
        try:
            return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(self.form.pack(value))
        except (OverflowError, struct.error):
            return False

    def put(self, out, value):
        out += self.form.pack(value)

    def take(self, data, at, depth):
        if self.form.size > len(data) - at:
            raise ProtocolError("a number is cut off")
        return self.form.unpack_from(data, at)[0], at + self.form.size


class _Text:
    wire = BYTES
    packs = False

    def check(self, value):
        return isinstance(value, str) and "\0" not in value and _is_unicode(value)

    def put(self, out, value):
        data = value.encode("utf-8")
        _put_varint(out, len(data))
        out += data

    def take(self, data, at, depth):
        text, at = _take_bytes(data, at)
        try:
            text = str(text, "utf-8")
        except UnicodeDecodeError:
            raise ProtocolError("text is not UTF-8") from None
        if "\0" in text:
            raise ProtocolError("text holds a NUL")
        return text, at


def _is_unicode(text):
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:      # half of a surrogate pair
        return False
    return True


class _Bytes:
    wire = BYTES
    packs = False

    def check(self, value):
        return isinstance(value, (bytes, bytearray, memoryview))

    def put(self, out, value):
        _put_varint(out, len(value))
        out += value

    def take(self, data, at, depth):
        value, at = _take_bytes(data, at)
        return bytes(value), at


class _Inner:
    """A submessage; its class is looked up when it is needed, as messages name later ones."""

    wire = BYTES
    packs = False

    def __init__(self, kind):
        self.kind = kind

    def check(self, value):
        return isinstance(value, CLASSES[self.kind])

    def put(self, out, value):
        _Bytes.put(self, out, value.encode())

    def take(self, data, at, depth):
        body, at = _take_bytes(data, at)
        return _decode(CLASSES[self.kind], body, depth + 1), at


def _codec(kind):
    if kind in _BITS or kind in ENUMS or kind == "int32":
        return _Number(kind)
    if kind in _FIXED:
        return _Fixed(kind)
    return _Text() if kind == "string" else _Bytes() if kind == "bytes" else _Inner(kind)


class Field:
    """One field of a message."""

    def __init__(self, name, number, kind, repeated, packed):
        self.name, self.number, self.kind, self.repeated, self.packed = name, number, kind, repeated, packed
        self.codec = _codec(kind)

    def put(self, out, value):
        codec = self.codec
        if self.packed:
            inner = bytearray()
            for one in value:
                codec.put(inner, one)
            _put_varint(out, self.number << 3 | BYTES)
            _put_varint(out, len(inner))
            out += inner
            return
        for one in value if self.repeated else (value,):
            _put_varint(out, self.number << 3 | codec.wire)
            codec.put(out, one)

    def take(self, message, wire, data, at, depth):
        codec = self.codec
        if wire == codec.wire:
            value, at = codec.take(data, at, depth)
            if self.repeated:
                getattr(message, self.name).append(value)
            elif isinstance(codec, _Inner) and getattr(message, self.name) is not None:
                raise ProtocolError(f"{self.name} is there twice")
            else:
                setattr(message, self.name, value)
            return at
        if wire == BYTES and self.repeated and codec.packs:
            inner, at = _take_bytes(data, at)
            values, end = getattr(message, self.name), 0
            while end < len(inner):
                value, end = codec.take(inner, end, depth)
                values.append(value)
            return at
        raise ProtocolError(f"{self.name} has wire type {wire}")


class Message:
    """Base of all messages: Hello(version_min=1), .encode(), Hello.decode(data)."""

    __slots__ = ()
    NAME, FIELDS, BY_NUMBER, NUMBER = "", (), {}, None

    def __init__(self, **values):
        for field in self.FIELDS:
            value = values.pop(field.name, None)
            if value is not None:
                for one in value if field.repeated else (value,):
                    if not field.codec.check(one):
                        raise ValueError(f"{self.NAME}.{field.name}: not a {field.kind} that can be sent")
            setattr(self, field.name, list(value or ()) if field.repeated else value)
        if values:
            raise TypeError(f"{self.NAME} has no field {sorted(values)[0]}")

    def encode(self):
        out = bytearray()
        for field in self.FIELDS:
            value = getattr(self, field.name)
            if value is not None and (value or not field.repeated):
                field.put(out, value)
        return bytes(out)

    @classmethod
    def decode(cls, data):
        return _decode(cls, memoryview(data), 1)

    def __eq__(self, other):
        return type(self) is type(other) and all(getattr(self, f.name) == getattr(other, f.name) for f in self.FIELDS)

    __hash__ = None

    def __repr__(self):     # never a value: prompts and answers are nobody's business in a log
        return f"<{self.NAME} with {', '.join(f.name for f in self.FIELDS if getattr(self, f.name) not in (None, []))}>"


def _skip(wire, data, at):
    if wire == VARINT:
        return _take_varint(data, at)[1]
    if wire == BYTES:
        return _take_bytes(data, at)[1]
    if wire not in (FIXED32, FIXED64):
        raise ProtocolError(f"wire type {wire} is not in use")
    at += 4 if wire == FIXED32 else 8
    if at > len(data):
        raise ProtocolError("a number is cut off")
    return at


def _decode(cls, data, depth):
    if depth > DEPTH_MAX:
        raise ProtocolError("messages are nested too deep")
    message, at, unknown = cls(), 0, 0
    try:
        while at < len(data):
            tag, at = _take_varint(data, at)
            if tag >> 32 or not tag >> 3:
                raise ProtocolError("a field has a number that no field can have")
            field = cls.BY_NUMBER.get(tag >> 3)
            if field:
                at = field.take(message, tag & 7, data, at, depth)
                continue
            unknown += 1
            if unknown > UNKNOWN_MAX:
                raise ProtocolError(f"more than {UNKNOWN_MAX} unknown fields")
            at = _skip(tag & 7, data, at)
    except ProtocolError as error:
        raise ProtocolError(f"{cls.NAME}: {error}") from None
    return message


def _make(name, rows):
    fields = tuple(Field(*row) for row in rows)
    return type(name, (Message,), {"__slots__": tuple(f.name for f in fields), "NAME": name, "FIELDS": fields,
                                   "BY_NUMBER": {f.number: f for f in fields}, "NUMBER": NUMBERS.get(name),
                                   "__hash__": None})


CLASSES = {name: _make(name, rows) for name, rows in MESSAGES.items()}
BY_NUMBER = {cls.NUMBER: cls for cls in CLASSES.values() if cls.NUMBER}
