"""Every strategy applies the summed step as its paper says, and continues where it was cut off."""

import numpy as np
import pytest

from common.plan import Aggregation
from common.plan.rules import MEAN_STRATEGIES, ROBUST_STRATEGIES
from server.strategy import ServerStep

D = 50


def _steps(seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).normal(0, 0.1, (6, D)))


def _run(rules: Aggregation, steps: list[np.ndarray], *, cut: int | None = None) -> np.ndarray:
    step, parameters = ServerStep(rules), np.linspace(-1, 1, D).astype(np.float32)
    moved = np.ones(D, dtype=bool)
    for number, change in enumerate(steps, start=1):
        if number == cut:  # as after a restart: only what the journal holds goes on
            state, step = step.state(), ServerStep(rules)
            step.restore(state | {"parameters": parameters})
        parameters = step.apply(number, parameters, change, moved, {"a": change, "b": change, "c": change})
    return parameters


@pytest.mark.parametrize("name", MEAN_STRATEGIES + ROBUST_STRATEGIES)
@pytest.mark.parametrize("cut", [2, 4])
def test_restart_continues_bit_for_bit(name: str, cut: int) -> None:
    rules = Aggregation(strategy=name, secure=False)
    whole = _run(rules, _steps())
    assert whole.dtype == np.float32
    assert np.array_equal(whole, _run(rules, _steps(), cut=cut))


@pytest.mark.parametrize("name", ["fedavg", "fedprox"])
def test_mean_is_the_divided_sum(name: str) -> None:
    expected = np.linspace(-1, 1, D).astype(np.float32) + sum(_steps())
    assert np.allclose(_run(Aggregation(strategy=name), _steps()), expected, atol=1e-6)


def test_momentum_is_that_of_the_paper() -> None:
    """Hsu, Qi, Brown 2019: v = beta v + step, w = w + eta v."""
    parameters, velocity = np.linspace(-1, 1, D), np.zeros(D)
    for change in _steps():
        velocity = 0.9 * velocity + change
        parameters = parameters + 0.5 * velocity
    rules = Aggregation(strategy="fedavgm", server_learning_rate=0.5, server_momentum=0.9)
    assert np.allclose(_run(rules, _steps()), parameters, atol=1e-5)


def test_adagrad_is_that_of_the_paper() -> None:
    """Reddi et al. 2021, algorithm 2: v += step^2, w += eta m / (sqrt(v) + tau), m = step with beta_1 = 0."""
    parameters, square = np.linspace(-1, 1, D), np.zeros(D)
    for change in _steps():
        square = square + change**2
        parameters = parameters + 0.03 * change / (np.sqrt(square) + 1e-3)
    assert np.allclose(_run(Aggregation(strategy="fedadagrad"), _steps()), parameters, atol=1e-5)


@pytest.mark.parametrize("name", MEAN_STRATEGIES)
def test_untouched_block_stays_bit_for_bit(name: str) -> None:
    step, parameters = ServerStep(Aggregation(strategy=name)), np.linspace(-1, 1, D).astype(np.float32)
    moved = np.arange(D) < 20
    after = step.apply(1, parameters, _steps()[0], np.ones(D, dtype=bool))  # moments that are not zero
    held = step.apply(2, after, np.where(moved, _steps()[1], 0.0), moved)
    assert held[20:].tobytes() == after[20:].tobytes() and not np.array_equal(held[:20], after[:20])


def test_median_ignores_an_outlier() -> None:
    step, parameters = ServerStep(Aggregation(strategy="fedmedian", secure=False)), np.zeros(D, dtype=np.float32)
    each = {"a": np.full(D, 0.1), "b": np.full(D, 0.2), "c": np.full(D, 1e6)}
    after = step.apply(1, parameters, np.zeros(D), np.ones(D, dtype=bool), each)
    assert np.allclose(after, 0.2)
