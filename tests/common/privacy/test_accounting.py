"""Whose releases add up, and how many more fit under a limit."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.privacy import accounting
from common.privacy.accounting import affordable, epsilon
from common.privacy.composition import composed_epsilon
from common.privacy.events import Event, Gaussian, Spent, Unnoised

DELTA = 1e-5
everybody = st.builds(Gaussian, st.floats(0.5, 20.0), st.just(1.0), st.integers(1, 5))  # exact, so laws hold exactly
spent = st.builds(Spent, everybody, st.sampled_from(["a", "b", "c"]), st.sampled_from(["train", "test", "other"]))


def _of(event: Event, rows: str = "train", split: str = "a") -> Spent:
    return Spent(event, split, rows)


@given(st.lists(spent, max_size=6), spent)
def test_a_further_release_never_lowers_the_cost(listed: list[Spent], more: Spent) -> None:
    """But for the grid's 1e-3: the longer account may have a finer one."""
    assert epsilon([*listed, more], delta=DELTA) >= epsilon(listed, delta=DELTA) - 1e-3


@given(
    st.permutations(
        [_of(Gaussian(z), rows, split) for z, rows, split in zip((1, 2, 3, 4), "xyxy", "aabb", strict=True)]
    )
)
def test_the_order_of_releases_is_irrelevant(listed: list[Spent]) -> None:
    assert epsilon(listed, delta=DELTA) == epsilon(sorted(listed, key=repr), delta=DELTA)


@given(st.lists(spent, min_size=1, max_size=6))
def test_sets_of_one_split_do_not_add_up(listed: list[Spent]) -> None:
    sets = [[one for one in listed if one.rows == rows] for rows in ("train", "test", "other")]
    alone = [epsilon([Spent(one.event, "a", one.rows) for one in of], delta=DELTA) for of in sets]
    assert epsilon([Spent(one.event, "a", one.rows) for one in listed], delta=DELTA) == max(alone)


@given(st.lists(spent, min_size=1, max_size=6))
def test_splits_add_up_to_the_worst_choice_of_sets(listed: list[Spent]) -> None:
    def brute(left: list[str], chosen: list[Spent]) -> float:
        if not left:
            return epsilon([Spent(one.event, "", "") for one in chosen], delta=DELTA)
        rows = {one.rows for one in listed if one.split == left[0]} or {""}
        return max(
            brute(left[1:], chosen + [one for one in listed if (one.split, one.rows) == (left[0], each)])
            for each in rows
        )

    assert epsilon(listed, delta=DELTA) == pytest.approx(brute(["a", "b", "c"], []), abs=1e-9)


def test_with_too_many_choices_everything_adds_up() -> None:
    listed = [_of(Gaussian(20.0), rows, f"split {split}") for split in range(7) for rows in ("x", "y", "z")]
    assert epsilon(listed, delta=DELTA) == composed_epsilon(((20.0, 1.0, 21),), DELTA)
    assert epsilon(listed[:18], delta=DELTA) == composed_epsilon(((20.0, 1.0, 6),), DELTA)


def test_what_has_no_noise_is_not_in_the_number() -> None:
    noised = [_of(Gaussian(2.0))]
    assert epsilon([*noised, _of(Unnoised("levels"))], delta=DELTA) == epsilon(noised, delta=DELTA)
    assert epsilon([_of(Unnoised("update"))], delta=DELTA) == 0.0
    assert affordable(noised, _of(Unnoised("levels")), epsilon=0.1, delta=DELTA, most=3) == 3


BEFORE = [_of(Gaussian(8.0)), _of(Gaussian(2.0), "test"), _of(Gaussian(1.5), "train", "b"), _of(Unnoised("levels"))]


@pytest.mark.parametrize(
    ("event", "limit"),
    [(Gaussian(6.0), 5.0), (Gaussian(6.0, 1.0, 7), 8.0), (Gaussian(1.5, 0.05, 18), 4.0), (Gaussian(3.0, 0.4, 3), 6.0)],
)
def test_what_is_affordable_fits_and_one_more_does_not(event: Gaussian, limit: float) -> None:
    more = _of(event)
    found = affordable(BEFORE, more, epsilon=limit, delta=DELTA, most=10_000)
    assert found > 0
    assert epsilon([*BEFORE, *[more] * found], delta=DELTA) <= limit + 1e-3  # on a grid that may be coarser
    assert epsilon([*BEFORE, *[more] * (found + 1)], delta=DELTA) > limit
    assert affordable(BEFORE, more, epsilon=limit, delta=DELTA, most=found - 1) == found - 1
    for had in (1, found // 2, found):
        gone = [*BEFORE, *[more] * had]
        assert affordable(gone, more, epsilon=limit, delta=DELTA, most=10_000) == found - had


@settings(max_examples=30)
@given(st.lists(spent, max_size=4), spent, st.floats(0.5, 12.0), st.integers(0, 40))
def test_affordable_is_the_most_that_fits(listed: list[Spent], more: Spent, limit: float, most: int) -> None:
    found = affordable(listed, more, epsilon=limit, delta=DELTA, most=most)
    fits = [n for n in range(most + 1) if epsilon([*listed, *[more] * n], delta=DELTA) <= limit]
    assert found == max(fits, default=0)


def test_an_account_that_is_overdrawn_elsewhere_affords_nothing() -> None:
    gone = [_of(Gaussian(0.3), "test")]
    assert affordable(gone, _of(Gaussian(10.0)), epsilon=2.0, delta=DELTA, most=5) == 0
    assert affordable(gone, _of(Gaussian(0.0)), epsilon=2.0, delta=DELTA, most=5) == 0


def test_the_question_of_the_next_round_is_answered_without_computing() -> None:
    more = _of(Gaussian(1.25, 0.04, 5))
    total = affordable(BEFORE, more, epsilon=4.0, delta=DELTA, most=40)
    worked = accounting._most.cache_info().misses, composed_epsilon.cache_info().misses
    for had in range(1, 40):
        left = affordable([*BEFORE, *[more] * had], more, epsilon=4.0, delta=DELTA, most=40 - had)
        assert left == max(0, min(40 - had, total - had))
    assert (accounting._most.cache_info().misses, composed_epsilon.cache_info().misses) == worked


def test_the_accountant_is_loaded_only_when_it_is_asked() -> None:
    code = "import sys, common.privacy.mechanism, common.plan.describe; sys.exit('dp_accounting' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_account_that_fits_on_a_fine_grid_alone_affords_nothing_and_is_answered() -> None:
    """It costs 1.82825 on the grid of one release and 1.82840 on that of many: between the two the search must end."""
    had, more = Spent(Gaussian(1.0, 0.01, 1000), "s", "train"), Spent(Gaussian(1.0, 0.02), "s", "train")
    for limit in (1.8283, 1.82835):
        assert affordable([had], more, epsilon=limit, delta=1e-5, most=10_000) <= 1
