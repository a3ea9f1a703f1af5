"""A site's rows as arrays: what its tables become, and all that is kept of them in memory."""

from dataclasses import dataclass

import numpy as np

from client.data.report import DataReport


@dataclass(frozen=True, eq=False)
class SiteTable:
    """One site's rows.

    patients, row_ids: (rows,) str. features: (rows, F) float32 in the plan's units and order, categories as index,
    NaN where missing. labels: (rows, T) float32; 0 or 1, class index or natural units; NaN where unlabelled.
    oracle: (rows, sum of task.outputs) float32, NaN where there is none. split: (rows,) int8; 0 train, 1 validation,
    2 test, -1 for rows that are only to be predicted. objections: digest of the file of patients who are left out.
    hours: (rows, H, S) float32 in the plan's units and order, NaN where not observed. hour_labels: (rows, H, K) float32
    of the hourly tasks, 0 or 1, NaN where unlabelled; what `labels` holds of them is the share of 1 among the labelled.
    """

    site: str
    patients: np.ndarray
    row_ids: np.ndarray
    features: np.ndarray
    labels: np.ndarray
    oracle: np.ndarray
    split: np.ndarray
    hours: np.ndarray
    hour_labels: np.ndarray
    report: DataReport
    objections: str = ""
