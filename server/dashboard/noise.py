"""What the page and the terminal say where the test patients were counted under noise."""

from collections.abc import Mapping
from typing import Any

from server.dashboard.scores import mapping
from server.dashboard.wording import amount, at_most, count, counted, number

_SMALL = 0.01
"""A distance from the exact AUROC that nobody needs to be told at the top of the page."""


def noised(result: Mapping[str, Any]) -> bool:
    """Whether any pooled figure of the result carries noise."""
    return any(mapping(task, "noise") for task in mapping(result, "tasks").values())


def counted_once(result: Mapping[str, Any]) -> str | None:
    """Why there is no learning curve, and what the noise beside a figure means; None without noise."""
    if mapping(result, "privacy").get("unit") == "hospital":
        return "A round's sum held noised updates and no tallies beside them, so there is no learning curve."
    if not noised(result):
        return None
    words = (
        "The test patients were counted once, under noise, which in about 95 % of cases moves a pooled figure by less "
        "than what is shown with it. Every further count would cost patients privacy, so there is no learning curve."
    )
    return " ".join(filter(None, (words, _coarse(result))))


def _coarse(result: Mapping[str, Any]) -> str | None:
    """How far the few bins of the scores may have moved a pooled AUROC; None where that is little."""
    merged = [mapping(task, "auroc_histogram") for task in mapping(result, "tasks").values()]
    known = [(bound, each.get("bins")) for each in merged if (bound := number(each.get("bound"))) is not None]
    bound, bins = max(known, default=(0.0, None))
    if bound < _SMALL:
        return None
    return (
        f"A pooled AUROC is read from {count(bins)} score bins only, which may move it by up to {at_most(bound)} more; "
        "each task says how far."
    )


def survey_line(result: Mapping[str, Any]) -> str | None:
    """How far the noise of the survey may have moved the worst of the means that the model's inputs are scaled by."""
    errors = {
        name: (mean, std)
        for name, entry in mapping(result, "survey_noise").items()
        if isinstance(entry, Mapping)
        and (mean := number(entry.get("mean"))) is not None
        and (std := number(entry.get("std"))) is not None
    }
    if not errors:
        return None
    listed = [f"{name} {amount(mean)} and {amount(std)}" for name, (mean, std) in errors.items()]
    more = f"; {counted(len(listed) - 8, 'further column')}" if len(listed) > 8 else ""
    return (
        "Inputs were scaled by a survey under noise, which in about 95 % of cases moved mean and spread by less "
        f"than, in each feature's unit: {'; '.join(listed[:8])}{more}."
    )
