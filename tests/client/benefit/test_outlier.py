"""The detector: rows like the training rows are seldom called strange, rows from elsewhere often."""

import numpy as np
import pytest
import torch

from client.benefit.outlier import fit_detector, looked_at, missing
from common.model import Normaliser, encode_stays
from common.model.code import Columns
from common.plan import Plan
from tests.hourly import HOURS, hourly_plan


def _cloud(random: np.random.Generator, rows: int, width: int = 16) -> np.ndarray:
    """Correlated values, cut at zero as masks and codes are."""
    mix = np.random.default_rng(99).normal(size=(width, width))
    return np.maximum(random.normal(size=(rows, width)) @ mix, 0.0)


@pytest.mark.parametrize("rows", [80, 300, 3_000])
def test_about_one_new_row_in_a_hundred_is_called_strange(rows: int) -> None:
    """Also where the training rows are few: each is measured against others, as a new one is."""
    shares = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        inputs, missing = _cloud(random, rows), random.random(rows) * 0.5
        detector = fit_detector(inputs, missing, np.arange(rows).astype(np.str_))
        shares.append(detector.strange(_cloud(random, 2_000)).mean())
    assert 0.002 < np.mean(shares) < 0.03


def test_rows_from_elsewhere_are_strange() -> None:
    random = np.random.default_rng(0)
    inputs = _cloud(random, 1_000)
    detector = fit_detector(inputs, np.zeros(1_000), np.arange(1_000).astype(np.str_))
    broken = np.stack([random.permutation(column) for column in inputs.T], axis=1)  # the same values, not together
    assert detector.strange(broken).mean() > 0.05  # five times what new rows have
    assert detector.strange(inputs + 4 * inputs.std(axis=0)).mean() > 0.9


def test_more_gaps_than_ninety_nine_of_a_hundred_training_rows_have() -> None:
    random = np.random.default_rng(1)
    missing = random.integers(0, 6, 1_000) / 10
    detector = fit_detector(_cloud(random, 1_000), missing, np.arange(1_000).astype(np.str_))
    assert detector.gaps(np.array([0.5, 0.6, 1.0])).tolist() == [False, True, True]


def test_too_few_rows_give_no_limits() -> None:
    random = np.random.default_rng(2)
    detector = fit_detector(_cloud(random, 49), np.zeros(49), np.arange(49).astype(np.str_))
    assert not detector.strange(np.full((1, 16), 1e6)).any() and not detector.gaps(np.ones(1)).any()


def test_inputs_that_never_vary_are_no_error() -> None:
    detector = fit_detector(np.zeros((100, 4)), np.zeros(100), np.arange(100).astype(np.str_))
    assert not detector.strange(np.zeros((2, 4))).any() and detector.strange(np.ones((1, 4))).all()


def test_hours_to_come_are_neither_gaps_nor_strange() -> None:
    """Of a stay that has lasted three hours, later hours say nothing, whatever the length of a sequence."""
    plan, random = hourly_plan(), np.random.default_rng(3)
    features = np.array([[70.0, 1.0], [70.0, np.nan]], dtype="f4")
    hours = np.full((2, HOURS, 3), np.nan, dtype="f4")
    hours[:, :3] = random.uniform(50.0, 90.0, (2, 3, 3))
    hours[1, 1, 0], hours[1, :3, 2] = np.nan, np.nan
    assert missing(features, hours) == pytest.approx([0.0, (1 + 1 / 3 + 1) / 5])
    empty = np.full_like(hours, np.nan)
    assert missing(features, empty) == pytest.approx([3 / 5, 4 / 5])
    scale = Normaliser(*(np.full(5, each, "f4") for each in (70.0, 20.0)), np.zeros((2, 5), "f4"), np.ones(5, "f4"),
                       *(np.full(4, each, "f4") for each in (0.0, 1.0, 1.0)), 9.0)  # fmt: skip
    columns = Columns.of(plan)
    inputs = encode_stays(torch.from_numpy(features), torch.from_numpy(hours), scale, plan).numpy()
    seen = looked_at(inputs, columns)
    assert seen.shape == (2, columns.inputs + 3) and (seen[:, : columns.inputs] == inputs[:, : columns.inputs]).all()
    means = seen[:, columns.inputs :]
    z = (hours[:, :3].astype(np.float64) - 70.0) / 20.0
    assert means[0] == pytest.approx(z[0].mean(axis=0), abs=1e-6)
    assert means[1] == pytest.approx([z[1, [0, 2], 0].mean(), z[1, :, 1].mean(), 0.0], abs=1e-6)


def test_without_hours_distances_are_among_the_inputs_of_the_row(plan: Plan) -> None:
    columns = Columns.of(plan)
    inputs = np.random.default_rng(4).normal(size=(3, columns.inputs)).astype("f4")
    assert (looked_at(inputs, columns) == inputs).all()
    assert missing(np.array([[1.0, np.nan]] * 3, "f4"), np.empty((3, 0, 0), "f4")) == pytest.approx(0.5)


def test_hours_are_measured_by_themselves() -> None:
    """A shift of four numbers is lost among the others of a row, of which a hundred rows tell little."""
    random, names = np.random.default_rng(5), np.arange(100).astype(np.str_)

    def rows(shift: float) -> np.ndarray:
        return np.concatenate([_cloud(random, 100, 60), random.normal(shift, 1.0, (100, 4))], axis=1)

    usual = rows(0.0)
    together, apart = (fit_detector(usual, np.zeros(100), names, hourly=hourly) for hourly in (0, 4))
    moved, new = rows(4.0), rows(0.0)
    assert together.strange(moved).mean() < 0.3 < 0.9 < apart.strange(moved).mean()
    assert apart.strange(new).mean() < 0.06
    for each in (moved, new):
        assert ((apart.unlikeness(each) > 1.0) == apart.strange(each)).all()
    few = fit_detector(usual[:49], np.zeros(49), names[:49], hourly=4)
    assert not few.strange(moved).any() and np.isinf(few.unlikeness(moved)).all()
