"""GF(p), p = 2^255 - 19: where the seeds and their shares live. Elements are Python integers from 0 to p - 1."""

from common.errors import Refusal

P = 2**255 - 19
SIZE = 32
WIDE = 40
"""Random bytes per element: 320 bits mod p are within 2^-65 of uniform."""


def element(data: bytes) -> int:
    """`data`, big-endian, mod p. Raises ValueError below 40 bytes: fewer would be visibly uneven."""
    if len(data) < WIDE:
        raise ValueError(f"an element is made of at least {WIDE} bytes, not {len(data)}")
    return int.from_bytes(data, "big") % P


def to_bytes(value: int) -> bytes:
    """32 bytes, big-endian. Raises ValueError for anything but an element."""
    if not 0 <= value < P:
        raise ValueError("not an element of the field")
    return value.to_bytes(SIZE, "big")


def from_bytes(data: bytes) -> int:
    """The element that `to_bytes` wrote. Raises Refusal `malformed_message` for other lengths and for p and above."""
    value = int.from_bytes(data, "big")
    if len(data) != SIZE or value >= P:
        raise Refusal("malformed_message", f"{len(data)} bytes that are no element of the field.")
    return value


def is_element(data: bytes) -> bool:
    """Whether `data` is what `to_bytes` writes: 32 bytes of a number below p."""
    return len(data) == SIZE and int.from_bytes(data, "big") < P
