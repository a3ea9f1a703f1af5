"""Messages as JSON files that people can read and mail: bytes are hexadecimal, tuples are lists, nothing is guessed.

The first key, `message`, names the class. What a signature covers is never this text but the canonical bytes.
"""

import json
import math
import re
from dataclasses import fields
from typing import Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

from common.errors import ConsiliumError

Message = TypeVar("Message")
_KIND = "message"
_HEX = re.compile(r"(?:[0-9a-f]{2})*")
_LARGEST = 2**64 - 1
_WORDS = {
    "EnrolCard": "a site's card",
    "RosterSignature": "a site's signature",
    "SignedRoster": "a roster",
    "Approval": "what a site approved and signed",
}


def to_json(message: Any) -> bytes:
    """UTF-8 text of `message`, indented, with a line break at its end."""
    content = {_KIND: type(message).__name__, **_plain(message)}
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def from_json(kind: type[Message], data: bytes, *, source: str) -> Message:
    """The message of class `kind` that `to_json` made `data` of. source: the file's name, for messages.

    Raises ConsiliumError, one sentence that names the key, for unknown, missing or repeated keys and wrong values.
    """
    try:
        content = json.loads(data.decode(), object_pairs_hook=lambda pairs: _once(pairs, source))
    except RecursionError:
        raise ConsiliumError(f"{source}: not JSON text: nested too deeply.") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, and what int() refuses
        raise ConsiliumError(f"{source}: not JSON text: {error}.") from None
    if not isinstance(content, dict) or content.get(_KIND) != kind.__name__:
        found = content.get(_KIND) if isinstance(content, dict) else content
        raise ConsiliumError(f"{source}: '{_KIND}' is {_short(found)}, but this file has to hold {in_words(kind)}.")
    del content[_KIND]
    message: Message = _Reader(source).read(kind, content, "")
    return message


def holds(kind: type, data: bytes) -> bool:
    """Whether `data` names itself a message of class `kind`; the rest of it may be damaged."""
    try:
        content = json.loads(data.decode())
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get(_KIND) == kind.__name__


def in_words(kind: type) -> str:
    """What people call a message of class `kind`, with its article."""
    return _WORDS.get(kind.__name__, f"a {kind.__name__}")


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, int | float | str):
        return value
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def _once(pairs: list[tuple[str, Any]], source: str) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ConsiliumError(f"{source}: '{twice}' is given twice; every key may stand once.")
    return result


class _Reader:
    def __init__(self, source: str) -> None:
        self._source = source

    def read(self, kind: Any, value: Any, key: str) -> Any:
        if kind is int:
            right = type(value) is int and 0 <= value <= _LARGEST
            return value if right else self._wrong(key, value, "a whole number from 0 to 2^64 - 1")
        if kind is float:
            right = type(value) is float and math.isfinite(value)
            return value if right else self._wrong(key, value, "a finite number with a decimal point")
        if kind is str:
            right = isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)
            return value if right else self._wrong(key, value, "text")
        if kind is bytes:
            right = isinstance(value, str) and _HEX.fullmatch(value) is not None
            return bytes.fromhex(value) if right else self._wrong(key, value, "pairs of the digits 0-9 and a-f")
        if get_origin(kind) is tuple:
            if not isinstance(value, list):
                self._wrong(key, value, "a list")
            return tuple(self.read(get_args(kind)[0], item, f"{key}[{i}]") for i, item in enumerate(value))
        return self._message(kind, value, key)

    def _message(self, kind: Any, value: Any, key: str) -> Any:
        if not isinstance(value, dict):
            self._wrong(key, value, in_words(kind))
        hints, inside = get_type_hints(kind), f"{key}." if key else ""
        for name in value:
            if name not in hints:
                raise ConsiliumError(f"{self._source}: unknown key {_short(inside + name)} in {in_words(kind)}.")
        for field in fields(kind):
            if field.name not in value:
                raise ConsiliumError(f"{self._source}: required key '{inside}{field.name}' is missing.")
        return kind(**{f.name: self.read(hints[f.name], value[f.name], f"{inside}{f.name}") for f in fields(kind)})

    def _wrong(self, key: str, value: Any, allowed: str) -> NoReturn:
        raise ConsiliumError(f"{self._source}: '{key}' is {_short(value)}, but it has to be {allowed}.")


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
