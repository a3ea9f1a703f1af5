"""Bounds on what a site puts into a sum, whatever its work gave: clipping, declared weights, norms for the tallies."""

import numpy as np
from numpy.typing import NDArray

from client.release import Update
from common.errors import Refusal
from common.model import LEVELS
from common.privacy import clip_by_norm, l2_norm

LONGEST = 2.0**20  # a norm beyond says that training diverged; more of it would only crowd the sum
Norms = dict[str, float]


def bounded(
    update: Update, *, clip_norm: float, show_norms: bool = True
) -> tuple[NDArray[np.float32], NDArray[np.float64], Norms]:
    """(D,) weights x clipped update, never longer than `clip_norm`; (K,) [tallies ; norms]; the norms for the receipt.

    show_norms: False where the noise of the sum must hide the update's length, and whether there is one; zeros then.
    The update's own memory is used. Raises NonFiniteUpdate.
    """
    if not np.isin(update.weights, LEVELS).all():
        raise Refusal("site_error", "a weight is none of the declared levels.")
    # In place: with 10 M parameters a copy is 40 MB, and nobody reads the update after this.
    weighted, before, after = clip_by_norm(update.delta, clip_norm=clip_norm, in_place=True)
    weighted *= update.weights
    told = [min(before, LONGEST), after, float(before > clip_norm), 1.0] if show_norms else [0.0] * 4
    wide = np.concatenate([update.tallies, told])
    return weighted, wide, {"norm_before_clip": before, "norm_after_clip": after, "norm_released": l2_norm(weighted)}
