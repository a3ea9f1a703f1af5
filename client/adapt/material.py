"""What adapting works with: a site's rows as the trained model sees them, and the labels of the new task."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.adapt.hours import last_states, last_summaries
from client.adapt.task import alone
from common.model import Columns, Layout, Normaliser, encode_stays
from common.model_file import ModelFile
from common.plan import Plan, Task

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Material:
    """model: the trained one. plan: its plan with the new task as the last.

    features: (n, F), hours: (n, H, S) of a model with a sequence, both raw. labels: (n,) of the new task, NaN where
    unlabelled. patients: (n,). train, test: row indices.
    known: what was worked out last and may be asked for again.
    """

    model: ModelFile
    plan: Plan
    features: Float32
    hours: Float32
    labels: Float32
    patients: NDArray[np.str_]
    train: Index
    test: Index
    known: dict[Any, Any] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        return self.plan.tasks[-1]

    @cached_property
    def solo(self) -> Plan:
        """The new task alone, on the same inputs and network."""
        return alone(self.plan)

    @cached_property
    def labelled(self) -> Index:
        """Training rows with a label of the new task."""
        return self.train[~np.isnan(self.labels[self.train])]

    @cached_property
    def judged(self) -> Index:
        """Test rows with a label of the new task."""
        return self.test[~np.isnan(self.labels[self.test])]

    @cached_property
    def columns(self) -> Columns:
        return Columns.of(self.plan)

    @cached_property
    def inputs(self) -> Tensor:
        """(n, width) as the network takes them, all features shown."""
        raw = (torch.from_numpy(part) for part in (self.features, self.hours))
        with torch.no_grad():
            return encode_stays(*raw, self.model.normaliser, self.model.plan)

    @cached_property
    def _seen(self) -> Tensor:
        """(n, width) as the new task sees them: without what it excludes."""
        if not self.task.exclude:
            return self.inputs
        keep, add = self.columns.exclude(tuple(self.plan.feature_index[name] for name in self.task.exclude))
        return self.inputs * torch.from_numpy(keep) + torch.from_numpy(add)

    @cached_property
    def shown(self) -> Float64:
        """(n, inputs) of the row, as the new task sees it."""
        return np.asarray(self._seen[:, : self.columns.inputs].double().numpy())

    @cached_property
    def shown_hours(self) -> Tensor:
        """(n, H, 3 S) float32 of the hours, as the new task sees them."""
        hours = self._seen[:, self.columns.inputs :]
        return hours.reshape(len(hours), self.plan.hours, len(self.columns.feature_of_hour))

    @cached_property
    def plain(self) -> Float64:
        """(n, columns) z-scores, codes and missing marks of the row, then the summaries of the hours, if any."""
        first = len(self.columns.scaled)
        chosen = np.ones(self.columns.inputs, dtype=bool)
        chosen[first : first + self.columns.bins * len(self.columns.numeric)] = False
        row = self.shown[:, chosen]
        return row if self.plan.sequence is None else np.hstack([row, last_summaries(self.shown_hours)])

    @cached_property
    def tensors(self) -> dict[str, Float64]:
        """The trained model's tensors in float64."""
        split = Layout(self.model.plan).split(self.model.parameters)
        return {name: value.astype(np.float64) for name, value in split.items()}

    @cached_property
    def hidden(self) -> Float64:
        """(n, width) what the trained encoder makes of the row; beside it the state at the last hour, if any."""
        hidden = self.shown
        for depth in range(len(self.plan.model.hidden)):
            weight, bias = self.tensors[f"encoder.{depth}.weight"], self.tensors[f"encoder.{depth}.bias"]
            hidden = np.maximum(hidden @ weight.T + bias, 0.0)
        if self.plan.sequence is not None:
            hidden = np.hstack([hidden, last_states(self.tensors, self.shown_hours, self.plan.model)])
        return np.asarray(hidden)

    @cached_property
    def taught(self) -> list[int]:
        """Output columns of tasks with a trained head."""
        tasks, layout = self.model.plan.tasks, Layout(self.model.plan)
        return [k for k, task in enumerate(layout.task_of_output) if tasks[int(task)].name not in self.model.left_out]

    @cached_property
    def outputs(self) -> Float64:
        """(n, taught) what the trained heads say of what is shown; those of hourly tasks at the last hour."""
        result = self.hidden @ self.tensors["heads.weight"][self.taught].T + self.tensors["heads.bias"][self.taught]
        if "linear.weight" in self.tensors:
            result = result + self.shown @ self.tensors["linear.weight"][self.taught].T
        return np.asarray(result)

    def normaliser(self, rows: Index, *, of: float) -> Normaliser:
        """For `solo`: the trained one, with the label's scale from `rows`. of: training rows that penalties count."""
        mean, std = 0.0, 1.0
        if self.task.kind == "regression":
            mean = float(self.labels[rows].mean(dtype=np.float64))
            std = float(self.labels[rows].std(dtype=np.float64)) or 1.0
        return replace(
            self.model.normaliser,
            label_mean=np.array([mean], dtype=np.float32),
            label_std=np.array([std], dtype=np.float32),
            task_available=np.ones(1, dtype=np.float32),
            rows=float(of),
        )

    def aims(self, rows: Index, scale: Normaliser) -> Float32:
        """(rows,) labels as heads are fitted to them: of a regression standardised by `scale`."""
        labels = self.labels[rows]
        if self.task.kind == "regression":
            labels = (labels - scale.label_mean[0]) / scale.label_std[0]
        return np.asarray(labels, dtype=np.float32)
