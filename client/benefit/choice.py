"""Which model a hospital uses for a task: decided on its validation rows, and on nothing else."""

from dataclasses import dataclass

import numpy as np

from client.benefit.bootstrap import Difference, compare, measure_name, too_few
from client.benefit.candidates import FEDERATED
from client.benefit.labelled import Labelled


@dataclass(frozen=True)
class Choice:
    """model: the name of a candidate. why: one sentence. gains: candidate -> how much better than federated."""

    model: str
    why: str
    gains: dict[str, Difference]


def choose(rows: Labelled, *, seed: int) -> Choice:
    """Another model than the federated one only if it is better by more than one standard error.

    rows: of validation, the candidates in the order of preference.
    """
    task, scores, every = rows.task, rows.scores, (rows.labels, rows.patients)
    if (reason := too_few(task, *every)) is not None:
        return Choice(FEDERATED, f"Too few validation rows to choose on: {reason}.", {})
    gains = {}
    for name, own in scores.items():
        if name == FEDERATED or np.isnan(own).any():
            continue
        found = compare(task, own, scores[FEDERATED], *every, seed=seed, counts=rows.weights)
        if found is not None:
            gains[name] = found
    better = [name for name, gain in gains.items() if gain.value > gain.error]
    if not better:
        return Choice(FEDERATED, "No other model is better by more than one standard error on validation rows.", gains)
    best = max(better, key=lambda name: gains[name].value)
    gain = gains[best]
    return Choice(
        best,
        f"On {len(rows.labels)} validation {'hours' if task.hourly else 'rows'} its {measure_name(task)} is better by "
        f"{gain.value:.3g}, more than the standard error of {gain.error:.2g}.",
        gains,
    )
