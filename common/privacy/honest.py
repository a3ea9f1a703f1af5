"""Who knows how much of a noise that is shared out, and so what protects against whom."""

from dataclasses import replace
from math import sqrt

from common.plan.plan import Plan
from common.privacy.mechanism import Mechanism


def honest_sites(plan: Plan) -> int:
    """m - max(f, 1): so many shares of the noise nobody knows but the sites that made them, in the smallest sum.

    At least one is left out of the count: every site sees the model of each round and can take its own share off.
    """
    return plan.aggregation.least_sites - max(1, plan.aggregation.colluding_sites)


def against_coordinator(plan: Plan, found: Mechanism) -> Mechanism:
    """`found`, which holds against f sites that tell their shares, as the coordinator alone faces it.

    It knows no share: the variance is that of all m sites, or more. Where each site makes all of its noise, nothing
    changes.
    """
    if plan.privacy.noise != "shared":
        return found
    more = sqrt(plan.aggregation.least_sites / honest_sites(plan))
    return replace(
        found,
        noise_multiplier=found.noise_multiplier * more,
        survey_multiplier=found.survey_multiplier * more,
        evaluation_multiplier=found.evaluation_multiplier * more,
    )
