"""A sum of clipped vectors, released with Gaussian noise on a grid of whole numbers.

Floating-point noise on floating-point values can be told from its lowest bits (Mironov 2012, "On significance of the
least significant bits for differential privacy"), so the sum is rounded to a grid first and whole noise is added to
whole numbers, exactly. What happens to the result afterwards is post-processing.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from common.errors import PlanError
from common.privacy.noise import LARGEST_SIGMA, NOISE_BLOCK, rounded_blocks
from common.privacy.rounding import ALLOWED
from common.privacy.stream import Stream

_FINEST = 2.0**18
_SIGMA = 2.0**19
_LARGEST = 2.0**30


@dataclass(frozen=True)
class NoisySum:
    """Adds noise that is `noise_multiplier` times what one patient can move the rounded sum.

    One patient moves the exact sum by at most max_norm. Rounding to the grid adds less than one step in each of the D
    entries, and the precision in which the sum was worked adds what `rounding.precision` keeps to: ALLOWED max_norm. So
    sensitivity = max_norm / step + (1 + ALLOWED max_norm / step) sqrt(D) steps.

    step: width of the grid, in the units of the sum. most: the largest entry of one patient's part, in steps.
    sigma: standard deviation of the noise, in steps.
    """

    step: float
    most: float
    sigma: float

    @staticmethod
    def of(size: int, *, max_norm: float, noise_multiplier: float) -> "NoisySum":
        """For sums (size,) of vectors of norm at most max_norm.

        Raises PlanError for a noise multiplier so large that the grid would be coarser than the gradients.
        """
        steps = min(_FINEST, _SIGMA / noise_multiplier)
        sigma = noise_multiplier * (steps + (1.0 + ALLOWED * steps) * sqrt(size))
        if sigma > LARGEST_SIGMA:
            most = (LARGEST_SIGMA - _SIGMA * (1.0 + ALLOWED * sqrt(size))) / sqrt(size)
            raise PlanError(
                f"privacy: a noise multiplier of {noise_multiplier:.4g} is more than {size} parameters can be given; "
                f"at most {most:.4g} is allowed, and a useful one is near 1"
            )
        return NoisySum(max_norm / steps, steps, sigma)

    def release(self, total: Tensor, stream: Stream, *, patients: int, divisor: float = 1.0) -> Tensor:
        """`total` / divisor with noise, (D,) float32 on its device.

        total: (D,), finite, the sum over so many `patients`, in the dtype that `rounding.precision` tells; it is
        overwritten. stream: source of the noise, made on the CPU.
        """
        vector = total.numpy() if total.device.type == "cpu" else total.cpu().numpy()
        noisy = vector if vector.dtype == np.float32 else np.empty(len(vector), dtype=np.float32)
        # Whole numbers up to 2^30 are added in int32, hence exactly; a bound on each entry moves nobody further.
        bounded = patients * self.most < _LARGEST
        whole, noise = np.empty(NOISE_BLOCK, dtype=np.int32), np.empty(NOISE_BLOCK, dtype=np.int32)
        into, back = vector.dtype.type(1.0 / self.step), np.float32(self.step / divisor)
        blocks = rounded_blocks(len(vector), sigma=self.sigma, stream=stream)
        for first, block in zip(range(0, len(vector), NOISE_BLOCK), blocks, strict=True):
            part = vector[first : first + NOISE_BLOCK]
            value, extra = whole[: len(part)], noise[: len(part)]
            part *= into
            np.rint(part, out=part)
            if not bounded:
                np.clip(part, -_LARGEST, _LARGEST, out=part)
            np.copyto(value, part, casting="unsafe")
            np.copyto(extra, block, casting="unsafe")
            value += extra
            result = noisy[first : first + NOISE_BLOCK]
            np.copyto(result, value, casting="same_kind")
            result *= back
        return torch.from_numpy(noisy).to(total.device)
