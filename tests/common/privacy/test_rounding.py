"""Sums of clipped gradients are no further from exact ones than the noise allows for, whatever their size."""

from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.privacy.rounding import ALLOWED, BLOCKS, error, precision, products


def _worst(random: np.random.Generator, patients: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Signals (patients, 1) and activations (patients, width), products of norm 1 or a little less."""
    rows = np.abs(random.normal(size=width)) * np.ones((patients, 1))
    rows *= random.choice([1.0, 1.0 - 2.0**-12, 0.75], size=(patients, 1))
    rows /= max(1.0, float(np.linalg.norm(rows, axis=1).max()) * (1.0 + 1e-6))
    return torch.ones(patients, 1), torch.from_numpy(rows.astype(np.float32))


@pytest.mark.parametrize("patients", [1, 31, 200, 3_000, 40_000])
def test_no_sum_is_further_from_the_exact_one_than_its_bound(patients: int) -> None:
    signals, rows = _worst(np.random.default_rng(patients), patients, 20)
    exact = np.array([float(sum(map(int, column))) for column in (rows.numpy().T.astype(object) * 2**60)]) / 2**60
    found = {}
    for kind in BLOCKS:
        total = torch.empty(1, 20, dtype=kind)
        products(signals, rows, total)
        found[kind] = float(np.linalg.norm(total.double().numpy()[0] - exact))
        assert found[kind] <= error(kind, patients=patients, passes=patients) + 2.0**-53 * float(np.linalg.norm(exact))
    size = 1_000
    kind = precision(patients=patients, passes=patients, size=size)
    assert found[kind] <= ALLOWED * sqrt(size) / 2.0
    if patients >= 40_000:  # in float32 the allowance would not have held
        assert found[torch.float32] > ALLOWED * sqrt(size)


@given(st.integers(1, 10**7), st.integers(1_000, 10**7))
def test_what_is_chosen_keeps_to_half_the_allowance(patients: int, size: int) -> None:
    kind = precision(patients=patients, passes=patients, size=size)
    assert error(kind, patients=patients, passes=patients) <= ALLOWED * sqrt(size) / 2.0


def test_the_usual_step_is_worked_in_float32_and_what_cannot_be_is_not() -> None:
    usual = 86_649
    assert precision(patients=0, passes=0, size=10) == torch.float32
    assert precision(patients=128 + 6 * 11, passes=128 + 6 * 11, size=usual) == torch.float32
    assert precision(patients=10_000, passes=10_000, size=usual) == torch.float64
    assert precision(patients=128, passes=256, size=usual) == torch.float64  # passes may cancel out
    assert precision(patients=10**5, passes=16 * 10**5, size=1_000) == torch.float64
    with pytest.raises(ValueError, match="more than float64 can add up"):
        precision(patients=10**12, passes=10**12, size=usual)
