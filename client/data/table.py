"""A site's files -> `SiteTable`: arrays that keep the plan's contract, and a report of what was changed."""

from dataclasses import replace

import numpy as np
import pandas as pd

from client.config import SiteConfig
from client.data.cleaned import Cleaned, Hours
from client.data.columns import (
    Need,
    check_mapped_labels,
    check_names,
    key_need,
    label_needs,
    patient_need,
    prediction_needs,
    row_need,
    row_needs,
)
from client.data.contract import read_table
from client.data.hours import read_hours, share_of_hours
from client.data.labels import check_owners, join_labels
from client.data.left_out import leave_out
from client.data.report import make_report
from client.data.rows import select_rows
from client.data.site_table import SiteTable
from client.data.split import NO_SET, divide_train, split_by_hash
from client.data.values import check_units, clean_feature, clean_label
from common.errors import DataError
from common.plan import Plan


def load_table(config: SiteConfig, plan: Plan) -> SiteTable:
    """The site's rows that take part in `plan`; raises PlanError for site.toml and DataError for the tables."""
    _check_config(config, plan)
    frame = _read(config, [*row_needs(plan), *label_needs(plan)])
    rows_read = len(frame)
    check_owners(frame, config, plan)
    frame, objected = leave_out(frame, config, plan)
    frame, unmatched = join_labels(frame, config, plan, ignored=objected.keys)
    check_mapped_labels(config, label_needs(plan), frame.columns)
    rows = select_rows(frame, config, plan)
    features = [clean_feature(feature, rows.frame, config) for feature in plan.features]
    hours = read_hours(config, plan, rows.row_ids)
    labels = _labels(rows.frame, hours, config, plan)
    if all(np.isnan(label.values).all() for label in labels):
        names = ", ".join(sorted({repr(task.source) for task in plan.tasks}))
        raise DataError(f"{config.source}: no row has a label for any task; the plan's labels are {names}.")
    split = split_by_hash(rows.patients, plan) if rows.sets is None else divide_train(rows.sets, rows.patients, plan)
    report = make_report(
        config=config,
        plan=plan,
        rows_read=rows_read,
        dropped={"objected": objected.rows, **rows.dropped},
        objected_patients=objected.patients,
        unknown_objections=objected.unknown,
        patients=rows.patients,
        split=split,
        features=features,
        hours=hours,
        labels=labels,
        unmatched_labels=unmatched,
    )
    return SiteTable(
        site=config.name,
        patients=rows.patients,
        row_ids=rows.row_ids,
        features=_stack([feature.values for feature in features]),
        labels=_stack([label.values for label in labels]),
        oracle=_stack(_oracle(rows.frame, plan)),
        split=split,
        hours=hours.values,
        hour_labels=hours.labels,
        report=report,
        objections=objected.digest,
    )


def load_for_prediction(config: SiteConfig, plan: Plan) -> SiteTable:
    """Every row of the input in its order, cleaned like training data: nothing dropped, no labels, no split.

    Identifiers are '' where the table has none; without a row and a patient column, row_ids are row numbers from 1.
    Raises PlanError and DataError.
    """
    _check_config(config, plan)
    frame = _read(config, prediction_needs(plan))
    rows = len(frame)
    features = [clean_feature(feature, frame, config) for feature in plan.features]
    patients = _optional_ids(frame, patient_need(plan).key)
    row = row_need(plan)
    row_ids = patients if row is None else _optional_ids(frame, row.key)
    if row_ids is None:
        row_ids = np.arange(1, rows + 1).astype(np.str_)
    patients = np.full(rows, "", dtype=np.str_) if patients is None else patients
    hours = read_hours(config, plan, _distinct_keys(row_ids, config, plan), labelled=False)
    split = np.full(rows, NO_SET, dtype=np.int8)
    report = make_report(
        config=config,
        plan=plan,
        rows_read=rows,
        dropped={},
        patients=patients,
        split=split,
        features=features,
        hours=hours,
        labels=[],
    )
    outputs = sum(task.outputs for task in plan.tasks)
    return SiteTable(
        site=config.name,
        patients=patients,
        row_ids=row_ids,
        features=_stack([feature.values for feature in features]),
        labels=np.full((rows, len(plan.tasks)), np.nan, dtype=np.float32),
        oracle=np.full((rows, outputs), np.nan, dtype=np.float32),
        split=split,
        hours=hours.values,
        hour_labels=hours.labels,
        report=report,
    )


def _labels(frame: pd.DataFrame, hours: Hours, config: SiteConfig, plan: Plan) -> list[Cleaned]:
    """Of every task; of an hourly one the share of its labelled hours at which it is so."""
    shares = dict(zip(plan.hourly, zip(hours.tasks, share_of_hours(hours.labels).T, strict=True), strict=True))
    labels = []
    for index, task in enumerate(plan.tasks):
        if task.hourly:
            cleaned, share = shares[index]
            labels.append(replace(cleaned, values=share))
        else:
            labels.append(clean_label(task, frame, config))
    return labels


def _distinct_keys(keys: np.ndarray, config: SiteConfig, plan: Plan) -> np.ndarray:
    """`keys`, of which each must belong to one row where hours are joined to them."""
    if plan.sequence is not None and len(np.unique(keys)) < len(keys):
        name = key_need(plan).name
        raise DataError(f"{config.source}: values of {name!r} are repeated or empty, so that hours cannot be joined.")
    return keys


def _check_config(config: SiteConfig, plan: Plan) -> None:
    check_names(config, plan)
    check_units(config, plan)


def _read(config: SiteConfig, needs: list[Need]) -> pd.DataFrame:
    frames = [read_table(config, file, needs) for file in config.files]
    frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    if not len(frame):
        files = ", ".join(str(file) for file in config.files)
        raise DataError(f"{files}: a header but no rows.")
    return frame


def _optional_ids(frame: pd.DataFrame, key: str) -> np.ndarray | None:
    if key not in frame:
        return None
    return np.asarray(frame[key].fillna("").str.normalize("NFC").tolist(), dtype=np.str_)


def _oracle(frame: pd.DataFrame, plan: Plan) -> list[np.ndarray]:
    """One column for each output of each task."""
    missing = np.full(len(frame), np.nan)
    columns: list[np.ndarray] = []
    for task in plan.tasks:
        names = task.oracle or ("",) * task.outputs
        columns += [frame[key].to_numpy() if (key := f"number:{name}") in frame else missing for name in names]
    return columns


def _stack(columns: list[np.ndarray]) -> np.ndarray:
    return np.stack(columns, axis=1).astype(np.float32)
