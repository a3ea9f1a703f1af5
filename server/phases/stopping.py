"""Early stopping: when the pooled validation loss falls no more, the run ends with the best model that it had.

A round's tallies are those of the model that the round received, so that round r judges the model after r - 1 rounds.
Everything is in the state, and so in the checkpoint: a run that resumes stops where it would have stopped.
"""

from dataclasses import replace
from math import inf
from statistics import mean

from common.plan import Plan
from server.journal import RunState

_BEST = "best"


def remember_best(plan: Plan, before: RunState, after: RunState) -> RunState:
    """`after` with the best model so far. before: the state from which the last round started."""
    losses = [task["loss"] for task in after.facts["history"][-1]["tasks"].values() if "loss" in task]
    if plan.training.patience is None or not losses:
        return after
    best = before.facts.get(_BEST, {"loss": inf})
    model = before.arrays.get(_BEST, before.arrays["parameters"])
    if mean(losses) < best["loss"]:
        best, model = {"round": before.round, "loss": mean(losses)}, before.arrays["parameters"]
    return replace(after, arrays=after.arrays | {_BEST: model}, facts=after.facts | {_BEST: best})


def stops(plan: Plan, state: RunState) -> bool:
    """Whether `patience` models in a row were no better than the best."""
    patience, best = plan.training.patience, state.facts.get(_BEST)
    return patience is not None and best is not None and state.round - 1 - best["round"] >= patience


def take_best(state: RunState) -> RunState:
    """The state whose model is the best one."""
    return replace(state, arrays=state.arrays | {"parameters": state.arrays[_BEST]})
