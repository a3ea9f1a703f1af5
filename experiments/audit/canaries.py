"""Canary patients: rows of virtual hospitals' tables that move the model as far as a patient can, each its own way.

A canary has one value that lies beyond all others, in a feature of its own, is average in everything else, and has
every label. Its gradient is longer than the clip norm, and all of it but what goes to biases and heads lies in the
weights of that feature, where no other canary's does. After clipping that is 3 / sqrt(10) of the clip norm, or a little
less: a z-score is clipped to 3, beside a bias of 1. So m canaries are as good as m runs with one canary each. (Steinke,
Nasr, Jagielski 2023 put one-hot gradients into the optimiser instead; these pass the table's code and the clipping.)
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.patients import PatientSet
from common.model import Layout, Normaliser
from common.model.code import encode
from common.plan import Plan, plan_from_dict

FAR = 100.0
"""A canary's own value, in standard deviations; the plan's z_clip cuts it."""


def expected_patients(canaries: int, ordinary: int) -> int:
    """Training patients of a site that are accounted with: as many canaries as fair coins give on average."""
    return max(1, ordinary + canaries // 2)


def audit_plan(
    *,
    canaries: int,
    noise_multiplier: float,
    delta: float,
    ordinary: int = 0,
    batch_share: float = 1.0,
    tasks: int = 1,
    local_epochs: int = 1,
    rounds: int = 1,
) -> Plan:
    """A plan with one feature for each canary of a site, trained by plain SGD with each site's own noise.

    ordinary: patients of a site beside its canaries. batch_share: of the expected patients, in a step: 1 for all of
    them. noise_multiplier: of a step. Steps are small, so that gradients keep their direction; noise shrinks with them.
    """
    content: dict[str, Any] = {
        "federation": {"name": "audit"},
        "data": {"patient": "patient"},
        "features": [{"name": f"laboratory_{number}", "range": [-FAR, FAR]} for number in range(canaries)],
        "tasks": [{"name": f"task_{number}", "label": f"label_{number}"} for number in range(tasks)],
        "model": {"hidden": [1], "dropout": 0.0, "piecewise_bins": 0},
        "training": {
            "rounds": rounds,
            "local_epochs": local_epochs,
            "batch_size": max(1, round(batch_share * expected_patients(canaries, ordinary))),
            "learning_rate": 0.01,
            "schedule": "constant",
            "momentum": 0.0,
            "l2_linear": 0.0,
            "l2_network": 0.0,
        },
        "privacy": {"unit": "patient", "noise_multiplier": noise_multiplier, "delta": delta, "max_grad_norm": 0.5},
        "aggregation": {"secure": False},
    }
    return plan_from_dict(content, source="the audit's plan")


@dataclass(frozen=True)
class Canaries:
    """The patients that a site may have. plan: as `audit_plan` makes it, for as many `ordinary` ones."""

    plan: Plan
    ordinary: int = 0

    def __len__(self) -> int:
        """Number of canaries."""
        return len(self.plan.features)

    @property
    def expected(self) -> int:
        return expected_patients(len(self), self.ordinary)

    @cached_property
    def normaliser(self) -> Normaliser:
        """That of standardised features."""
        features, tasks, bins = len(self.plan.features), len(self.plan.tasks), self.plan.model.piecewise_bins
        of_features = (np.zeros(features), np.ones(features), np.zeros(features * (bins + 1)), np.ones(features))
        of_tasks = (np.zeros(tasks), np.ones(tasks), np.ones(tasks))
        vector = np.concatenate([*of_features, *of_tasks, [self.expected]]).astype(np.float32)
        return Normaliser.from_vector(vector, self.plan)

    @cached_property
    def inputs(self) -> Tensor:
        """(m, inputs) float32 of the canaries, as a site encodes its rows."""
        return encode(torch.eye(len(self)) * FAR, self.normaliser, self.plan)

    @cached_property
    def own(self) -> NDArray[np.int64]:
        """(D,) canary in whose feature's weights a parameter lies, -1 for biases and heads."""
        layout = Layout(self.plan)
        result = np.full(layout.parameters, -1, dtype=np.int64)
        for segment in layout.segments:
            if segment.name in ("encoder.0.weight", "linear.weight"):
                result[segment.start : segment.stop] = np.tile(layout.columns.feature_of, segment.shape[0])
        return result

    def patients(self, inside: NDArray[np.bool_]) -> PatientSet:
        """Training patients of a site with the canaries `inside`, (m,), and the ordinary ones: average, one row each.

        All labels are positive.
        """
        present = self.inputs[torch.from_numpy(inside)]
        rows = torch.cat([present, present.new_zeros(self.ordinary, present.shape[1])])
        count = len(rows)
        labels = torch.ones(count, len(self.plan.tasks))
        return PatientSet(rows, labels, np.arange(count), np.ones(count, dtype=np.int64))
