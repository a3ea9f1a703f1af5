"""What Gaussian releases about one patient cost together: epsilon at a delta, by privacy loss distributions (PLD).

Neighbouring tables differ by all rows of one patient, added or removed. Releases over everybody are composed exactly:
k of them with multiplier z are one with z / sqrt(k), whose epsilon is known (Balle & Wang 2018, eq. 6). Those over a
Poisson sample are composed by Google's dp_accounting on a grid of losses, "connect the dots" (Doroshenko et al. 2022,
Alg. 1): its answer is above the true one on any grid, and the lower the finer. `interval_of` chooses a grid on which it
is above by less than 1e-3 (largest seen: 4.2e-4), except where the answer is in the hundreds or a multiplier is 0.5
or less.

More than a million releases over samples may cost up to 1e-3 per million more than the truth; more than 100 million, or
where it is in the hundreds, are answered by Renyi divergences, which are above by more (twice as much was seen).

Noise that hides nobody is answered from above: a release with a multiplier below 0.1 counts as one over everybody
(without the chance of a sample it costs more). So does any where that is less than the grid says, or where the losses
are too large for dp_accounting's arithmetic. A multiplier below 1e-9 is none.

dp_accounting is imported when it is first needed: it takes longer than all other imports of a site's commands.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache, reduce
from math import ceil, expm1, floor, inf, isnan, log1p, log2, sqrt
from typing import Any

import numpy as np

Account = tuple[tuple[float, float, int], ...]
"""Releases about one patient, equal ones together: (noise multiplier, sampling probability, count), sorted."""

_TOLERANCE = 5e-4
_MOST_POINTS = 1 << 20  # of a grid, about: 8 MiB
_MOST_SLOW_POINTS = 1 << 16  # of one release with a small multiplier, whose losses reach far: about a second's work
_LITTLE, _SOME = 0.1, 0.5  # multipliers: below the first no sample counts, up to the second grids are coarser
_NOTHING = 1e-9
_HUNDREDS = 200.0  # an epsilon that protects nobody: how much more the sampled releases cost is not worked out
_FINE_SAMPLES, _GRID_SAMPLES = 10**6, 10**8  # up to the first the tolerance holds, beyond the second no grid is tried


def account_of(releases: Iterable[tuple[float, float, int]]) -> Account:
    """Equal releases together, in an order that does not depend on that of `releases`."""
    counts: dict[tuple[float, float], int] = defaultdict(int)
    for multiplier, probability, count in releases:
        if count and probability > 0.0:
            counts[multiplier, min(probability, 1.0)] += count
    return tuple(sorted((*kind, count) for kind, count in counts.items()))


@lru_cache(maxsize=4096)
def composed_epsilon(account: Account, delta: float, interval: float | None = None) -> float:
    """Epsilon at `delta` of one account; infinite for a multiplier below 1e-9. interval: of the grid, if not its own.

    Never NaN, and never less with more releases, a larger probability or a smaller multiplier, but for a grid's 1e-3.
    """
    if any(multiplier < _NOTHING for multiplier, _, _ in account):
        return inf
    with np.errstate(all="ignore"):  # dp_accounting divides by what may be 0, and looks at the result
        return _composed(account, delta, interval)


def _composed(account: Account, delta: float, interval: float | None) -> float:
    everybody = _gaussian(sum(count * (1.0 / multiplier) ** 2 for multiplier, _, count in account), delta)
    sampled = [part for part in account if _is_sampled(part)]
    if not sampled:
        return everybody
    step = interval or interval_of(account)
    precision = sum(count * (1.0 / multiplier) ** 2 for multiplier, _, count in set(account).difference(sampled))
    if _gaussian(precision, delta) > _HUNDREDS:
        return everybody
    many = sum(count for _, _, count in sampled)
    if many > _FINE_SAMPLES and ((bound := _renyi(account, delta)) > _HUNDREDS or many > _GRID_SAMPLES):
        return min(everybody, bound)
    try:
        parts = [
            _losses(multiplier, probability, step).self_compose(count) for multiplier, probability, count in sampled
        ]
        if precision:
            parts.append(_losses(1.0 / sqrt(precision), 1.0, step))
        found = float(reduce(lambda one, other: one.compose(other), parts).get_epsilon_for_delta(delta))
    except OverflowError:  # a loss of more than 700, of which it takes the exponential
        return everybody
    return everybody if isnan(found) else min(found, everybody)


def _gaussian(precision: float, delta: float) -> float:
    """Of releases over everybody; precision: the sum of 1 / z^2."""
    from dp_accounting.gaussian_mechanism import get_epsilon_gaussian

    return float(get_epsilon_gaussian(1.0 / sqrt(precision), delta)) if precision else 0.0


def _renyi(account: Account, delta: float) -> float:
    """An upper bound that takes no grid: moments of the loss, which add up."""
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
    from dp_accounting.rdp import RdpAccountant

    log, accountant = logging.getLogger("absl"), RdpAccountant()
    level = log.level
    log.setLevel(logging.ERROR)  # it tells of orders that it leaves out: the bound is over the rest
    try:
        for multiplier, probability, count in account:
            accountant.compose(PoissonSampledDpEvent(probability, GaussianDpEvent(multiplier)), count)
        found = float(accountant.get_epsilon(delta))
    except OverflowError:  # the square of a multiplier that hides everything, or of one that hides nothing
        return inf
    finally:
        log.setLevel(level)
    return inf if isnan(found) else found


def _is_sampled(part: tuple[float, float, int]) -> bool:
    multiplier, probability, _ = part
    return probability < 1.0 and multiplier >= _LITTLE


def interval_of(account: Account) -> float:
    """Distance of the losses on the grid for `account`: a power of two, so that of two grids one holds the other.

    Rounding on a grid of interval h adds at most h^2 / 4 to the variance V of a release's loss. Over n releases this
    moves the mean by n h^2 / 8 and a quantile by about n h^2 / (2 sqrt(V)), both kept to the tolerance; for n above a
    million, to n / 10^6 times that. V is bounded through the chi-square divergence, p^2 (e^(1/z^2) - 1) per release.
    Where a grid so fine would have more than a million points, it is coarser.
    """
    count, mean, variance, longest, slow = 0, 0.0, 0.0, 10.0, 0.0
    for part in account:
        multiplier, probability, times = part if _is_sampled(part) else (part[0], 1.0, part[2])
        once = max(multiplier, _NOTHING) ** -2.0
        most = 1.0 if probability >= 1.0 else probability**2 * expm1(min(once, 50.0))
        count += times if probability < 1.0 else 0
        mean += times * min(most, probability * once)
        variance += times * min(most, probability * (once + once**2 / 4.0))
        reach = log1p(probability * expm1(min(once / 2.0 + 10.0 / max(multiplier, _NOTHING), 700.0)))
        longest = max(longest, once / 2.0 + 10.0, reach)
        slow = max(slow, reach if probability < 1.0 and multiplier <= _SOME else 0.0)
    fine = sqrt(_TOLERANCE * min(8.0, 2.0 * sqrt(variance)) / max(min(count, _FINE_SAMPLES), 1))
    coarse = max((mean + 16.0 * sqrt(variance) + longest) / _MOST_POINTS, slow / _MOST_SLOW_POINTS)
    return float(2.0 ** max(min(floor(log2(max(fine, 1e-300))), -10), ceil(log2(coarse))))


@lru_cache(maxsize=16)
def _losses(multiplier: float, probability: float, interval: float) -> Any:
    """The privacy loss distribution of one release, on a grid."""
    from dp_accounting import NeighboringRelation
    from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism

    return from_gaussian_mechanism(
        multiplier,
        sampling_prob=probability,
        value_discretization_interval=interval,
        neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE,
    )
