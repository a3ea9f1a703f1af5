"""One step of DP-SGD against one step of ordinary training, and beside what others offer for the same network.

A step of DP-SGD: a Poisson sample, every patient's gradient clipped, noise (ours from a cryptographic source, that of
the others from torch's generator), momentum SGD. An MLP of 86,649 parameters: 480 inputs, a hidden layer of 168 and 9
tasks; 128 rows in a step, no dropout unless stated. The reference is always our ordinary trainer with the same network
and 128 rows in a step. With two stays a step has 64 patients. On the lines of the others, `ours` is their time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from os import urandom

import numpy as np
import torch
from torch import Tensor

from benchmarks.dp_others import OTHERS, Module, Step
from benchmarks.measure import Ratio, compare
from client.patients import PatientSet
from client.training.private_trainer import PrivateTrainer
from client.training.trainer import Trainer, TrainingSet
from common.model import Layout, Network, Normaliser, initial_parameters
from common.plan import Plan, plan_from_dict

ROWS, BATCH, HIDDEN = 4_096, 128, 168
FEATURES, TASKS = 80, 9
BOUND, NOISE, RATE, MOMENTUM = 1.0, 1.0, 0.03, 0.9
CASES: dict[str, dict[str, float]] = {
    "one group": {},
    "one group, dropout 0.3": {"dropout": 0.3},
    "four groups": {"groups": 4},
    "two stays": {"stays": 2},
    "four groups, two stays": {"groups": 4, "stays": 2},
}
_CPU = torch.device("cpu")


def _plan(batch: int, *, groups: int, dropout: float) -> Plan:
    """Tasks take turns in the groups, whose excluded features overlap."""
    excluded = [[], *(["x0", f"x{i}"] for i in range(1, groups))]
    content = {
        "federation": {"name": "bench"},
        "data": {"patient": "p"},
        "features": [{"name": f"x{i}", "range": [-10, 10]} for i in range(FEATURES)],
        "tasks": [{"name": f"t{i}", "label": f"y{i}", "exclude": excluded[i % groups]} for i in range(TASKS)],
        "model": {"hidden": [HIDDEN], "dropout": dropout},
        "training": {"local_epochs": 1, "batch_size": batch, "momentum": MOMENTUM, "l2_linear": 0, "l2_network": 0},
        "privacy": {"unit": "patient", "noise_multiplier": NOISE, "max_grad_norm": BOUND},
    }
    return plan_from_dict(content, source="bench")


@dataclass(frozen=True)
class Problem:
    """One network and its rows, for all contenders. stays: rows of each patient."""

    groups: int = 1
    stays: int = 1
    dropout: float = 0.0

    def rows(self) -> tuple[Tensor, Tensor]:
        """(inputs, labels); one label in twenty is missing."""
        random = torch.Generator().manual_seed(0)
        inputs = torch.randn(ROWS, self.layout(BATCH).columns.inputs, generator=random)
        labels = torch.randint(0, 2, (ROWS, TASKS), generator=random).float()
        labels[torch.rand(ROWS, TASKS, generator=random) < 0.05] = torch.nan
        return inputs, labels

    def layout(self, batch: int) -> Layout:
        return Layout(_plan(batch, groups=self.groups, dropout=self.dropout))

    def start(self) -> np.ndarray:
        return initial_parameters(self.layout(BATCH), seed=0)

    def ordinary(self) -> Callable[[], object]:
        """An epoch of ordinary training."""
        layout = self.layout(BATCH)
        trainer, data, start = (
            Trainer(Network(layout, _CPU), _normaliser(layout)),
            TrainingSet(*self.rows()),
            self.start(),
        )
        return lambda: trainer.train(start, data, generator=torch.Generator().manual_seed(1), rate=RATE)

    def private(self) -> Callable[[], object]:
        """As many steps of ours."""
        layout, start = self.layout(BATCH // self.stays), self.start()
        trainer = PrivateTrainer(Network(layout, _CPU), _normaliser(layout), urandom)
        patients = np.array([f"{row // self.stays:08d}" for row in range(ROWS)])
        data = PatientSet.of(*self.rows(), patients, rows_per_patient=self.stays)
        return lambda: trainer.train(
            start, data, noise_multiplier=NOISE, sampling_probability=BATCH / ROWS, steps=ROWS // BATCH, rate=RATE
        )

    def module(self) -> Module:
        """The same network with the same starting point, for the others."""
        layout = self.layout(BATCH)
        module = Module(layout.columns.inputs, HIDDEN, TASKS, self.dropout)
        module.load_state_dict({name: torch.from_numpy(part) for name, part in layout.split(self.start()).items()})
        return module

    def other(self, make: Callable[..., Step]) -> Callable[[], object]:
        """As many steps of one of the others."""
        step = make(self.module(), batch=BATCH, bound=BOUND, noise=NOISE, rate=RATE, momentum=MOMENTUM)
        inputs, labels = self.rows()

        def epoch() -> None:
            for _ in range(ROWS // BATCH):
                chosen = (torch.rand(ROWS) < BATCH / ROWS).nonzero()[:, 0]
                step(inputs[chosen], labels[chosen])

        return epoch


def _normaliser(layout: Layout) -> Normaliser:
    plan = layout.plan
    return replace(Normaliser.from_vector(np.ones(Normaliser.size(plan), dtype=np.float32), plan), rows=float(ROWS))


def run() -> Iterator[Ratio]:
    """Ours in each case, then the others in the first."""
    steps = f"{ROWS // BATCH} steps"
    for name, options in CASES.items():
        problem = Problem(**options)
        yield compare(f"{steps}, {name}: DP-SGD / ordinary", problem.private(), problem.ordinary(), pairs=25)
    problem = Problem()
    for name, make in OTHERS.items():
        yield compare(f"{steps}, one group: {name} / ordinary", problem.other(make), problem.ordinary(), pairs=7)
