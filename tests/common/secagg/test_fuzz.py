"""Damaged messages of every class, as a hostile or broken peer sends them: canonical bytes, or `malformed_message`."""

from collections.abc import Callable

import numpy as np
import pytest

from common.errors import Refusal
from common.secagg.encoding import decode, encode
from tests.common.secagg.samples import MESSAGES, sample

ORDINARY, TORTURE = 100_000, 1_000_000
HUGE = [bytes(4), b"\0\0\0\1", b"\0\0\xff\xff", b"\0\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff"]


def _flip(data: bytearray, other: bytes, random: np.random.Generator) -> None:
    for _ in range(random.integers(1, 4)):
        data[random.integers(len(data))] ^= 1 << int(random.integers(8))


def _truncate(data: bytearray, other: bytes, random: np.random.Generator) -> None:
    del data[random.integers(len(data)) :]


def _extend(data: bytearray, other: bytes, random: np.random.Generator) -> None:
    data += random.bytes(int(random.integers(1, 40)))


def _splice(data: bytearray, other: bytes, random: np.random.Generator) -> None:
    """A piece of one message over, or between, the bytes of another."""
    start, at = int(random.integers(len(other))), int(random.integers(len(data)))
    piece = other[start : start + int(random.integers(1, 80))]
    data[at : at + len(piece) * int(random.integers(2))] = piece


def _lie(data: bytearray, other: bytes, random: np.random.Generator) -> None:
    """A length or count (any four bytes that begin with two zeros, as real ones do) set to another."""
    at = data.find(b"\0\0", random.integers(len(data)))
    at = at if 0 <= at <= len(data) - 4 else 0  # the message begins with a length
    data[at : at + 4] = HUGE[random.integers(len(HUGE))]


def _delete(data: bytearray, other: bytes, random: np.random.Generator) -> None:
    at = int(random.integers(len(data)))
    del data[at : at + int(random.integers(1, 9))]


Mutation = Callable[[bytearray, bytes, np.random.Generator], None]
MUTATIONS: list[Mutation] = [_flip, _truncate, _extend, _splice, _lie, _delete]


def _fuzz(kind: type, cases: int, seed: int) -> int:
    """The number of cases that were refused; whatever is read must be the canonical bytes of what was read."""
    random = np.random.default_rng(seed)
    originals = {k: [encode(sample(k, random)) for _ in range(4)] for k in MESSAGES}
    refused = 0
    for case in range(cases):
        data = bytearray(originals[kind][random.integers(4)])
        other = originals[MESSAGES[random.integers(len(MESSAGES))]][random.integers(4)]
        MUTATIONS[case % len(MUTATIONS)](data, other, random)
        try:
            message = decode(kind, bytes(data))
        except Refusal as refusal:
            assert refusal.code == "malformed_message"
            refused += 1
        else:
            assert type(message) is kind and encode(message) == data
    return refused


@pytest.mark.parametrize("kind", MESSAGES)
def test_damaged_messages(kind: type) -> None:
    cases = -(-ORDINARY // len(MESSAGES))
    assert cases // 4 < _fuzz(kind, cases, seed=MESSAGES.index(kind)) < cases


@pytest.mark.torture
@pytest.mark.slow
@pytest.mark.parametrize("kind", MESSAGES)
def test_damaged_messages_at_length(kind: type) -> None:
    _fuzz(kind, -(-TORTURE // len(MESSAGES)), seed=1000 + MESSAGES.index(kind))


@pytest.mark.parametrize("kind", MESSAGES)
def test_noise_is_refused(kind: type) -> None:
    random = np.random.default_rng(0)
    for _ in range(500):
        with pytest.raises(Refusal) as refusal:
            decode(kind, random.bytes(int(random.integers(0, 300))))
        assert refusal.value.code == "malformed_message"
