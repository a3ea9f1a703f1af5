"""Columns after cleaning: their numbers, and what cleaning took away."""

from dataclasses import dataclass, field

import numpy as np

NO_STAY, NO_HOUR, REPEATED, LATER = "no stay of this site", "no whole hour", "repeated hour", "later than the inputs"


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


@dataclass(frozen=True, eq=False)
class Hours:
    """What `read_hours` finds.

    values: (rows, H, S) float32, labels: (rows, H, K) float32. features, tasks: what cleaning took away of each column,
    with the values of the hours read. rows_read: of the hourly tables. dropped: reason -> rows that are no inputs;
    those of later hours are still read for labels. stays: how many have a row that is an input.
    """

    values: np.ndarray
    labels: np.ndarray
    features: tuple[Cleaned, ...] = ()
    tasks: tuple[Cleaned, ...] = ()
    rows_read: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    stays: int = 0
