"""Hourly tables -> one array per stay and hour; what has no place in it is counted."""

import numpy as np
import pandas as pd

from client.config import SiteConfig
from client.data.cleaned import LATER, NO_HOUR, NO_STAY, REPEATED, Cleaned, Hours
from client.data.columns import (
    check_mapped_labels,
    feature_need,
    hour_label_need,
    hour_need,
    hour_needs,
    key_need,
    not_recorded,
)
from client.data.contract import read_table
from client.data.event import event_labels
from client.data.values import clean_feature, zero_or_one
from common.errors import DataError, PlanError
from common.plan import Plan


def read_hours(config: SiteConfig, plan: Plan, keys: np.ndarray, *, labelled: bool = True) -> Hours:
    """The hours of the stays `keys`, (rows,) str, in their order; raises PlanError and DataError.

    labelled: False where stays are only to be predicted; all labels are NaN then.
    """
    shape = (len(keys), plan.hours)
    if plan.sequence is None:
        return Hours(*(np.empty((*shape, 0), dtype=np.float32) for _ in range(2)))
    frame = _read(config, plan, labelled=labelled)
    if labelled:
        check_mapped_labels(config, (need for need in hour_needs(plan) if need.optional), frame.columns)
    frame, stay, hour, dropped = _placed(frame, plan, keys)
    features = tuple(clean_feature(feature, frame, config) for feature in plan.sequence.features)
    last = max(plan.hours, int(hour.max(initial=-1)) + 1)
    every = [_spread(column.values, stay, hour, (len(keys), last)) for column in features]
    names = [feature.name for feature in plan.sequence.features]
    labels, tasks = [], []
    for task in [plan.tasks[index] for index in plan.hourly]:
        if not labelled:
            found, cleaned = np.full((len(keys), last), np.nan), Cleaned(np.empty(0))
        elif (condition := task.event_condition) is not None and task.within_h is not None:
            source = names.index(str(condition.column))
            found = event_labels(every[source], condition, within_h=task.within_h)
            cleaned = Cleaned(np.empty(0), recorded=features[source].recorded)
        else:
            need = hour_label_need(task)
            recorded = need.key in frame
            column = frame[need.key].to_numpy() if recorded else np.full(len(frame), np.nan)
            cleaned = zero_or_one(column)
            cleaned = cleaned if recorded else Cleaned(cleaned.values, recorded=False)
            found = _spread(cleaned.values, stay, hour, (len(keys), last))
        labels.append(found[:, : plan.hours])
        tasks.append(cleaned)
    values = [column[:, : plan.hours] for column in every]
    stays = len(np.unique(stay[hour < plan.hours]))
    return Hours(_stack(values, shape), _stack(labels, shape), features, tuple(tasks), *dropped, stays)


def share_of_hours(labels: np.ndarray) -> np.ndarray:
    """(rows, K) float64 share of 1 among the labelled hours, NaN where none is. labels: (rows, H, K)."""
    known = ~np.isnan(labels)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, labels, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def _read(config: SiteConfig, plan: Plan, *, labelled: bool) -> pd.DataFrame:
    needs = hour_needs(plan, labelled=labelled)
    if config.hours:
        frame = pd.concat([read_table(config, file, needs) for file in config.hours], ignore_index=True)
        if not len(frame):
            files = ", ".join(str(file) for file in config.hours)
            raise DataError(f"{files}: a header but no rows.")
        return frame
    if all(not_recorded(config, feature_need(feature)) for feature in plan.hour_features):
        return pd.DataFrame({key_need(plan).key: pd.Series([], dtype="str"), hour_need(plan).key: np.empty(0)})
    raise PlanError(
        f"{config.source}: the plan has [sequence], and no table holds its hours; name them as 'hours' under [data] in "
        'a site.toml, or give each of its features as "" under [columns] if this site does not record it.'
    )


def _placed(
    frame: pd.DataFrame, plan: Plan, keys: np.ndarray
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, tuple[int, dict[str, int]]]:
    """The rows that have a place, with their stay and hour; how many were read, and how many went for which reason."""
    read, dropped = len(frame), {}
    places = pd.Index(keys)
    stay = places.get_indexer(frame[key_need(plan).key].fillna("").str.normalize("NFC"))
    hour = frame[hour_need(plan).key].to_numpy(dtype=np.float64)
    whole = np.isfinite(hour) & (hour >= 0) & (np.floor(hour) == hour)
    horizon = plan.hours + max((task.within_h or 0 for task in plan.tasks), default=0)
    within = whole & (hour < horizon)
    repeated = pd.DataFrame({"stay": stay, "hour": hour}).duplicated().to_numpy()
    own = stay >= 0
    for reason, gone in (
        (NO_STAY, ~own),
        (NO_HOUR, own & ~whole),
        (REPEATED, own & whole & repeated),
        (LATER, own & whole & ~repeated & (hour >= plan.hours)),
    ):
        dropped[reason] = int(gone.sum())
    kept = own & within & ~repeated
    return frame[kept].reset_index(drop=True), stay[kept], hour[kept].astype(np.int64), (read, dropped)


def _spread(values: np.ndarray, stay: np.ndarray, hour: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    result = np.full(shape, np.nan)
    result[stay, hour] = values
    return result


def _stack(columns: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    return np.stack(columns, axis=2).astype(np.float32) if columns else np.empty((*shape, 0), dtype=np.float32)
