"""Cells -> numbers in the plan's units; what cannot be right becomes missing, and is counted."""

import numpy as np
import pandas as pd

from client.config import SiteConfig
from client.data.cleaned import Cleaned
from client.data.columns import feature_need, label_need
from common.errors import PlanError
from common.plan import Feature, Plan, Task
from common.vitals import Affine, converter, convertible

Codes = tuple[float | str, ...]
_MOSTLY, _NEARLY = 0.5, 0.9


def clean_feature(feature: Feature, frame: pd.DataFrame, config: SiteConfig) -> Cleaned:
    """`feature` of every row: numbers in the plan's unit, 0 or 1, or an index into `feature.categories`."""
    need = feature_need(feature)
    if need.key not in frame:
        return _absent(len(frame))
    if feature.categories is not None:
        return _coded(frame[need.key], feature.categories)
    if feature.range is None:
        return zero_or_one(frame[need.key].to_numpy())
    names = (feature.name,)
    convert, unit = _conversion(config, names, feature.unit, feature.analyte)
    return _in_range(frame[need.key].to_numpy(), convert, unit, feature)


def clean_label(task: Task, frame: pd.DataFrame, config: SiteConfig) -> Cleaned:
    """The label of `task` in every row: 0 or 1, a class index, or a number in the task's unit."""
    need = label_need(task)
    if need.key not in frame:
        return _absent(len(frame))
    column, condition = frame[need.key], task.positive_condition
    if task.classes is not None:
        return _coded(column, task.classes)
    if task.range is not None:
        convert, unit = _conversion(config, (task.name, task.label), task.unit, task.analyte)
        return _in_range(column.to_numpy(), convert, unit, task)
    if condition is None:
        return zero_or_one(column.to_numpy())
    if isinstance(condition.value, str):
        known = column.notna().to_numpy()
        met = condition.holds(column).fillna(False).to_numpy(dtype=bool)
        return Cleaned(np.where(known, met.astype(np.float64), np.nan))
    numbers, not_finite = _finite(column.to_numpy())
    return Cleaned(np.where(np.isnan(numbers), np.nan, condition.holds(numbers)), not_finite=not_finite)


def check_units(config: SiteConfig, plan: Plan) -> None:
    """Raise PlanError if a unit under [units] cannot become the plan's."""
    for feature in plan.inputs:
        _conversion(config, (feature.name,), feature.unit, feature.analyte)
    for task in plan.tasks:
        _conversion(config, (task.name, task.label), task.unit, task.analyte)


def _conversion(
    config: SiteConfig, names: tuple[str, ...], unit: str, analyte: str | None
) -> tuple[Affine | None, str | None]:
    """The conversion that [units] asks for and the unit it starts from; (None, None) if it asks for none."""
    for name in names:
        if name in config.units:
            try:
                return converter(config.units[name], unit, analyte), config.units[name]
            except PlanError as error:
                raise PlanError(f"{config.source}: [units] {name}: {error}") from None
    return None, None


def _absent(rows: int) -> Cleaned:
    return Cleaned(np.full(rows, np.nan), recorded=False)


def _finite(values: np.ndarray) -> tuple[np.ndarray, int]:
    infinite = np.isinf(values)
    return np.where(infinite, np.nan, values), int(infinite.sum())


def _in_range(values: np.ndarray, convert: Affine | None, unit: str | None, about: Feature | Task) -> Cleaned:
    values, not_finite = _finite(values)
    read, values = values, values if convert is None else convert(values)
    low, high = about.range or (-np.inf, np.inf)
    outside = _outside(values, low, high)
    count = int(outside.sum())
    mostly = count > _MOSTLY * int((~np.isnan(values)).sum())
    kept = np.clip(np.where(outside, np.nan, values), low, high)
    return Cleaned(
        kept,
        not_finite=not_finite,
        out_of_range=count,
        unit_from=unit,
        looks_like=_looks_like(read[~np.isnan(read)], about, low, high) if mostly else None,
    )


def _outside(values: np.ndarray, low: float, high: float) -> np.ndarray:
    # A bound that went through a conversion may come back with its last bit changed, and is still inside.
    slack = 1e-9 * max(abs(low), abs(high), 1.0)
    return np.asarray((values < low - slack) | (values > high + slack))


def _looks_like(values: np.ndarray, about: Feature | Task, low: float, high: float) -> str | None:
    """The unit as which nearly all `values` are plausible; None where there is none, or where several are.

    Two spellings of one unit are one.
    """
    fitting: dict[Affine, str] = {}
    for unit in convertible(about.unit, about.analyte):
        convert = converter(unit, about.unit, about.analyte)
        if float(_outside(convert(values), low, high).mean()) <= 1.0 - _NEARLY:
            fitting.setdefault(convert, unit)
    return next(iter(fitting.values())) if len(fitting) == 1 else None


def zero_or_one(values: np.ndarray) -> Cleaned:
    """0 and 1 as they are; everything else becomes missing. values: (rows,) float64."""
    values, not_finite = _finite(values)
    unknown = ~np.isnan(values) & (values != 0.0) & (values != 1.0)
    return Cleaned(np.where(unknown, np.nan, values), not_finite=not_finite, unknown_code=int(unknown.sum()))


def _coded(column: pd.Series, codes: Codes) -> Cleaned:
    """Index into `codes`. A code that is a text matches as text, one that is a number as a number (3, 3.0, 03)."""
    which, unique = pd.factorize(column)
    index = {code: position for position, code in enumerate(codes)}
    found = np.array([_position(str(text), index) for text in unique] + [np.nan])
    values = found[which]  # a missing cell has which = -1: the NaN at the end
    return Cleaned(values, unknown_code=int((np.isnan(values) & (which >= 0)).sum()))


def _position(text: str, index: dict[float | str, int]) -> float:
    if text in index:
        return index[text]
    try:
        return index.get(float(text), np.nan)
    except ValueError:
        return np.nan
