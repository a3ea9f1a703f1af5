"""Randomness of virtual sites: follows from a seed, so that a simulation repeats and resumes bit for bit.

Whoever knows the seed can take the noise away again. Nothing in `client` imports this module.
"""

import hashlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from common.secagg.primitives import Random


@dataclass(frozen=True)
class SeededRandomness:
    """For one site: AES-256-CTR streams whose keys are hashes of seed, site and purpose."""

    seed: int
    site: str

    def source(self, *words: str | int) -> Random:
        """The same bytes for the same words, whenever they are asked for; other words give other bytes."""
        key = hashlib.sha256(repr(("consilium/1/simulated", self.seed, self.site, words)).encode()).digest()
        stream = Cipher(AES(key), CTR(bytes(16))).encryptor()
        return lambda count: stream.update(bytes(count))
