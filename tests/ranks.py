"""AUROC of predictions some of which only rounding tells apart."""

import numpy as np
from numpy.typing import ArrayLike

ROUNDING = 1e-6


def auroc_between(truth: ArrayLike, scores: ArrayLike) -> tuple[float, float]:
    """The least and the greatest AUROC that scores within `ROUNDING` of these may have.

    Patients with the same inputs differ in a matrix product's last bits, which depend on the machine and on what other
    rows there are: any order of them is right.
    """
    positive, scored = np.asarray(truth) == 1, np.asarray(scores, dtype=np.float64)
    apart = scored[positive][:, None] - scored[~positive][None, :]
    return float((apart > ROUNDING).mean()), float((apart >= -ROUNDING).mean())
