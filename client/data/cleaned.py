"""A column after cleaning: its numbers, and what cleaning took away."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Cleaned:
    """One column: (rows,) float64 with NaN where missing; how many cells became missing, and why.

    looks_like: the unit as which most values would be plausible, where most are not.
    """

    values: np.ndarray
    recorded: bool = True
    not_finite: int = 0
    out_of_range: int = 0
    unknown_code: int = 0
    unit_from: str | None = None
    looks_like: str | None = None
