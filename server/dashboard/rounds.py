"""How fast a run learnt, in words: after how many rounds it was about as good as at the end, and why it ended early."""

from collections.abc import Mapping
from typing import Any

from server.dashboard.scores import history_of, history_rows, mapping
from server.dashboard.wording import count, counted, number


def stopped_line(result: Mapping[str, Any]) -> str:
    """Of `best_round`: when training.patience ended the run, and which model was kept; "" where it did not."""
    rounds, best = number(result.get("rounds")), number(result.get("best_round"))
    if rounds is None or best is None:
        return ""
    waited = counted(max(0, int(rounds - best) - 1), "round")
    kept = f"of round {count(best)}" if best else "that from before round 1"
    return f"Stopped after round {count(rounds)}: the validation loss was no better for {waited}; the model is {kept}."


def rounds_line(result: Mapping[str, Any]) -> str:
    """Of `rounds_to_99_percent`, or why a run has none; "" for what had no rounds, such as a baseline."""
    rounds, enough = number(result.get("rounds")), number(result.get("rounds_to_99_percent"))
    if rounds is None:
        return ""
    if enough is not None:
        kept = number(result.get("best_round"))
        of = count(rounds if kept is None else kept)
        return f"99 % of the final mean AUROC ({history_rows(result)} rows): after {count(enough)} of {of} rounds."
    ranked = [any("auroc" in mapping(tasks, name) for name in tasks) for tasks in _by_round(result)]
    if sum(ranked) > 1:
        return ""
    noised = mapping(result, "privacy").get("unit", "none") != "none"
    reason = "under noise the rounds have no scores" if noised else "no two rounds have an AUROC"
    return f"Rounds to 99 % of the final AUROC: not known, for {reason}."


def _by_round(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [mapping(entry, "tasks") for entry in history_of(result)]
