"""Rates of many runs -> epsilon: Clopper and Pearson by scipy, and Gaussians whose epsilon is known."""

from math import log

import numpy as np
import pytest
from dp_accounting.gaussian_mechanism import get_epsilon_gaussian
from scipy.stats import binom, binomtest

from experiments.audit.repeated import audited, ceiling, from_rates


def test_rates_are_bounded_by_clopper_and_pearson() -> None:
    found = from_rates(found_inside=400, inside=1000, found_outside=3, outside=900, delta=1e-3)
    low = binomtest(400, 1000).proportion_ci(0.95, method="exact").low
    high = binomtest(3, 900).proportion_ci(0.95, method="exact").high
    assert found == pytest.approx(log((low - 1e-3) / high), rel=1e-9)


def test_where_nothing_or_everything_is_found_nothing_is_refuted() -> None:
    for found in (0, 500):
        assert from_rates(found_inside=found, inside=500, found_outside=found, outside=500, delta=0.0) == 0.0
    assert from_rates(found_inside=0, inside=500, found_outside=500, outside=500, delta=0.0) == 0.0


@pytest.mark.parametrize("delta", [1e-5, 1e-2])
@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0])
def test_gaussians_are_refuted_up_to_nearly_their_epsilon(distance: float, delta: float) -> None:
    random, runs = np.random.default_rng(1), 100_000
    inside = random.integers(0, 2, runs) == 1
    found = audited(random.normal(size=runs) + distance * inside, inside, delta=delta)
    true = get_epsilon_gaussian(1.0 / distance, delta)
    assert 0.4 * true < found.epsilon <= true
    assert found.epsilon < found.ceiling
    mirrored = audited(-random.normal(size=runs) - distance * inside, inside, delta=delta)
    assert mirrored.epsilon < 0.3 * true, "a score that is lower for a canary that is in says nothing"


def test_the_threshold_is_chosen_on_other_runs() -> None:
    """Scores that know nothing are refuted in one audit of twenty at most."""
    random, audits, wrong = np.random.default_rng(2), 300, 0
    for _ in range(audits):
        wrong += audited(random.normal(size=400), random.integers(0, 2, 400) == 1, delta=0.0).epsilon > 0.0
    assert binom.sf(wrong - 1, audits, 0.05) > 1e-3


def test_the_ceiling_grows_with_the_runs() -> None:
    inside = np.arange(2000) % 2 == 0
    found = audited(inside.astype(np.float64), inside, delta=1e-3)
    assert found.epsilon == found.ceiling == ceiling(500, 500, 1e-3)
    assert ceiling(500, 500, 1e-3) < ceiling(5000, 5000, 1e-3)
