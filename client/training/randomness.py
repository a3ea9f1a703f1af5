"""Where a site takes randomness from that must stay secret: who is in a step's sample, and the noise.

A deployed site builds the operating system's source, and nothing that it reads selects another. A simulation puts a
seeded one into its virtual sites, so that runs repeat; that one lives with the simulation (experiments/seeded.py).
"""

import os
from typing import Protocol

from common.secagg.primitives import Random


class Randomness(Protocol):
    """Gives a source of random bytes for one purpose."""

    def source(self, *words: str | int) -> Random:
        """A function: number of bytes -> so many random bytes. words: what it is for, e.g. the message and round."""


class SystemRandomness:
    """The operating system's source, whatever it is for."""

    def source(self, *words: str | int) -> Random:
        return os.urandom
