"""A signing key as PEM (PKCS #8, RFC 8410), which OpenSSL and every key store read."""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from common.errors import ConsiliumError
from common.secagg.primitives import SigningKey


def key_to_pem(key: SigningKey) -> bytes:
    """The private key, not encrypted: the file's permissions protect it."""
    private = Ed25519PrivateKey.from_private_bytes(key.private_bytes)
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def key_from_pem(data: bytes, *, source: str) -> SigningKey:
    """The key that `key_to_pem` wrote. Raises ConsiliumError for anything else; source: the file's name."""
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConsiliumError(f"{source}: not a private key in PEM form without a password.") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConsiliumError(f"{source}: not an Ed25519 key; `consilium site init` makes one.")
    return SigningKey.from_bytes(key.private_bytes_raw())
