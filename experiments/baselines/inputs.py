"""A task's inputs for models that are not ours: without the features that give its label away."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.plan import Plan, Task

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


def shown(plan: Plan, task: Task) -> list[int]:
    """Indices of the features that the task may see."""
    return [index for index, feature in enumerate(plan.features) if feature.name not in task.exclude]


@dataclass(frozen=True)
class RawInputs:
    """The features as they are, NaN where missing, categorical ones as the index of their code.

    columns: the features shown. categorical: (columns,) bool. empty: (columns,) bool, missing in every row of the fit;
    such a column is 0 throughout, because scikit-learn cannot cut a column without any value into bins.
    """

    columns: list[int]
    categorical: NDArray[np.bool_]
    empty: NDArray[np.bool_]

    @staticmethod
    def of(plan: Plan, task: Task, features: Float32) -> "RawInputs":
        """features: (n, F) of the training rows."""
        columns = shown(plan, task)
        categorical = np.array([plan.features[index].kind == "categorical" for index in columns])
        return RawInputs(columns, categorical, np.isnan(features[:, columns]).all(axis=0))

    def __call__(self, features: Float32) -> Float32:
        """(n, columns) of (n, F)."""
        return np.where(self.empty, np.float32(0.0), features[:, self.columns])


@dataclass(frozen=True)
class LinearInputs:
    """[z-scores, 0 where missing | one-hot codes | missing or not], all from the rows that it was fitted on.

    A missing value is filled with the mean, which is 0 as a z-score. Each feature that is missing in
    some row of the fit has an indicator.
    """

    scaled: list[int]
    mean: Float64
    std: Float64
    categories: list[tuple[int, int]]  # (feature, number of codes)
    missing: list[int]

    @staticmethod
    def of(plan: Plan, task: Task, features: Float32) -> "LinearInputs":
        """features: (n, F) of the training rows."""
        columns = shown(plan, task)
        categories = [(i, len(codes)) for i in columns if (codes := plan.features[i].categories) is not None]
        scaled = [i for i in columns if plan.features[i].categories is None]
        values = features[:, scaled].astype(np.float64)
        known = ~np.isnan(values)
        mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        std = np.sqrt(np.where(known, (values - mean) ** 2, 0.0).mean(axis=0))
        std = np.where(std > 1e-9 * (1.0 + np.abs(mean)), std, 1.0)
        return LinearInputs(scaled, mean, std, categories, [i for i in columns if np.isnan(features[:, i]).any()])

    def __call__(self, features: Float32) -> Float64:
        """(n, inputs) of (n, F)."""
        z = np.nan_to_num((features[:, self.scaled] - self.mean) / self.std, nan=0.0)
        codes = [features[:, [feature]] == np.arange(count) for feature, count in self.categories]
        return np.concatenate([z, *codes, np.isnan(features[:, self.missing])], axis=1).astype(np.float64)
