"""Which rows take part: the plan's condition, identifiers, repeats, and the split column. All that goes is counted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from client.config import SiteConfig
from client.data.columns import keep_need, patient_need, row_need, split_need
from client.data.split import NO_SET, SETS
from common.errors import DataError
from common.plan import Plan


@dataclass(frozen=True, eq=False)
class Rows:
    """What `select_rows` leaves: the table, its identifiers and sets, and how many rows went for which reason."""

    frame: pd.DataFrame
    patients: np.ndarray
    row_ids: np.ndarray
    sets: np.ndarray | None
    dropped: dict[str, int]


def select_rows(frame: pd.DataFrame, config: SiteConfig, plan: Plan) -> Rows:
    """Drop and count, in this order: rows outside keep_rows, without identifier, repeated, outside the split column.

    A missing value never meets keep_rows. Raises DataError if no row is left, or if the split column puts one patient
    in two sets.
    """
    dropped: dict[str, int] = {}
    patient, row, split = patient_need(plan), row_need(plan), split_need(plan)

    def keep(mask: Any, reason: str) -> None:
        nonlocal frame
        mask = np.asarray(mask, dtype=bool)
        dropped[reason] = int(len(mask) - mask.sum())
        if dropped[reason]:
            frame = frame[mask]
        if not len(frame):
            counts = ", ".join(f"{reason} {count}" for reason, count in dropped.items() if count)
            raise DataError(f"{config.source}: no row is left of {sum(dropped.values())}; dropped: {counts}.")

    condition, need = plan.data.keep_condition, keep_need(plan)
    if condition is not None and need is not None:
        column = frame[need.key]
        keep(condition.holds(column).fillna(False) & column.notna(), f"not {plan.data.keep_rows}")
    keep(frame[patient.key].notna(), "no patient")
    if row is not None:
        keep(frame[row.key].notna(), "no row identifier")
    names = [patient.key] if row is None else [patient.key, row.key]
    repeated = frame.duplicated(names, keep=False)
    exact = pd.Series(False, index=frame.index)
    exact[repeated] = frame[repeated].duplicated()
    keep(~exact, "exact duplicate")
    keep(~frame.duplicated(names), "repeated patient" if row is None else "repeated patient and row")
    sets = None
    if split is not None:
        keep(frame[split.key].notna(), f"no {split.name}")
        sets = _named_sets(frame, config, plan)
    patients = _identifiers(frame[patient.key])
    row_ids = patients if row is None else _identifiers(frame[row.key])
    return Rows(frame.reset_index(drop=True), patients, row_ids, sets, dropped)


def _identifiers(column: pd.Series) -> np.ndarray:
    return np.asarray(column.str.normalize("NFC").tolist(), dtype=np.str_)


def _named_sets(frame: pd.DataFrame, config: SiteConfig, plan: Plan) -> np.ndarray:
    """(rows,) int8 from the split column."""
    patient, split = patient_need(plan), split_need(plan)
    if split is None:
        raise DataError(f"{config.source}: the plan has no split_column.")
    numbers = frame[split.key].str.lower().map({name: index for index, name in enumerate(SETS)})
    where = f"{config.source}: split column {config.columns.get(split.name, split.name)!r}"
    if numbers.isna().any():
        raise DataError(
            f"{where} has {int(numbers.isna().sum())} row(s) with another value; "
            f"allowed: {', '.join(SETS)} or an empty cell."
        )
    several = int((numbers.groupby(frame[patient.key]).nunique() > 1).sum())
    if several:
        raise DataError(f"{where} puts {several} patient(s) in more than one set; all rows of a patient share one.")
    return numbers.fillna(NO_SET).to_numpy(dtype=np.int8)
