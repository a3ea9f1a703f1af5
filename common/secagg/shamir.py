"""Shamir's sharing over GF(p), many secrets at once (Shamir, "How to share a secret", CACM 1979).

Member k holds the polynomials' values at k + 1. All secrets are worked on together: one Python integer holds one
coefficient, or one share, of each secret, in slots so wide that none runs over into the next.
"""

from collections.abc import Sequence
from math import prod

import numpy as np

from common.errors import Refusal
from common.secagg.field import SIZE, WIDE, P
from common.secagg.primitives import Random

_HIGHEST = 2**16 - 1


def share(secrets: Sequence[int], *, threshold: int, members: int, random: Random) -> list[bytes]:
    """For every member, its shares of all secrets in their order, 32 bytes each: any `threshold` members reconstruct.

    secrets: elements of the field. random: asked once, for 40 bytes per secret and random coefficient.
    Raises ValueError unless 1 <= threshold <= members < 2^16 and every secret is an element.
    """
    if not 1 <= threshold <= members <= _HIGHEST:
        raise ValueError(f"{threshold} of {members} members is no threshold")
    if not all(0 <= secret < P for secret in secrets):
        raise ValueError("not an element of the field")
    slots = _Slots(len(secrets), size=48)  # 256 bits and room for some twenty steps before the next reduction
    noise, size = random(WIDE * len(secrets) * (threshold - 1)), WIDE * len(secrets)
    coefficients = [slots.pack(b"".join(secret.to_bytes(SIZE, "big") for secret in secrets))]
    for degree in range(threshold - 1):
        coefficients.append(slots.reduce(slots.pack(noise[degree * size : (degree + 1) * size])))
    return [slots.unpack(_evaluate(slots, coefficients, point)) for point in range(1, members + 1)]


def _evaluate(slots: "_Slots", coefficients: Sequence[int], point: int) -> int:
    """Horner's rule in every slot: a step adds the bits of `point`, and what would run over is reduced first."""
    value, bits = 0, 256
    for coefficient in reversed(coefficients):
        if bits + point.bit_length() > slots.bits:
            value, bits = slots.reduce(value), 256
        value = value * point + coefficient
        bits += point.bit_length()
    return value


def reconstruct(points: Sequence[int], shares: Sequence[bytes]) -> list[int]:
    """The secrets, from the shares of the members at `points`: Lagrange's interpolation at 0.

    shares: for every point what `share` gave that member. Too few, or false ones, give other elements without notice:
    whoever asks compares what comes out with its commitment.
    Raises ValueError unless the points are distinct and from 1 to 2^16 - 1; Refusal `malformed_message` unless there is
    one share for each and all hold equally many elements.
    """
    if not points or len(set(points)) != len(points) or not all(0 < point <= _HIGHEST for point in points):
        raise ValueError(f"the points of shares are distinct and from 1 to {_HIGHEST}")
    slots = _Slots(len(shares[0]) // SIZE if shares else 0, size=68)  # 255 and 255 bits, over up to 2^16 members
    packed = [slots.pack(held) for held in shares if len(held) == SIZE * slots.count]
    if not (len(packed) == len(shares) == len(points) and all(slots.reduced(held) for held in packed)):
        raise Refusal("malformed_message", "the shares do not hold equally many elements of the field.")
    total = sum(held * _at_zero(point, points) for point, held in zip(points, packed, strict=True))
    secrets = slots.unpack(total)
    return [int.from_bytes(secrets[at : at + SIZE], "big") for at in range(0, len(secrets), SIZE)]


def _at_zero(point: int, points: Sequence[int]) -> int:
    """Lagrange's factor of `point` at 0: the product of x / (x - point) over the other points x."""
    others = [other for other in points if other != point]
    return prod(others) * pow(prod(other - point for other in others), -1, P) % P


class _Slots:
    """`count` numbers side by side in one integer, the first in the highest slot of `size` bytes."""

    def __init__(self, count: int, *, size: int) -> None:
        self.count, self.bits, self._size = count, 8 * size, size
        self._ones = int.from_bytes((bytes(size - 1) + b"\x01") * count, "big")
        self._low = self._ones * (2**255 - 1)
        self._high = self._ones * (2 ** (self.bits - 255) - 1)

    def pack(self, data: bytes) -> int:
        """Equally many bytes per slot, big-endian."""
        slots = np.zeros((self.count, self._size), dtype=np.uint8)
        if self.count:
            numbers = np.frombuffer(data, dtype=np.uint8).reshape(self.count, -1)
            slots[:, self._size - numbers.shape[1] :] = numbers
        return int.from_bytes(slots.tobytes(), "big")

    def unpack(self, value: int) -> bytes:
        """Every slot mod p, as 32 bytes."""
        value = self.reduce(value)
        value = (value + 19 * ((value + 19 * self._ones >> 255) & self._ones)) & self._low
        slots = np.frombuffer(value.to_bytes(self.count * self._size, "big"), dtype=np.uint8)
        return slots.reshape(self.count, self._size)[:, self._size - SIZE :].tobytes()

    def reduce(self, value: int) -> int:
        """The same elements in every slot, below 2^255 + 2^141: 2^255 = 19 mod p, so high bits are added 19 times."""
        bits = self.bits
        while bits > 256:
            value = (value & self._low) + 19 * ((value >> 255) & self._high)
            bits = max(255, bits - 250) + 1
        return value

    def reduced(self, value: int) -> bool:
        """Whether every slot is below p, given that each is below 2^256."""
        return not (value + 19 * self._ones >> 255) & (self._ones * 3)
