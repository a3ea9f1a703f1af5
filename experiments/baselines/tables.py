"""What every baseline is fitted on: the sites' own tables, cut in the same places as for the federation."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from client.config import SiteConfig
from client.data.table import SiteTable, load_table
from client.site_rows import TEST, TRAIN
from common.hourly import with_hours
from common.plan import Plan
from common.scores import task_columns

Float32 = NDArray[np.float32]
POOLED = "pooled"


def load_tables(plan: Plan, configs: Iterable[SiteConfig]) -> list[SiteTable]:
    """Every site's rows, cleaned, split and labelled as its hospital would. Raises PlanError and DataError."""
    return [load_table(config, plan) for config in configs]


def merged(tables: Sequence[SiteTable]) -> SiteTable:
    """All rows as those of one site; its `report` is the first site's and describes that site only."""
    names = ("patients", "row_ids", "features", "labels", "oracle", "split", "hours", "hour_labels")
    return replace(
        tables[0], site=POOLED, **{name: np.concatenate([getattr(t, name) for t in tables]) for name in names}
    )


def of_tasks(table: SiteTable, plan: Plan, chosen: Sequence[int]) -> SiteTable:
    """The same rows with the labels and oracles of the chosen tasks only."""
    columns = task_columns(plan)
    oracle = np.concatenate([table.oracle[:, columns[index]] for index in chosen], axis=1)
    hourly = [plan.hourly.index(index) for index in chosen if plan.tasks[index].hourly]
    return replace(
        table, labels=table.labels[:, list(chosen)], oracle=oracle, hour_labels=table.hour_labels[:, :, hourly]
    )


def score_columns(plan: Plan) -> list[NDArray[np.int64]]:
    """The columns of each task among scores, (n, outputs + K H): its outputs, then its hours (`common.hourly`)."""
    found = [np.arange(columns.start, columns.stop) for columns in task_columns(plan)]
    first = sum(task.outputs for task in plan.tasks)
    for number, index in enumerate(plan.hourly):
        found[index] = np.append(found[index], first + number * plan.hours + np.arange(plan.hours))
    return found


def training_rows(table: SiteTable, task: int) -> tuple[Float32, Float32]:
    """(features (n, F), labels (n,)) of the rows in train that have a label of this task. Never validation or test."""
    rows = (table.split == TRAIN) & ~np.isnan(table.labels[:, task])
    return table.features[rows], table.labels[rows, task]


def train_counts(table: SiteTable) -> NDArray[np.int64]:
    """(T,) labelled rows in train of each task."""
    return np.asarray((~np.isnan(table.labels[table.split == TRAIN])).sum(axis=0), dtype=np.int64)


def labels_of_test(table: SiteTable) -> Float32:
    """(n, T + K H) of the rows in test."""
    rows = table.split == TEST
    return with_hours(table.labels[rows], table.hour_labels[rows])


def judged_features(table: SiteTable) -> Float32:
    """(n, F) of the rows in test."""
    return np.asarray(table.features[table.split == TEST])
