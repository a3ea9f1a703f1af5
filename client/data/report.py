"""What a site's data look like after cleaning: for the site's own people. It does not leave the site."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from client.config import SiteConfig
from client.data.cleaned import Cleaned, Hours
from client.data.split import SETS
from client.data.unplaced import unplaced
from common.plan import Feature, Plan, Task

_SUSPECT = 0.2


@dataclass(frozen=True)
class FeatureReport:
    """One input. missing: fraction of the rows after cleaning; the counts are cells that cleaning set to missing."""

    name: str
    recorded: bool
    missing: float
    out_of_range: int
    unknown_code: int
    not_finite: int
    unit: str
    unit_from: str | None
    looks_like: str | None = None


@dataclass(frozen=True)
class TaskReport:
    """One label. mean: prevalence of a binary task, mean of a regression. shares: class -> share, of several."""

    name: str
    label: str
    kind: str
    recorded: bool
    labelled: int
    labelled_by_set: dict[str, int]
    mean: float | None
    shares: dict[str, float]
    out_of_range: int
    unknown_code: int
    not_finite: int
    unit_from: str | None
    looks_like: str | None = None


@dataclass(frozen=True)
class DataReport:
    """Counts of one site's table. `to_json` has these fields as its keys; so have the features and tasks in it.

    objected_patients: who were left out; unknown_objections: identifiers of the list that are in no table.
    hour_features: of the sequence, missing being the fraction of rows without a value at any hour; their counts are
    cells of the hourly tables. hours_read, hours_dropped: rows of these tables, and reason -> those that are no inputs.
    """

    site: str
    source: str
    files: tuple[str, ...]
    rows_read: int
    rows: int
    patients: int
    dropped: dict[str, int]
    rows_by_set: dict[str, int]
    features: tuple[FeatureReport, ...]
    tasks: tuple[TaskReport, ...]
    absent_labels: tuple[str, ...]
    unmatched_labels: int
    objected_patients: int
    unknown_objections: int
    warnings: tuple[str, ...]
    hour_features: tuple[FeatureReport, ...] = ()
    hours_read: int = 0
    hours_dropped: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The report as what `json.dumps` takes."""
        return asdict(self)


def make_report(
    *,
    config: SiteConfig,
    plan: Plan,
    rows_read: int,
    dropped: dict[str, int],
    patients: np.ndarray,
    split: np.ndarray,
    features: Sequence[Cleaned],
    hours: Hours,
    labels: Sequence[Cleaned],
    unmatched_labels: int = 0,
    objected_patients: int = 0,
    unknown_objections: int = 0,
) -> DataReport:
    """Count. features, labels: in the plan's order; labels is empty where rows are only to be predicted."""
    feature_reports = tuple(_feature(feature, column) for feature, column in zip(plan.features, features, strict=True))
    hour_reports = tuple(
        replace(_feature(feature, column), missing=float(np.isnan(hours.values[:, :, index]).all(axis=1).mean()))
        for index, (feature, column) in enumerate(zip(plan.hour_features, hours.features, strict=True))
    )
    kept = [int((~np.isnan(column.values)).sum()) for column in (*features, *hours.features)]
    tasks = plan.tasks if labels else ()
    task_reports = tuple(_task(task, column, split) for task, column in zip(tasks, labels, strict=True))
    return DataReport(
        site=config.name,
        source=str(config.source),
        files=tuple(str(file) for file in config.tables),
        rows_read=rows_read,
        rows=len(split),
        patients=len(np.unique(patients[patients != ""])),
        dropped={reason: count for reason, count in dropped.items() if count},
        rows_by_set=_by_set(split),
        features=feature_reports,
        tasks=task_reports,
        absent_labels=tuple(dict.fromkeys(task.label for task in task_reports if not task.recorded)),
        hour_features=hour_reports,
        hours_read=hours.rows_read,
        hours_dropped={reason: count for reason, count in hours.dropped.items() if count},
        unmatched_labels=unmatched_labels,
        objected_patients=objected_patients,
        unknown_objections=unknown_objections,
        warnings=(
            *_warnings((*feature_reports, *hour_reports), kept, task_reports, unmatched_labels, unknown_objections),
            *unplaced(plan, hours, len(split)),
        ),
    )


def _by_set(split: np.ndarray) -> dict[str, int]:
    return {name: int((split == index).sum()) for index, name in enumerate(SETS)}


def _feature(feature: Feature, column: Cleaned) -> FeatureReport:
    return FeatureReport(
        name=feature.name,
        recorded=column.recorded,
        missing=float(np.isnan(column.values).mean()) if len(column.values) else 1.0,
        out_of_range=column.out_of_range,
        unknown_code=column.unknown_code,
        not_finite=column.not_finite,
        unit=feature.unit,
        unit_from=column.unit_from,
        looks_like=column.looks_like,
    )


def _task(task: Task, column: Cleaned, split: np.ndarray) -> TaskReport:
    known = ~np.isnan(column.values)
    values = column.values[known]
    shares = {
        str(code): float((values == index).mean()) for index, code in enumerate(task.classes or ()) if len(values)
    }
    return TaskReport(
        name=task.name,
        label=task.source,
        kind=task.kind,
        recorded=column.recorded,
        labelled=int(known.sum()),
        labelled_by_set=_by_set(split[known]),
        mean=float(values.mean()) if len(values) and task.classes is None else None,
        shares=shares,
        out_of_range=column.out_of_range,
        unknown_code=column.unknown_code,
        not_finite=column.not_finite,
        unit_from=column.unit_from,
        looks_like=column.looks_like,
    )


def _warnings(
    features: Sequence[FeatureReport],
    values: Sequence[int],
    tasks: Sequence[TaskReport],
    unmatched: int,
    unknown: int,
) -> list[str]:
    """Sentences about what is allowed but looks like a slip; they hold counts, never a value.

    values: how many each feature has left.
    """
    found = []
    for feature, kept in zip(features, values, strict=True):
        for count, what, cure in (
            (feature.out_of_range, "outside the plausible range", "check its unit under [units]"),
            (feature.unknown_code, "unknown codes", "check its coding"),
        ):
            if count > _SUSPECT * (kept + count):
                fits = f"; they look like {feature.looks_like}" if feature.looks_like and count > kept else ""
                found.append(f"{feature.name}: {count} of {kept + count} values are {what}{fits}; {cure}.")
        if feature.recorded and not kept and not feature.out_of_range + feature.unknown_code:
            found.append(f"{feature.name}: the column is there, but holds no value.")
    for task in tasks:
        bad = task.out_of_range + task.unknown_code
        if bad > _SUSPECT * (task.labelled + bad):
            found.append(f"{task.name}: {bad} of {task.labelled + bad} labels cannot be used; check {task.label!r}.")
    if unmatched:
        found.append(f"{unmatched} row(s) of the label tables belong to no row of the data.")
    if unknown:
        found.append(f"{unknown} identifier(s) of exclude_patients are in no table; check how they are written.")
    return found
