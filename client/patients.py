"""Training rows by patient: what patient-level privacy counts as one."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class PatientSet:
    """A site's training rows on its device, the rows of a patient one after another.

    inputs: (n, inputs). labels: (n, T), NaN where unlabelled. starts, counts: (patients,) first row and number of rows.
    """

    inputs: Tensor
    labels: Tensor
    starts: Int64
    counts: Int64

    @staticmethod
    def of(inputs: Tensor, labels: Tensor, patients: NDArray[np.str_], *, rows_per_patient: int) -> "PatientSet":
        """Keeps the first rows of each patient, at most rows_per_patient of them, and drops the others.

        inputs: (n, inputs). labels: (n, T). patients: (n,) whose row it is. Patients with equally many rows lie side by
        side, the shorter ones first, so that those of a sample can be worked together.
        """
        _, index = np.unique(patients, return_inverse=True)
        of_patient = np.bincount(index)
        # Stable: the rows of a patient keep their order.
        order = np.lexsort((index, np.minimum(of_patient, rows_per_patient)[index]))
        owner = index[order]
        first = np.flatnonzero(np.diff(owner, prepend=-1))
        place = np.arange(len(owner)) - np.repeat(first, np.diff(first, append=len(owner)))
        kept = order[place < rows_per_patient]
        counts = np.minimum(np.diff(first, append=len(owner)), rows_per_patient)
        return PatientSet(inputs[kept], labels[kept], np.cumsum(counts) - counts, counts)

    def __len__(self) -> int:
        """Number of patients."""
        return len(self.starts)

    @cached_property
    def _most(self) -> int:
        return int(self.counts.max(initial=0))

    def rows(self, chosen: Int64) -> Int64:
        """Rows of the chosen patients, those of one after another."""
        if self._most == 1:
            return self.starts[chosen]
        counts = self.counts[chosen]
        before = np.cumsum(counts) - counts
        return np.arange(counts.sum()) + np.repeat(self.starts[chosen] - before, counts)


def first_rows(rows: Int64, patients: NDArray[np.str_], *, most: int) -> Int64:
    """Those of `rows` that are among the first `most` of their patient, in their order. patients: (n,) of all rows."""
    _, owner = np.unique(patients[rows], return_inverse=True)
    order = np.argsort(owner, kind="stable")
    first = np.flatnonzero(np.diff(owner[order], prepend=-1))
    place = np.empty(len(rows), dtype=np.int64)
    place[order] = np.arange(len(rows)) - np.repeat(first, np.diff(first, append=len(rows)))
    return rows[place < most]
