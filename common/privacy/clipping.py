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
    before = float(np.linalg.norm(update.astype(np.float64)))
    if not np.isfinite(before):
        raise NonFiniteUpdate("the update holds NaN or infinite values; training diverged or the data are broken.")
    if before <= clip_norm:
        return update, before, before
    clipped = (update * (clip_norm / before * _MARGIN)).astype(np.float32)
    return clipped, before, float(np.linalg.norm(clipped.astype(np.float64)))
