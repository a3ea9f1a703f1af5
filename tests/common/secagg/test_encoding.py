"""One canonical encoding: every message comes back equal, and no other bytes are read."""

import math
import struct
import tracemalloc
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, get_args, get_origin

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import Refusal
from common.secagg.encoding import decode, encode
from tests.common.secagg.samples import MESSAGES, drawn, sample, schema


@dataclass(frozen=True)
class Inner:
    text: str


@dataclass(frozen=True)
class Every:
    """One field of each type that the encoding knows."""

    number: int
    real: float
    text: str
    data: bytes
    inner: Inner
    names: tuple[str, ...]
    counts: tuple[int, ...]
    inners: tuple[Inner, ...]


EXAMPLE = Every(7, 0.5, "é", b"ab", Inner("x"), ("a", "b"), (1, 2), (Inner("y"),))


def _refused(kind: type, data: bytes) -> str:
    with pytest.raises(Refusal) as refusal:
        decode(kind, data)
    assert refusal.value.code == "malformed_message"
    return str(refusal.value)


def test_every_class_of_message_is_here() -> None:
    assert {"Roster", "SessionCards", "Header", "SignedReport", "CrossCheck", "Shares"} <= {
        m.__name__ for m in MESSAGES
    }


def test_the_bytes_are_as_documented() -> None:
    def sized(data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + data

    inner = [sized(sized(b"Inner") + sized(text)) for text in (b"x", b"y")]
    assert encode(EXAMPLE) == b"".join(
        [
            sized(b"Every"),
            (7).to_bytes(8, "big"),
            struct.pack(">d", 0.5),
            sized("é".encode()),
            sized(b"ab"),
            inner[0],
            (2).to_bytes(4, "big") + sized(b"a") + sized(b"b"),
            (2).to_bytes(4, "big") + (1).to_bytes(8, "big") + (2).to_bytes(8, "big"),
            (1).to_bytes(4, "big") + inner[1],
        ]
    )


@pytest.mark.parametrize("kind", [*MESSAGES, Every])
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_message_comes_back(kind: type, data: st.DataObject) -> None:
    message = data.draw(drawn(kind))
    encoded = encode(message)
    assert decode(kind, encoded) == message
    assert decode(kind, memoryview(encoded)) == message
    other = data.draw(drawn(kind))
    assert (encode(other) == encoded) == (other == message)


@pytest.mark.parametrize("kind", MESSAGES)
def test_more_or_less_than_the_message_is_refused(kind: type) -> None:
    encoded = encode(sample(kind, np.random.default_rng(0)))
    for size in range(len(encoded)):
        _refused(kind, encoded[:size])
    for tail in (b"\0", b"\0" * 4, encoded):
        assert "after the end" in _refused(kind, encoded + tail)


@pytest.mark.parametrize("kind", MESSAGES)
def test_no_class_is_read_as_another(kind: type) -> None:
    encoded = encode(sample(kind, np.random.default_rng(0)))
    for other in MESSAGES:
        if other is not kind:
            assert f"not the bytes of a {other.__name__}" in _refused(other, encoded)


def _field(name: str, old: bytes, new: bytes) -> bytes:
    """EXAMPLE's bytes with `old`, which stands there once, exchanged."""
    encoded = encode(EXAMPLE)
    assert encoded.count(old) == 1, name
    return encoded.replace(old, new)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("minus zero", struct.pack(">d", 0.5), struct.pack(">d", -0.0)),
        ("not a number", struct.pack(">d", 0.5), struct.pack(">d", math.nan)),
        ("infinity", struct.pack(">d", 0.5), struct.pack(">d", -math.inf)),
        ("cut UTF-8", "é".encode(), b"\xc3\x28"),
        ("overlong UTF-8", "é".encode(), b"\xc1\xa1"),
        ("a surrogate", b"\0\0\0\2" + "é".encode(), b"\0\0\0\3\xed\xa0\x80"),
        ("beyond Unicode", b"\0\0\0\2" + "é".encode(), b"\0\0\0\4\xf4\x90\x80\x80"),
        ("a length too large", b"\0\0\0\2ab", b"\0\0\1\2ab"),
        ("the largest length", b"\0\0\0\2ab", b"\xff\xff\xff\xffab"),
        ("a length too small", b"\0\0\0\2ab", b"\0\0\0\1ab"),
        ("a count too large", b"\0\0\0\2\0\0\0\1a", b"\0\0\0\3\0\0\0\1a"),
        ("the largest count", b"\0\0\0\2\0\0\0\1a", b"\xff\xff\xff\xff\0\0\0\1a"),
        ("a count of numbers", b"\0\0\0\2\0\0\0\0\0\0\0\1", b"\0\0\1\0\0\0\0\0\0\0\0\1"),
        ("another inner class", b"Inner\0\0\0\1x", b"Outer\0\0\0\1x"),
        ("bytes after an inner message", b"\0\0\0\x0e\0\0\0\5Inner\0\0\0\1x", b"\0\0\0\x0f\0\0\0\5Inner\0\0\0\1x\0"),
        ("another class", b"Every", b"every"),
    ],
)
def test_other_forms_are_refused(name: str, old: bytes, new: bytes) -> None:
    assert decode(Every, encode(EXAMPLE)) == EXAMPLE
    _refused(Every, _field(name, old, new))


@pytest.mark.parametrize("count", [2**8, 2**32 - 1])
def test_a_count_is_held_against_what_is_left(count: int) -> None:
    changed = _field("a count", b"\0\0\0\2\0\0\0\1a", count.to_bytes(4, "big") + b"\0\0\0\1a")
    assert f"a list of {count} items" in _refused(Every, changed)


def test_minus_zero_is_written_as_zero() -> None:
    assert encode(replace(EXAMPLE, real=-0.0)) == encode(replace(EXAMPLE, real=0.0))


@pytest.mark.parametrize(
    "change",
    [
        {"number": -1},
        {"number": 2**64},
        {"number": True},
        {"number": 1.0},
        {"real": 1},
        {"real": math.nan},
        {"real": math.inf},
        {"real": np.float64(1)},
        {"text": "\ud800"},
        {"text": b"a"},
        {"data": "a"},
        {"data": 5},
        {"inner": EXAMPLE},
        {"inner": None},
        {"names": ["a"]},
        {"names": "ab"},
        {"names": (1,)},
        {"counts": (-1,)},
        {"inners": ("y",)},
    ],
)
def test_values_without_bytes_are_an_error(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode(replace(EXAMPLE, **change))


@pytest.mark.parametrize("value", [0, 2**64 - 1])
def test_the_ends_of_the_numbers(value: int) -> None:
    message = replace(EXAMPLE, number=value, counts=(value, 0))
    assert decode(Every, encode(message)) == message


HEAVY = {str: "\u0100", bytes: b"ab", int: 2**64 - 1}
"""Items that weigh most in memory against their bytes."""


def _heavy(kind: Any, items: int) -> Any:
    """A message whose weight lies in its lists; the lists of inner messages are empty."""
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return (HEAVY[item] if item in HEAVY else _heavy(item, 0),) * items
    if is_dataclass(kind):
        return kind(**{name: _heavy(field, items) for name, field in schema(kind).items()})
    return kind()


def _peak(kind: type, data: bytes) -> int:
    tracemalloc.start()
    try:
        kept: Any = decode(kind, data)
    except Refusal as refusal:
        kept = refusal
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    del kept
    return peak


@pytest.mark.parametrize("items", [0, 1, 1_000])
@pytest.mark.parametrize("kind", [*MESSAGES, Every])
def test_memory_keeps_its_bound(kind: type, items: int) -> None:
    whole = encode(_heavy(kind, items))
    decode(kind, whole)  # what is kept once per class is none of a message's memory
    name = encode(Inner(kind.__name__))[9:]
    for data in (whole, whole[:-1], whole + b"\0", b"\xff" * 4, name + b"\xff" * 400, name + b"\0\0\1\0" * 5_000):
        assert _peak(kind, data) <= 2**14 + 16 * len(data)
