"""A task added to a model with hours: the network's own features, scikit-learn's fits, and a file that predicts.

The new label follows from the hours alone: whether a stay's mean pressure is low.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli_w
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from client.adapt.adapt import material_of
from client.adapt.command import adapt_files
from client.adapt.compare import judged
from client.adapt.material import Material
from client.adapt.methods import frozen_head, regression
from client.adapt.task import extended
from client.config import load_site
from client.data.table import load_table
from client.predict import predict_file
from client.site_rows import TEST
from common.errors import ConsiliumError, PlanError
from common.model import Layout, Network, Normaliser, encode_stays, initial_parameters
from common.model_file import ModelFile
from common.plan import Plan, plan_from_dict
from experiments.baselines.network import train
from experiments.baselines.rows import summaries
from tests.hourly import HOURS, hourly_content, hourly_plan, hourly_tables, write_site

ENCODERS = ("tcn", "lstm", "gru", "attention", "mlp")
NEW = {"name": "low", "label": "low"}


def own_tables(seed: int = 9, stays: int = 160) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, hours = hourly_tables(seed, stays)
    mean = hours[hours["hour"] < HOURS].groupby("stay")["map"].mean().reindex(rows["stay"]).to_numpy()
    return rows.assign(low=np.where(np.isnan(mean), np.nan, mean < 78)), hours


def made(plan: Plan) -> ModelFile:
    """A model that nobody trained."""
    vector = np.ones(Normaliser.size(plan), dtype=np.float32)
    vector[: len(plan.inputs)] = [60, 0.5, 80, 37, 2]
    vector[len(plan.inputs) : 2 * len(plan.inputs)] = [20, 0.5, 15, 1, 1.5]
    return ModelFile(plan, initial_parameters(Layout(plan), seed=1), Normaliser.from_vector(vector, plan))


def given(folder: Path, model: ModelFile, task: dict[str, Any], tables: tuple[pd.DataFrame, pd.DataFrame]) -> Material:
    site = load_site(write_site(folder, "own", *tables))
    return material_of(model, extended(model.plan, task, source="task.toml"), site)


def logits(model: ModelFile, parameters: np.ndarray, material: Material) -> np.ndarray:
    """(n, outputs) of the network as it is used everywhere else, of the stays."""
    raw = (torch.from_numpy(part) for part in (material.features, material.hours))
    network = Network(Layout(model.plan), torch.device("cpu"))
    found = network.logits(torch.from_numpy(parameters), encode_stays(*raw, model.normaliser, model.plan))
    return found[:, : Layout(model.plan).outputs].numpy()


def features(model: ModelFile, material: Material, column: int) -> np.ndarray:
    """(n, hidden + width) what the head `column` of the network is given: one entry after another is let through."""
    layout, found = Layout(model.plan), []
    vector = model.parameters.copy()
    parts = layout.split(vector)
    parts["heads.bias"][:] = 0
    if "linear.weight" in parts:
        parts["linear.weight"][:] = 0
    for entry in np.eye(parts["heads.weight"].shape[1], dtype=np.float32):
        parts["heads.weight"][column] = entry
        found.append(logits(model, vector, material)[:, column])
    return np.stack(found, axis=1)


def scaled(inputs: np.ndarray, train: np.ndarray) -> np.ndarray:
    """With variances over the training rows that add up to 1."""
    return np.asarray(inputs / np.sqrt(inputs[train].var(axis=0).sum()))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_frozen_features_are_what_the_networks_own_heads_are_given(tmp_path: Path, encoder: str) -> None:
    """Of a task without exclusions as of `stay_days`; of one that does not see lactate as of `death`."""
    model = made(hourly_plan(encoder=encoder))
    found = []
    for column, excluded in ((1, []), (0, ["lactate"])):
        material = given(tmp_path, model, NEW | {"exclude": excluded}, own_tables())
        found.append(material.hidden)
        assert material.hidden.shape[1] == 4 + 8
        np.testing.assert_allclose(material.hidden, features(model, material, column), rtol=1e-5, atol=1e-5)
    assert not np.allclose(found[0][:, 4:], found[1][:, 4:])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_head_in_the_file_is_that_of_scikit_learn(
    tmp_path: Path, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one penalty and no linear path: fitted to the network's features and outputs, standardised."""
    monkeypatch.setattr("client.adapt.choose.PENALTIES", np.array([1.0]))
    content = hourly_content(encoder=encoder, linear_path=False)
    for task in content["tasks"]:
        task.pop("exclude", None)
    model = made(plan_from_dict(content, source="hourly.toml"))
    material = given(tmp_path, model, NEW, own_tables())
    rows, train = material.labelled, material.train
    both = np.hstack([features(model, material, 0), logits(model, model.parameters, material)]).astype(np.float64)
    spread = both[train].std(axis=0)
    inputs = scaled((both - both[train].mean(axis=0)) / np.where(spread > 1e-6, spread, 1.0), train)
    judge = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(inputs[rows], material.labels[rows])
    expected = judge.decision_function(inputs)
    learnt = frozen_head(material, rows, 0)
    every = np.arange(len(inputs))
    np.testing.assert_allclose(learnt.logits(every)[:, 0], expected, rtol=2e-3, atol=2e-3)


def test_later_hours_do_not_change_what_is_learnt_from(tmp_path: Path) -> None:
    """Neither hours behind those of the plan nor empty ones after a stay has ended; one that is seen does."""
    model, (rows, hours) = made(hourly_plan()), own_tables()
    before = given(tmp_path, model, NEW, (rows, hours))
    beyond = hours["hour"] >= HOURS
    assert beyond.any()
    ended = hours.groupby("stay")["hour"].max().loc[lambda last: last < HOURS - 1]
    assert len(ended)
    changed = hours.copy()
    changed.loc[beyond, ["map", "temp", "lactate"]] = [200.0, 30.0, 39.0]
    empty = pd.DataFrame({"stay": ended.index, "hour": HOURS - 1})
    later = pd.concat([changed, empty, empty.assign(hour=HOURS + 2, map=21.0)])
    after = given(tmp_path, model, NEW, (rows, later))
    for name in ("hidden", "plain", "outputs"):
        assert np.array_equal(getattr(after, name), getattr(before, name))
    seen = pd.concat([hours, empty.assign(map=21.0)])
    told = given(tmp_path, model, NEW, (rows, seen))
    moved = ~np.isclose(told.hidden[:, 4:], before.hidden[:, 4:]).all(axis=1)
    assert set(rows["stay"][moved]) == set(ended.index)


def test_logistic_regression_gets_the_summaries_of_the_baselines_and_is_that_of_scikit_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.adapt.choose.PENALTIES", np.array([1.0]))
    model = made(hourly_plan(z_clip=1000.0))
    material = given(tmp_path, model, NEW | {"exclude": ["lactate"]}, own_tables())
    found = np.split(summaries(material.hours)[:, -1].astype(np.float64), 6, axis=1)
    mean, std = model.normaliser.mean[2:], model.normaliser.std[2:]
    parts = [*(np.nan_to_num((part - mean) / std) for part in found[:4]), found[4] / HOURS]
    parts.append(np.nan_to_num(found[5] / HOURS, nan=1.0))
    for part in parts[:5]:
        part[:, 2] = 0.0  # lactate is not shown
    parts[5][:, 2] = 1.0  # and was seen never
    known = ~np.isnan(material.features)
    row = np.where(known, (material.features - model.normaliser.mean[:2]) / model.normaliser.std[:2], 0.0)
    expected = np.hstack([row, ~known, *parts])
    np.testing.assert_allclose(material.plain, expected, rtol=1e-4, atol=1e-5)
    inputs = scaled(expected, material.train)
    rows = material.labelled
    judge = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(inputs[rows], material.labels[rows])
    learnt = regression(material, rows, 0)
    every = np.arange(len(inputs))
    np.testing.assert_allclose(learnt.logits(every)[:, 0], judge.decision_function(inputs), rtol=2e-3, atol=2e-3)
    assert judged(material, learnt)["auroc"] > 0.9  # the label is a threshold on one of the summaries


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    folder, plan = tmp_path_factory.mktemp("hospitals"), hourly_plan(encoder="gru")
    sites = [load_site(write_site(folder, f"h{seed}", *hourly_tables(seed))) for seed in (0, 1)]
    return train(plan, [load_table(site, plan) for site in sites], device="cpu")


@pytest.fixture
def place(tmp_path: Path, trained: ModelFile) -> Path:
    """A folder with model.safetensors, own.site.toml with its tables, and task.toml."""
    (tmp_path / "model.safetensors").write_bytes(trained.to_bytes())
    write_site(tmp_path, "own", *own_tables())
    (tmp_path / "task.toml").write_text(tomli_w.dumps({"tasks": [NEW]}))
    return tmp_path


def files(place: Path, **changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"task": None, "unfreeze": False, "sizes": "", "draws": 2, "seed": 0}
    options |= {"site": place / "own.site.toml", "plan": place / "task.toml", "out": place / "new.safetensors"}
    return adapt_files(place / "model.safetensors", tell=str, **options | changes)


def predictions(place: Path, model: str) -> pd.DataFrame:
    predict_file(place / model, place / "own.site.toml", place / "p.csv", probabilities=False, hourly=True)
    return pd.read_csv(place / "p.csv", dtype={"stay": str})


@pytest.mark.parametrize("unfreeze", [False, True], ids=["frozen", "moved"])
def test_the_file_predicts_from_rows_and_hours_what_was_judged(place: Path, trained: ModelFile, unfreeze: bool) -> None:
    report = files(place, unfreeze=unfreeze, sizes="12")
    plan = ModelFile.from_bytes((place / "new.safetensors").read_bytes(), source="new").plan
    table = load_table(load_site(place / "own.site.toml"), plan)
    test, after = table.split == TEST, predictions(place, "new.safetensors").set_index("stay")
    risks = after["low"].loc[table.row_ids[test]].to_numpy()
    known = ~np.isnan(table.labels[test, -1])
    area = roc_auc_score(table.labels[test, -1][known], risks[known])
    assert report["all_labels"]["auroc"] == pytest.approx(area, abs=1e-6)
    own = ["adapted, encoder moved"] if unfreeze else []
    assert list(report["sizes"][0]["methods"]) == [*own, "adapted", "new network", "logistic regression"]
    assert f"hours 0 to {HOURS - 1}" in (place / "new.html").read_text()
    if unfreeze:
        assert not {"death", "shock", "shock.hour_0"} & set(after.columns)
        return
    before = predictions(place, "model.safetensors").set_index("stay")
    pd.testing.assert_frame_equal(after[before.columns], before, rtol=1e-4)
    grown = ModelFile.from_bytes((place / "new.safetensors").read_bytes(), source="new")
    parts = Layout(grown.plan).split(grown.parameters)
    for name, part in Layout(trained.plan).split(trained.parameters).items():
        assert np.array_equal(parts[name][: len(part)], part)


def test_a_moved_encoder_is_moved_over_the_hours_too(place: Path, trained: ModelFile) -> None:
    files(place, unfreeze=True)
    grown = ModelFile.from_bytes((place / "new.safetensors").read_bytes(), source="new")
    before, after = (Layout(model.plan).split(model.parameters) for model in (trained, grown))
    encoders = [name for name in before if not name.startswith(("heads.", "linear."))]
    assert any(name.startswith("sequence.0.") for name in encoders)
    assert all(not np.array_equal(before[name], after[name]) for name in encoders)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"name": "new", "kind": "hourly", "event": "map < 60", "within_h": 2}, "task 'new' is hourly; adapt adds"),
        (NEW | {"exclude": ["bmi"]}, "no feature of this plan"),
        ({"name": "shock", "label": "low"}, "the model has a task 'shock' already"),
    ],
)
def test_what_does_not_go_with_the_model_is_one_sentence(place: Path, task: dict[str, Any], words: str) -> None:
    (place / "task.toml").write_text(tomli_w.dumps({"tasks": [task]}))
    with pytest.raises(PlanError, match=words) as raised:
        files(place)
    assert str(raised.value).startswith(f"{place / 'task.toml'}: ") and "\n" not in str(raised.value)
    assert not list(place.glob("new.*"))


def test_a_table_alone_holds_no_hours(place: Path) -> None:
    with pytest.raises(ConsiliumError, match="no table holds its hours; name them as 'hours' under"):
        files(place, site=place / "own.csv")
    with pytest.raises(ConsiliumError, match="this is a file that the adapted model is made from"):
        files(place, out=place / "own.hours.csv")
