"""Metrics from a task's bounded, noised tally, and how far the noise may have moved each.

The noise's standard deviation is public, so its effect is found by a parametric bootstrap (Efron and Tibshirani 1993,
chapter 6): noise of that size is added 200 times to what the tally seems to say, and each time the metric is read
again. Shown is 2.2 times the standard deviation of the changes and twice their mean, the bias that making counts
plausible leaves; it is the larger of two, from all counts and from those alone that rise out of the noise. Average
precision and calibration error are no sums of products and keep a bias that follows the truth, which nobody knows:
theirs is 3.2 times. That this covers 95 % is not proven but measured: by a test, at 60 to 300 positives (for the
calibration error, which needs more, not at all). The draws come from a fixed seed: the same sum gives the same figures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from common.histogram import close_ends
from common.metrics import average_precision_of_bins
from common.privacy.bins import cleaned
from common.tally import ScoreTally, sigmoid

Float64 = NDArray[np.float64]
_DRAWS = 200
_MOST_UNDEFINED = 0.05
_WIDTH = 2.2  # standard deviations; 2 are 95.4 % of a normal, and 200 draws tell them to 5 %
_UNEVEN = {"auprc": 3.2, "ece": 3.2}  # read from counts made plausible, whose bias follows the truth that is not known


class Reader(Protocol):
    """Reads one task's tally."""

    def sure(self, part: Float64) -> Float64:
        """What of a clean vector rises out of the noise, the rest 0: as far from the truth on the other side."""

    def clean(self, part: Float64) -> Float64:
        """The nearest vector that real rows could have given."""

    def entry(self, part: Float64) -> dict[str, Any]:
        """The task's entry in a result, from a vector as it came."""

    def measures(self, part: Float64) -> dict[str, float]:
        """Every number of that entry for which the noise is to be stated."""


def metrics_under_noise(reader: Reader, part: Float64, noise: float) -> dict[str, Any]:
    """The task's entry with `noise`; measures that are undefined in a twentieth of the draws or more are left out."""
    entry = reader.entry(part)
    found, seeming = reader.measures(part), reader.clean(part)
    noises = noise * np.random.default_rng(0).standard_normal((_DRAWS, len(part)))
    spreads = [_spread(reader, start, noises) for start in (seeming, reader.sure(seeming))]
    spread = {name: max(each.get(name, 0.0) for each in spreads) for name in found if name in spreads[0]}
    return _stated(entry, spread)


def _spread(reader: Reader, start: Float64, noises: Float64) -> dict[str, float]:
    """Measure -> how far the noises move it from its value at `start`; without those that often become undefined."""
    base, draws = reader.measures(start), [reader.measures(start + noise) for noise in noises]
    spread: dict[str, float] = {}
    for name, value in base.items():
        moved = np.array([draw[name] for draw in draws if name in draw])
        if len(moved) > (1.0 - _MOST_UNDEFINED) * _DRAWS:
            spread[name] = float(_UNEVEN.get(name, _WIDTH) * moved.std() + 2.0 * abs(moved.mean() - value))
    return spread


def _stated(entry: dict[str, Any], spread: Mapping[str, float]) -> dict[str, Any]:
    pooled = {name: value for name, value in entry["pooled"].items() if name in spread or name == "n"}
    result = entry | {"pooled": pooled, "noise": {name: spread[name] for name in (*pooled, "ece") if name in spread}}
    if "auroc" not in spread:
        result.pop("auroc_histogram", None)
    if "ece" not in spread:
        result.pop("calibration", None)
    return result


@dataclass(frozen=True)
class NoisyScores:
    """Reads [rows / 2, squared error - 1/2, right - 1/2, then positives and negatives per output column].

    edges: (columns, bins - 1) of the scores. noise: standard deviation per entry. groups: of the calibration.
    largest_brier: what a squared error of 1 stands for.
    """

    edges: Float64
    binary: bool
    noise: float
    groups: int
    largest_brier: float = 1.0

    def _counts(self, part: Float64) -> Float64:
        """(columns, 2, bins) positives and negatives."""
        return part[3:].reshape(len(self.edges), 2, -1)

    def clean(self, part: Float64) -> Float64:
        counts = cleaned(self._counts(part))
        rows = self._rows(part)
        bounded = [rows / 2.0, *np.clip(part[1:3], -rows / 2.0, rows / 2.0)]
        return np.concatenate([bounded, counts.ravel()])

    def sure(self, part: Float64) -> Float64:
        counts = self._counts(part)
        return np.concatenate([part[:3], np.where(counts > 2.0 * self.noise, counts, 0.0).ravel()])

    def _rows(self, part: Float64) -> float:
        """Rows, from their own entry (noise times 2) and from the histograms (times the root of their bins)."""
        counts = self._counts(part)
        variances = np.array([4.0, 2.0 * counts.shape[2] / len(self.edges)])
        found = np.array([2.0 * part[0], counts.sum() / len(self.edges)])
        return max(0.0, float((found / variances).sum() / (1.0 / variances).sum()))

    def _tallies(self, part: Float64) -> list[ScoreTally]:
        """One per column; the probabilities in a bin are those of its middle."""
        tallies = []
        for (positives, negatives), inner in zip(cleaned(self._counts(part)), self.edges, strict=True):
            limits = close_ends(inner)
            predicted = (positives + negatives) * sigmoid((limits[1:] + limits[:-1]) / 2.0)
            tallies.append(ScoreTally(np.concatenate([positives, negatives, predicted, np.zeros(3)])))
        return tallies

    def _areas(self, part: Float64) -> list[float]:
        """The AUROC of each column that has one, from the counts as they came, negative ones too.

        It is a sum of products of positives and negatives, whose noises are independent and have mean 0: the counts
        made plausible would draw it towards one half.
        """
        found = [ScoreTally(np.concatenate([*counts, np.zeros(counts.shape[1] + 3)])) for counts in self._counts(part)]
        return [min(max(area[0], 0.0), 1.0) for tally in found if (area := tally.auroc()) is not None]

    def measures(self, part: Float64) -> dict[str, float]:
        """n, positives, brier, accuracy, auroc, auprc and ece, where they are defined."""
        rows, tallies = self._rows(part), self._tallies(part)
        if round(rows) < 1:
            return {"n": 0}
        result: dict[str, float] = {"n": round(rows)}
        if self.binary:
            result["positives"] = round(float(tallies[0].positives.sum()))
        squared, right = np.clip(part[1:3] / rows + 0.5, 0.0, 1.0)
        result |= {"brier": float(squared) * self.largest_brier, "accuracy": float(right)}
        areas = self._areas(part)
        if areas:
            result["auroc"] = sum(areas) / len(areas)
        if areas and (known := [tally for tally in tallies if tally.auroc() is not None]):
            precisions = [average_precision_of_bins(tally.positives, tally.negatives) for tally in known]
            result["auprc"] = sum(precisions) / len(precisions)
        if (groups := self._calibration(tallies)) is not None:
            result["ece"] = float(str(groups["ece"]))
        return result

    def _calibration(self, tallies: list[ScoreTally]) -> dict[str, object] | None:
        """In groups, whose predicted risks are those of the bins' middles; None with fewer than three."""
        return tallies[0].calibration(groups=self.groups) if self.binary and self.groups >= 3 else None

    def entry(self, part: Float64) -> dict[str, Any]:
        measures, tallies = self.measures(part), self._tallies(part)
        entry: dict[str, Any] = {"pooled": {name: value for name, value in measures.items() if name != "ece"}}
        bounds = [area[1] for tally in tallies if (area := tally.auroc()) is not None]
        if "auroc" in measures:
            bins = self.edges.shape[1] + 1
            entry["auroc_histogram"] = {"auroc": measures["auroc"], "bound": float(np.mean(bounds)), "bins": bins}
        if "ece" in measures:
            entry["calibration"] = self._calibration(tallies)
        return entry


@dataclass(frozen=True)
class NoisyValues:
    """Reads [rows / 2, |error| - 1/2, error^2 - 1/2], errors in units of `span`."""

    span: float

    def clean(self, part: Float64) -> Float64:
        rows = max(0.0, 2.0 * float(part[0]))
        return np.array([rows / 2.0, *np.clip(part[1:], -rows / 2.0, rows / 2.0)])

    def sure(self, part: Float64) -> Float64:
        return part

    def measures(self, part: Float64) -> dict[str, float]:
        """n; mae and rmse in the task's unit, where the noise leaves them above 0."""
        rows = 2.0 * float(part[0])
        if round(rows) < 1:
            return {"n": 0}
        absolute, squared = (min(float(value), 1.0) for value in part[1:] / rows + 0.5)
        found = {"mae": absolute * self.span, "rmse": sqrt(max(squared, 0.0)) * self.span}
        return {"n": round(rows)} | {name: value for name, value in found.items() if value > 0.0}

    def entry(self, part: Float64) -> dict[str, Any]:
        return {"pooled": self.measures(part)}
