"""One site's evaluation as one vector, and the pooled metrics read from the sum of such vectors.

Parts, in order: for each task the tallies of its output columns; the same for the oracle's columns where the plan names
them; and, in the final evaluation, per task the sums behind the per-site mean. Nothing in it is ever averaged.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.entries import Entries
from common.histogram import close_ends, refine
from common.hourly import Judged, judged
from common.ordinal import level, level_metrics, level_sums
from common.plan import Plan, Task
from common.scores import exact_metrics, task_columns
from common.tally import ScoreTally, ValueTally

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
SITE_METRICS = ("auroc", "auprc", "brier", "accuracy", "mae")
_KEPT = {"regression": ("mae",), "ordinal": SITE_METRICS}  # in a per-site mean
_FURTHER = {"multiclass": 1, "ordinal": 7}  # entries after the columns' own: rows that are right; `level_sums`
_EDGE_LIMIT = 8.0  # log-odds; the first guess before any scores were seen


def first_edges(columns: int, *, bins: int) -> Float32:
    """(columns, bins - 1) equal bins over log-odds from -8 to 8."""
    return np.tile(np.linspace(-_EDGE_LIMIT, _EDGE_LIMIT, bins - 1, dtype=np.float32), (columns, 1))


@dataclass(frozen=True)
class Evaluation:
    """Layout of an evaluation vector. `final` adds the oracle and the sums behind the per-site mean."""

    plan: Plan
    bins: int
    final: bool

    @cached_property
    def _oracle(self) -> tuple[bool, ...]:
        return tuple(bool(task.oracle) and self.final for task in self.plan.tasks)

    @cached_property
    def _columns(self) -> list[slice]:
        return task_columns(self.plan)

    @property
    def score_columns(self) -> int:
        """Columns for which histogram edges travel: the outputs, twice in the final evaluation (model and oracle)."""
        outputs = self._columns[-1].stop
        return int(2 * outputs if self.final else outputs)

    def _task_size(self, task: Task) -> int:
        if task.kind == "regression":
            return ValueTally.SIZE
        return task.outputs * ScoreTally.size(self.bins) + _FURTHER.get(task.kind, 0)

    @cached_property
    def size(self) -> int:
        tallies = sum(self._task_size(task) * (1 + oracle) for task, oracle in self._pairs)
        return tallies + (len(self.plan.tasks) * (len(SITE_METRICS) + 2) if self.final else 0)

    @cached_property
    def entries(self) -> tuple[Entries, ...]:
        """What the vector holds, in order, and the block of the plan that it is about."""
        parts = [Entries("tally", f"task:{task.name}", self._task_size(task)) for task in self.plan.tasks]
        for task, oracle in self._pairs:
            if oracle:
                parts.append(Entries("oracle tally", f"task:{task.name}", self._task_size(task)))
        if self.final:
            parts += [Entries("site sums", f"mean:{task.name}", len(SITE_METRICS) + 2) for task in self.plan.tasks]
        return tuple(parts)

    @property
    def _pairs(self) -> list[tuple[Task, bool]]:
        return list(zip(self.plan.tasks, self._oracle, strict=True))

    def of(
        self,
        scores: Float32,
        labels: Float32,
        edges: Float32,
        *,
        oracle: Float32 | None = None,
        train_rows: NDArray[np.int64] | None = None,
    ) -> Float64:
        """One site's vector, (size,).

        scores: (n, outputs + K H) of the rows judged. labels: (n, T + K H), NaN where unlabelled (`common.hourly`).
        edges: (score_columns, bins - 1).
        oracle: (n, outputs) scores of the true risk. train_rows: (T,) labelled training rows, decides who is counted.
        """
        outputs = self._columns[-1].stop
        own = [judged(self.plan, index, scores, labels) for index in range(len(self.plan.tasks))]
        parts = [self._tally(part, edges, index, 0) for index, part in enumerate(own)]
        for index, present in enumerate(self._oracle):
            if present:
                source = np.full_like(scores, np.nan) if oracle is None else oracle
                truth = np.where(np.isnan(source[:, self._columns[index].start]), np.nan, labels[:, index])
                known = ~np.isnan(truth)
                part = Judged(source[known, self._columns[index]], truth[known])
                parts.append(self._tally(part, edges, index, outputs))
        if self.final:
            counts = np.zeros(len(self.plan.tasks), dtype=np.int64) if train_rows is None else train_rows
            for index, (task, part) in enumerate(zip(self.plan.tasks, own, strict=True)):
                metrics = exact_metrics(part.scores, part.labels, task, weights=part.weights)
                parts.append(self._site_sums(metrics, int(counts[index])))
        return np.concatenate(parts)

    def _tally(self, part: Judged, edges: Float32, index: int, first_edge: int) -> Float64:
        task, columns = self.plan.tasks[index], self._columns[index]
        own, truth = part.scores, part.labels
        if task.kind == "regression":
            low, high = task.range or (0.0, 1.0)
            return ValueTally.of(own[:, 0], truth, low=low, span=high - low).vector
        limits = edges[first_edge + columns.start : first_edge + columns.stop]
        if task.yes_or_no:
            return ScoreTally.of(own[:, 0], truth == 1.0, limits[0], weights=part.weights).vector
        if task.kind == "ordinal":
            cuts = [ScoreTally.of(own[:, k], truth > k, limits[k]).vector for k in range(task.outputs)]
            return np.concatenate([*cuts, level_sums(level(own), truth.astype(np.int64), task.outputs)])
        tallies = [ScoreTally.of(own[:, k], truth == k, limits[k]).vector for k in range(task.outputs)]
        return np.concatenate([*tallies, [(own.argmax(axis=1) == truth).sum()]])

    def counted(self, metrics: dict[str, Any], train_rows: int) -> bool:
        """Whether a site enters the per-site mean of a task: enough rows, and both classes among the test rows."""
        rules = self.plan.evaluation
        judged = "auroc" in metrics or "mae" in metrics
        return judged and metrics["n"] >= rules.min_test_rows and train_rows >= rules.min_train_rows

    def _site_sums(self, metrics: dict[str, Any], train_rows: int) -> Float64:
        if not self.counted(metrics, train_rows):
            return np.zeros(len(SITE_METRICS) + 2)
        return np.array([*(metrics.get(name, 0.0) for name in SITE_METRICS), 1.0, metrics["n"]], dtype=np.float64)

    def _split(self, total: Float64) -> tuple[list[Float64], dict[int, Float64], list[Float64]]:
        """(tallies by task, oracle tallies by task index, site sums by task)"""
        sizes = [self._task_size(task) for task in self.plan.tasks]
        with_oracle = [index for index, present in enumerate(self._oracle) if present]
        cuts = np.cumsum([*sizes, *(sizes[index] for index in with_oracle)])
        parts = np.split(total, cuts)
        tasks, oracles = parts[: len(sizes)], parts[len(sizes) : -1]
        site_sums = list(parts[-1].reshape(len(self.plan.tasks), -1)) if self.final else []
        return list(tasks), dict(zip(with_oracle, oracles, strict=True)), site_sums

    def _scores_in(self, task: Task, part: Float64) -> list[ScoreTally]:
        size = ScoreTally.size(self.bins)
        return [ScoreTally(part[k * size : (k + 1) * size]) for k in range(task.outputs)]

    def next_edges(self, edges: Float32, total: Float64, *, bins: int) -> Float32:
        """Inner edges, (score_columns, bins - 1), of bins that would have held about equal counts of this sum."""
        result = np.array(first_edges(self.score_columns, bins=bins))
        tasks, oracles, _ = self._split(total)
        placed = [(0, index, part) for index, part in enumerate(tasks)]
        placed += [(self._columns[-1].stop, index, part) for index, part in oracles.items()]
        for first, index, part in placed:
            task = self.plan.tasks[index]
            if task.kind == "regression":
                continue
            for k, tally in enumerate(self._scores_in(task, part)):
                row = first + self._columns[index].start + k
                result[row] = refine(close_ends(edges[row].astype(np.float64)), tally.counts, bins=bins)
        return result

    def pooled(self, total: Float64) -> dict[str, dict[str, Any]]:
        """Per task: `pooled`, and where they apply `auroc_histogram`, `calibration`, `oracle`, `per_site_mean`."""
        tasks, oracles, site_sums = self._split(total)
        result: dict[str, dict[str, Any]] = {}
        for index, task in enumerate(self.plan.tasks):
            entry = self._summary(task, tasks[index])
            if index in oracles:
                entry["oracle"] = self._summary(task, oracles[index])["pooled"]
            if site_sums and site_sums[index][-2] > 0:
                *sums, sites, rows = site_sums[index]
                kept = _KEPT.get(task.kind, SITE_METRICS[:-1])
                means = {name: float(value / sites) for name, value in zip(SITE_METRICS, sums, strict=True)}
                entry["per_site_mean"] = {name: means[name] for name in kept}
                entry["per_site_mean"] |= {"sites": round(sites), "n": round(rows)}
            result[task.name] = entry
        return result

    def _summary(self, task: Task, part: Float64) -> dict[str, Any]:
        if task.kind == "regression":
            low, high = task.range or (0.0, 1.0)
            return {"pooled": ValueTally(part).metrics(span=high - low)}
        tallies = self._scores_in(task, part)
        binary = task.yes_or_no
        pooled = tallies[0].metrics() if binary else _over_classes(tallies)
        if not binary and pooled["n"]:
            further = part[-_FURTHER[task.kind] :]
            ordered = task.kind == "ordinal"
            pooled |= (
                level_metrics(further, rows=pooled["n"], cuts=task.outputs)
                if ordered
                else {"accuracy": float(further[0]) / pooled["n"]}
            )
        entry: dict[str, Any] = {"pooled": pooled}
        areas = [area for tally in tallies if (area := tally.auroc()) is not None]
        if areas:
            value, bound = np.mean(np.array(areas), axis=0)
            entry["auroc_histogram"] = {"auroc": float(value), "bound": float(bound), "bins": self.bins}
        if binary:
            calibration = tallies[0].calibration(groups=self.plan.evaluation.calibration_groups)
            if calibration is not None:
                entry["calibration"] = calibration
        return entry


def _over_classes(tallies: list[ScoreTally]) -> dict[str, float]:
    """Over classes or cuts: areas are means, Brier score (of cuts the ranked probability score) and loss are sums."""
    each = [tally.metrics() for tally in tallies]
    rows = each[0]["n"]
    if not rows:
        return {"n": 0}
    result: dict[str, float] = {"n": rows}
    result |= {name: sum(metrics[name] for metrics in each) for name in ("brier", "loss")}
    for name in ("auroc", "auprc"):
        values = [metrics[name] for metrics in each if name in metrics]
        if values:
            result[name] = sum(values) / len(values)
    return result
