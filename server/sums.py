"""The summing seam: updates, evaluation tallies and survey statistics are all vectors that get added over sites.

`PlainSum` sees each vector. `SecureSum` (secure_sum.py) has the same method and leaves `each` empty.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from flwr.app import ArrayRecord, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from common.errors import TooFewSites
from common.wire import decode_vector
from server.cohort import Cohort
from server.exchange import LATE, Answers, Question, ask_each

Check = Callable[[tuple[str, ...], NDArray[np.floating]], bool]
_MOST_ROWS = 1e9


@dataclass(frozen=True)
class Sum:
    """total: (size,) float64. sites: who is in it, sorted. failed: site -> code. each: plain sums only.

    entries: (size,) bool, the entries that a secure sum holds; None where all are in it.
    """

    total: NDArray[np.float64]
    sites: tuple[str, ...]
    failed: dict[str, str]
    each: dict[str, NDArray[np.floating]] = field(default_factory=dict)
    bytes_up: int = 0
    entries: NDArray[np.bool_] | None = None


class Summation(Protocol):
    """Adds one vector per site. late_sites: those that did not answer the last time in time."""

    secure: bool
    late_sites: frozenset[str]

    def collect(self, question: Question, *, size: int, min_sites: int, plausible: Check) -> Sum:
        """The sum over the sites that answered; raises TooFewSites below `min_sites`.

        size: length of every vector. plausible: whether honest sites of these names can have sent what sums up to that
        vector. In the open it is asked of each site's vector, and a site that fails is left out; of a secure sum it is
        asked once, and the run stops.
        """


@dataclass
class PlainSum:
    """Sums in the open: the coordinator sees each site's vector, and leaves out those that cannot be honest."""

    grid: Grid
    cohort: Cohort
    timeout_s: float
    secure: bool = False
    late_sites: frozenset[str] = frozenset()

    def collect(self, question: Question, *, size: int, min_sites: int, plausible: Check) -> Sum:
        names = self.cohort.names
        enough = in_time(names.values(), self.late_sites)
        answers = ask_each(self.grid, dict.fromkeys(names, question), timeout_s=self.timeout_s, enough=enough)
        self.late_sites = late(answers, names)
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
            elif not plausible((site,), vector):
                failed[site] = "implausible"
            else:
                bytes_up = max(bytes_up, vector.nbytes)
                each[site] = vector
        sites = tuple(sorted(each))
        if len(sites) < min_sites:
            raise TooFewSites(too_few(question, sites, failed, min_sites))
        # In the order of names: whoever answers first, the last bit of the sum is the same.
        total = np.zeros(size)
        for site in sites:
            total += each[site]
        return Sum(total, sites, failed, each, bytes_up)


def late(answers: Answers, names: Mapping[int, str]) -> frozenset[str]:
    """The sites that did not answer before the deadline."""
    return frozenset(names[node] for node, code in answers.failed.items() if code == LATE)


def in_time(asked: Iterable[str], late: frozenset[str]) -> int | None:
    """How many answers end the wait: a site that was late the last time does not cost every round its whole deadline.

    It has as long again as the others took; None: all are waited for.
    """
    prompt = sum(site not in late for site in asked)
    return prompt if late and prompt else None


def plausible_tallies(vector: NDArray[np.floating], *, sites: int = 1) -> bool:
    """Counts and sums of counts are not negative, and no hospital has a thousand million rows."""
    return bool((vector >= 0).all() and (vector <= sites * _MOST_ROWS).all())


def _vector(content: RecordDict) -> NDArray[np.floating] | None:
    arrays = content.get("arrays")
    if not isinstance(arrays, ArrayRecord) or list(arrays) != ["vector"]:
        return None
    try:
        return decode_vector(arrays["vector"].data)
    except ValueError:
        return None


def too_few(question: Question, sites: tuple[str, ...], failed: dict[str, str], min_sites: int) -> str:
    """One sentence: who reported, how many it takes, and why the others did not."""
    reasons = ", ".join(f"{site}: {code}" for site, code in sorted(failed.items())) or "none were refused"
    return f"{named(question)}: {len(sites)} site(s) reported, the plan asks for {min_sites} ({reasons})."


def named(question: Question) -> str:
    """How a message speaks of a question."""
    return f"round {question.round}" if question.round else f"'{question.kind}'"
