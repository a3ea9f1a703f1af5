"""Probabilities of classes: which class is told, and how far each is from being told."""

import numpy as np
from numpy.typing import NDArray

from common.ordinal import level
from common.plan import Task

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
_DIGITS = 9  # sums of the same probabilities in another order must be equal


def told(task: Task, p: Float64) -> Int64:
    """(n,) index of the class that is told: the most probable one; of ordered classes the median. p: (n, classes)."""
    if task.kind == "ordinal":
        return level(1.0 - np.cumsum(p, axis=1)[:, :-1] - 0.5)
    return np.asarray(p.argmax(axis=1), dtype=np.int64)


def strangeness(task: Task, p: Float64) -> Float64:
    """(n, classes) how little each class is expected: 1 - p (Sadinle, Lei, Wasserman 2019). p: (n, classes).

    Of ordered classes: the probability of the classes from the median one up to and with this one, where whichever
    neighbour is the more probable joins next (Lu, Angelopoulos, Pomerantz 2022, "Improving trustworthiness of AI
    disease severity rating in medical imaging with ordinal conformal prediction sets", who begin at the mode). The
    classes below any bound are then neighbours.
    """
    if task.kind != "ordinal":
        return np.asarray(1.0 - p)
    rows, classes = np.arange(len(p)), p.shape[1]
    walled = np.pad(p, ((0, 0), (1, 1)), constant_values=-1.0)  # a class beyond either end is never the next
    low = high = told(task, p) + 1
    mass = walled[rows, low]
    result = np.empty_like(p)
    result[rows, low - 1] = mass
    for _ in range(classes - 1):
        down = walled[rows, low - 1] > walled[rows, high + 1]
        low, high = low - down, high + ~down
        joined = np.where(down, low, high)
        mass = mass + walled[rows, joined]
        result[rows, joined - 1] = mass
    return np.asarray(np.round(result, _DIGITS))
