"""How much noise each site adds to a sum, so that the sum is private even where some of its sites tell their noise.

Sensitivity. Q rounds a site's vector x with coins that do not depend on its data. For neighbours x and x' an entry of
Q(x) - Q(x') is less than one step away from scale * (x - x'); so |Q(x) - Q(x')| < scale * |x - x'| + sqrt(D), in L2
norm over D entries. For a whole site x' = 0 is the neighbour, Q(0) = 0, and the same holds; two vectors of one site
differ by twice that at most.

Variance. Of m survivors or more, f may side with the coordinator and know their own shares; where f = 0, a single site
that looks at the models knows its own, so f counts as 1 at least from here on. m - f shares are left, each
a discrete Gaussian of variance sigma^2 / (m - f). Their sum is a discrete Gaussian of variance sigma^2, but for a
factor of 1 +- 10 (m - f) exp(-pi^2 s^2) where each has a standard deviation of s >= 8 steps: 1e-270 (Kairouz, Liu,
Steinke, ICML 2021, Theorem 1, the term tau). With exactly m - f honest survivors that is the noise of one mechanism
over all their patients; against the coordinator alone, and with more survivors, there is more (`against_coordinator`).

Whole steps. What an accountant says of N(0, sigma^2) holds for the discrete noise. Let y = v + N(0, sigma^2 - s^2) for
a vector v of integers, and turn each entry at random into an integer z, with weight exp(-(z - y)^2 / (2 s^2)). These
weights add up to s sqrt(2 pi) (1 +- 2.1 exp(-2 pi^2 s^2)) whatever y is (Poisson's summation formula): so z is v plus
discrete Gaussian noise of variance sigma^2, but for that factor, 1e-33 per entry with s = 2. It was made from y alone.
So it costs what N(0, sigma^2 - 4) does, over Poisson samples and many rounds as well; `NoiseShare.steps` adds the 4.
"""

from math import sqrt

from common.contribution import Contribution
from common.errors import PlanError
from common.plan.plan import Plan
from common.privacy.honest import honest_sites
from common.privacy.mechanism import mechanism, of_statistics
from common.privacy.rounding import ALLOWED
from common.secagg.fixedpoint import FixedPoint
from common.secagg.noise import NoiseShare

# Of the clip norm: what float32 and its margin may add where a sum is cut to it. The rounding of a float64 sum
# to float32 is in it: it is relative to each entry, and the cut bounds all entries together.
_PROJECTION = 2.0**-19


def noise_share(contribution: Contribution) -> NoiseShare | None:
    """The noise that each site adds to every entry of this vector that takes part; None for no noise in the sum.

    It goes to the narrow entries of a round of training, to the wide ones of a survey or an evaluation.
    """
    plan = contribution.plan
    rules, shares = plan.privacy, honest_sites(plan)
    if contribution.kind == "train":
        if not rules.noise_in_sum:
            return None
        one, size = plan.aggregation.clip_norm, contribution.narrow
        if rules.per_patient:
            gradient = rules.max_grad_norm / plan.training.batch_size
            one = gradient * (1.0 + ALLOWED * sqrt(size)) + _PROJECTION * one
        return NoiseShare(mechanism(plan).noise_multiplier, one, size, shares)
    if not rules.per_patient:
        return None
    survey, evaluation = of_statistics(plan)
    z = survey if contribution.kind == "query.survey" else evaluation
    return NoiseShare(z, contribution.sensitivity, contribution.wide, shares if rules.noise == "shared" else 1)


def fixed_point(contribution: Contribution, *, sites: int) -> FixedPoint:
    """The fixed point of a sum of this vector in a roster of `sites` sites, with room for the plan's noise.

    Raises PlanError where there is none.
    """
    noise, clip_norm = noise_share(contribution), contribution.plan.aggregation.clip_norm
    narrow, wide = (noise, None) if contribution.narrow else (None, noise)
    try:
        return FixedPoint.fit(clip_norm=clip_norm, sites=sites, noise=narrow, wide_noise=wide)
    except ValueError as error:
        raise PlanError(f"the plan's sums: {error}.") from None


def noise_steps(contribution: Contribution, fixed: FixedPoint) -> int:
    """Standard deviation of the noise that each site adds, in whole steps of `fixed`; 0 for no noise in the sum."""
    noise = noise_share(contribution)
    return 0 if noise is None else noise.steps(_scale(contribution, fixed))


def largest_noise(contribution: Contribution, *, sites: int) -> float:
    """What no entry of the noise of `sites` sites exceeds, in real units, but with probability 2^-40; 0 without noise.

    Of a sum in a larger roster it tells too, of wide entries exactly, of narrow ones up to the width of the grid.
    """
    noise = noise_share(contribution)
    if noise is None:
        return 0.0
    scale = _scale(contribution, fixed_point(contribution, sites=sites))
    return noise.tail(scale, sites=sites) / scale


def rounding_error(plan: Plan, sites: int) -> float:
    """Largest L2 error, from rounding, of the summed update of `sites` sites: step * sqrt(D) * sites.

    The plan's noise, which makes the step wider where it needs room, is not in it. Raises PlanError without room.
    """
    contribution = Contribution(plan, "train")
    return fixed_point(contribution, sites=sites).error_bound(contribution.narrow, sites)


def _scale(contribution: Contribution, fixed: FixedPoint) -> float:
    return fixed.narrow_scale if contribution.narrow else fixed.wide_scale
