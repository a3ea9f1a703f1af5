"""Masked losses against torch's own, cell by cell."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from common.losses import MultiTaskLoss, task_weights
from common.model import Layout
from common.plan import plan_from_dict
from tests.conftest import small_content


def _problem(seed: int, rows: int, missing: float) -> tuple[MultiTaskLoss, torch.Tensor, torch.Tensor]:
    plan = plan_from_dict(small_content(), source="x")
    random = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(rows, 6, generator=random)
    labels = torch.stack(
        [
            torch.randint(0, 2, (rows,), generator=random).float(),
            60 * torch.rand(rows, generator=random),
            torch.randint(0, 3, (rows,), generator=random).float(),
            torch.randint(0, 2, (rows,), generator=random).float(),
        ],
        dim=1,
    )
    labels[torch.rand(labels.shape, generator=random) < missing] = torch.nan
    loss = MultiTaskLoss(Layout(plan), torch.full((4,), 20.0), torch.full((4,), 8.0))
    return loss, logits, labels


@given(st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([0.0, 0.3, 0.9, 1.0]))
@settings(max_examples=40)
def test_loss_is_the_weighted_sum_over_labelled_cells(seed: int, rows: int, missing: float) -> None:
    loss, logits, labels = _problem(seed, rows, missing)
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    expected = 0.0
    for row in range(rows):
        for task, label in enumerate(labels[row]):
            if label.isnan():
                continue
            if task in (0, 3):
                own = logits[row, 0 if task == 0 else 5]
                cell = functional.binary_cross_entropy_with_logits(own, label)
            elif task == 1:
                cell = functional.huber_loss(logits[row, 1], (label - 20.0) / 8.0)
            else:
                cell = functional.cross_entropy(logits[row, 2:5], label.long())
            expected += float(weights[task] * cell)
    found = float(loss(logits, loss.targets(labels, weights)))
    assert np.isclose(found, expected / rows, rtol=1e-4, atol=1e-6)


@given(st.integers(0, 10**6), st.integers(2, 40))
@settings(max_examples=30)
def test_unlabelled_cell_has_no_gradient(seed: int, rows: int) -> None:
    loss, logits, labels = _problem(seed, rows, 0.5)
    logits.requires_grad_(True)
    loss(logits, loss.targets(labels, torch.ones(4))).backward()
    of_task = torch.tensor([0, 1, 2, 2, 2, 3])
    assert not logits.grad[labels[:, of_task].isnan()].any()
    assert (logits.grad[~labels[:, of_task].isnan()] != 0).all()


def test_batches_add_up_to_the_whole() -> None:
    loss, logits, labels = _problem(1, 30, 0.4)
    targets = loss.targets(labels, torch.ones(4))
    parts = [float(loss(logits[i : i + 10], targets[i : i + 10])) for i in (0, 10, 20)]
    assert np.isclose(np.mean(parts), float(loss(logits, targets)), rtol=1e-5)


def test_label_poor_task_counts_as_much_as_a_label_rich_one() -> None:
    labelled = np.zeros((100, 3), dtype=bool)
    labelled[:, 0], labelled[:50, 1] = True, True
    assert task_weights(labelled).tolist() == [1.0, 2.0, 0.0]
    labelled[:, 1] = np.arange(100) == 0
    assert task_weights(labelled)[1] == 10.0
