"""Masks: AES-256-CTR keystreams added to a vector or subtracted from it, mod 2^32 and 2^64.

One stream per mask: its first 4 D bytes mask the narrow vector, the next 8 K the wide one, words little-endian. The
nonce is zero, so a key serves one stream, ever. Counter blocks are those of GCM with that nonce: 2, 3, 4, …
Sources: NIST SP 800-38A, section 6.5 (CTR); SP 800-38D, section 7.1 (its use in GCM).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM
from numpy.typing import NDArray

BLOCK = 1 << 18
"""Bytes masked at a time: the vector's block and the keystream stay in one core's cache while all masks pass over."""

_ZEROS = memoryview(bytes(BLOCK))
_Word = TypeVar("_Word", np.uint16, np.uint32, np.uint64)


@dataclass(frozen=True)
class Mask:
    """One keystream. key: 32 bytes, for this mask alone. negative: subtract it instead of adding."""

    key: bytes = field(repr=False)
    negative: bool


class Keystream:
    """AES-256-CTR as words. Streams may share one scratch buffer, which holds the words that were made last."""

    def __init__(self, key: bytes, scratch: NDArray[np.uint8]) -> None:
        """key: 32 bytes, ValueError otherwise. scratch: (BLOCK,) uint8."""
        self._cipher, self._scratch = _counter_mode(key), scratch.data

    def words(self, kind: type[_Word], count: int) -> NDArray[_Word]:
        """The next `count` words, at most BLOCK bytes of them: a view of the scratch buffer, to be used at once."""
        word = np.dtype(kind).newbyteorder("<")
        self._cipher.update_into(_ZEROS[: count * word.itemsize], self._scratch)
        return np.frombuffer(self._scratch, dtype=word, count=count)


def _counter_mode(key: bytes) -> Any:
    """A cipher that turns zeros into the keystream: GCM, whose tag is never asked for.

    The bytes are those of CTR from the block that ends in 2, at twice the speed where the processor has vector AES
    instructions: OpenSSL 4.0 uses them for GCM alone.
    """
    if len(key) != 32:
        raise ValueError(f"an AES-256 key has 32 bytes, not {len(key)}")
    return Cipher(AES(key), GCM(bytes(12))).encryptor()


def apply_masks(masks: Sequence[Mask], narrow: NDArray[np.uint32], wide: NDArray[np.uint64]) -> None:
    """Add or subtract every mask, in place.

    narrow: (D,), mod 2^32. wide: (K,), mod 2^64. Raises ValueError, before a word is changed, for other dtypes and for
    a key that does not have 32 bytes or stands there twice: two masks of one key would cancel or double.
    """
    if narrow.dtype != np.dtype(np.uint32) or wide.dtype != np.dtype(np.uint64):
        raise ValueError(f"masks go onto uint32 and uint64, not {narrow.dtype} and {wide.dtype}")
    if len({mask.key for mask in masks}) != len(masks):
        raise ValueError("two masks have one key")
    scratch = np.empty(BLOCK, dtype=np.uint8)
    streams = [(Keystream(mask.key, scratch), np.subtract if mask.negative else np.add) for mask in masks]
    _apply(streams, narrow, np.uint32)
    _apply(streams, wide, np.uint64)


def _apply(streams: Sequence[tuple[Keystream, np.ufunc]], vector: NDArray[_Word], kind: type[_Word]) -> None:
    words = BLOCK // vector.itemsize
    for start in range(0, len(vector), words):
        block = vector[start : start + words]
        for stream, combine in streams:
            combine(block, stream.words(kind, len(block)), out=block)
