"""Which labels are drawn, and how they are divided for cross-validation: stratified by class, patient by patient.

Nothing here is secret or leaves the site, so it follows from a seed and can be repeated.
"""

import numpy as np
from numpy.typing import NDArray

from common.plan import Task

Index = NDArray[np.int64]
Float32 = NDArray[np.float32]
LEAST_OF_A_CLASS = 2


def source(*words: int) -> np.random.Generator:
    """The generator that belongs to these numbers."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


def strata(task: Task, labels: Float32) -> Index:
    """(n,) the class of each label; one stratum for a quantity."""
    return np.zeros(len(labels), dtype=np.int64) if task.kind == "regression" else labels.astype(np.int64)


def one_per_patient(patients: NDArray[np.str_], random: np.random.Generator) -> Index:
    """Indices, in random order, of one random row of each patient."""
    order = random.permutation(len(patients))
    _, first = np.unique(patients[order], return_index=True)
    return np.asarray(order[np.sort(first)], dtype=np.int64)


def draw(classes: Index, patients: NDArray[np.str_], count: int, random: np.random.Generator) -> Index:
    """`count` indices of rows of different patients, in which each class has its share, but at least two rows.

    classes, patients: (n,). With a rare class its share is then larger than among all rows. Raises ValueError if there
    are too few patients for that.
    """
    rows = one_per_patient(patients, random)
    present, found = np.unique(classes[rows], return_counts=True)
    if len(rows) < count or found.min() < LEAST_OF_A_CLASS or count < LEAST_OF_A_CLASS * len(present):
        raise ValueError("too few patients")
    wanted = _shares(found, count)
    chosen = [rows[classes[rows] == each][:number] for each, number in zip(present, wanted, strict=True)]
    return np.asarray(random.permutation(np.concatenate(chosen)), dtype=np.int64)


def _shares(found: Index, count: int) -> Index:
    """(classes,) whole numbers that add up to `count`, in proportion to `found`, at least two and at most all each."""
    exact = found / found.sum() * count
    wanted = np.clip(np.floor(exact).astype(np.int64), LEAST_OF_A_CLASS, found)
    while wanted.sum() != count:
        step = 1 if wanted.sum() < count else -1
        possible = wanted < found if step > 0 else wanted > LEAST_OF_A_CLASS
        gap = np.where(possible, (exact - wanted) * step, -np.inf)
        wanted[int(gap.argmax())] += step
    return wanted


def folds(classes: Index, patients: NDArray[np.str_], most: int, random: np.random.Generator) -> Index:
    """(n,) number of the fold of each row, at most `most` of them: all rows of a patient are in one fold.

    Patients are dealt out class by class (that of their first row), so that each fold has its share. As many folds as
    the rarest class has patients, but at least two.
    """
    names, first, inverse = np.unique(patients, return_index=True, return_inverse=True)
    kind = classes[first]
    number = max(2, min(most, int(np.unique(kind, return_counts=True)[1].min())))
    order = random.permutation(len(names))
    order = order[np.argsort(kind[order], kind="stable")]
    fold = np.empty(len(names), dtype=np.int64)
    fold[order] = np.arange(len(names)) % number
    return np.asarray(fold[inverse], dtype=np.int64)
