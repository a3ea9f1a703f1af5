"""A hospital's node key: P-384, in OpenSSH's format, with which its SuperNode signs every request."""

import base64

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
)

KIND = "ecdsa-sha2-nistp384"


def new_node_key() -> tuple[bytes, bytes]:
    """The private key and its public line, both as a SuperNode reads them."""
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def key_header(line: str) -> str:
    """What a SuperNode with this public key sends in `flwr-public-key`: base64 of the key in PEM form.

    line: one line, `ecdsa-sha2-nistp384 AAAA…`, without a comment. Raises ValueError for anything else.
    """
    wrong = f"it has to be one line '{KIND} AAAA…', the public half of a P-384 key, without a comment"
    try:
        key = load_ssh_public_key(line.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(wrong) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise ValueError(wrong)
    if key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() != line:
        raise ValueError(wrong)
    return base64.b64encode(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).decode()
