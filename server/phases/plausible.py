"""Whether honest sites can have sent the sum of a round: updates within the clip norm, tallies, and norms that fit."""

import math

import numpy as np
from numpy.typing import NDArray

from common.contribution import NORMS
from common.privacy import l2_norm
from common.privacy.shares import fixed_point, noise_steps
from server.phases.context import Run
from server.sums import plausible_tallies

Float64 = NDArray[np.float64]
_ROOM = 1e-3  # for rounding, in float32 and to the grid
_RARE = 40 * math.log(2.0)
_OTHER_GRID = 2.0  # a roster larger than the cohort has a wider grid, and with it up to so much more noise


def plausible_round(run: Run, taking_part: Float64, sites: tuple[str, ...], vector: NDArray[np.floating]) -> bool:
    """Whether `sites`, if honest, can have sent what sums up to `vector`, (narrow + wide,).

    taking_part: (blocks,) 1 for a block that is trained. The sum is divided by the largest declared levels, so the
    bound holds for the updates before their sites weighted them: nothing in blocks that no site declared, and no more
    in the others than their levels allow. Where there is noise in the sum it has room as well, but with probability
    2^-40; there the sites tell no norms.
    """
    size, tallies = run.layout.parameters, vector[run.layout.parameters : -len(NORMS)]
    noisy = run.plan.privacy.noise_in_sum
    norms_fit = _silent if noisy else _norms_fit
    largest = np.max([run.cohort.levels[site] for site in sites], axis=0)
    if run.plan.privacy.pooled_steps:
        largest = np.sign(largest)  # a sum over patients carries no level
    weight = (largest * taking_part)[run.layout.block_of]
    own, update = weight > 0, vector[:size]
    limit = _longest(run, len(sites))
    if noisy:
        limit += _noise_norm(run, weight[own], sites=len(sites))
    update_fits = not update[~own].any() and l2_norm(update[own] / weight[own]) <= limit
    fit = norms_fit(run, vector[-len(NORMS) :], len(sites))
    return fit and update_fits and plausible_tallies(tallies, sites=len(sites))


def _longest(run: Run, sites: int) -> float:
    return run.plan.aggregation.clip_norm * sites * (1.0 + _ROOM)


def _norms_fit(run: Run, norms: NDArray[np.floating], sites: int) -> bool:
    """norms: sums of the norm before clipping, the norm after, 1 for each site that clipped, and 1 for each site."""
    before, after, clipped, count = norms
    fit = 0.0 <= after <= _longest(run, sites) and after <= before * (1.0 + _ROOM) + _ROOM
    # In the open a site counts itself; in a secure sum one may have sent zeros.
    fit = fit and count == round(float(count)) and (count == 1 if sites == 1 else 1 <= count <= sites)
    return bool(fit and 0.0 <= clipped <= sites and clipped == round(float(clipped)))


def _silent(run: Run, norms: NDArray[np.floating], sites: int) -> bool:
    """Whether nothing that depends on data stands where the norms would."""
    return not norms[:-1].any() and 0 <= norms[-1] <= sites and norms[-1] == round(float(norms[-1]))


def _noise_norm(run: Run, weight: Float64, *, sites: int) -> float:
    """What the noise of `sites` sites, divided by `weight`, is longer than with probability 2^-40 at most.

    For noise x subgaussian with sigma and a diagonal matrix A, |A x|^2 exceeds sigma^2 (tr A^2 + 2 sqrt(t tr A^4) +
    2 t max A^2) with probability exp(-t) at most (Hsu, Kakade, Zhang, ECP 2012).
    """
    fixed = fixed_point(run.update, sites=len(run.cohort.levels))
    sigma = noise_steps(run.update, fixed) / fixed.narrow_scale * math.sqrt(sites)
    squares = weight**-2
    total = squares.sum() + 2.0 * math.sqrt(_RARE * np.square(squares).sum()) + 2.0 * _RARE * squares.max(initial=0.0)
    return _OTHER_GRID * sigma * math.sqrt(total)
