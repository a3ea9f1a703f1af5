"""Sums on a grid with whole noise: as wide as accounted for, exact in the last digit, the same on any device."""

from math import sqrt

import numpy as np
import pytest
import torch

from common.errors import PlanError
from common.privacy.noisy_sum import NoisySum
from common.privacy.rounding import ALLOWED
from common.privacy.stream import Stream
from tests.private import seeded

SIZE = 100_000


def _stream(seed: int) -> Stream:
    return Stream(seeded(seed))


@pytest.mark.parametrize("multiplier", [0.5, 1.0, 8.0, 60.0])
@pytest.mark.parametrize("max_norm", [0.01, 3.0])
def test_noise_is_the_multiple_of_the_norm(multiplier: float, max_norm: float) -> None:
    """At least, and by no more than rounding asks for."""
    noise = NoisySum.of(SIZE, max_norm=max_norm, noise_multiplier=multiplier)
    steps = max_norm / noise.step
    assert noise.sigma == pytest.approx(multiplier * (steps + (1.0 + ALLOWED * steps) * sqrt(SIZE)))
    released = noise.release(torch.full((SIZE,), 0.25 * max_norm), _stream(0), patients=1)
    assert float(released.mean()) == pytest.approx(0.25 * max_norm, abs=4.5 * multiplier * max_norm * 1.1 / sqrt(SIZE))
    ratio = float(released.std()) / (multiplier * max_norm)
    assert ratio == pytest.approx(noise.sigma * noise.step / (multiplier * max_norm), rel=0.01)
    assert 1.0 < noise.sigma * noise.step / (multiplier * max_norm) < 1.0049 + 0.00061 * max(2.0, multiplier)


@pytest.mark.parametrize("patients", [1, 5000])
def test_whole_steps_are_added_exactly(patients: int) -> None:
    """Whatever the size of the sum, the same noise moves it by the same whole number of steps."""
    noise = NoisySum.of(SIZE, max_norm=1.0, noise_multiplier=1.0)
    nothing = noise.release(torch.zeros(SIZE), _stream(1), patients=patients).double() / noise.step
    assert (nothing == nothing.round()).all()
    for steps in (1.0, 4097.0, -262_144.0):
        moved = noise.release(torch.full((SIZE,), steps * noise.step), _stream(1), patients=patients).double()
        assert ((moved / noise.step - nothing) == steps).all()


def test_entries_beyond_the_grid_are_bounded() -> None:
    noise = NoisySum.of(4, max_norm=1.0, noise_multiplier=1.0)
    released = noise.release(torch.tensor([1e30, -1e30, 5000.0, 0.0]), _stream(2), patients=10**6)
    assert released.isfinite().all() and released[0] == pytest.approx(2**30 * noise.step, rel=0.01)
    assert released[1] < 0 and abs(float(released[3])) < 10


def test_divided_after_the_noise() -> None:
    noise = NoisySum.of(SIZE, max_norm=1.0, noise_multiplier=1.0)
    total = torch.linspace(-3, 3, SIZE)
    whole, part = (noise.release(total.clone(), _stream(3), patients=9, divisor=d) for d in (1.0, 128.0))
    assert np.allclose(whole / 128.0, part, rtol=1e-6)


def test_noise_too_wide_for_the_grid_is_refused() -> None:
    NoisySum.of(SIZE, max_norm=1.0, noise_multiplier=1500.0)
    with pytest.raises(PlanError, match="noise multiplier of 2000 is more than 100000 parameters"):
        NoisySum.of(SIZE, max_norm=1.0, noise_multiplier=2000.0)
