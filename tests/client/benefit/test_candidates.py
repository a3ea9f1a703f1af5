"""The candidates: the local model is that of a federation of one, the fine-tuned one has the encoder as it came."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from client.benefit.alone import alone, train_alone
from client.benefit.candidates import losses, scores, with_heads
from client.benefit.fine_tune import MOST_EPOCHS, fine_tune
from client.benefit.site import open_site
from client.config import SiteConfig
from client.site_rows import TEST, VALIDATION, SiteRows
from common.model import Layout
from common.plan import Plan
from experiments.baselines.network import train
from tests.conftest import small_plan


@pytest.fixture
def rows(north: SiteConfig) -> SiteRows:
    return open_site(north).rows


def test_the_local_model_is_that_of_a_federation_of_one(rows: SiteRows) -> None:
    """Judged by the coordinator, door and trainer of a whole run over this one table."""
    ours, theirs = train_alone(rows), train(alone(rows.plan), [rows.table])
    assert ours.normaliser.to_vector() == pytest.approx(theirs.normaliser.to_vector(), rel=1e-5)
    assert ours.left_out == theirs.left_out == ()
    # Rounding of a sum of one; the parameters have moved by about 1 each.
    assert np.abs(ours.parameters - theirs.parameters).max() < 1e-3


def test_what_a_site_never_recorded_stays_where_it_began(rows: SiteRows) -> None:
    own = SiteRows(rows.config, rows.plan)
    features = rows.table.features.copy()
    features[:, rows.plan.feature_index["sbp"]] = np.nan
    labels = rows.table.labels.copy()
    labels[:, 0] = np.nan
    own.table = replace(rows.table, features=features, labels=labels)
    model = train_alone(own)
    assert model.left_out == ("death",)
    assert model.normaliser.available.tolist() == [1.0, 0.0, 1.0, 1.0]
    theirs = train(alone(rows.plan), [own.table])
    assert theirs.left_out == ("death",)
    assert np.abs(model.parameters - theirs.parameters).max() < 1e-3


def test_test_and_validation_rows_have_no_part_in_it(rows: SiteRows) -> None:
    poisoned = SiteRows(rows.config, rows.plan)
    others = np.isin(rows.table.split, (VALIDATION, TEST))
    features = np.where(others[:, None], 1e6, rows.table.features).astype("f4")
    labels = np.where(others[:, None], 1 - np.minimum(rows.table.labels, 1), rows.table.labels).astype("f4")
    poisoned.table = replace(rows.table, features=features, labels=labels)
    assert train_alone(poisoned).to_bytes() == train_alone(rows).to_bytes()


def test_noise_for_patients_is_dropped_because_nothing_leaves() -> None:
    plan = small_plan(privacy={"unit": "patient", "target_epsilon": 4.0})
    assert alone(plan, noise=False).privacy.unit == "none" and alone(plan).privacy == plan.privacy


def test_fine_tuning_leaves_the_encoder_as_it_came(north: SiteConfig) -> None:
    finished = open_site(north)
    received, rows = finished.received, finished.rows
    tuned, epochs = fine_tune(received, rows)
    layout = Layout(received.plan)
    encoder = layout.output_of < 0
    assert (tuned.parameters[encoder] == received.parameters[encoder]).all()
    assert set(epochs) == {task.name for task in rows.plan.tasks} and max(epochs.values()) <= MOST_EPOCHS
    for index, task in enumerate(rows.plan.tasks):
        own = np.flatnonzero(~encoder)[layout.task_of_output[layout.output_of[~encoder]] == index]
        assert (tuned.parameters[own] == received.parameters[own]).all() == (epochs[task.name] == 0)
    assert any(epochs.values())


def test_fine_tuning_is_never_worse_on_validation_rows(north: SiteConfig) -> None:
    finished = open_site(north)
    rows, index = finished.rows, finished.rows.rows(VALIDATION)
    tuned, _ = fine_tune(finished.received, rows)
    labels = rows.labels(finished.received.normaliser)[index]
    columns = [slice(0, 1), slice(1, 2), slice(2, 5), slice(5, 6)]
    for number, (task, part) in enumerate(zip(rows.plan.tasks, columns, strict=True)):
        before, after = (
            losses(task, scores(model, rows, index)[:, part], labels[:, number]).mean()
            for model in (finished.received, tuned)
        )
        assert after <= before + 1e-7


def test_heads_of_one_task_are_taken_and_no_other(north: SiteConfig) -> None:
    received = open_site(north).received
    changed = with_heads(received, {"triage": np.full_like(received.parameters, 7.0)})
    before, after = (Layout(received.plan).split(each.parameters) for each in (received, changed))
    assert (after["heads.weight"][2:5] == 7).all() and (after["linear.weight"][2:5] == 7).all()
    for name in before:
        kept = [0, 1, 5] if name.startswith(("heads", "linear")) else slice(None)
        assert (before[name][kept] == after[name][kept]).all()


def test_losses_are_those_of_torch(plan: Plan) -> None:
    random = np.random.default_rng(0)
    z, level = random.normal(0, 3, (40, 3)).astype("f4"), random.integers(0, 3, 40)
    binary, yes = plan.task("death"), (level > 0).astype("f4")
    expected = functional.binary_cross_entropy_with_logits(
        torch.from_numpy(z[:, 0]), torch.from_numpy(yes), reduction="none"
    )
    assert losses(binary, z[:, :1], yes) == pytest.approx(expected.numpy(), abs=1e-5)
    p = torch.softmax(torch.from_numpy(z).double(), dim=1)
    odds = (p.log() - (1 - p).log()).numpy().astype("f4")
    found = losses(plan.task("triage"), odds, level.astype("f4"))
    assert found == pytest.approx(
        functional.nll_loss(p.log(), torch.from_numpy(level), reduction="none").numpy(), abs=1e-4
    )
    assert losses(plan.task("stay"), z[:, :1], yes) == pytest.approx(np.abs(z[:, 0] - yes), abs=1e-6)
