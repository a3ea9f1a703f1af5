"""The summing seam: updates, evaluation tallies and survey statistics are all vectors that get added over sites.

`PlainSum` sees each vector. A secure sum has the same method and leaves `each` empty.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from flwr.app import RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from common.errors import TooFewSites
from server.cohort import Cohort
from server.exchange import Question, ask


@dataclass(frozen=True)
class Sum:
    """total: (size,) float64. sites: who is in it, sorted. failed: site -> code. each: plain sums only."""

    total: NDArray[np.float64]
    sites: tuple[str, ...]
    failed: dict[str, str]
    each: dict[str, NDArray[np.floating]] = field(default_factory=dict)
    bytes_up: int = 0


class Summation(Protocol):
    """Adds one vector per site."""

    secure: bool

    def collect(self, question: Question, *, size: int, min_sites: int) -> Sum:
        """The sum over the sites that answered; raises TooFewSites below `min_sites`."""


@dataclass(frozen=True)
class PlainSum:
    """Sums in the open: the coordinator sees each site's vector."""

    grid: Grid
    cohort: Cohort
    timeout_s: float
    secure: bool = False

    def collect(self, question: Question, *, size: int, min_sites: int) -> Sum:
        answers = ask(self.grid, self.cohort.names, question, timeout_s=self.timeout_s)
        failed = {self.cohort.names[node]: code for node, code in answers.failed.items()}
        each: dict[str, NDArray[np.floating]] = {}
        bytes_up = 0
        for node, content in answers.contents.items():
            site = self.cohort.names[node]
            vector = _vector(content)
            if vector is None or vector.shape != (size,):
                failed[site] = "wrong_shape"
            elif not np.isfinite(vector).all():
                failed[site] = "not_finite"
            else:
                bytes_up = max(bytes_up, vector.nbytes)
                each[site] = vector
        sites = tuple(sorted(each))
        if len(sites) < min_sites:
            raise TooFewSites(_too_few(question, sites, failed, min_sites))
        # In the order of names: whoever answers first, the last bit of the sum is the same.
        total = np.zeros(size)
        for site in sites:
            total += each[site]
        return Sum(total, sites, failed, each, bytes_up)


def _vector(content: RecordDict) -> NDArray[np.floating] | None:
    try:
        vector = content.array_records["arrays"]["vector"].numpy()
    except (KeyError, ValueError, TypeError):
        return None
    return vector if vector.dtype in (np.float32, np.float64) and vector.ndim == 1 else None


def _too_few(question: Question, sites: tuple[str, ...], failed: dict[str, str], min_sites: int) -> str:
    where = f"round {question.round}" if question.round else f"'{question.kind}'"
    reasons = ", ".join(f"{site}: {code}" for site, code in sorted(failed.items())) or "none were refused"
    return f"{where}: {len(sites)} site(s) reported, the plan asks for {min_sites} ({reasons})."
