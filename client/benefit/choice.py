"""Which model a hospital uses for a task: decided on its validation rows, and on nothing else."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from client.benefit.bootstrap import Difference, compare, measure_name, too_few
from client.benefit.candidates import FEDERATED
from common.plan import Task

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Choice:
    """model: the name of a candidate. why: one sentence. gains: candidate -> how much better than federated."""

    model: str
    why: str
    gains: dict[str, Difference]


def choose(task: Task, scores: dict[str, Float32], labels: Float32, patients: NDArray[np.str_], *, seed: int) -> Choice:
    """Another model than the federated one only if it is better by more than one standard error.

    scores: candidate -> (n, task.outputs) of the validation rows, in the order of preference; NaN throughout for a
    model without this task. labels: (n,), NaN where unlabelled. patients: (n,) whose row it is.
    """
    known = ~np.isnan(labels)
    if (reason := too_few(task, labels[known])) is not None:
        return Choice(FEDERATED, f"Too few validation rows to choose on: {reason}.", {})
    gains = {}
    for name, own in scores.items():
        if name == FEDERATED or np.isnan(own[known]).any():
            continue
        found = compare(task, own[known], scores[FEDERATED][known], labels[known], patients[known], seed=seed)
        if found is not None:
            gains[name] = found
    better = [name for name, gain in gains.items() if gain.value > gain.error]
    if not better:
        return Choice(FEDERATED, "No other model is better by more than one standard error on validation rows.", gains)
    best = max(better, key=lambda name: gains[name].value)
    gain = gains[best]
    return Choice(
        best,
        f"On {int(known.sum())} validation rows its {measure_name(task)} is better by {gain.value:.3g}, more than the "
        f"standard error of {gain.error:.2g}.",
        gains,
    )
