"""Separate tables of labels, joined to the rows they belong to."""

import numpy as np
import pandas as pd

from client.config import SiteConfig
from client.data.columns import key_need, label_needs, patient_need, row_need
from client.data.contract import read_table
from common.errors import DataError
from common.plan import Plan


def join_labels(
    frame: pd.DataFrame, config: SiteConfig, plan: Plan, *, ignored: frozenset[str] = frozenset()
) -> tuple[pd.DataFrame, int]:
    """`frame` with the columns of the site's label tables, and how many rows of those tables have no counterpart.

    The key is the plan's row column, or its patient column where it has none. ignored: keys of rows that were left out,
    whose labels are not even looked at. Raises DataError if a key is twice in a table of labels, or if a label is in
    two tables.
    """
    key = key_need(plan)
    unmatched = 0
    for file in config.labels:
        labels = read_table(config, file, [key, *label_needs(plan)])
        labels = labels[labels[key.key].notna() & ~labels[key.key].str.normalize("NFC").isin(ignored)].drop_duplicates()
        twice = int(labels[key.key].duplicated().sum())
        if twice:
            raise DataError(f"{file}: {twice} value(s) of {key.name!r} are repeated with other labels; one row each.")
        both = [column for column in labels if column != key.key and column in frame]
        if both:
            name = str(both[0]).split(":", 1)[1]
            raise DataError(f"{file}: label {name!r} is in another table of this site as well; keep it in one.")
        if len(labels.columns) == 1:
            raise DataError(f"{file}: holds no label of the plan; expected one of {_names(plan)}.")
        unmatched += int((~labels[key.key].isin(frame[key.key])).sum())
        joined = labels.set_index(key.key).reindex(frame[key.key])
        frame = pd.concat([frame, joined.set_axis(frame.index)], axis=1)
    return frame, unmatched


def _names(plan: Plan) -> str:
    return ", ".join(sorted({repr(need.name) for need in label_needs(plan)}))


def check_owners(frame: pd.DataFrame, config: SiteConfig, plan: Plan) -> None:
    """Raises DataError where tables would be joined by a row identifier that belongs to several patients."""
    patient, key = patient_need(plan).key, row_need(plan)
    if key is None or not (config.labels or (config.hours and plan.sequence is not None)):
        return
    owners = frame[[patient, key.key]].dropna().drop_duplicates()[key.key]
    shared = int(np.sum(owners.duplicated()))
    if shared:
        raise DataError(
            f"{config.source}: {shared} value(s) of {key.name!r} belong to several patients, so that tables of "
            f"{'labels' if config.labels else 'hours'} cannot be joined; make them unique within the site."
        )
