"""A hospital's noise against the signal: the two numbers that tell whether a model can be learnt under it."""

from math import sqrt

from common.model.layout import Layout
from common.plan import Plan
from common.privacy.honest import honest_sites
from common.privacy.mechanism import mechanism

REFUSED = 10.0
"""Noise over signal above which a run is not begun."""


def noise_and_signal(plan: Plan, sites: int) -> tuple[float, float]:
    """L2 norm of the noise in the sum over `sites` hospitals, and the largest norm that their updates can have there.

    Each of n hospitals adds a share of variance (z C)^2 / h to each of D entries, h the honest sites in the smallest
    sum, so the noise is about z C sqrt(D n / h) long; n updates of at most C sum to at most n C.
    """
    sums = plan.aggregation
    parameters, shares = Layout(plan).parameters, honest_sites(plan)
    noise = mechanism(plan).noise_multiplier * sums.clip_norm * sqrt(parameters * max(1.0, sites / shares))
    return noise, sites * sums.clip_norm


def hopeless(plan: Plan, sites: int) -> str | None:
    """Why a run with unit 'hospital' and so many sites is not begun: noise above ten times the signal. Else None."""
    noise, signal = noise_and_signal(plan, sites) if plan.privacy.unit == "hospital" else (0.0, 1.0)
    if noise <= REFUSED * signal:
        return None
    return (
        f"{_numbers(plan, sites)} At more than {REFUSED:g} times the signal nothing can be learnt: unit = 'hospital' "
        "needs many more sites, a far smaller model or a larger epsilon; unit = 'patient' works with few sites."
    )


def doubtful(plan: Plan, sites: int) -> str | None:
    """A warning for a run with unit 'hospital' whose noise is longer than the signal; else None."""
    noise, signal = noise_and_signal(plan, sites) if plan.privacy.unit == "hospital" else (0.0, 1.0)
    return None if noise <= signal else f"{_numbers(plan, sites)} A single round's step is mostly noise."


def _numbers(plan: Plan, sites: int) -> str:
    noise, signal = noise_and_signal(plan, sites)
    return (
        f"privacy.unit = 'hospital': the noise in the sum over {sites} sites has a norm of about {noise:.3g}, their "
        f"updates together have at most {signal:.3g}."
    )
