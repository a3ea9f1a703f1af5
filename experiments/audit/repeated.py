"""The epsilon that many independent runs refute, each with or without one canary.

Jagielski, Ullman, Oprea 2020, "Auditing differentially private machine learning": if runs are (epsilon, delta)-private,
TPR <= e^eps FPR + delta, hence epsilon >= log((TPR - delta) / FPR). Both rates are bounded by Clopper and Pearson 1934,
each with half of the error. The same holds for the rates of finding that a canary is out. Runs are dear, but there is
no m delta in it: delta may be as large as 1e-2, where an accountant promises least.
"""

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from experiments.audit.bound import CONFIDENCE

Float64 = NDArray[np.float64]
_THRESHOLDS = 20


@dataclass(frozen=True)
class Rates:
    """Runs with and without the canary, in how many of each it was found, and the epsilon that this refutes."""

    inside: int
    outside: int
    found_inside: int
    found_outside: int
    epsilon: float
    ceiling: float


def from_rates(
    *,
    found_inside: int,
    inside: int,
    found_outside: int,
    outside: int,
    delta: float,
    confidence: float = CONFIDENCE,
) -> float:
    """Epsilon that is refuted by so many findings in runs with (`inside`) and without the canary; 0 where none is."""
    error = (1.0 - confidence) / 2.0
    low = float(beta.ppf(error, found_inside, inside - found_inside + 1)) if found_inside else 0.0
    high = float(beta.ppf(1.0 - error, found_outside + 1, outside - found_outside)) if found_outside < outside else 1.0
    return max(0.0, log((low - delta) / high)) if low > delta else 0.0


def audited(scores: Float64, inside: NDArray[np.bool_], *, delta: float, confidence: float = CONFIDENCE) -> Rates:
    """What the scores of independent runs refute.

    scores: (runs,), higher where the canary seems to be in. inside: (runs,). The threshold, and whether canaries are
    found to be in or to be out, is chosen on the first half of the runs and judged on the second.
    """
    half = len(scores) // 2
    best, sign, threshold = -1.0, 1.0, 0.0
    for way in (1.0, -1.0):
        found, of_it = way * scores[:half], inside[:half] == (way > 0)
        for quantile in np.quantile(found, 1.0 - np.geomspace(0.5, 2.0 / max(half, 4), _THRESHOLDS)):
            refuted = from_rates(**_counts(found, of_it, float(quantile)), delta=delta, confidence=confidence)
            if refuted > best:
                best, sign, threshold = refuted, way, float(quantile)
    counts = _counts(sign * scores[half:], inside[half:] == (sign > 0), threshold)
    most = ceiling(counts["inside"], counts["outside"], delta, confidence)
    return Rates(**counts, epsilon=from_rates(**counts, delta=delta, confidence=confidence), ceiling=most)


def _counts(scores: Float64, inside: NDArray[np.bool_], threshold: float) -> dict[str, int]:
    above, with_it = scores > threshold, int(inside.sum())
    return {
        "found_inside": int((above & inside).sum()),
        "inside": with_it,
        "found_outside": int((above & ~inside).sum()),
        "outside": len(scores) - with_it,
    }


def ceiling(inside: int, outside: int, delta: float, confidence: float = CONFIDENCE) -> float:
    """What is refuted where every run with the canary is found and none without: no such runs refute more."""
    return from_rates(
        found_inside=inside, inside=inside, found_outside=0, outside=outside, delta=delta, confidence=confidence
    )
