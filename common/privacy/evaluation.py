"""The evaluation with differential privacy: one pass over the test rows, each row's part bounded.

A row with a label adds, to its task: 1/2 to the rows; its squared error and whether it was right, each less 1/2 and so
at most 1/2 in magnitude; and 1 to one bin of a score histogram, or of one per class. For a quantity: 1/2, the absolute
and the squared error in units of a quarter of the plausible range, cut off at 1 and less 1/2, and no histogram. Less
1/2, because what counts for the noise is how far a row can move an entry.

Of an hourly task a row adds the means over its labelled hours in place of the errors, and spreads the 1 over the bins
of these hours' scores: in L2 that is no more.

Log loss, which one row can move without bound, the sums behind r2, the oracle's tallies and the per-site mean are not
in it: each would make the noise of all others larger.
"""

from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.entries import Entries
from common.histogram import histogram
from common.hourly import hour_labels, hour_scores
from common.ordinal import level
from common.plan import Plan, Task
from common.privacy.bins import GRID, MOST_ROWS, bins_for, noise_of_sum, on_grid, rows_of_patient
from common.privacy.mechanism import of_statistics
from common.privacy.noisy_scores import NoisyScores, NoisyValues, metrics_under_noise
from common.scores import task_columns
from common.tally import sigmoid

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
_CENTRE = -0.5  # log-odds; outcomes are more often rare than common
_LARGEST_ERROR = 0.25  # of the plausible range; larger errors count as this


@dataclass(frozen=True)
class PrivateEvaluation:
    """Layout of the vector: per task [rows / 2, squared error, right] and per output column positives and negatives."""

    plan: Plan

    @cached_property
    def multiplier(self) -> float:
        """Noise over sensitivity; public."""
        return of_statistics(self.plan)[1]

    @cached_property
    def sensitivity(self) -> float:
        """Largest L2 change of the vector if one patient, with all rows, is left out."""
        histograms = sum(task.outputs for task in self.plan.tasks if task.kind != "regression")
        return rows_of_patient(self.plan) * sqrt(histograms + 0.75 * len(self.plan.tasks))

    def noise(self, sites: int) -> float:
        """Standard deviation of the noise in each entry of the sum over `sites` sites."""
        return noise_of_sum(self.plan, multiplier=self.multiplier, sensitivity=self.sensitivity, sites=sites)

    @cached_property
    def bins(self) -> int:
        """Bins of each histogram, from public numbers: the same at every site."""
        split = self.plan.split
        rows = self.plan.privacy.expected_patients * split.test / split.train
        return bins_for(rows, self.noise(self.plan.aggregation.least_sites), readable=16.0, most=32)

    @property
    def score_columns(self) -> int:
        """Columns for which histogram edges travel: the outputs."""
        return sum(task.outputs for task in self.plan.tasks)

    def first_edges(self) -> Float32:
        """(score_columns, bins - 1) inner edges, in log-odds: quantiles of a logistic distribution around -1/2.

        They are fixed, for there is no earlier pass to find better ones; few bins lie where scores are likely.
        """
        share = np.arange(1, self.bins) / self.bins
        return np.tile((_CENTRE + np.log(share / (1.0 - share))).astype(np.float32), (self.score_columns, 1))

    def _task_size(self, task: Task) -> int:
        return 3 if task.kind == "regression" else 3 + 2 * self.bins * task.outputs

    @cached_property
    def size(self) -> int:
        return sum(self._task_size(task) for task in self.plan.tasks)

    @cached_property
    def entries(self) -> tuple[Entries, ...]:
        """What the vector holds, in order, and the block of the plan that it is about."""
        return tuple(Entries("bounded tally", f"task:{t.name}", self._task_size(t)) for t in self.plan.tasks)

    def of(self, scores: Float32, labels: Float32, edges: Float32) -> Float64:
        """One site's vector, (size,).

        scores: (n, outputs + K H) of the test rows, at most `rows_of_patient` of one patient. labels: (n, T + K H),
        NaN where unlabelled. edges: as `first_edges`; whatever they are, a score is counted in one bin.
        """
        parts = []
        for index, (task, columns) in enumerate(zip(self.plan.tasks, task_columns(self.plan), strict=True)):
            if task.hourly:
                own, truth = hour_scores(self.plan, index, scores), hour_labels(self.plan, index, labels)
                parts.append(_tally_of_hours(own, truth, edges[columns.start]))
                continue
            known = ~np.isnan(labels[:, index])
            parts.append(self._tally(task, scores[known, columns], labels[known, index], edges[columns]))
        return np.concatenate(parts)

    def _tally(self, task: Task, scores: Float32, label: Float32, edges: Float32) -> Float64:
        if task.kind == "regression":
            low, high = task.range or (0.0, 1.0)
            found, truth = (np.nan_to_num(each).astype(np.float64) for each in (scores[:, 0], label))
            error = np.clip(np.abs(found - truth) / (_LARGEST_ERROR * (high - low)), 0.0, 1.0)
            centred = np.stack([np.full(len(error), 0.5), error - 0.5, error**2 - 0.5])
            return np.asarray(on_grid(centred, 0.5).sum(axis=1))
        outcome = _outcome(task, label)
        squared = ((sigmoid(np.nan_to_num(scores)) - outcome) ** 2).sum(axis=1) / _largest_brier(task)
        right = (level(scores) if task.two_sided else scores.argmax(axis=1)) == label
        centred = np.stack([np.full(len(label), 0.5), squared - 0.5, right - 0.5])
        counts = [
            histogram(scores[rows, column], edges[column])
            for column in range(task.outputs)
            for rows in (outcome[:, column], ~outcome[:, column])
        ]
        return np.concatenate([on_grid(centred, 0.5).sum(axis=1), *counts])

    def plausible(self, vector: NDArray[np.floating], *, sites: int, noise: float) -> bool:
        """Whether `sites` sites can have sent this: counts not negative, sums that fit them, but for the noise.

        noise: what no entry of the noise in a sum over `sites` sites exceeds.
        """
        for part in self._split(np.asarray(vector, dtype=np.float64)):
            half, counts = float(part[0]), part[3:]
            fits = -noise <= half <= sites * MOST_ROWS / 2.0 + noise
            fits = fits and bool((np.abs(part[1:3]) <= half + 2.0 * noise).all())
            fits = fits and bool((counts >= -noise).all() and (counts <= 2.0 * half + 3.0 * noise).all())
            if not fits:
                return False
        return True

    def _split(self, total: Float64) -> list[Float64]:
        return np.split(total, np.cumsum([self._task_size(task) for task in self.plan.tasks])[:-1])

    def pooled(self, total: Float64, *, sites: int) -> dict[str, dict[str, Any]]:
        """Per task: `pooled`, and `noise`, how far the noise moves each in about 95 % of cases; with classes also
        `auroc_histogram` and `calibration`. A measure that the noise leaves undefined is absent.

        total: (size,) the sum over `sites` sites.
        """
        noise, result = self.noise(sites), {}
        for task, part, columns in zip(self.plan.tasks, self._split(total), task_columns(self.plan), strict=True):
            if task.kind == "regression":
                low, high = task.range or (0.0, 1.0)
                result[task.name] = metrics_under_noise(NoisyValues(_LARGEST_ERROR * (high - low)), part, noise)
                continue
            reader = NoisyScores(
                self.first_edges()[columns].astype(np.float64),
                task.yes_or_no,
                noise,
                self._groups(sites),
                largest_brier=_largest_brier(task),
            )
            result[task.name] = metrics_under_noise(reader, part, noise)
        return result

    def _groups(self, sites: int) -> int:
        """Groups of the calibration: so few that an average one holds 4 standard deviations of its own noise.

        Below three there is no calibration.
        """
        split = self.plan.split
        rows = self.plan.privacy.expected_patients * split.test / split.train
        fits = int((rows / (4.0 * self.noise(sites))) ** 2 / (2 * self.bins))
        return min(self.plan.evaluation.calibration_groups, self.bins // 4, fits)


def _outcome(task: Task, label: Float32) -> NDArray[np.bool_]:
    """(n, outputs) which output's outcome came true."""
    if task.kind == "binary":
        return np.asarray((label == 1.0)[:, None])
    places = np.arange(task.outputs)
    return np.asarray(label[:, None] > places if task.kind == "ordinal" else label[:, None] == places)


def _largest_brier(task: Task) -> float:
    """The largest squared error of a row, summed over outputs: probabilities of classes add up to 1, of cuts not."""
    return 2.0 if task.kind == "multiclass" else float(task.outputs)


def _tally_of_hours(scores: Float32, labels: Float32, edges: Float32) -> Float64:
    """Of an hourly task. scores, labels: (n, H), NaN where unlabelled. edges: (bins - 1,).

    Each stay's part is put on the grid by itself, and what it adds to the histograms is rounded down: it is never
    more than 1 in all.
    """
    stays = ~np.isnan(labels).all(axis=1)
    scores, labels = scores[stays], labels[stays]
    known = ~np.isnan(labels)
    weights = known / np.maximum(known.sum(axis=1, keepdims=True), 1)
    truth = labels == 1.0
    squared = (weights * (sigmoid(np.nan_to_num(scores)) - truth) ** 2).sum(axis=1)
    right = (weights * ((scores > 0) == truth)).sum(axis=1)
    centred = np.stack([np.full(len(labels), 0.5), squared - 0.5, right - 0.5])
    bins = len(edges) + 1
    place = np.searchsorted(edges, scores, side="right") + np.where(truth, 0, bins)
    row = np.arange(len(labels))[:, None] * 2 * bins
    spread = np.bincount((row + place).ravel(), weights.ravel(), minlength=len(labels) * 2 * bins)
    counts = np.floor(spread.reshape(len(labels), 2 * bins) * GRID + 2.0**-20) / GRID
    return np.concatenate([on_grid(centred, 0.5).sum(axis=1), counts.sum(axis=0)])
