"""What the coordinator could see, in words: sums over hospitals only, or each hospital's numbers."""

from collections.abc import Mapping
from typing import Any

from server.dashboard.scores import mapping
from server.dashboard.wording import number


def seen(result: Mapping[str, Any]) -> str | None:
    """One sentence; None where the result does not say how it was summed, as for a baseline."""
    match result.get("secure"):
        case True:
            return (
                "Sums were secure: the coordinator saw only the hospitals' sum, never one hospital's update or tallies."
            )
        case False:
            return "Sums were plain: the coordinator saw each hospital's update and tallies."
        case _:
            return None


def single_hospitals(result: Mapping[str, Any]) -> str | None:
    """Where the page shows what the sums hide: why it can; None where it does not."""
    if result.get("secure") is True and mapping(result, "sites"):
        return (
            "Only a simulation shows single hospitals' figures, as below: it reads them from the hospitals' own files."
        )
    return None


def between_two(result: Mapping[str, Any], task: Mapping[str, Any]) -> str | None:
    """What two holders of a task learn of each other in secure sums with f = 0; None where others hold it too."""
    holders = [site for site, entry in mapping(task, "per_site").items() if number(entry.get("train_n"))]
    if result.get("secure") is not True or len(holders) != 2 or number(_rules(result).get("colluding_sites")) != 0:
        return None
    return f"Only {holders[0]} and {holders[1]} hold this task: each can work out the other's part from the models."


def _rules(result: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(result, "secure_aggregation")


def masked(result: Mapping[str, Any]) -> str | None:
    """The same about what went out, for the list of it."""
    match result.get("secure"):
        case True:
            return "Masked: only the sum over hospitals could be read"
        case False:
            return "Unmasked: the coordinator could read each hospital's numbers"
        case _:
            return None


def promise(result: Mapping[str, Any]) -> str:
    """Under which rules the masks opened, and whom that trusts; empty where the result does not say."""
    rules = _rules(result)
    known = {key: number(rules.get(key)) for key in ("threshold", "committee", "colluding_sites", "min_cohort")}
    whole = {key: int(value) for key, value in known.items() if value is not None}
    sentences = []
    if "min_cohort" in whole:
        sentences.append(f"No sum was opened over fewer than {whole['min_cohort']} hospitals.")
    if "threshold" in whole and "committee" in whole:
        some, all_of = whole["threshold"], whole["committee"]
        sentences.append(f"Opening one took {some} of the {all_of} hospitals that held shares of the masks.")
    if "colluding_sites" in whole:
        sentences.append(_trusted(whole["colluding_sites"]))
    return " ".join(sentences)


def _trusted(f: int) -> str:
    if f == 0:
        return (
            "This trusts that no hospital sided with the coordinator. Where only two hospitals hold a task or a "
            "feature, each can work out the other's part from the models."
        )
    who = "One hospital" if f == 1 else f"Up to {f} hospitals"
    return (
        f"{who} could have sided with the coordinator, and together they would still know only the sum of the others."
    )
