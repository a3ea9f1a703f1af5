"""What a site keeps on its disk, encrypted: AES-256-GCM (NIST SP 800-38D) of whole files and of single values.

A sealed value: a line that names the format, 8 bytes that name the key, a fresh nonce of 12, ciphertext, a tag of 16.
Format, key, site, purpose and name are authenticated with it, so that it opens in its own place only. With random
nonces one key is good for 2^32 values of one purpose; a site writes a few in a round.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from common.errors import ConsiliumError
from common.files import read_private, write_atomic
from common.sealed import HEAD as HEAD
from common.sealed import is_sealed as is_sealed
from common.secagg.encoding import encode
from common.secagg.primitives import Random, derive

MODEL = "model.safetensors.enc"
KEY_SIZE = 32
_ID, _NONCE, _TAG = 8, 12, 16
_START = len(HEAD) + _ID + _NONCE
OVERHEAD = _START + _TAG
_PIECE = 2**20

Data = bytes | bytearray | memoryview


@dataclass(frozen=True)
class VaultKey:
    """The 32 bytes under which a site's files are encrypted; never shown. Each purpose has a key derived from it."""

    _secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self._secret) != KEY_SIZE:
            raise ValueError(f"a key at rest has {KEY_SIZE} bytes, not {len(self._secret)}")

    @cached_property
    def id(self) -> bytes:
        """8 bytes that name the key and tell nothing else of it."""
        return derive(self._secret, "at rest/name", length=_ID)

    def of(self, purpose: str) -> bytes:
        """The AES-256 key of one purpose."""
        return derive(self._secret, "at rest/key", purpose)


@dataclass(frozen=True)
class Vaulted:
    """Seals and opens what belongs to one site. random: of the nonces, which must never repeat."""

    key: VaultKey
    site: str
    random: Random = field(default=os.urandom, repr=False)

    def seal(self, data: Data, purpose: str, name: str) -> bytes:
        """`data` encrypted, OVERHEAD bytes longer; it opens for this site, purpose and name only."""
        return b"".join(self.pieces(data, purpose, name))

    def pieces(self, data: Data, purpose: str, name: str) -> Iterator[bytes]:
        """What `seal` gives, a MiB at a time: a large value is never in memory twice."""
        head, nonce = HEAD + self.key.id, self.random(_NONCE)
        encryptor = Cipher(AES(self.key.of(purpose)), GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(self._associated(purpose, name))
        yield head + nonce
        with memoryview(data) as whole:
            for start in range(0, len(whole), _PIECE):
                yield encryptor.update(whole[start : start + _PIECE])
        yield encryptor.finalize() + encryptor.tag

    def open(self, sealed: Data, purpose: str, name: str, *, source: str) -> bytes:
        """What was sealed, whole and unchanged. Raises ConsiliumError; source: where it is from, for the message."""
        if len(sealed) < OVERHEAD or not is_sealed(sealed):
            raise ConsiliumError(f"{source}: is not encrypted as this version does it, or was cut off.")
        if bytes(sealed[len(HEAD) : len(HEAD) + _ID]) != self.key.id:
            raise ConsiliumError(
                f"{source}: was encrypted with another key than the one that [at_rest] of {self.site}'s site.toml "
                "names; put that key back."
            )
        with memoryview(sealed) as whole:
            nonce, text = whole[_START - _NONCE : _START], whole[_START:]
            try:
                return AESGCM(self.key.of(purpose)).decrypt(nonce, text, self._associated(purpose, name))
            except InvalidTag:
                raise ConsiliumError(
                    f"{source}: is damaged, or was encrypted for another place or site; put back what was there."
                ) from None

    def write(self, path: Path, data: Data) -> None:
        """Replace the file `path` by `data`, encrypted; whole or not at all. Raises ConsiliumError."""
        write_atomic(path, self.file(path, data), private=True)

    def file(self, path: Path, data: Data) -> bytes:
        """What `write` puts there."""
        return self.seal(data, "file", path.name)

    def read(self, path: Path) -> bytes:
        """What `write` was given under this file name. Raises ConsiliumError, also where others may read the file."""
        return self.open(read_private(path), "file", path.name, source=str(path))

    def _associated(self, purpose: str, name: str) -> bytes:
        return encode(_Place(HEAD + self.key.id, self.site, purpose, name))


@dataclass(frozen=True)
class _Place:
    head: bytes
    site: str
    purpose: str
    name: str
