"""L2 clipping of a site's update."""

import numpy as np
from numpy.typing import NDArray

from common.errors import NonFiniteUpdate

# Rounding to float32 must never push the norm above the bound.
_MARGIN = 1.0 - 2.0**-20


def clip_by_norm(update: NDArray[np.float32], *, clip_norm: float) -> tuple[NDArray[np.float32], float, float]:
    """Scale `update` so that its L2 norm is at most `clip_norm`.

    update: (D,) float32, local minus global parameters.
    Returns the clipped update, (D,) float32, and the norms before and after.
    Raises NonFiniteUpdate if an entry is NaN or infinite: a broken update must not reach the sum.
    """
    before = l2_norm(update)
    if not np.isfinite(before):
        raise NonFiniteUpdate("the update holds NaN or infinite values; training diverged or the data are broken.")
    if before <= clip_norm:
        return update, before, before
    clipped = (update * (clip_norm / before * _MARGIN)).astype(np.float32)
    return clipped, before, l2_norm(clipped)


def l2_norm(vector: NDArray[np.float32]) -> float:
    """Euclidean norm in float64, without BLAS: its threads would cost time on small vectors and change the last bit."""
    return float(np.sqrt(np.square(vector, dtype=np.float64).sum()))
