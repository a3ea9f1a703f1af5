"""Rows by patient: the first ones of each, and every row with its own patient."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from client.patients import PatientSet


@given(st.lists(st.sampled_from("abcdefg"), max_size=40), st.integers(1, 4), st.data())
def test_the_first_rows_of_each_patient_are_kept(names: list[str], most: int, data: st.DataObject) -> None:
    rows = torch.arange(len(names), dtype=torch.float32)[:, None]
    found = PatientSet.of(rows, -rows, np.array(names, dtype=str), rows_per_patient=most)
    expected = sorted([i for i, n in enumerate(names) if n == name][:most] for name in set(names))
    slices = [slice(a, a + n) for a, n in zip(found.starts, found.counts, strict=True)]
    assert sorted(found.inputs[part, 0].int().tolist() for part in slices) == expected
    assert torch.equal(found.labels, -found.inputs) and len(found) == len(expected)
    assert (np.diff(found.counts) >= 0).all() and len(found.inputs) == sum(found.counts)
    chosen = np.flatnonzero([data.draw(st.booleans()) for _ in expected])
    assert found.rows(chosen).tolist() == [row for i in chosen for row in range(*slices[i].indices(len(rows)))]
