"""L2 clipping of a site's update."""

import numpy as np
from numpy.typing import NDArray

from common.errors import NonFiniteUpdate

# Rounding to float32 must never push the norm above the bound.
_MARGIN = 1.0 - 2.0**-20
_BLOCK = 1 << 16


def clip_by_norm(
    update: NDArray[np.float32], *, clip_norm: float, in_place: bool = False
) -> tuple[NDArray[np.float32], float, float]:
    """Scale `update` so that its L2 norm is at most `clip_norm`.

    update: (D,) float32, local minus global parameters. in_place: it may be overwritten, which saves a copy.
    Returns the clipped update, (D,) float32, and the norms before and after.
    Raises NonFiniteUpdate if an entry is NaN or infinite: a broken update must not reach the sum.
    """
    before = l2_norm(update)
    if not np.isfinite(before):
        raise NonFiniteUpdate("the update holds NaN or infinite values; training diverged or the data are broken.")
    if before <= clip_norm:
        return update, before, before
    clipped = np.multiply(update, np.float32(clip_norm / before * _MARGIN), out=update if in_place else None)
    return clipped, before, l2_norm(clipped)


def l2_norm(vector: NDArray[np.float32]) -> float:
    """Euclidean norm in float64, without BLAS: its threads would cost time on small vectors and change the last bit."""
    return float(np.sqrt(_sum_of_squares(vector)))


def _sum_of_squares(vector: NDArray[np.float32]) -> np.float64:
    """In float64, without a copy of a long vector.

    It is split where NumPy's pairwise summation splits: the result is that of one sum over all squares, bit for bit.
    """
    if len(vector) <= _BLOCK:
        return np.float64(np.square(vector, dtype=np.float64).sum())
    half = len(vector) // 2
    half -= half % 8
    return _sum_of_squares(vector[:half]) + _sum_of_squares(vector[half:])
