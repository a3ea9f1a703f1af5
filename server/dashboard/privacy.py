"""What the page and the terminal say of the noise that hides a patient's or a hospital's part."""

from collections.abc import Mapping
from math import exp
from typing import Any

from server.dashboard.scores import mapping
from server.dashboard.wording import number


def noise_line(result: Mapping[str, Any]) -> str | None:
    """Whether there was noise, whose part it hides and how well, and what had none; None without a word of it."""
    facts = mapping(result, "privacy")
    match facts.get("unit"):
        case "none":
            return "No noise was added: what a sum says about one patient stays in it, and no epsilon can be given."
        case "patient":
            makers = (
                "shared out among the hospitals" if facts.get("noise") == "shared" else "made by each hospital itself"
            )
            rest = "all that left but the declared weights had noise"
            return f"Noise, {makers}, hides each patient: {_cost(facts)}; {rest}."
        case "hospital":
            return (
                f"Noise, shared out among the hospitals, hides each hospital's updates: {_cost(facts)}. There is no "
                "overall epsilon: survey, evaluation and declared weights had no noise."
            )
        case _:
            return None


def meaning(result: Mapping[str, Any]) -> str | None:
    """What epsilon and delta are, for a reader who meets them here; None where the page names none."""
    facts = mapping(result, "privacy")
    if facts.get("unit") not in ("patient", "hospital"):
        return None
    who, what = ("patient", "that patient's rows") if facts["unit"] == "patient" else ("hospital", "its updates")
    epsilon = number(facts.get("target_epsilon")) or number(facts.get("epsilon"))
    here = f", {_times(epsilon)} here," if epsilon is not None else ""
    return (
        f"Epsilon bounds what this can tell about any one {who}: no outcome is more than e^epsilon times{here} as "
        f"likely because {what} are in it, up to a probability of delta. Smaller is better."
    )


def _times(epsilon: float) -> str:
    """e^epsilon as people write it."""
    if epsilon > 14:
        return "more than a million"
    factor = exp(epsilon)
    return f"{factor:,.0f}" if factor >= 10 else f"{factor:.2g}"


def _cost(facts: Mapping[str, Any]) -> str:
    delta, target, found = (number(facts.get(key)) for key in ("delta", "target_epsilon", "epsilon"))
    at = f" at delta = {delta:g}" if delta is not None else ""
    if target is not None:
        return f"epsilon is at most {target:g}{at}"
    if found is not None:
        return f"epsilon = {found:.3g}{at}"
    return f"each hospital's ledger holds its epsilon{at}"
