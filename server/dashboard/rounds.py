"""How fast a run learnt, in words: after how many rounds the model was about as good as at the end."""

from collections.abc import Mapping
from typing import Any

from server.dashboard.scores import history_of, mapping
from server.dashboard.wording import count, number


def rounds_line(result: Mapping[str, Any]) -> str:
    """Of `rounds_to_99_percent`, or why a run has none; "" for what had no rounds, such as a baseline."""
    rounds, enough = number(result.get("rounds")), number(result.get("rounds_to_99_percent"))
    if rounds is None:
        return ""
    if enough is not None:
        return f"99 % of the final mean AUROC (validation rows): after {count(enough)} of {count(rounds)} rounds."
    ranked = [any("auroc" in mapping(tasks, name) for name in tasks) for tasks in _by_round(result)]
    if sum(ranked) > 1:
        return ""
    noised = mapping(result, "privacy").get("unit", "none") != "none"
    reason = "under noise the rounds have no scores" if noised else "no two rounds have an AUROC"
    return f"Rounds to 99 % of the final AUROC: not known, for {reason}."


def _by_round(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [mapping(entry, "tasks") for entry in history_of(result)]
