"""The input code: a row of raw features with gaps -> the numbers the network sees.

Per feature: a clipped z-score, a piecewise-linear code at pooled quantiles (Gorishniy, Rubachev, Babenko 2022, "On
embeddings for numerical features in tabular deep learning", eq. 1) for numeric ones, one-hot for categorical ones, and
a mask that is 1 where the value is missing. A missing value is 0 everywhere else, which is the mean of the z-score.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.plan import Plan

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
CODES = 3  # of a feature at an hour


@dataclass(frozen=True)
class Columns:
    """Which input column belongs to which feature: [z | piecewise | one-hot | mask].

    scaled: features with a z-score (numeric and binary), numeric: those with a piecewise code.
    feature_of: (inputs,) index of the feature behind each input column. mask_of: (F,) column of each feature's mask.
    hours, hourly: H and S of the sequence, whose columns follow those of the row (common/model/hours.py).
    """

    features: int
    bins: int
    scaled: tuple[int, ...]
    numeric: tuple[int, ...]
    categories: tuple[tuple[int, int], ...]  # (feature, number of codes)
    hours: int = 0
    hourly: int = 0

    @staticmethod
    def of(plan: Plan) -> "Columns":
        kinds = [feature.kind for feature in plan.features]
        return Columns(
            features=len(kinds),
            bins=plan.model.piecewise_bins,
            scaled=tuple(i for i, kind in enumerate(kinds) if kind != "categorical"),
            numeric=tuple(i for i, kind in enumerate(kinds) if kind == "numeric"),
            categories=tuple((i, len(f.categories)) for i, f in enumerate(plan.features) if f.categories is not None),
            hours=plan.hours,
            hourly=len(plan.hour_features),
        )

    @cached_property
    def feature_of(self) -> NDArray[np.int64]:
        piecewise = [i for i in self.numeric for _ in range(self.bins)]
        one_hot = [i for i, count in self.categories for _ in range(count)]
        return np.array([*self.scaled, *piecewise, *one_hot, *range(self.features)], dtype=np.int64)

    @property
    def inputs(self) -> int:
        """Columns of the row."""
        return len(self.feature_of)

    @cached_property
    def feature_of_hour(self) -> NDArray[np.int64]:
        """(3 S,) index of the feature behind each column of one hour: [z | mask | hours since]."""
        return np.tile(np.arange(self.features, self.features + self.hourly), CODES)

    @property
    def width(self) -> int:
        """All columns of one stay: those of the row, then those of each hour."""
        return self.inputs + self.hours * len(self.feature_of_hour)

    @property
    def mask_of(self) -> NDArray[np.int64]:
        return np.arange(self.inputs - self.features, self.inputs)

    def exclude(self, excluded: tuple[int, ...]) -> tuple[Float32, Float32]:
        """(keep, add), each (width,): `x * keep + add` shows the features in `excluded` as missing."""
        hidden = np.isin(self.feature_of, excluded)
        mask = np.arange(self.inputs) >= self.inputs - self.features
        hidden_hour = np.isin(self.feature_of_hour, excluded)
        told = np.arange(len(hidden_hour)) >= self.hourly  # a mask, or the hours since a measurement
        hide = np.concatenate([hidden, np.tile(hidden_hour, self.hours)])
        add = np.concatenate([hidden & mask, np.tile(hidden_hour & told, self.hours)])
        return (~hide).astype(np.float32), add.astype(np.float32)


@dataclass(frozen=True)
class Normaliser:
    """What the survey found out about all sites together, and nothing about one of them.

    mean, std: (F + S,) float32 in plan units, those of a sequence's features last. edges: (F, bins + 1) float32.
    available: (F + S,) float32, 0 for a feature that was left out. label_mean, label_std: (T,) float32, of regression
    labels. task_available: (T,) float32, 0 for a task that was left out. rows: training rows of all sites.
    """

    mean: Float32
    std: Float32
    edges: Float32
    available: Float32
    label_mean: Float32
    label_std: Float32
    task_available: Float32
    rows: float

    @staticmethod
    def size(plan: Plan) -> int:
        of_features = 3 * len(plan.inputs) + len(plan.features) * (1 + plan.model.piecewise_bins)
        return of_features + 3 * len(plan.tasks) + 1

    def to_vector(self) -> Float32:
        of_features = (self.mean, self.std, self.edges.ravel(), self.available)
        of_tasks = (self.label_mean, self.label_std, self.task_available)
        return np.concatenate([*of_features, *of_tasks, np.array([self.rows])]).astype(np.float32)

    @staticmethod
    def from_vector(vector: Float32, plan: Plan) -> "Normaliser":
        """Raises ValueError for values that no survey gives: they would let a coordinator rescale what a site sends."""
        features, inputs, tasks = len(plan.features), len(plan.inputs), len(plan.tasks)
        edges = plan.model.piecewise_bins + 1
        cuts = np.cumsum([inputs, inputs, features * edges, inputs, tasks, tasks, tasks])
        mean, std, flat, available, *of_tasks, rows = np.split(np.asarray(vector, dtype=np.float32), cuts)
        label_mean, label_std, task_available = of_tasks
        flags = np.concatenate([available, task_available])
        if not np.isin(flags, (0.0, 1.0)).all() or min(std.min(), label_std.min()) <= 0.0 or rows[0] < 1.0:
            raise ValueError("a normaliser with impossible values")
        return Normaliser(
            mean, std, flat.reshape(features, edges), available, label_mean, label_std, task_available, float(rows[0])
        )


def encode(features: Tensor, normaliser: Normaliser, plan: Plan) -> Tensor:
    """The network's inputs, (n, inputs) float32, on the device of `features`.

    features: (n, F) float32 in plan units, NaN where missing, categorical features as the index of their code.
    """
    columns, device = Columns.of(plan), features.device
    scaled, numeric = list(columns.scaled), list(columns.numeric)
    moments = (normaliser.mean, normaliser.std, normaliser.available)
    mean, std, available = (torch.from_numpy(part[: columns.features]).to(device) for part in moments)
    edges = torch.from_numpy(normaliser.edges).to(device)
    missing = features.isnan() | (available == 0)
    known = torch.where(missing, 0.0, features)
    clip = plan.model.z_clip
    z = ((known - mean) / std)[:, scaled].clamp(-clip, clip).masked_fill(missing[:, scaled], 0.0)
    parts = [z]
    if columns.bins and numeric:
        low, high = edges[numeric, :-1], edges[numeric, 1:]
        # Equal quantiles (a feature with few values) make the code a step: above the edge or not.
        width = torch.maximum(high - low, 1e-6 * (1.0 + high.abs()))
        code = ((known[:, numeric, None] - low) / width).clamp(0.0, 1.0)
        parts.append(code.masked_fill(missing[:, numeric, None], 0.0).flatten(1))
    for feature, count in columns.categories:
        one_hot = torch.nn.functional.one_hot(known[:, feature].long().clamp(0, count - 1), count).float()
        parts.append(one_hot.masked_fill(missing[:, feature, None], 0.0))
    parts.append(missing.float())
    return torch.cat(parts, dim=1)
