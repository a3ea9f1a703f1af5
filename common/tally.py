"""Mergeable tallies: what sites send instead of metrics. Adding two tallies describes the union of their rows.

Metrics are computed from the merged tally and never averaged (the idea is that of FedJAX's mergeable metrics). A tally
is one float64 vector, so that the seam that sums updates sums tallies as well.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.histogram import histogram
from common.metrics import average_precision_of_bins

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def sigmoid(logits: NDArray[np.floating]) -> Float64:
    """1 / (1 + exp(-x)) in float64 without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -np.asarray(logits, dtype=np.float64))))


@dataclass(frozen=True)
class ScoreTally:
    """A binary outcome against one score: counts per score bin of positives and negatives, and sums of probabilities.

    vector: (3 * bins + 3,) float64: positives, negatives, sum of probabilities per bin; then the sums of squared error,
    of log loss in nats, and of rows on the right side of 0.5.
    """

    vector: Float64

    @staticmethod
    def size(bins: int) -> int:
        return 3 * bins + 3

    @staticmethod
    def of(
        logits: Float32, positive: NDArray[np.bool_], edges: Float32, *, weights: Float64 | None = None
    ) -> "ScoreTally":
        """logits, positive: (n,) rows with a label. edges: (bins - 1,) ascending, in logits.

        weights: (n,) of hours, those of one stay together 1, so that a stay adds at most 1 to an entry; 1 if not given.
        """
        probability = sigmoid(logits)
        each = np.ones(len(logits)) if weights is None else weights
        sums = histogram(logits, edges, each * probability)
        log_loss = np.logaddexp(0.0, np.where(positive, -1.0, 1.0) * logits.astype(np.float64))
        right = (logits > 0) == positive
        tail = [(each * part).sum() for part in ((probability - positive) ** 2, log_loss, right)]
        positives, negatives = (histogram(logits[part], edges, each[part]) for part in (positive, ~positive))
        return ScoreTally(np.concatenate([positives, negatives, sums, tail]))

    @property
    def bins(self) -> int:
        return (len(self.vector) - 3) // 3

    @property
    def positives(self) -> Float64:
        return self.vector[: self.bins]

    @property
    def negatives(self) -> Float64:
        return self.vector[self.bins : 2 * self.bins]

    @property
    def counts(self) -> Float64:
        return self.positives + self.negatives

    def auroc(self) -> tuple[float, float] | None:
        """(AUROC, bound): rows of one bin count as ties, so the exact value is within `bound`; None with one class."""
        hits, misses = self.positives.sum(), self.negatives.sum()
        if hits <= 0 or misses <= 0:
            return None
        below = np.cumsum(self.negatives) - self.negatives
        ties = (self.positives * self.negatives).sum() / 2.0
        return float(((self.positives * below).sum() + ties) / (hits * misses)), float(ties / (hits * misses))

    def metrics(self) -> dict[str, float]:
        """auroc, auprc, brier, accuracy, loss (nats), n and positives; keys that do not apply are absent."""
        rows = float(self.counts.sum())
        if rows <= 0:
            return {"n": 0}
        result: dict[str, float] = {"n": round(rows), "positives": round(float(self.positives.sum()))}
        brier, log_loss, correct = (float(value) / rows for value in self.vector[-3:])
        result |= {"brier": brier, "loss": log_loss, "accuracy": correct}
        if (area := self.auroc()) is not None:
            result |= {"auroc": area[0], "auprc": average_precision_of_bins(self.positives, self.negatives)}
        return result

    def calibration(self, *, groups: int) -> dict[str, object] | None:
        """Reliability in `groups` groups of about equal size whose limits are limits of histogram bins.

        Mean prediction and observed rate of a group are exact; `bound` is the largest share of rows by which a group
        misses its equal share. `ece`: mean absolute difference, weighted by rows (Naeini et al. 2015).
        """
        total = float(self.counts.sum())
        if total <= 0:
            return None
        middle = (np.cumsum(self.counts) - self.counts / 2.0) / total
        group = np.minimum((middle * groups).astype(np.int64), groups - 1)
        sums = [
            np.bincount(group, weights=part, minlength=groups)
            for part in (self.counts, self.positives, self.vector[2 * self.bins : 3 * self.bins])
        ]
        rows, hits, predicted = (part[sums[0] > 0] for part in sums)
        gap = np.abs(predicted - hits).sum() / total
        listed = [
            {"predicted": float(p / n), "observed": float(h / n), "n": round(float(n))}
            for n, h, p in zip(rows, hits, predicted, strict=True)
        ]
        return {"ece": float(gap), "bound": float(np.abs(sums[0] / total - 1.0 / groups).max()), "groups": listed}


@dataclass(frozen=True)
class ValueTally:
    """A regression outcome: rows and sums of |error|, error^2, label and label^2, errors divided by `span`.

    vector: (5,) float64. The label's span makes every row's contribution about 1 or less.
    """

    vector: Float64
    SIZE = 5

    @staticmethod
    def of(predicted: Float32, label: Float32, *, low: float, span: float) -> "ValueTally":
        """predicted, label: (n,) in the task's unit; low, span: the label's plausible range."""
        error = (predicted.astype(np.float64) - label) / span
        scaled = (label.astype(np.float64) - low) / span
        sums = [len(error), np.abs(error).sum(), (error**2).sum(), scaled.sum(), (scaled**2).sum()]
        return ValueTally(np.array(sums, dtype=np.float64))

    def metrics(self, *, span: float) -> dict[str, float]:
        """mae and rmse in the task's unit, r2, loss (mean squared error over span squared) and n."""
        rows, absolute, squared, total, total_squared = (float(value) for value in self.vector)
        if rows <= 0:
            return {"n": 0}
        variance = total_squared / rows - (total / rows) ** 2
        result: dict[str, float] = {
            "n": round(rows),
            "mae": absolute / rows * span,
            "rmse": (squared / rows) ** 0.5 * span,
        }
        result["loss"] = squared / rows
        if variance > 0:
            result["r2"] = 1.0 - squared / rows / variance
        return result
