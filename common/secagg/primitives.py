"""The published primitives, each behind one narrow function: SHA-256, Ed25519, X25519, HKDF-SHA256, AES-256-GCM.

Every signature names its kind and every derived key its label, so nothing made for one purpose serves another.
Randomness is always passed in. Sources: RFC 8032 (Ed25519), RFC 7748 (X25519), RFC 5869 (HKDF), NIST SP 800-38D (GCM).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from common.secagg.encoding import encode

Random = Callable[[int], bytes]
"""n -> n random bytes: the operating system's at a deployed site."""

Kind = Literal["enrol", "session-key", "roster", "plan", "header", "report", "crosscheck", "unmask", "receipt"]

_CONTEXT = b"consilium/1/"
_NONCE, _TAG = 12, 16
_KEY, _SIGNATURE = 32, 64
_KNOWN_SIGNATURES = 4096


def digest(message: Any) -> bytes:
    """SHA-256, 32 bytes: of bytes as they are, of a message's canonical bytes."""
    return sha256(message if isinstance(message, bytes | bytearray | memoryview) else encode(message)).digest()


@dataclass(frozen=True)
class SigningKey:
    """A site's or the coordinator's Ed25519 key. It never signs bare bytes: the kind is always part of them."""

    _key: Ed25519PrivateKey = field(repr=False)

    @staticmethod
    def new(random: Random) -> "SigningKey":
        return SigningKey.from_bytes(random(32))

    @staticmethod
    def from_bytes(private: bytes) -> "SigningKey":
        """private: 32 bytes. Raises ValueError for another length."""
        return SigningKey(Ed25519PrivateKey.from_private_bytes(private))

    @property
    def private_bytes(self) -> bytes:
        return self._key.private_bytes_raw()

    @property
    def verify_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def sign(self, kind: Kind, message: Any) -> bytes:
        """64 bytes: over the kind and the digest of `message`, a message or bytes."""
        return self._sign_bare(_signed(kind, message))

    def _sign_bare(self, data: bytes) -> bytes:
        return self._key.sign(data)


def verify(verify_key: bytes, kind: Kind, message: Any, signature: bytes) -> bool:
    """Whether `signature` is that of `verify_key` over `message` as this kind. False for anything malformed."""
    try:
        data = _signed(kind, message)
    except ValueError:
        return False
    if len(verify_key) != _KEY or len(signature) != _SIGNATURE:
        return False  # before it is remembered: what is kept stays small
    return _verify_bare(verify_key, data, signature)


# Committee members check the same signatures. At a hospital each is checked once; in a process with many virtual sites
# the answer is remembered: it depends on nothing but these public bytes.
@lru_cache(maxsize=_KNOWN_SIGNATURES)
def _verify_bare(verify_key: bytes, data: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(verify_key).verify(signature, data)
    except (ValueError, InvalidSignature):
        return False
    return True


def _signed(kind: Kind, message: Any) -> bytes:
    return _CONTEXT + kind.encode() + b"\0" + digest(message)


@dataclass(frozen=True)
class ExchangeKey:
    """A site's X25519 key of one session."""

    _key: X25519PrivateKey = field(repr=False)

    @staticmethod
    def new(random: Random) -> "ExchangeKey":
        return ExchangeKey.from_bytes(random(32))

    @staticmethod
    def from_bytes(private: bytes) -> "ExchangeKey":
        """private: 32 bytes. Raises ValueError for another length."""
        return ExchangeKey(X25519PrivateKey.from_private_bytes(private))

    @property
    def private_bytes(self) -> bytes:
        return self._key.private_bytes_raw()

    @property
    def public_bytes(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def agree(self, peer: bytes) -> bytes | None:
        """The 32 bytes shared with `peer`; None where its key is malformed or of small order (the all-zero secret)."""
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(peer))
        except ValueError:
            return None


def derive(secret: bytes, label: str, *parts: bytes | str, length: int = 32) -> bytes:
    """`length` bytes from `secret` by HKDF-SHA256 without salt, bound to the label and to each part.

    Label and parts carry their length in 4 bytes: no two lists of parts give the same info.
    """
    info = _sized(_CONTEXT + label.encode())
    for part in parts:
        info += _sized(part.encode() if isinstance(part, str) else part)
    return _hkdf(secret, salt=b"", info=info, length=length)


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part


def _hkdf(secret: bytes, *, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


def seal(key: bytes, plaintext: bytes, associated: bytes, random: Random) -> bytes:
    """A random nonce of 12 bytes, then the AES-256-GCM ciphertext and its tag of 16: 28 bytes more than `plaintext`.

    key: 32 bytes, ValueError otherwise. One key per direction and message: the nonce alone must not carry the security.
    """
    nonce = random(_NONCE)
    return nonce + _gcm(key).encrypt(nonce, plaintext, associated)


def unseal(key: bytes, sealed: bytes, associated: bytes) -> bytes | None:
    """What `seal` was given; None unless key, ciphertext and associated data are exactly those of the sender."""
    if len(sealed) < _NONCE + _TAG:
        return None
    try:
        return _gcm(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], associated)
    except InvalidTag:
        return None


def _gcm(key: bytes) -> AESGCM:
    if len(key) != 32:
        raise ValueError(f"an AES-256 key has 32 bytes, not {len(key)}")
    return AESGCM(key)


def fingerprint(data: bytes) -> str:
    """SHA-256 of `data` as 8 groups of 5 decimal digits, to be read aloud on the telephone (about 132 bits)."""
    hashed = sha256(data).digest()
    return " ".join(f"{int.from_bytes(hashed[i : i + 4], 'big') % 100_000:05d}" for i in range(0, 32, 4))
