"""Early stopping: when the pooled validation loss falls no more, the run ends with the best model that it had.

A round's tallies are those of the model that the round received, so that round r judges the model after r - 1 rounds.
Everything is in the state, and so in the checkpoint: a run that resumes stops where it would have stopped.
"""

from dataclasses import replace
from math import inf
from statistics import geometric_mean

from common.plan import Plan
from server.journal import RunState

_BEST = "best"
_SMALLEST_LOSS = 1e-9


def remember_best(plan: Plan, before: RunState, after: RunState) -> RunState:
    """`after` with the best model so far. before: the state from which the last round started.

    Losses of tasks are of different kinds, so their geometric mean is compared: a tenth less counts as much in each.
    A round in which a site or a task is missing is no judge, and is not waited for; one with more of them than the best
    model had begins the comparison anew.
    """
    if plan.training.patience is None:
        return after
    entry = after.facts["history"][-1]
    losses = [max(task["loss"], _SMALLEST_LOSS) for task in entry["tasks"].values() if "loss" in task]
    best = before.facts.get(_BEST, {"loss": inf, "sites": 0, "tasks": 0})
    model = before.arrays.get(_BEST)
    judges, former = (entry["sites"], len(losses)), (best["sites"], best["tasks"])
    more = all(now >= then for now, then in zip(judges, former, strict=True)) and judges != former
    if losses and (more or (judges == former and geometric_mean(losses) < best["loss"])):
        best = {"round": before.round, "loss": geometric_mean(losses), "sites": judges[0], "tasks": judges[1]}
        model = before.arrays["parameters"]
    elif judges == former:
        best = best | {"waited": best.get("waited", 0) + 1}
    if model is None:
        return after  # nothing was judged yet
    return replace(after, arrays=after.arrays | {_BEST: model}, facts=after.facts | {_BEST: best})


def stops(plan: Plan, state: RunState) -> bool:
    """Whether `patience` models in a row were no better than the best."""
    patience, best = plan.training.patience, state.facts.get(_BEST)
    return patience is not None and best is not None and best.get("waited", 0) >= patience


def take_best(state: RunState) -> RunState:
    """The state whose model is the best one."""
    return replace(state, arrays=state.arrays | {"parameters": state.arrays[_BEST]})
