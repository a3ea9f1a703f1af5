"""Epsilon of composed releases, held against dp_accounting on a fine grid, against Opacus, and against known values."""

from itertools import pairwise
from math import expm1, inf, isnan, log1p, sqrt

import pytest
from dp_accounting import GaussianDpEvent, NeighboringRelation, PoissonSampledDpEvent
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from hypothesis import assume, given
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant, RDPAccountant

from common.privacy.composition import Account, _renyi, account_of, composed_epsilon, interval_of

CASES = [  # sampling probability, noise multiplier, steps, delta
    (64 / 5000, 1.0, 2000, 1e-5),
    (0.1, 2.0, 300, 1e-6),
    (0.02, 0.6, 300, 1e-5),
    (0.3, 8.0, 1000, 1e-5),
    (0.9, 1.0, 10, 1e-5),
    (0.01, 4.0, 1, 1e-5),
    (0.001, 1.0, 1000, 1e-7),
    (1.0, 12.0, 100, 1e-5),
    (1.0, 0.5, 1, 1e-8),
]
WHOLE_ORDERS = list(range(2, 64))  # at fractional ones the two libraries compute different bounds


def _event(probability: float, multiplier: float) -> GaussianDpEvent | PoissonSampledDpEvent:
    gaussian = GaussianDpEvent(multiplier)
    return gaussian if probability == 1.0 else PoissonSampledDpEvent(probability, gaussian)


def _rdp(probability: float, multiplier: float, steps: int, delta: float, orders: list[int] | None = None) -> float:
    accountant = RdpAccountant(orders)
    return accountant.compose(_event(probability, multiplier), steps).get_epsilon(delta)


@pytest.mark.parametrize(("probability", "multiplier", "steps", "delta"), CASES)
def test_equals_dp_accounting_on_a_fine_grid_and_is_never_below(probability, multiplier, steps, delta) -> None:
    judge = PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=1e-4)
    exact = judge.compose(_event(probability, multiplier), steps).get_epsilon(delta)
    assert exact - 5e-5 <= composed_epsilon(((multiplier, probability, steps),), delta) <= exact + 1e-3


def test_releases_of_different_kinds_equal_dp_accounting() -> None:
    judge = PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=1e-4)
    parts = [(4.0, 1.0, 2), (1.5, 0.05, 200), (3.0, 0.2, 50), (6.0, 1.0, 1)]
    for multiplier, probability, count in parts:
        judge.compose(_event(probability, multiplier), count)
    exact = judge.get_epsilon(1e-5)
    assert exact - 5e-5 <= composed_epsilon(account_of(parts), 1e-5) <= exact + 1e-3


@pytest.mark.parametrize(("probability", "multiplier", "steps", "delta"), CASES)
def test_renyi_accountants_agree_and_bound_it_from_above(probability, multiplier, steps, delta) -> None:
    opacus = RDPAccountant()
    opacus.history = [(multiplier, probability, steps)]
    bound = _rdp(probability, multiplier, steps, delta, WHOLE_ORDERS)
    assert opacus.get_epsilon(delta, alphas=WHOLE_ORDERS) == pytest.approx(bound, abs=1e-3)
    assert composed_epsilon(((multiplier, probability, steps),), delta) <= bound


@pytest.mark.parametrize(("probability", "multiplier", "steps", "delta"), CASES)
def test_equals_opacus_prv(probability, multiplier, steps, delta) -> None:
    judge = PRVAccountant()  # its answer is an upper bound: the true one and up to twice the error that it is asked for
    judge.history = [(multiplier, probability, steps)]
    above = judge.get_epsilon(delta, eps_error=4e-4, delta_error=delta * 1e-5)
    assert composed_epsilon(((multiplier, probability, steps),), delta) == pytest.approx(above, abs=1e-3)


def test_releases_of_different_kinds_equal_opacus_prv() -> None:
    judge, parts = PRVAccountant(), [(4.0, 1.0, 2), (1.5, 0.05, 200), (3.0, 0.2, 50), (6.0, 1.0, 1)]
    judge.history = parts
    above = judge.get_epsilon(1e-5, eps_error=4e-4, delta_error=1e-10)
    assert composed_epsilon(account_of(parts), 1e-5) == pytest.approx(above, abs=1e-3)


def test_known_value_of_dp_sgd() -> None:
    """q = 64/5000, z = 1, 2000 steps, delta = 1e-5: 3.398 by PLD, 3.749 by RDP."""
    assert composed_epsilon(((1.0, 64 / 5000, 2000),), 1e-5) == pytest.approx(3.398, abs=1e-3)
    assert _rdp(64 / 5000, 1.0, 2000, 1e-5) == pytest.approx(3.749, abs=1e-3)


def test_known_value_of_noise_shares() -> None:
    """z = 12, 100 rounds, D = 1e6, grid C / 2^14: 3.847 by RDP, rounding moving an update by sqrt(D) steps more."""
    longest = 2.0**14
    rounded = 12.0 * longest / sqrt(longest**2 + 1e6)
    assert _rdp(1.0, rounded, 100, 1e-5) == pytest.approx(3.847, abs=1e-3)
    assert _rdp(1.0, 12.0, 100, 1e-5) == pytest.approx(3.8396, abs=1e-4)
    assert composed_epsilon(((rounded, 1.0, 100),), 1e-5) < 3.847


@given(st.floats(0.5, 50.0), st.floats(-4.0, -1.0), st.integers(1, 10**5), st.integers(1, 50))
def test_more_releases_never_have_a_coarser_grid(multiplier, exponent, count, times) -> None:
    probability = 10.0**exponent
    assume(count * times * probability**2 * expm1(multiplier**-2) < 0.04)  # beyond, memory may ask for a coarser one
    few, many = (interval_of(((multiplier, probability, each),)) for each in (count, count * times))
    assert many <= few <= 2.0**-10


def test_merging_forgets_the_order() -> None:
    parts = [(1.0, 0.5, 2), (2.0, 1.0, 1), (1.0, 0.5, 3), (4.0, 0.1, 0)]
    assert account_of(parts) == account_of(reversed(parts)) == ((1.0, 0.5, 5), (2.0, 1.0, 1))


def test_no_release_costs_nothing_and_no_noise_costs_everything() -> None:
    assert composed_epsilon((), 1e-5) == 0.0
    assert composed_epsilon(((0.0, 0.5, 1),), 1e-5) == float("inf")


@pytest.mark.parametrize("multiplier", [0.01, 0.1])
def test_very_little_noise_is_answered_on_a_coarse_grid_from_above(multiplier: float) -> None:
    found = composed_epsilon(((multiplier, 0.5, 100),), 1e-5)
    everybody = composed_epsilon(((multiplier, 1.0, 100),), 1e-5)
    assert 10.0 < found <= everybody * 1.01


@pytest.mark.parametrize("probability", [1e-300, 1e-3, 0.5, 1.0])
@pytest.mark.parametrize("count", [1, 10**5, 10**12])
def test_silly_noise_has_a_price_that_falls_with_it(probability: float, count: int) -> None:
    """At both ends of what a plan may say and beyond: never NaN, never an exception, never less for less noise."""
    multipliers = (1e-300, 1e-9, 0.01, 0.05, 0.0999, 0.1, 0.3, 1.0, 1e6, 1e300)
    found = [composed_epsilon(((multiplier, probability, count),), 1e-5) for multiplier in multipliers]
    everybody = [composed_epsilon(((multiplier, 1.0, count),), 1e-5) for multiplier in multipliers]
    assert not any(isnan(each) or each < 0.0 for each in found)
    assert found[0] == inf and found[1] < inf and found[-1] < 1e-9
    for less, more in pairwise(found):
        assert more <= less + 1e-3 * max(1.0, less)
    assert all(one <= other for one, other in zip(found, everybody, strict=True))


def test_more_silly_releases_cost_more() -> None:
    for multiplier in (0.01, 0.3, 100.0):
        found = [composed_epsilon(((multiplier, 0.01, count),), 1e-5) for count in (1, 100, 10**5, 10**7)]
        assert found == sorted(found)


@pytest.mark.parametrize(
    ("account", "delta"),
    [
        (((8.15, 1.44e-4, 1514092), (24.7, 9.6e-6, 56263)), 3.8e-6),
        (((0.063, 1.5e-6, 848), (1.67, 5e-4, 48)), 6.6e-11),
    ],
)
def test_what_counts_as_over_everybody_asks_for_no_fine_grid(account: Account, delta: float) -> None:
    """An answer on the grids that these had once took minutes."""
    assert interval_of(account) >= 2.0**-19
    found = composed_epsilon(account, delta)
    everybody = composed_epsilon(tuple((z, 1.0, count) for z, _, count in account), delta)
    assert 0.0 < found <= everybody


def test_nothing_jumps_where_the_grid_is_chosen_otherwise() -> None:
    """At a million releases the tolerance begins to grow, at 100 million Renyi divergences take over."""
    for count, more in ((10**6, 1.01), (10**8, 2.5)):
        less, beyond = (composed_epsilon(((1.0, 1e-5, each),), 1e-5) for each in (count, count + 1))
        assert less <= beyond <= less * more


def test_renyi_bound_is_above_the_grid_s() -> None:
    for account in (((1.0, 1e-3, 10**5),), ((0.7, 1e-4, 10**5), (5.0, 1.0, 4))):
        assert composed_epsilon(account, 1e-5) <= _renyi(account, 1e-5) <= 3 * composed_epsilon(account, 1e-5)


def test_who_protects_nobody_is_not_asked_how_much_the_samples_cost() -> None:
    little = (0.01, 1.0, 1)
    assert composed_epsilon((little, (1.0, 0.01, 10)), 1e-5) == composed_epsilon((little, (1.0, 1.0, 10)), 1e-5)


def test_a_grid_never_has_so_many_points_that_an_answer_takes_seconds() -> None:
    """Points of one release, each of which costs about ten microseconds; the losses reach to 1 / (2 z^2) + 10 / z."""
    for multiplier in (0.1, 0.2, 0.3, 0.49):
        for probability in (1e-12, 1e-6, 1e-3, 0.5):
            for count in (1, 10**5):
                reach = log1p(probability * expm1(0.5 / multiplier**2 + 10 / multiplier))
                assert reach / interval_of(((multiplier, probability, count),)) <= 2**17
