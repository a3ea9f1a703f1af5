"""The survey: sums over sites from which the pooled normaliser and input code follow, in two passes.

Pass 1 counts values in equal bins over each feature's plausible range; pass 2 counts them again in bins that hold about
equal shares of pass 1, so that quantiles are sharp wherever the values lie. Both are one vector per site that is added.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from common.entries import Entries
from common.histogram import histogram, quantiles, refine
from common.model.code import Columns, Normaliser
from common.plan import Plan

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
SURVEY_BINS = 128
_OUTER_QUANTILE = 1 / SURVEY_BINS  # end points of the piecewise code; further out lies the open end of a bin


@dataclass(frozen=True)
class Survey:
    """Layout of a survey vector: rows; count, sum, sum of squares per feature; histograms; label sums.

    Values of numeric features and regression labels enter as (value - low) / (high - low) of the plan's range, so each
    row adds at most 1 to any entry. A feature of a sequence enters with the mean of a stay's observed hours and the
    mean of their squares: a stay of many hours has no more of a say than a short one.
    """

    plan: Plan

    @cached_property
    def _columns(self) -> Columns:
        return Columns.of(self.plan)

    @cached_property
    def _range(self) -> tuple[Float64, Float64]:
        """(low, span) of each feature, (F + S,); binary and categorical ones count from 0 in steps of 1."""
        ranges = [feature.range or (0.0, 1.0) for feature in self.plan.inputs]
        low, high = np.array(ranges, dtype=np.float64).T
        return low, high - low

    @cached_property
    def _label_range(self) -> tuple[Float64, Float64]:
        low, high = np.array([task.range or (0.0, 1.0) for task in self.plan.tasks], dtype=np.float64).T
        return low, high - low

    @property
    def size(self) -> int:
        features, numeric = len(self.plan.inputs), len(self._columns.numeric)
        return 1 + 3 * features + numeric * SURVEY_BINS + 3 * len(self.plan.tasks)

    @cached_property
    def entries(self) -> tuple[Entries, ...]:
        """What the vector holds, in order, and the block of the plan that it is about."""
        features = [f"input:{feature.name}" for feature in self.plan.inputs]
        tasks = [f"task:{task.name}" for task in self.plan.tasks]
        parts = [Entries("rows", "shared")]
        parts += [Entries(meaning, name) for meaning in ("count", "sum", "sum of squares") for name in features]
        parts += [Entries("histogram", features[index], SURVEY_BINS) for index in self._columns.numeric]
        meanings = ("label count", "label sum", "label sum of squares")
        return (*parts, *(Entries(meaning, name) for meaning in meanings for name in tasks))

    def first_edges(self) -> Float32:
        """(numeric features, SURVEY_BINS - 1) inner edges of pass 1, in scaled values: equal bins."""
        inner = np.arange(1, SURVEY_BINS, dtype=np.float32) / SURVEY_BINS
        return np.tile(inner, (len(self._columns.numeric), 1))

    def of(self, features: Float32, labels: Float32, edges: Float32, *, hours: Float32 | None = None) -> Float64:
        """One site's survey vector, (size,), of its training rows.

        features: (n, F), labels: (n, T), hours: (n, H, S), float32 in plan units with NaN for missing.
        """
        low, span = (part[: len(self.plan.features)] for part in self._range)
        scaled = (features - low) / span
        scaled[:, [index for index, _ in self._columns.categories]] *= 0.0  # codes have no mean
        known = ~np.isnan(features)
        filled = np.where(known, scaled, 0.0)
        counts = [
            histogram(filled[known[:, feature], feature].astype(np.float32), edges[row])
            for row, feature in enumerate(self._columns.numeric)
        ]
        regression = np.array([task.kind == "regression" for task in self.plan.tasks])
        label_low, label_span = self._label_range
        labelled = ~np.isnan(labels) & regression
        label = np.where(labelled, (labels - label_low) / label_span, 0.0)
        moments = np.stack([known.sum(0), filled.sum(0), (filled**2).sum(0)])
        if hours is not None:
            moments = np.concatenate([moments, self._of_hours(hours)], axis=1)
        parts = [moments.ravel(), *counts]
        parts += [labelled.sum(0), label.sum(0), (label**2).sum(0)]
        return np.concatenate([[len(features)], *parts]).astype(np.float64)

    def _of_hours(self, hours: Float32) -> Float64:
        """(3, S) sums over stays of: observed at all, mean of the observed hours, mean of their squares."""
        low, span = (part[len(self.plan.features) :] for part in self._range)
        known = ~np.isnan(hours)
        scaled = np.where(known, (hours - low) / span, 0.0)
        observed = np.maximum(known.sum(axis=1), 1)
        means, squares = scaled.sum(axis=1) / observed, (scaled**2).sum(axis=1) / observed
        return np.stack([known.any(axis=1).sum(axis=0), means.sum(axis=0), squares.sum(axis=0)])

    def plausible(self, vector: NDArray[np.floating]) -> bool:
        """Whether one site can have sent this: rows below a thousand million, every other entry from 0 to the rows."""
        slack = 1e-6 * (1.0 + vector[0])  # a value at the end of its range may lie outside by float32's rounding
        return bool(0 <= vector[0] <= 1e9 and (vector >= -slack).all() and (vector <= vector[0] + slack).all())

    def _parts(self, total: Float64) -> tuple[Float64, Float64, Float64, Float64]:
        """(rows, feature sums (3, F + S), histograms (numeric, bins), label sums (3, T))"""
        features, tasks = len(self.plan.inputs), len(self.plan.tasks)
        rows, moments, counts, labels = np.split(total, [1, 1 + 3 * features, len(total) - 3 * tasks])
        return rows, moments.reshape(3, features), counts.reshape(-1, SURVEY_BINS), labels.reshape(3, tasks)

    def moments(self, total: Float64) -> tuple[Float64, Float64, Float64]:
        """(count, mean, std) of each feature, (F + S,), in plan units; std is 0 where nothing varies."""
        _, (count, first, second), _, _ = self._parts(total)
        low, span = self._range
        mean, std = _moments(count, first, second)
        return count, low + mean * span, np.where(std < 1.0, std * span, 0.0)  # within a range 0.5 is the most

    def second_edges(self, total: Float64) -> Float32:
        """Inner edges of pass 2 from the sum of pass 1."""
        _, _, counts, _ = self._parts(total)
        limits = np.linspace(0.0, 1.0, SURVEY_BINS + 1)
        refined = [refine(limits, row, bins=SURVEY_BINS) for row in counts]
        return np.array(refined, dtype=np.float32).reshape(-1, SURVEY_BINS - 1)

    def missing(self, total: Float64) -> dict[str, float]:
        """Pooled share of training rows in which each feature is missing, at all hours if it is of the sequence."""
        rows, moments, _, _ = self._parts(total)
        shares = 1.0 - moments[0] / max(float(rows[0]), 1.0)
        return {feature.name: float(share) for feature, share in zip(self.plan.inputs, shares, strict=True)}

    def normaliser(self, total: Float64, edges: Float32, *, features: list[bool], tasks: list[bool]) -> Normaliser:
        """The pooled normaliser from the sum of pass 2 and its edges; `features` and `tasks` say which take part."""
        rows, (count, first, second), counts, labels = self._parts(total)
        low, span = self._range
        mean, std = _moments(count, first, second)
        at = np.linspace(0.0, 1.0, self.plan.model.piecewise_bins + 1)
        at = np.clip(at, _OUTER_QUANTILE, 1.0 - _OUTER_QUANTILE)
        rows_only = len(self.plan.features)
        quantile = np.tile(at, (rows_only, 1))
        for row, feature in enumerate(self._columns.numeric):
            limits = np.concatenate([[0.0], edges[row].astype(np.float64), [1.0]])
            quantile[feature] = quantiles(limits, counts[row], at)
        label_low, label_span = self._label_range
        label_mean, label_std = _moments(*labels)
        return Normaliser(
            mean=(low + mean * span).astype(np.float32),
            std=(std * span).astype(np.float32),
            edges=(low[:rows_only, None] + quantile * span[:rows_only, None]).astype(np.float32),
            available=np.array(features, dtype=np.float32),
            label_mean=(label_low + label_mean * label_span).astype(np.float32),
            label_std=(label_std * label_span).astype(np.float32),
            task_available=np.array(tasks, dtype=np.float32),
            rows=float(rows[0]),
        )


def _moments(count: Float64, first: Float64, second: Float64) -> tuple[Float64, Float64]:
    """Mean and standard deviation from sums; 0 and 1 where nothing was seen or nothing varies."""
    rows = np.maximum(count, 1.0)
    mean = first / rows
    std = np.sqrt(np.maximum(second / rows - mean**2, 0.0))
    return np.where(count > 0, mean, 0.0), np.where(std > 1e-6, std, 1.0)
