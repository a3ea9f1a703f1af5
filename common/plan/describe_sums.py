"""What a plan's sums show to the coordinator, in plain words: secure or plain, f, three hospitals, rounding."""

from math import ceil, floor, log10

from common.plan.plan import Plan
from common.plan.rules import Aggregation
from common.privacy.shares import rounding_error

Described = tuple[str, list[str]]  # a heading, and the sentences below it
_SITES = (3, 10, 100)
_NOT_NOISE = (
    "A sum is not noise: what the sum itself says about a record stays readable in it, more so with few hospitals and "
    "very small batches."
)


def describe_sums(plan: Plan) -> Described:
    """Heading and sentences; for a plan with secure sums also the bound on their rounding error."""
    rules = plan.aggregation
    if not rules.secure:
        return "What the coordinator sees: each hospital's own numbers", [
            "Sums are plain (secure = false): the coordinator sees each hospital's update and tallies and adds them up "
            + (
                "itself, each with that hospital's own noise."
                if plan.privacy.per_patient
                else "itself. It learns how many rows each hospital has, and could study its updates for what they say "
                "about single patients."
            ),
        ]
    return f"What the coordinator sees: sums over {rules.least_sites} hospitals or more", [
        "Sums are secure (secure = true): every hospital adds random masks that vanish only in the sum over the "
        "hospitals of a round. From each sum the coordinator learns that sum, and nothing else about a hospital's "
        "numbers.",
        *_colluding(rules),
        _difference(rules),
        *_three(rules),
        *_absent(rules),
        _rounding(plan),
        *([_NOT_NOISE] if plan.privacy.unit == "none" else []),
    ]


def _colluding(rules: Aggregation) -> list[str]:
    f = rules.colluding_sites
    if f == 0:
        promise = "as long as no hospital sides with it (colluding_sites = 0)"
    else:
        most = "one hospital sides" if f == 1 else f"{f} hospitals side"
        promise = f"as long as at most {most} with it (colluding_sites = {f}); together they learn the others' sum"
    pair = " Where only two hold one, each can work out the other's part from the models."
    return [
        f"That holds even if the coordinator lies, {promise}.",
        f"A task or feature takes at least {rules.least_holders} hospitals; with fewer it is left out, and a sum that "
        f"loses too many is refused.{pair if rules.least_holders == 2 else ''}",
    ]


def _difference(rules: Aggregation) -> str:
    return (
        "Two nearly equal rounds over sets that differ by one hospital tell that hospital's part, its label counts and "
        f"more. With every hospital required in every sum there are none: min_sites (here {rules.least_sites}), "
        "which each hospital that approves the plan demands of every sum."
    )


def _three(rules: Aggregation) -> list[str]:
    """The words of the protocol for a federation of three, where this plan allows one."""
    f, d = rules.colluding_sites, rules.absent_members
    if rules.least_sites > 3 or (d or 0) > (1 if f == 0 else 0):
        return []
    if f == 1:
        words = (
            "the coordinator together with one hospital learns only the sum of the other two; no dropout at any step"
        )
    elif d == 0:
        words = "every report must arrive; no dropout at any step"
    else:
        words = "every report must arrive; one hospital may vanish after its report"
    return [f"With three hospitals: {words}. Two colluding hospitals always learn the third."]


def _absent(rules: Aggregation) -> list[str]:
    f, d = rules.colluding_sites, rules.absent_members
    if d is None:
        return []
    if d == 0:
        return ["Every hospital that holds shares of the masks must answer when a sum is opened (absent_members = 0)."]
    return [
        f"{d} of the hospitals that hold shares of the masks may be missing when a sum is opened "
        f"(absent_members = {d}); this takes {f + 2 * d + 1} hospitals or more."
    ]


def _rounding(plan: Plan) -> str:
    bounds = [f"{_at_most(rounding_error(plan, sites))} with {sites} hospitals" for sites in _SITES]
    return (
        "Masks need whole numbers, so updates are rounded at random to a fine grid. The L2 error of the summed update "
        f"is at most {', '.join(bounds)} (step x sqrt(parameters) x hospitals); a single update is up to "
        f"{plan.aggregation.clip_norm:g} long."
    )


def _at_most(bound: float) -> str:
    """Two significant digits, rounded up so that the bound still holds."""
    exponent = floor(log10(bound)) - 1
    return f"{ceil(bound / 10.0**exponent) * 10.0**exponent:.1e}"
