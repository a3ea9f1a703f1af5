"""Which of two models is better on the same rows, and how sure that is: a paired bootstrap over patients.

Patients are drawn with replacement, all rows of a patient together (Field and Welsh 2007, cluster bootstrap), and both
models are judged on the same draws. What is compared: AUROC (multiclass: mean over the classes with enough rows, one
against the rest; ordinal: mean over the cuts with enough rows on both sides), or minus the mean absolute error of a
quantity, so that more is always better. Of an hourly task the AUROC is over hours, and still patients are drawn.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.plan import Task

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
DRAWS = 2_000
FEWEST_CASES = 5  # of a class, or rows of a quantity: below, an interval says nothing
_AT_ONCE = 4_000_000  # weights held in memory
_LOW, _HIGH = 2.5, 97.5


@dataclass(frozen=True)
class Difference:
    """value: of the rows as they are. low, high: 95 % interval. error: standard error. draws: that could be judged."""

    value: float
    low: float
    high: float
    error: float
    draws: int


def measure_name(task: Task) -> str:
    """What is compared for this task."""
    return "MAE" if task.kind == "regression" else "AUROC"


def too_few(task: Task, labels: Float32, patients: NDArray[np.str_]) -> str | None:
    """Why rows with these labels, none NaN, cannot be compared on; None where they can. patients: (n,)."""
    if not len(labels):
        return "none has a label"
    if task.kind == "regression":
        return None if len(labels) >= FEWEST_CASES else f"{len(labels)} rows, at least {FEWEST_CASES} are needed"
    if task.hourly:  # a hundred hours of one patient are one case
        yes, no = (len(np.unique(patients[labels == side])) for side in (1.0, 0.0))
        if min(yes, no) >= FEWEST_CASES:
            return None
        return f"{yes} patients have an hour at which it is so and {no} one at which not; {FEWEST_CASES} are needed"
    if task.kind == "ordinal":
        if any(FEWEST_CASES <= (labels > k).sum() <= len(labels) - FEWEST_CASES for k in range(task.outputs)):
            return None
        return f"at no class do {FEWEST_CASES} of {len(labels)} rows lie beyond and {FEWEST_CASES} not beyond it"
    counts = np.bincount(labels.astype(np.int64), minlength=2)
    others = len(labels) - counts
    if ((counts >= FEWEST_CASES) & (others >= FEWEST_CASES)).any():
        return None
    return f"{others.min()} of {len(labels)} rows are outside the largest class; at least {FEWEST_CASES} are needed"


def value_of(task: Task, own: Float32, labels: Float32, weights: Float64) -> Float64:
    """(draws,) the measure of each draw, NaN where it has one class only.

    own: (n, task.outputs) scores. labels: (n,). weights: (draws, n), how often a row is in a draw.
    """
    if task.kind == "regression":
        return np.asarray(-(weights @ np.abs(own[:, 0].astype(np.float64) - labels)) / weights.sum(axis=1))
    if task.yes_or_no:
        return weighted_auroc(own[:, 0], labels == 1.0, weights)
    if task.kind == "ordinal":
        beyond = [labels > k for k in range(task.outputs)]
        cuts = [k for k, side in enumerate(beyond) if FEWEST_CASES <= side.sum() <= len(labels) - FEWEST_CASES]
        return np.asarray(np.mean([weighted_auroc(own[:, k], beyond[k], weights) for k in cuts], axis=0))
    counts = np.bincount(labels.astype(np.int64), minlength=task.outputs)
    present = [k for k in range(task.outputs) if FEWEST_CASES <= counts[k] <= len(labels) - FEWEST_CASES]
    return np.asarray(np.mean([weighted_auroc(own[:, k], labels == k, weights) for k in present], axis=0))


def weighted_auroc(scores: Float32, positive: NDArray[np.bool_], weights: Float64) -> Float64:
    """(draws,) AUROC, ties counting half, where row i counts weights[d, i] times; NaN with one class only."""
    order = np.argsort(scores, kind="stable")
    ordered, is_hit = scores[order], positive[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    hits = np.add.reduceat(weights[:, order] * is_hit, starts, axis=1)
    misses = np.add.reduceat(weights[:, order] * ~is_hit, starts, axis=1)
    below = np.cumsum(misses, axis=1) - misses
    pairs = hits.sum(axis=1) * misses.sum(axis=1)
    area = (hits * (below + misses / 2.0)).sum(axis=1)
    return np.divide(area, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def draws_of(patients: NDArray[np.str_], *, seed: int, draws: int = DRAWS) -> Iterator[Float64]:
    """Weights (some draws, n) of the rows, `draws` in all: how often each row's patient was drawn."""
    unique, owner = np.unique(patients, return_inverse=True)
    random = np.random.default_rng(np.random.SeedSequence([seed, len(unique), len(patients)]))
    left, most = draws, max(1, _AT_ONCE // max(1, len(patients)))
    shares = np.full(len(unique), 1.0 / len(unique))
    while left > 0:
        now = min(left, most)
        yield random.multinomial(len(unique), shares, size=now)[:, owner].astype(np.float64)
        left -= now


def compare(
    task: Task,
    one: Float32,
    other: Float32,
    labels: Float32,
    patients: NDArray[np.str_],
    *,
    seed: int,
    counts: Float64 | None = None,
) -> Difference | None:
    """How much better `one` is than `other`; None where `too_few` says that they cannot be compared.

    one, other: (n, task.outputs) scores of the same rows. labels: (n,), none NaN. patients: (n,) whose row it is.
    counts: (n,) what each row counts in a draw of its patient, of hours; None: 1.
    """
    if too_few(task, labels, patients) is not None:
        return None
    each = np.ones(len(labels)) if counts is None else counts
    value = (value_of(task, one, labels, each[None]) - value_of(task, other, labels, each[None]))[0]
    found = [
        value_of(task, one, labels, weights * each) - value_of(task, other, labels, weights * each)
        for weights in draws_of(patients, seed=seed)
    ]
    drawn = np.concatenate(found)
    drawn = drawn[~np.isnan(drawn)]
    if len(drawn) < 0.9 * DRAWS:  # the few cases belong to a patient or two
        return None
    low, high = np.percentile(drawn, [_LOW, _HIGH])
    return Difference(float(value), float(low), float(high), float(drawn.std(ddof=1)), len(drawn))
