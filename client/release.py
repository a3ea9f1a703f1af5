"""Releases: everything that may ever leave a hospital is one of these values, and passes the door."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Declaration:
    """Which blocks this site can train, and at which weight level. Exact counts are not in it."""

    site: str
    levels: dict[str, float]
    card: bytes = b""  # SignedCard of the session that is opened with it
    kind = "declaration"


@dataclass(frozen=True)
class Update:
    """One round's contribution before clipping.

    delta: (D,) float32, local minus global. weights: (D,) float32, the declared level of each parameter's block.
    tallies: (K,) float64 of the model just received.
    """

    delta: NDArray[np.float32]
    weights: NDArray[np.float32]
    tallies: NDArray[np.float64]
    kind = "update"


@dataclass(frozen=True)
class Statistics:
    """A vector of sums: survey or evaluation. values: (K,) float64."""

    values: NDArray[np.float64]
    purpose: str
    kind = "statistics"


@dataclass(frozen=True)
class Opinion:
    """Whether this site's data look unlike the others': one of three codes, and nothing of what it found."""

    code: Literal["alike", "data_unlike_others", "not_told"]
    kind = "opinion"


@dataclass(frozen=True)
class Answer:
    """An answer of secure aggregation that holds no site's values: a card, a signature, shares of masks."""

    data: bytes
    kind: str


@dataclass(frozen=True)
class Nothing:
    """Zeros in a secure sum, where the work failed; only this site's own log says so."""

    asked: str
    kind = "nothing"


@dataclass(frozen=True)
class Acknowledgement:
    """Says that something was received, and nothing else."""

    kind = "acknowledgement"


Release = Declaration | Update | Statistics | Opinion | Nothing | Answer | Acknowledgement
