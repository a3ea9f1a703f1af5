"""The epsilon that guesses about the canaries of one training run refute.

Steinke, Nasr, Jagielski 2023, "Privacy auditing with one (1) training run", section 5 and the code of appendix D. Each
of m canaries is in the run by a fair coin of its own. If the run is (epsilon, delta)-private,

    P(correct >= v) <= P(B >= v) + 2 m delta max_i P(v > B >= v - i) / i,    B ~ Binomial(guesses, e^eps / (1 + e^eps)).

The bound takes one number of guesses that was fixed beforehand. `audited` tries a fixed list of them and divides the
error among them (Bonferroni), so that its confidence holds however the best one was found.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import exp, inf, log

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom

CONFIDENCE = 0.95
CHOICES = ((0.005, 0.005), (0.025, 0.025), (0.1, 0.1), (0.5, 0.5), (0.01, 0.0), (0.05, 0.0))
"""Shares of the canaries: those with the highest scores are guessed to be in, those with the lowest to be out."""


@dataclass(frozen=True)
class Guessed:
    """guesses, correct: of the choice that refutes most. epsilon: refuted at `confidence`, over all choices together.

    ceiling: what `audited` would have said if all guesses had been right.
    """

    canaries: int
    guesses: int
    correct: int
    epsilon: float
    ceiling: float


def p_value(*, canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """At least the probability of so many correct guesses if the run is (epsilon, delta)-private.

    Raises ValueError unless 0 <= correct <= guesses <= canaries, 0 <= epsilon and 0 <= delta <= 1.
    """
    if not 0 <= correct <= guesses <= canaries:
        raise ValueError(f"{correct} correct of {guesses} guesses about {canaries} canaries; no more than each other")
    if not (epsilon >= 0.0 and 0.0 <= delta <= 1.0):
        raise ValueError(f"epsilon {epsilon} and delta {delta}; at least 0, and delta at most 1")
    right = 1.0 / (1.0 + exp(-epsilon))
    chance = float(binom.sf(correct - 1, guesses, right))
    if delta == 0.0 or correct == 0:
        return min(1.0, chance)
    below = np.cumsum(binom.pmf(np.arange(correct - 1, -1, -1), guesses, right))
    steepest = float((below / np.arange(1, correct + 1)).max())
    return min(1.0, chance + 2.0 * canaries * delta * steepest)


def lower_bound(*, canaries: int, guesses: int, correct: int, delta: float, confidence: float = CONFIDENCE) -> float:
    """The largest epsilon that is refuted, to 1e-6 and never above it; 0 where none is.

    With delta = 0 it is that of Clopper and Pearson's bound for the share of correct guesses.
    """
    error = 1.0 - confidence

    def refuted(epsilon: float) -> bool:
        found = p_value(canaries=canaries, guesses=guesses, correct=correct, epsilon=epsilon, delta=delta)
        return found < error

    if correct == 0 or not refuted(0.0):
        return 0.0
    share = float(beta.ppf(error, correct, guesses - correct + 1))
    low, high = 0.0, log(share / (1.0 - share))
    while high - low > 1e-6:
        middle = (low + high) / 2.0
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def audited(
    scores: NDArray[np.float64],
    inside: NDArray[np.bool_],
    *,
    delta: float,
    confidence: float = CONFIDENCE,
    choices: tuple[tuple[float, float], ...] = CHOICES,
) -> Guessed:
    """What the ranking of the canaries refutes.

    scores: (m,), higher for a canary that seems to be in. inside: (m,), the coins. choices: as `CHOICES`, fixed before
    the scores are seen. Equal scores are taken in the order of the canaries, which knows nothing of the coins.
    """
    order, canaries, each = np.argsort(scores, kind="stable"), len(scores), _each(confidence, choices)
    best = Guessed(canaries, 0, 0, -inf, ceiling(canaries, delta=delta, confidence=confidence, choices=choices))
    for top, bottom in _counts(canaries, choices):
        correct = int(inside[order[canaries - top :]].sum() + (~inside[order[:bottom]]).sum())
        found = lower_bound(canaries=canaries, guesses=top + bottom, correct=correct, delta=delta, confidence=each)
        if found > best.epsilon:
            best = Guessed(canaries, top + bottom, correct, found, best.ceiling)
    return best


@lru_cache(maxsize=256)
def ceiling(
    canaries: int,
    *,
    delta: float = 0.0,
    confidence: float = CONFIDENCE,
    choices: tuple[tuple[float, float], ...] = CHOICES,
) -> float:
    """What `audited` says if every guess is right: no run with so many canaries can refute more."""
    each = _each(confidence, choices)
    return max(
        lower_bound(canaries=canaries, guesses=sum(one), correct=sum(one), delta=delta, confidence=each)
        for one in _counts(canaries, choices)
    )


def _each(confidence: float, choices: tuple[tuple[float, float], ...]) -> float:
    return 1.0 - (1.0 - confidence) / len(choices)


def _counts(canaries: int, choices: tuple[tuple[float, float], ...]) -> list[tuple[int, int]]:
    """(guessed in, guessed out) of each choice, together no more than there are canaries."""
    return [
        (round(canaries * top), min(round(canaries * bottom), canaries - round(canaries * top)))
        for top, bottom in choices
    ]
