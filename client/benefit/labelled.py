"""The labelled rows of one task: what models are compared on, and what each answer is judged by.

Of an hourly task these are its labelled hours, those of a stay counting as one together, as in every other score. An
answer is judged at one of them, drawn once for each stay (Dunn, Wasserman, Ramdas 2023, "Distribution-free prediction
sets for two-layer hierarchical models", subsampling once): the hours of a stay are not exchangeable with those of
others, and the last labelled one is an hour like any other only where the outcome does not end the labels.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from common.hourly import hour_labels, judged
from common.plan import Plan, Task

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Labelled:
    """m rows, or hours, of one task.

    at: (m,) which of the rows that were given each is of. scores: candidate -> (m, task.outputs), NaN throughout for a
    model without this task. labels: (m,), none NaN. patients: (m,). weights: (m,) see common.hourly, None: all 1.
    """

    task: Task
    at: Int64
    scores: dict[str, Float32]
    labels: Float32
    patients: NDArray[np.str_]
    weights: Float64 | None = None

    def of(self, chosen: NDArray[np.bool_] | Int64) -> "Labelled":
        """Those of the m that are chosen."""
        return replace(
            self,
            at=self.at[chosen],
            scores={name: own[chosen] for name, own in self.scores.items()},
            labels=self.labels[chosen],
            patients=self.patients[chosen],
            weights=None if self.weights is None else self.weights[chosen],
        )

    def one_each(self, *, seed: int) -> "Labelled":
        """One hour of each stay of an hourly task, drawn; the rows of any other task as they are."""
        if self.weights is None:
            return self
        words = [seed, len(self.at), len(np.unique(self.at))]
        order = np.random.default_rng(np.random.SeedSequence(words)).permutation(len(self.at))
        _, first = np.unique(self.at[order], return_index=True)
        return replace(self.of(order[first]), weights=None)


def labelled(
    plan: Plan, number: int, scores: dict[str, Float32], labels: Float32, patients: NDArray[np.str_]
) -> Labelled:
    """Of the task `number`. scores: candidate -> (n, outputs + K H). labels: (n, T + K H). patients: (n,)."""
    task = plan.tasks[number]
    own = hour_labels(plan, number, labels) if task.hourly else labels[:, number, None]
    at = np.nonzero(~np.isnan(own))[0]
    parts = {name: judged(plan, number, each, labels) for name, each in scores.items()}
    truth = judged(plan, number, next(iter(scores.values())), labels)
    found = {name: part.scores for name, part in parts.items()}
    return Labelled(task, at, found, truth.labels, patients[at], truth.weights)
