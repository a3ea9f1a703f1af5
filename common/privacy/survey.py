"""The survey with differential privacy: one pass, and nothing in it but counts.

A row adds 1 to the number of rows and 1 to one bin of each feature and regression label that it has, so one patient
with k rows moves the vector by at most k sqrt(1 + features + labels) in L2, whatever the values and whatever the edges.
A feature of a sequence is counted at one hour of the stay, the middle one of those at which it was observed.
Means and standard deviations are read from the histograms: sums and sums of squares over a wide plausible range would
each need the noise of the whole range, and make the noise of all other entries larger.
"""

from dataclasses import dataclass
from functools import cached_property
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from common.entries import Entries
from common.histogram import histogram
from common.model.code import Columns, Normaliser
from common.plan import Plan
from common.privacy.bins import MOST_ROWS, bins_for, noise_of_sum, rows_of_patient
from common.privacy.mechanism import of_statistics
from common.privacy.noisy_moments import Moments, moments_of

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
_OUTER_QUANTILE = 1 / 128  # as in the survey without noise
_WIDE = 20.0
_READABLE = 2.0  # standard deviations: a count below is as good as none


@dataclass(frozen=True)
class PrivateSurvey:
    """Layout of the vector: rows; a histogram per numeric feature; 0s and 1s per binary one; one per regression label.

    Features of a sequence are numeric ones, and follow those of the row.

    Categorical features need no statistic, and have no entries.
    """

    plan: Plan

    @cached_property
    def _columns(self) -> Columns:
        return Columns.of(self.plan)

    @cached_property
    def _numeric(self) -> list[int]:
        """Indices into the plan's inputs."""
        return [*self._columns.numeric, *range(len(self.plan.features), len(self.plan.inputs))]

    @cached_property
    def _binary(self) -> list[int]:
        return [index for index, feature in enumerate(self.plan.features) if feature.kind == "binary"]

    @cached_property
    def _values(self) -> list[int]:
        """The regression tasks."""
        return [index for index, task in enumerate(self.plan.tasks) if task.kind == "regression"]

    @cached_property
    def multiplier(self) -> float:
        """Noise over sensitivity; public."""
        return of_statistics(self.plan)[0]

    @cached_property
    def sensitivity(self) -> float:
        """Largest L2 change of the vector if one patient, with all rows, is left out."""
        each = 1 + len(self._numeric) + len(self._binary) + len(self._values)
        return rows_of_patient(self.plan) * sqrt(each)

    def noise(self, sites: int) -> float:
        """Standard deviation of the noise in each entry of the sum over `sites` sites."""
        return noise_of_sum(self.plan, multiplier=self.multiplier, sensitivity=self.sensitivity, sites=sites)

    @cached_property
    def bins(self) -> int:
        """Bins of each histogram, from public numbers: the same at every site."""
        return bins_for(
            self.plan.privacy.expected_patients,
            self.noise(self.plan.aggregation.least_sites),
            readable=4.0,
            most=128,
        )

    @cached_property
    def _sizes(self) -> list[int]:
        wide = [self.bins] * len(self._numeric)
        return [1, *wide, *[2] * len(self._binary), *[self.bins] * len(self._values)]

    @property
    def size(self) -> int:
        return sum(self._sizes)

    @cached_property
    def entries(self) -> tuple[Entries, ...]:
        """What the vector holds, in order, and the block of the plan that it is about."""
        features, tasks = self.plan.inputs, self.plan.tasks
        parts = [Entries("rows", "shared")]
        parts += [Entries("histogram", f"input:{features[i].name}", self.bins) for i in self._numeric]
        parts += [Entries("counts of 0 and 1", f"input:{features[i].name}", 2) for i in self._binary]
        parts += [Entries("label histogram", f"task:{tasks[i].name}", self.bins) for i in self._values]
        return tuple(parts)

    @cached_property
    def _ranges(self) -> Float64:
        """(numeric features and regression labels, 2) low and high of each."""
        features, tasks = self.plan.inputs, self.plan.tasks
        listed = [features[i].range for i in self._numeric] + [tasks[i].range for i in self._values]
        return np.array([each or (0.0, 1.0) for each in listed], dtype=np.float64).reshape(-1, 2)

    def first_edges(self) -> Float32:
        """(numeric features and regression labels, bins - 1) inner edges in scaled values.

        Equal bins; for a range that reaches to 20 times its low end or more, as of many laboratory values, bins whose
        limits are equally far apart in the logarithm: of such a range the upper half is seldom reached.
        """
        inner = np.arange(1, self.bins) / self.bins
        rows = [
            inner if low <= 0.0 or high < _WIDE * low else _geometric(inner, high / low) for low, high in self._ranges
        ]
        return np.array(rows, dtype=np.float32).reshape(-1, self.bins - 1)

    def of(self, features: Float32, labels: Float32, edges: Float32, *, hours: Float32 | None = None) -> Float64:
        """One site's survey vector, (size,), of its training rows.

        features: (n, F), labels: (n, T), both float32 in plan units with NaN for missing; at most `rows_of_patient`
        rows of one patient. edges: as `first_edges`; whatever they are, a value is counted in one bin.
        hours: (n, H, S) of a plan with a sequence.
        """
        if hours is not None:
            features = np.concatenate([features, _middle(hours)], axis=1)
        columns = [features[:, i] for i in self._numeric] + [labels[:, i] for i in self._values]
        wide = []
        for values, limits, (low, high) in zip(columns, edges, self._ranges, strict=True):
            scaled = (values[~np.isnan(values)].astype(np.float64) - low) / (high - low)
            wide.append(histogram(scaled.clip(-1.0, 2.0).astype(np.float32), limits))
        numeric = len(self._numeric)
        narrow = [histogram(column[~np.isnan(column)], np.array([0.5])) for column in features[:, self._binary].T]
        parts = [np.array([len(features)]), *wide[:numeric], *narrow, *wide[numeric:]]
        return np.concatenate(parts).astype(np.float64)

    def plausible(self, vector: NDArray[np.floating], *, sites: int, noise: float) -> bool:
        """Whether `sites` sites can have sent this: no more in an entry than rows, and less than `noise` beyond.

        noise: what no entry of the noise in a sum over `sites` sites exceeds.
        """
        rows, others = float(vector[0]), vector[1:]
        fits = -noise <= rows <= sites * MOST_ROWS + noise
        return bool(fits and (others >= -noise).all() and (others <= max(rows, 0.0) + 2.0 * noise).all())

    def _moments(self, total: Float64, edges: Float32, sites: int) -> tuple[list[Moments], list[Moments]]:
        """Of the numeric features and regression labels, in scaled values; and of the binary features."""
        noise = self.noise(sites)
        parts = np.split(total, np.cumsum(self._sizes)[:-1])[1:]
        numeric, binary = len(self._numeric), len(self._binary)
        wide = [*parts[:numeric], *parts[numeric + binary :]]
        limits = [np.concatenate([[0.0], row.astype(np.float64), [1.0]]) for row in edges]
        found = [moments_of(counts, limit, noise) for counts, limit in zip(wide, limits, strict=True)]
        return found, [moments_of(counts, None, noise) for counts in parts[numeric : numeric + binary]]

    def rows(self, total: Float64, *, sites: int) -> float:
        """Training rows in the sum, at least 1; the plan's `expected_patients` where the noise hides the number."""
        found = float(total[0])
        hidden = found < max(1.0, _READABLE * self.noise(sites))
        return float(self.plan.privacy.expected_patients) if hidden else found

    def missing(self, total: Float64, *, sites: int) -> dict[str, float]:
        """Pooled share of training rows in which each numeric or binary feature is missing, from 0 to 1."""
        names = [self.plan.inputs[index].name for index in (*self._numeric, *self._binary)]
        sums = [part.sum() for part in np.split(total, np.cumsum(self._sizes)[:-1])[1 : 1 + len(names)]]
        shares = np.clip(1.0 - np.array(sums) / self.rows(total, sites=sites), 0.0, 1.0)
        return {name: float(share) for name, share in zip(names, shares, strict=True)}

    def normaliser(
        self, total: Float64, edges: Float32, *, features: list[bool], tasks: list[bool], sites: int
    ) -> Normaliser:
        """The pooled normaliser from the sum over `sites` sites; `features` and `tasks` say which take part."""
        count, numeric = len(self.plan.inputs), self._numeric
        at = np.linspace(0.0, 1.0, self.plan.model.piecewise_bins + 1).clip(_OUTER_QUANTILE, 1.0 - _OUTER_QUANTILE)
        mean, std, quantile = np.zeros(count), np.ones(count), np.tile(at, (count, 1))
        label_mean, label_std = np.zeros(len(self.plan.tasks)), np.ones(len(self.plan.tasks))
        wide, narrow = self._moments(total, edges, sites)
        for place, moments in enumerate(wide):
            low, high = self._ranges[place]
            centre, width = low + moments.mean * (high - low), moments.std * (high - low)
            if place < len(numeric):
                index = numeric[place]
                mean[index], std[index] = centre, width
                quantile[index] = low + moments.quantiles(at) * (high - low)
            else:
                index = self._values[place - len(numeric)]
                label_mean[index], label_std[index] = centre, width
        for index, moments in zip(self._binary, narrow, strict=True):
            mean[index], std[index] = moments.mean, moments.std
        return Normaliser(
            mean=mean.astype(np.float32),
            std=std.astype(np.float32),
            edges=quantile[: len(self.plan.features)].astype(np.float32),
            available=np.array(features, dtype=np.float32),
            label_mean=label_mean.astype(np.float32),
            label_std=label_std.astype(np.float32),
            task_available=np.array(tasks, dtype=np.float32),
            rows=self.rows(total, sites=sites),
        )

    def errors(self, total: Float64, edges: Float32, *, sites: int) -> dict[str, dict[str, float]]:
        """Feature or regression task -> `mean`, `std`: by how much, in its unit, each may be off (in about 95 %).

        A mean or standard deviation that the noise hides, and for which the plan's range stands, has no bound here.
        """
        wide, narrow = self._moments(total, edges, sites)
        features, tasks = self.plan.inputs, self.plan.tasks
        names = [features[i].name for i in self._numeric] + [tasks[i].name for i in self._values]
        spans = (self._ranges[:, 1] - self._ranges[:, 0]).tolist()
        listed = list(zip(names, wide, spans, strict=True))
        listed += [(features[i].name, moments, 1.0) for i, moments in zip(self._binary, narrow, strict=True)]
        return {
            name: {"mean": moments.mean_error * span, "std": moments.std_error * span}
            for name, moments, span in listed
            if moments.known
        }


def _middle(hours: Float32) -> Float32:
    """(n, S) of each stay and feature the value at the middle one of the hours observed, NaN without one."""
    known = ~np.isnan(hours)
    place = known.cumsum(axis=1)
    middle = known & (place == (place[:, -1:] + 1) // 2)
    return np.asarray(np.take_along_axis(hours, middle.argmax(axis=1)[:, None], axis=1)[:, 0])


def _geometric(inner: Float64, ratio: float) -> Float64:
    """Places in the range from 1 to `ratio`, scaled to 0 to 1, at the shares `inner` of its logarithm."""
    return np.asarray((ratio**inner - 1.0) / (ratio - 1.0))
