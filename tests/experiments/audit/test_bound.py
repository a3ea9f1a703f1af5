"""Guesses -> epsilon: the paper's own figures, brute force, closed forms, and how often the bound is wrong."""

from math import comb, exp, log

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from experiments.audit.bound import CHOICES, audited, ceiling, lower_bound, p_value

ERROR = 0.05


@pytest.mark.parametrize(
    ("canaries", "guesses", "correct", "delta", "printed"),
    [(1000, 100, 75, 1e-4, 0.673), (100_000, 1510, 1439, 1e-5, 2.675)],  # arXiv:2305.08846v1, appendix D, section 7
)
def test_the_papers_figures(canaries: int, guesses: int, correct: int, delta: float, printed: float) -> None:
    found = lower_bound(canaries=canaries, guesses=guesses, correct=correct, delta=delta)
    assert found == pytest.approx(printed, abs=1e-3)


def _by_hand(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    right = exp(epsilon) / (1.0 + exp(epsilon))
    chance = [comb(guesses, k) * right**k * (1.0 - right) ** (guesses - k) for k in range(guesses + 1)]
    steepest = max((sum(chance[correct - i : correct]) / i for i in range(1, correct + 1)), default=0.0)
    return min(1.0, sum(chance[correct:]) + 2 * canaries * delta * steepest)


@pytest.mark.parametrize("delta", [0.0, 1e-5, 1e-3])
@pytest.mark.parametrize("epsilon", [0.0, 0.4, 2.0])
@pytest.mark.parametrize(("guesses", "correct"), [(20, 0), (20, 13), (20, 20), (37, 30)])
def test_the_p_value_is_that_of_the_formula(guesses: int, correct: int, epsilon: float, delta: float) -> None:
    found = p_value(canaries=60, guesses=guesses, correct=correct, epsilon=epsilon, delta=delta)
    assert found == pytest.approx(_by_hand(60, guesses, correct, epsilon, delta), rel=1e-9)


@pytest.mark.parametrize(("guesses", "correct"), [(50, 50), (50, 43), (400, 260), (9, 9)])
def test_without_delta_it_is_clopper_and_pearson(guesses: int, correct: int) -> None:
    share = binomtest(correct, guesses, alternative="greater").proportion_ci(0.95, method="exact").low
    found = lower_bound(canaries=1000, guesses=guesses, correct=correct, delta=0.0)
    assert found == pytest.approx(log(share / (1.0 - share)), abs=1e-5)
    assert lower_bound(canaries=1000, guesses=guesses, correct=correct, delta=1e-4) < found


def test_nothing_is_refuted_by_chance_alone() -> None:
    for correct in (0, 40, 50, 58):
        assert lower_bound(canaries=100, guesses=100, correct=correct, delta=0.0) == 0.0
    assert lower_bound(canaries=100, guesses=100, correct=59, delta=0.0) > 0.0


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
def test_randomised_response_is_refuted_in_one_run_of_twenty_at_most(epsilon: float) -> None:
    """Exactly private, and the worst case of the theorem: the bound is wrong as often as it may be, and not oftener."""
    canaries, right = 300, 1.0 / (1.0 + exp(-epsilon))
    least = next(
        correct
        for correct in range(canaries + 1)
        if lower_bound(canaries=canaries, guesses=canaries, correct=correct, delta=0.0) > epsilon
    )
    assert binom.sf(least - 1, canaries, right) < ERROR <= binom.sf(least - 2, canaries, right)


def test_the_best_of_all_choices_is_wrong_no_oftener_than_one() -> None:
    """Scores that know nothing. To take the best of undivided bounds would be wrong more often: that is the trap."""
    random, runs = np.random.default_rng(5), 1500
    wrong = {"divided": 0, "looked": 0}
    for _ in range(runs):
        scores, inside = random.normal(size=400), random.integers(0, 2, 400) == 1
        wrong["divided"] += audited(scores, inside, delta=0.0).epsilon > 0.0
        wrong["looked"] += any(audited(scores, inside, delta=0.0, choices=(one,)).epsilon > 0.0 for one in CHOICES)
    assert binom.sf(wrong["divided"] - 1, runs, ERROR) > 1e-3
    assert binom.sf(wrong["looked"] - 1, runs, ERROR) < 1e-6


def test_the_ceiling_is_what_perfect_guesses_say() -> None:
    inside = np.random.default_rng(0).permutation(200) < 100
    for delta in (0.0, 1e-5, 1e-3):
        found = audited(inside.astype(np.float64), inside, delta=delta)
        assert found.correct == found.guesses and found.epsilon == found.ceiling == ceiling(200, delta=delta)
        worse = inside.copy()
        worse[np.flatnonzero(inside)[:20]] = False
        assert audited(worse.astype(np.float64), inside, delta=delta).epsilon < found.ceiling
    every = (ERROR / len(CHOICES)) ** (1 / 200)
    assert ceiling(200) == pytest.approx(log(every / (1.0 - every)), abs=1e-5)


def test_with_delta_more_canaries_do_not_raise_the_ceiling_for_ever() -> None:
    assert ceiling(100) < ceiling(1000) < ceiling(10_000)
    assert ceiling(1000, delta=1e-5) < ceiling(1000)
    assert ceiling(100_000, delta=1e-3) < ceiling(1000, delta=1e-3) + 0.01


@pytest.mark.parametrize(
    "wrong", [{"correct": 11}, {"guesses": 30}, {"epsilon": -0.1}, {"delta": 1.5}, {"epsilon": float("nan")}]
)
def test_impossible_counts_are_refused(wrong: dict[str, float]) -> None:
    given = {"canaries": 20, "guesses": 10, "correct": 5, "epsilon": 1.0, "delta": 0.0} | wrong
    with pytest.raises(ValueError, match=r"guesses about|at least 0"):
        p_value(**given)
