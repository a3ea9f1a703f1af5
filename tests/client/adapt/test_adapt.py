"""A task added to a trained model: what changes in the file, what it may look at, and that it is worth doing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from client.adapt.adapt import Outcome, Trained, adapt
from client.adapt.report import sentences
from client.adapt.task import read_task
from client.config import load_site
from client.data.table import load_table
from client.predict import predict_scores
from client.site_rows import TEST
from common.errors import DataError
from common.model import Layout
from common.model_file import ModelFile
from common.scores import task_columns
from tests.client.adapt.conftest import KNOWN, shared_table


def run(place: Path, name: str, table: str = "own.csv", **options: Any) -> Outcome:
    source = place / "model.safetensors"
    entry = read_task(place / "task.toml", name)
    return adapt(
        Trained.of(source.read_bytes(), source), load_site(place / table), entry, source="task.toml", **options
    )


def raw(place: Path, outcome: Outcome, table: str = "own.csv") -> np.ndarray:
    """(rows, outputs) scores of the whole file, read from its bytes again."""
    again = ModelFile.from_bytes(outcome.model.to_bytes(), source="again")
    return predict_scores(again, load_table(load_site(place / table), again.plan).features)


def test_the_encoder_and_the_other_tasks_stay_bit_for_bit(place: Path, trained: ModelFile) -> None:
    model = run(place, "ninth").model
    before, after = Layout(trained.plan).split(trained.parameters), Layout(model.plan).split(model.parameters)
    for name, part in before.items():
        assert np.array_equal(part, after[name][: len(part)])
    assert [task.name for task in model.plan.tasks] == [*KNOWN, "ninth"] and model.left_out == ()
    assert model.plan.hash != trained.plan.hash
    (told,) = model.adapted
    assert (told.plan_hash, told.task, told.encoder) == (trained.plan.hash, "ninth", "frozen")
    outcome = run(place, "ninth")
    was = predict_scores(trained, load_table(load_site(place / "own.csv"), trained.plan).features)
    assert raw(place, outcome)[:, : was.shape[1]] == pytest.approx(was, abs=1e-4)


@pytest.mark.parametrize("unfreeze", [False, True], ids=["frozen", "moved"])
@pytest.mark.parametrize("name", ["ninth", "cost", "grade", "ranked", "blind"])
def test_the_file_predicts_what_was_judged(place: Path, name: str, unfreeze: bool) -> None:
    """Of every kind: what scikit-learn says of the file's predictions is what the report says."""
    outcome = run(place, name, unfreeze=unfreeze)
    plan, task = outcome.model.plan, outcome.model.plan.tasks[-1]
    table = load_table(load_site(place / "own.csv"), plan)
    test = table.split == TEST
    scores, labels = raw(place, outcome)[test][:, task_columns(plan)[-1]], table.labels[test, -1]
    found = outcome.report["all_labels"]
    assert found["n"] == test.sum()
    if task.kind == "regression":
        assert found["mae"] == pytest.approx(np.abs(scores[:, 0] - labels).mean(), rel=1e-4)
    else:
        truth = {
            "binary": labels[:, None] == [1],
            "multiclass": labels[:, None] == [0, 1, 2],
            "ordinal": labels[:, None] > [0, 1],
        }[task.kind]
        areas = [roc_auc_score(truth[:, k], scores[:, k]) for k in range(task.outputs)]
        assert found["auroc"] == pytest.approx(np.mean(areas), abs=1e-4) and found["auroc"] > 0.6
    assert set(outcome.model.left_out) == (set(KNOWN) if unfreeze else set())


def test_held_out_labels_are_not_looked_at(place: Path) -> None:
    plan = run(place, "ninth").model.plan
    table = load_table(load_site(place / "own.csv"), plan)
    frame = shared_table(9)
    train = np.flatnonzero(table.split == 0)
    for rows, same in ((np.flatnonzero(table.split != 0), True), (train[:40], False)):
        changed = frame.copy()
        changed.loc[rows, "ninth"] = 1 - changed.loc[rows, "ninth"]
        changed.to_csv(place / "changed.csv", index=False)
        models = [run(place, "ninth", table=name).model for name in ("own.csv", "changed.csv")]
        assert (models[0].to_bytes() == models[1].to_bytes()) == same


def test_what_a_task_excludes_does_not_move_its_prediction(place: Path) -> None:
    outcome = run(place, "blind")
    other = shared_table(9)
    other["x0"], other["x5"] = -other["x0"], np.nan
    other.to_csv(place / "other.csv", index=False)
    own, changed = raw(place, outcome), raw(place, outcome, "other.csv")
    assert np.array_equal(own[:, -1], changed[:, -1]) and not np.allclose(own[:, 0], changed[:, 0])


def test_few_labels_go_further_on_a_trained_encoder(place: Path) -> None:
    """With tasks that share what is behind them; and the intervals are of the values that they are given with."""
    sizes = {one["labels"]: one for one in run(place, "ninth", sizes=[10, 40, 5000], draws=6).report["sizes"]}
    assert "5000 different patients" in sizes[5000]["skipped"]
    for count in (10, 40):
        methods = sizes[count]["methods"]
        assert list(methods) == ["adapted", "new network", "logistic regression"]
        for found in methods.values():
            assert len(found["values"]) == 6 and found["low"] <= np.mean(found["values"]) <= found["high"]
        for name in ("new network", "logistic regression"):
            assert methods[name]["difference"]["mean"] == pytest.approx(
                np.mean(methods["adapted"]["values"]) - np.mean(methods[name]["values"])
            )
    assert sizes[10]["methods"]["new network"]["difference"]["low"] > 0
    assert sizes[10]["methods"]["logistic regression"]["difference"]["low"] > 0


def test_the_same_again_is_the_same_and_another_seed_another_draw(place: Path) -> None:
    first, again, other = (run(place, "ninth", sizes=[12], draws=2, seed=seed) for seed in (1, 1, 2))
    assert first.report == again.report and first.model.to_bytes() == again.model.to_bytes()
    values = [one.report["sizes"][0]["methods"]["adapted"]["values"] for one in (first, other)]
    assert values[0] != values[1]


def test_a_task_can_be_added_to_an_adapted_model(place: Path) -> None:
    first = run(place, "ninth").model
    (place / "model.safetensors").write_bytes(first.to_bytes())
    second = run(place, "cost").model
    assert [each.task for each in second.adapted] == ["ninth", "cost"]
    assert np.array_equal(second.normaliser.label_mean[:-1], first.normaliser.label_mean)
    assert 5 < second.normaliser.label_mean[-1] < 15


def test_a_head_that_was_never_trained_is_not_used(place: Path, trained: ModelFile) -> None:
    """The parameters of a task that was left out are chance: they do not enter the new head."""
    parts = []
    for factor in (1.0, -3.0):
        vector = trained.parameters.copy()
        Layout(trained.plan).split(vector)["heads.weight"][1] *= factor
        model = replace(trained, parameters=vector, left_out=("second",))
        (place / "model.safetensors").write_bytes(model.to_bytes())
        grown = run(place, "ninth").model
        parts.append(Layout(grown.plan).split(grown.parameters)["heads.weight"][-1])
    assert np.array_equal(*parts)


def test_of_very_many_labels_some_are_drawn(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.adapt.adapt.MOST_LABELS", 60)
    outcome = run(place, "ninth")
    (told,) = outcome.model.adapted
    assert told.labels == outcome.report["rows"]["used"] == 60 < outcome.report["rows"]["training_rows"]
    learnt = f"60 of {outcome.report['rows']['training_rows']} labels, drawn at random,"
    assert any(learnt in sentence for sentence in sentences(outcome.report))


@pytest.mark.parametrize(
    ("keep", "words"),
    [(lambda y: np.where(y == 1, np.nan, y), "positive 0"), (lambda y: np.full(len(y), np.nan), "no row has a label")],
    ids=["one class", "no label"],
)
def test_too_few_labels_of_a_class(place: Path, keep: Any, words: str) -> None:
    frame: pd.DataFrame = shared_table(9).drop(columns=list(KNOWN))
    frame["ninth"] = keep(frame["ninth"].astype(float))
    frame.to_csv(place / "few.csv", index=False)
    with pytest.raises(DataError, match=words):
        run(place, "ninth", table="few.csv")


def test_held_out_rows_of_one_class_are_told(place: Path) -> None:
    table = load_table(load_site(place / "own.csv"), run(place, "ninth").model.plan)
    frame = shared_table(9)
    frame.loc[np.flatnonzero(table.split == TEST), "ninth"] = 0
    frame.to_csv(place / "one.csv", index=False)
    report = run(place, "ninth", table="one.csv", sizes=[10], draws=2).report
    assert report["not_judged"] == "the held-out rows are all of one class" and report["sizes"] == []


def test_a_verdict_takes_five_draws() -> None:
    """Of a difference that is 0.1 in every draw."""
    told = []
    for draws in (4, 5):
        gap = {"mean": 0.1, "low": 0.1, "high": 0.1}
        methods = {"adapted": {"values": [0.8] * draws}, "new network": {"values": [0.7] * draws, "difference": gap}}
        report = {"sizes": [{"labels": 10, "methods": methods}], "measure": "auroc", "not_judged": "no row"}
        told.append(sentences(report | {"rows": {"training_rows": 9, "used": 9, "training_patients": 9}})[0])
    assert told == [
        "10 labels: too few draws to say which is better (4, at least 5 are needed); adapted against new network "
        "(+0.100 [+0.100, +0.100]).",
        "10 labels: adapted is better than new network (+0.100 [+0.100, +0.100]).",
    ]
