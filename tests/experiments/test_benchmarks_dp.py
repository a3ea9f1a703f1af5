"""The contenders of benchmarks/dp.py compute the same step; what it measures is no test's business."""

import numpy as np
import pytest
import torch

from benchmarks import dp
from benchmarks.dp_others import OTHERS
from client.patients import PatientSet
from client.training.private_trainer import PrivateTrainer
from common.model import Network


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dp, "ROWS", 64)
    monkeypatch.setattr(dp, "BATCH", 32)


@pytest.mark.parametrize("name", OTHERS)
def test_a_step_without_noise_is_ours(name: str) -> None:
    problem = dp.Problem()
    layout, (inputs, labels) = problem.layout(dp.BATCH), problem.rows()
    data = PatientSet.of(inputs, labels, np.arange(64).astype(str), rows_per_patient=1)
    trainer = PrivateTrainer(Network(layout, torch.device("cpu")), dp._normaliser(layout), lambda size: bytes(size))
    gradient = trainer.gradient(problem.start(), data, sampling_probability=1.0)
    module = problem.module()
    step = OTHERS[name](module, batch=dp.BATCH, bound=dp.BOUND, noise=0.0, rate=1.0, momentum=0.0)
    step(inputs, labels)
    for part, moved in layout.split(gradient).items():
        theirs = layout.split(problem.start())[part] - module.get_parameter(part).detach().numpy()
        assert np.allclose(moved, theirs, rtol=1e-3, atol=1e-6), part
    assert np.linalg.norm(gradient) > 0.01


@pytest.mark.parametrize("case", dp.CASES)
def test_each_case_can_be_timed(case: str) -> None:
    problem = dp.Problem(**dp.CASES[case])
    assert len(problem.layout(dp.BATCH).plan.tasks) == dp.TASKS
    for run in (problem.private(), problem.ordinary()):
        assert np.isfinite(run()).all()


def test_the_others_can_be_timed() -> None:
    for make in OTHERS.values():
        dp.Problem().other(make)()
