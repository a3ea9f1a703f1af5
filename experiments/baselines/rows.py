"""What models that are not ours get of a site: one row of numbers per stay, and per stay and hour for an hourly task.

Of the hours they get summaries up to the one that is asked about, the last one for a label of the stay: of each feature
the mean, least, greatest and last value, the number of hours with one and of hours since; and the hour itself. Each
hour of a stay is a row that counts as any other, where our own loss divides a stay's weight by its hours.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.data.table import SiteTable
from client.site_rows import TEST, TRAIN
from common.plan import Plan, plan_from_dict
from experiments.baselines.tables import judged_features, training_rows

Float32 = NDArray[np.float32]
_KINDS = ("mean", "least", "greatest", "last", "count", "since")
_HOUR = "summary_hour"


def summaries(hours: Float32) -> Float32:
    """(n, H, 6 S) as `_KINDS` names them, each of all features; NaN where none was observed yet, the count then is 0.

    hours: (n, H, S) in plan units, NaN where not observed.
    """
    known = ~np.isnan(hours)
    count = known.cumsum(axis=1)
    last = np.maximum.accumulate(np.where(known, np.arange(hours.shape[1])[:, None], 0), axis=1)
    found = (
        np.where(known, hours, 0.0).cumsum(axis=1, dtype=np.float64) / np.maximum(count, 1),
        np.minimum.accumulate(np.where(known, hours, np.inf), axis=1),
        np.maximum.accumulate(np.where(known, hours, -np.inf), axis=1),
        np.take_along_axis(hours, last, axis=1),
        count,
        np.arange(hours.shape[1])[:, None] - last,
    )
    values = np.concatenate([part if part is count else np.where(count == 0, np.nan, part) for part in found], axis=2)
    return np.asarray(values, dtype=np.float32)


@dataclass(frozen=True)
class Rows:
    """source: the federation's plan. plan: the same of rows; without a sequence it is the same."""

    source: Plan
    plan: Plan

    @staticmethod
    def of(plan: Plan) -> "Rows":
        return Rows(plan, plan if plan.sequence is None else _of_rows(plan))

    def training(self, table: SiteTable, index: int) -> tuple[Float32, Float32]:
        """(features (n, F), labels (n,)) of the rows in train that have a label of the task `index`."""
        if self.source.sequence is None:
            return training_rows(table, index)
        train = table.split == TRAIN
        every = self._every(table, train)
        if index in self.source.hourly:
            labels = table.hour_labels[train, :, self.source.hourly.index(index)]
        else:
            every, labels = every[:, -1:], table.labels[train, index, None]
        known = ~np.isnan(labels)
        return every[known], labels[known]

    def judged(self, table: SiteTable, index: int) -> Float32:
        """(rows, F) of the stays in test, as long as `in_place` takes the scores of them."""
        if self.source.sequence is None:
            return judged_features(table)
        every = self._every(table, table.split == TEST)
        return every.reshape(-1, every.shape[2]) if index in self.source.hourly else every[:, -1]

    def in_place(self, scores: Float32, index: int) -> Float32:
        """(stays, columns of the task) of scores, (rows, outputs): of an hourly task the last hour's, then each."""
        if index not in self.source.hourly:
            return scores
        each = scores.reshape(-1, self.source.hours)
        return np.concatenate([each[:, -1:], each], axis=1)

    def _every(self, table: SiteTable, chosen: NDArray[np.bool_]) -> Float32:
        """(stays, H, F)"""
        seen = summaries(table.hours[chosen])
        stays, hours = seen.shape[:2]
        row = np.broadcast_to(table.features[chosen][:, None], (stays, hours, table.features.shape[1]))
        hour = np.broadcast_to(np.arange(hours, dtype=np.float32)[:, None], (stays, hours, 1))
        return np.concatenate([row, seen, hour], axis=2)


def _of_rows(plan: Plan) -> Plan:
    """`plan` without its sequence, with a feature for each summary; hourly tasks are binary ones of a row."""
    content = plan.model_dump(mode="json")
    for section in ("start", "privacy", "sequence"):
        content.pop(section, None)
    content["model"] = {}
    names = {feature.name: number for number, feature in enumerate(plan.hour_features)}
    for kind in _KINDS:
        for number, feature in enumerate(plan.hour_features):
            limits = (0, plan.hours) if kind in ("count", "since") else feature.range
            content["features"].append({"name": f"summary_{kind}_{number}", "range": limits})
    content["features"].append({"name": _HOUR, "range": (0, plan.hours)})
    for number, task in enumerate(content["tasks"]):
        hidden = [f"summary_{kind}_{names[name]}" for name in task["exclude"] if name in names for kind in _KINDS]
        task["exclude"] = [name for name in task["exclude"] if name not in names] + hidden
        if task["kind"] == "hourly":
            task |= {"kind": "binary", "label": f"summary_label_{number}", "event": None, "within_h": None}
    return plan_from_dict(content, source=plan.federation.name)
