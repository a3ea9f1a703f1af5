"""AES-256-CTR as the standard draws it, one block at a time: the judge of the keystreams, itself judged by vectors."""

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB


def counter_mode(key: bytes, start: int, size: int) -> bytes:
    """`size` keystream bytes: the encrypted counter blocks start, start + 1, … (NIST SP 800-38A, section 6.5)."""
    block_cipher = Cipher(AES(key), ECB()).encryptor()
    blocks = [block_cipher.update((start + i).to_bytes(16, "big")) for i in range(-(-size // 16))]
    return b"".join(blocks)[:size]
