"""One site's share of the noise in a sum, in whole steps of the ring; the fixed point keeps room for all shares.

Every number follows from its arguments by operations that IEEE 754 rounds alike everywhere: a site and the coordinator
must come to the same ones.
"""

import math
from dataclasses import dataclass

_LEAST = 8  # steps: below, a sum of discrete Gaussians is not one of them
_SMOOTHING = 4.0  # steps squared, on top of the variance: what makes whole steps as good as real numbers
_ROUNDING = 1.0 + 2.0**-20  # of the last bits of float32 in `FixedPoint.encode`, and of the arithmetic here
_LN_2 = 0.6931471805599453
_RARE_BITS = 40  # a sum runs over with probability 2^-40 at most


@dataclass(frozen=True)
class NoiseShare:
    """The discrete Gaussian noise that each site adds to `entries` entries of a sum.

    multiplier: standard deviation of what `shares` sites add together, over the sensitivity. sensitivity: L2, in real
    units, of one site's vector before rounding. The proof that this suffices is in common/privacy/shares.py.
    """

    multiplier: float
    sensitivity: float
    entries: int
    shares: int

    def steps(self, scale: float) -> int:
        """Standard deviation of one site's share where a unit is `scale` steps, rounded up."""
        total = self.multiplier * (self.sensitivity * scale + math.sqrt(self.entries)) * _ROUNDING
        return max(_LEAST, math.ceil(math.sqrt((total * total + _SMOOTHING) / self.shares)))

    def tail(self, scale: float, *, sites: int) -> int:
        """Steps that no entry of the noise of `sites` sites exceeds, but with probability 2^-40 over all entries.

        A discrete Gaussian is subgaussian with its own sigma (Canonne, Kamath, Steinke, NeurIPS 2020), and so is a sum
        of n with sigma * sqrt(n): an entry exceeds k times that with probability 2 exp(-k^2 / 2) at most. With
        k^2 = 2 ln 2 * (41 + log2 entries), rounded up, these add up to 2^-40 over all entries.
        """
        rare = 2.0 * _LN_2 * (_RARE_BITS + 1 + self.entries.bit_length())
        return math.ceil(self.steps(scale) * math.sqrt(rare * sites) * _ROUNDING)

    def is_fine(self, scale: float) -> bool:
        """Whether rounding adds no more to the sensitivity than there was: the noise at most doubles by it."""
        return self.sensitivity * scale >= math.sqrt(self.entries)
