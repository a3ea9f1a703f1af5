"""What adapting works with: a site's rows as the trained model sees them, and the labels of the new task."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.adapt.task import alone
from common.model import Columns, Layout, Normaliser, encode
from common.model_file import ModelFile
from common.plan import Plan, Task

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Material:
    """model: the trained one. plan: its plan with the new task as the last.

    features: (n, F) raw. labels: (n,) of the new task, NaN where unlabelled. patients: (n,). train, test: row indices.
    known: what was worked out last and may be asked for again.
    """

    model: ModelFile
    plan: Plan
    features: Float32
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
    def inputs(self) -> Tensor:
        """(n, inputs), all features shown."""
        with torch.no_grad():
            return encode(torch.from_numpy(self.features), self.model.normaliser, self.model.plan)

    @cached_property
    def shown(self) -> Float64:
        """(n, inputs) as the new task sees them: without what it excludes."""
        columns = Columns.of(self.plan)
        keep, add = columns.exclude(tuple(self.plan.feature_index[name] for name in self.task.exclude))
        return np.asarray(self.inputs.numpy().astype(np.float64) * keep + add)

    @cached_property
    def tensors(self) -> dict[str, Float64]:
        """The trained model's tensors in float64."""
        split = Layout(self.model.plan).split(self.model.parameters)
        return {name: value.astype(np.float64) for name, value in split.items()}

    @cached_property
    def hidden(self) -> Float64:
        """(n, width) what the trained encoder makes of `shown`."""
        hidden = self.shown
        for depth in range(len(self.plan.model.hidden)):
            weight, bias = self.tensors[f"encoder.{depth}.weight"], self.tensors[f"encoder.{depth}.bias"]
            hidden = np.maximum(hidden @ weight.T + bias, 0.0)
        return np.asarray(hidden)

    @cached_property
    def taught(self) -> list[int]:
        """Output columns of tasks with a trained head."""
        tasks, layout = self.model.plan.tasks, Layout(self.model.plan)
        return [k for k, task in enumerate(layout.task_of_output) if tasks[int(task)].name not in self.model.left_out]

    @cached_property
    def outputs(self) -> Float64:
        """(n, taught) what the trained heads say of `shown`."""
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
