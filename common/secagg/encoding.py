"""One canonical encoding for every message, strict both ways: equal values have equal bytes, and no other bytes decode.

A message is a frozen dataclass whose fields are `int` (8 bytes, unsigned), `float` (8 bytes, IEEE 754, finite), `str`
(UTF-8), `bytes`, another message, or a tuple of one of these. Strings, bytes and messages carry their length in 4
bytes, tuples their number of items; all numbers are big-endian. The name of the class comes first.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from common.errors import Refusal

Message = TypeVar("Message")
_LARGEST = 2**64 - 1
_Write = Callable[[list[bytes], Any], None]
_Read = Callable[["_Reader"], Any]
_SCHEMAS: dict[type, tuple[tuple[str, _Write, _Read], ...]] = {}


def encode(message: Any) -> bytes:
    """The canonical bytes of `message`. Raises ValueError for a value that has none."""
    parts: list[bytes] = []
    kind = type(message)
    _write_text(parts, kind.__name__)
    for name, write, _ in _schema(kind):
        write(parts, getattr(message, name))
    return b"".join(parts)


def decode(kind: type[Message], data: bytes | memoryview) -> Message:
    """The message of class `kind` with the canonical bytes `data`.

    Raises Refusal `malformed_message` for anything else. Memory stays within 16 KiB and 16 times that of `data`:
    lengths and counts are held against what is left before anything is made.
    """
    reader = _Reader(memoryview(data))
    if reader.text() != kind.__name__:
        raise _malformed(f"not the bytes of a {kind.__name__}")
    values = {name: read(reader) for name, _, read in _schema(kind)}
    if reader.left:
        raise _malformed(f"{reader.left} bytes after the end of a {kind.__name__}")
    return kind(**values)


def _schema(kind: type) -> tuple[tuple[str, _Write, _Read], ...]:
    """(name, writer, reader) of every field; the types are looked at once per class."""
    if kind not in _SCHEMAS:
        hints = get_type_hints(kind)
        _SCHEMAS[kind] = tuple((field.name, *_codec(hints[field.name])) for field in fields(kind))
    return _SCHEMAS[kind]


def _codec(kind: Any) -> tuple[_Write, _Read]:
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        if item is int:
            return _write_numbers, _Reader.numbers
        write, read = _codec(item)
        smallest = 8 if item is float else 4
        return lambda parts, items: _write_items(parts, items, write), lambda reader: reader.items(read, smallest)
    if kind in _PLAIN:
        return _PLAIN[kind]
    return lambda parts, value: _write_message(parts, value, kind), lambda reader: decode(kind, reader.sized())


def _write_number(parts: list[bytes], value: Any) -> None:
    if type(value) is not int or not 0 <= value <= _LARGEST:
        raise ValueError(f"{value!r} is no whole number from 0 to 2^64 - 1")
    parts.append(value.to_bytes(8, "big"))


def _write_numbers(parts: list[bytes], values: Any) -> None:
    _check_type(values, tuple)
    for value in values:
        if type(value) is not int or not 0 <= value <= _LARGEST:
            raise ValueError(f"{value!r} is no whole number from 0 to 2^64 - 1")
    parts.append(len(values).to_bytes(4, "big"))
    parts.append(struct.pack(f">{len(values)}Q", *values))


def _write_float(parts: list[bytes], value: Any) -> None:
    if type(value) is not float or not math.isfinite(value):
        raise ValueError(f"{value!r} is no finite float")
    parts.append(struct.pack(">d", value + 0.0))  # one zero: -0.0 + 0.0 is 0.0


def _write_text(parts: list[bytes], value: Any) -> None:
    _check_type(value, str)
    _sized(parts, value.encode())


def _write_bytes(parts: list[bytes], value: Any) -> None:
    _check_type(value, bytes)
    _sized(parts, value)


def _write_message(parts: list[bytes], value: Any, kind: type) -> None:
    _check_type(value, kind)
    _sized(parts, encode(value))


def _check_type(value: Any, kind: type) -> None:
    if type(value) is not kind:
        raise ValueError(f"a {type(value).__name__} where a {kind.__name__} was declared")


def _write_items(parts: list[bytes], items: Any, write: _Write) -> None:
    _check_type(items, tuple)
    parts.append(len(items).to_bytes(4, "big"))
    for item in items:
        write(parts, item)


def _sized(parts: list[bytes], data: bytes) -> None:
    parts += (len(data).to_bytes(4, "big"), data)


class _Reader:
    def __init__(self, data: memoryview) -> None:
        self._data, self._at, self.left = data, 0, len(data)

    def number(self) -> int:
        return int.from_bytes(self._take(8), "big")

    def numbers(self) -> tuple[int, ...]:
        count = self._count(8)
        return struct.unpack(f">{count}Q", self._take(8 * count))

    def real(self) -> float:
        value: float = struct.unpack(">d", self._take(8))[0]
        if not math.isfinite(value) or (value == 0.0 and math.copysign(1.0, value) < 0):
            raise _malformed("a number that is not finite, or minus zero")
        return value

    def sized(self) -> memoryview:
        return self._take(int.from_bytes(self._take(4), "big"))

    def octets(self) -> bytes:
        return bytes(self.sized())

    def text(self) -> str:
        try:
            return str(self.sized(), "utf-8")
        except UnicodeDecodeError:
            raise _malformed("a text that is not UTF-8") from None

    def items(self, read: _Read, smallest: int) -> tuple[Any, ...]:
        return tuple([read(self) for _ in range(self._count(smallest))])

    def _count(self, smallest: int) -> int:
        count = int.from_bytes(self._take(4), "big")
        if count > self.left // smallest:
            raise _malformed(f"a list of {count} items in {self.left} bytes")
        return count

    def _take(self, size: int) -> memoryview:
        if size > self.left:
            raise _malformed(f"{size} bytes wanted, {self.left} left")
        at, self._at = self._at, self._at + size
        self.left -= size
        return self._data[at : self._at]


_PLAIN: dict[Any, tuple[_Write, _Read]] = {
    int: (_write_number, _Reader.number),
    float: (_write_float, _Reader.real),
    str: (_write_text, _Reader.text),
    bytes: (_write_bytes, _Reader.octets),
}


def _malformed(what: str) -> Refusal:
    return Refusal("malformed_message", f"{what}.")
