"""Baselines: the federation's own rows and rules, and figures that scikit-learn gives by itself."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mean_absolute_error, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from client.benefit.alone import alone
from client.config import find_sites
from client.data.table import SiteTable
from client.site_rows import TEST, TRAIN, VALIDATION
from common.errors import ConsiliumError, RunError
from common.plan import Plan
from experiments.baselines import BASELINES, run_baselines
from experiments.baselines.judge import judge
from experiments.baselines.learners import gradient_boosting
from experiments.baselines.methods import learner_local, network_pooled, single_task
from experiments.baselines.network import train
from experiments.baselines.plans import multi_label
from experiments.baselines.tables import load_tables, merged, of_tasks
from experiments.simulate import simulate
from tests.conftest import small_table

QUICK = [name for name, baseline in BASELINES.items() if baseline.library and "local" not in name] + ["svm_local"]


@pytest.fixture
def tables(plan: Plan, write_sites: Callable[..., Path]) -> list[SiteTable]:
    return load_tables(plan, find_sites(write_sites()))


def outcome_scores(name: str, plan: Plan, tables: list[SiteTable]) -> np.ndarray:
    outcome = BASELINES[name].method(plan, tables, str)
    return np.concatenate([outcome.scores[table.site] for table in tables])


def test_every_baseline_is_judged_on_the_federations_rows(
    plan: Plan, write_sites: Callable[..., Path], tmp_path: Path
) -> None:
    sites = find_sites(write_sites())
    federation = simulate(plan, sites, tmp_path / "federation")
    summary = run_baselines(plan, sites, tmp_path / "baselines")
    assert list(summary["baselines"]) == list(BASELINES) and not summary["left_out"]
    for name in BASELINES:
        result = json.loads((tmp_path / "baselines" / name / "result.json").read_text())
        assert result["schema"] == federation["schema"] and result["plan_hash"] == federation["plan_hash"]
        assert result["baseline"] == name and result["parameters"] > 0
        assert result["tasks"].keys() == federation["tasks"].keys()
        for task, entry in result["tasks"].items():
            ours, theirs = entry["per_site_mean"], federation["tasks"][task]["per_site_mean"]
            assert (ours["sites"], ours["n"]) == (theirs["sites"], theirs["n"])
            for site, own in federation["tasks"][task]["per_site"].items():
                assert {key: entry["per_site"][site][key] for key in ("n", "train_n", "counted")} == {
                    key: own[key] for key in ("n", "train_n", "counted")
                }
            measure = "mae" if entry["kind"] == "regression" else "auroc"
            counted = [own[measure] for own in entry["per_site"].values() if own["counted"]]
            assert ours[measure] == pytest.approx(np.mean(counted), abs=1e-9)
            assert summary["baselines"][name]["tasks"][task][measure] == ours[measure]
            assert ("brier" in ours) == (entry["kind"] != "regression" and not name.startswith("svm"))


@pytest.mark.parametrize("name", [*QUICK, "pooled"])
def test_only_training_rows_are_learnt_from(name: str, plan: Plan, tables: list[SiteTable]) -> None:
    """Other labels outside train, and other features in validation, change no score; in train they do."""
    random = np.random.default_rng(0)

    def shuffled(table: SiteTable, inside: bool) -> SiteTable:
        labels, features = table.labels.copy(), table.features.copy()
        rows = np.flatnonzero((table.split == TRAIN) == inside)
        labels[rows] = labels[random.permutation(rows)]
        rows = np.flatnonzero(table.split == VALIDATION)
        features[rows] = features[random.permutation(rows)]
        return replace(table, labels=labels, features=features)

    expected = outcome_scores(name, plan, tables)
    assert np.array_equal(outcome_scores(name, plan, [shuffled(t, False) for t in tables]), expected, equal_nan=True)
    assert not np.allclose(outcome_scores(name, plan, [shuffled(t, True) for t in tables]), expected)


@pytest.mark.parametrize("name", [*QUICK, "pooled", "single_task", "multi_label"])
def test_an_excluded_feature_is_not_used(name: str, plan: Plan, tables: list[SiteTable]) -> None:
    """'sbp' is excluded for the last task, for all tasks in multi_label; in train and test it may hold anything.

    Pooled networks share an encoder that other tasks train on it, so there the test rows only are changed.
    """
    random, shared = np.random.default_rng(1), name == "pooled"

    def changed(table: SiteTable) -> SiteTable:
        features = table.features.copy()
        rows = np.flatnonzero(table.split == TEST) if shared else np.arange(len(features))
        features[rows, 1] = features[random.permutation(rows), 1]
        return replace(table, features=features)

    before, after = (outcome_scores(name, plan, group) for group in (tables, [changed(table) for table in tables]))
    hidden = slice(None) if name == "multi_label" else slice(-1, None)
    assert np.array_equal(after[:, hidden], before[:, hidden])
    if name != "multi_label":
        assert not np.array_equal(after[:, :-1], before[:, :-1])


def split(tables: list[SiteTable], part: int, task: int) -> tuple[np.ndarray, np.ndarray]:
    rows = [(table.split == part) & ~np.isnan(table.labels[:, task]) for table in tables]
    features = [table.features[chosen] for table, chosen in zip(tables, rows, strict=True)]
    labels = [table.labels[chosen, task] for table, chosen in zip(tables, rows, strict=True)]
    return np.concatenate(features), np.concatenate(labels)


def test_pooled_figures_are_those_of_scikit_learn(plan: Plan, tables: list[SiteTable]) -> None:
    features, labels = split(tables, TRAIN, 0)
    boosted = HistGradientBoostingClassifier(categorical_features=[3], random_state=0).fit(features, labels)
    days = HistGradientBoostingRegressor(categorical_features=[3], random_state=0).fit(*split(tables, TRAIN, 1))
    triage = HistGradientBoostingClassifier(categorical_features=[3], random_state=0).fit(*split(tables, TRAIN, 2))
    result = judge("x", plan, tables, BASELINES["gradient_boosting_pooled"].method(plan, tables, str))
    for table in tables:
        inputs, truth = split([table], TEST, 0)
        per_site = {name: task["per_site"][table.site] for name, task in result["tasks"].items()}
        assert per_site["death"]["auroc"] == pytest.approx(roc_auc_score(truth, boosted.decision_function(inputs)))
        level = split([table], TEST, 2)[1]
        area = roc_auc_score(level, triage.predict_proba(inputs), multi_class="ovr", average="macro")
        assert per_site["triage"]["auroc"] == pytest.approx(area)
        stay = split([table], TEST, 1)[1]
        # The label is standardised for the fit, which moves the split points of trees a little.
        assert per_site["stay"]["mae"] == pytest.approx(mean_absolute_error(stay, days.predict(inputs)), rel=0.02)


def test_logistic_regression_is_that_of_a_scikit_learn_pipeline(plan: Plan, tables: list[SiteTable]) -> None:
    """The pipeline scales the indicators as well: exact without gaps, and close to it with them."""
    for group, least in (
        ([replace(t, features=np.nan_to_num(t.features, nan=130.0)) for t in tables], 1),
        (tables, 0.98),
    ):
        numeric = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
        inputs = make_column_transformer((numeric, [0, 1, 2]), (OneHotEncoder(), [3]))
        pipeline = make_pipeline(inputs, LogisticRegression(max_iter=2000))
        expected = pipeline.fit(*split(group, TRAIN, 0)).decision_function(split(group, TEST, 0)[0])
        scores = outcome_scores("logistic_regression_pooled", plan, group)[:, 0]
        assert np.corrcoef(scores, expected)[0, 1] > least - 1e-5
        assert scores == pytest.approx(expected, abs=2e-3 if least == 1 else 0.5)


def test_local_models_are_judged_at_their_own_site_only(plan: Plan, tables: list[SiteTable]) -> None:
    ours = BASELINES["gradient_boosting_local"].method(plan, tables, str)
    for table in tables:
        alone_there = BASELINES["gradient_boosting_pooled"].method(plan, [table], str)
        assert np.array_equal(ours.scores[table.site], alone_there.scores[table.site])


def test_one_class_in_train_counts_as_chance_and_too_few_rows_as_absent(
    plan: Plan, write_sites: Callable[..., Path]
) -> None:
    tables = load_tables(plan, find_sites(write_sites(north=small_table(0), south=small_table(1, rows=300))))
    labels = tables[0].labels.copy()
    labels[tables[0].split == TRAIN, 0] = 1.0
    rows = np.flatnonzero(tables[0].split == TRAIN)
    labels[rows[plan.evaluation.min_train_rows - 1 :], 3] = np.nan
    tables[0] = replace(tables[0], labels=labels)
    result = judge("x", plan, tables, learner_local(plan, tables, str, learner=gradient_boosting))
    north = result["tasks"]["death"]["per_site"]["north"]
    assert north["auroc"] == 0.5 and north["fitted"] is False and north["counted"]
    south = result["tasks"]["death"]["per_site"]["south"]["auroc"]
    assert result["tasks"]["death"]["per_site_mean"]["auroc"] == pytest.approx((0.5 + south) / 2)
    assert "north" not in result["tasks"]["pressure"]["per_site"]
    assert result["tasks"]["pressure"]["per_site_mean"]["sites"] == 1


def test_pooled_network_is_a_federation_of_one(plan: Plan, write_sites: Callable[..., Path], tmp_path: Path) -> None:
    """The same bytes as `simulate` gives for one hospital with all rows."""
    sites = find_sites(write_sites(pooled=pd.concat([small_table(0), small_table(1)])))
    simulate(alone(plan), sites, tmp_path / "run")
    (whole,) = load_tables(plan, sites)
    arrays = {name: value for name, value in vars(whole).items() if isinstance(value, np.ndarray)}
    halves = [
        replace(whole, **{name: part(value) for name, value in arrays.items()})
        for part in (lambda a: a[:70], lambda a: a[70:])
    ]
    model = train(alone(plan), [merged(halves)])
    assert model.to_bytes() == (tmp_path / "run" / "model.safetensors").read_bytes()


def test_single_task_models_do_not_see_other_labels(plan: Plan, tables: list[SiteTable]) -> None:
    before = single_task(plan, tables, str)
    without = [replace(table, labels=table.labels * np.array([1, np.nan, 1, 1], dtype=np.float32)) for table in tables]
    after = single_task(plan, without, str)
    assert list(after.left_out) == ["stay"]
    for table in tables:
        first, last = before.scores[table.site], after.scores[table.site]
        assert np.array_equal(np.delete(first, 1, axis=1), np.delete(last, 1, axis=1))
        assert np.isnan(last[:, 1]).all()


def test_of_tasks_keeps_labels_and_oracles_together(plan: Plan, tables: list[SiteTable]) -> None:
    table = replace(tables[0], oracle=np.arange(len(tables[0].labels) * 6, dtype=np.float32).reshape(-1, 6))
    chosen = of_tasks(table, plan, [2])
    assert np.array_equal(chosen.labels, table.labels[:, [2]], equal_nan=True)
    assert np.array_equal(chosen.oracle, table.oracle[:, 2:5])


def test_multi_label_plan_hides_the_union_and_refuses_to_hide_all(make_plan: Callable[..., Plan]) -> None:
    plan = make_plan()
    union = multi_label(plan)
    assert {task.exclude for task in union.tasks} == {("sbp",)} and not union.model.linear_path
    tasks = [task.model_dump(mode="json") for task in plan.tasks]
    tasks[0]["exclude"] = ["age", "smoker", "ward"]
    with pytest.raises(ConsiliumError, match="no input is left"):
        multi_label(make_plan(tasks=tasks))


def test_same_seed_same_scores(plan: Plan, tables: list[SiteTable]) -> None:
    for method in (network_pooled, partial(learner_local, learner=gradient_boosting)):
        first, second = (method(plan, tables, str) for _ in range(2))
        for table in tables:
            assert np.array_equal(first.scores[table.site], second.scores[table.site])


def test_a_folder_in_use_and_an_unknown_name_are_refused(
    plan: Plan, write_sites: Callable[..., Path], tmp_path: Path
) -> None:
    sites, out = find_sites(write_sites()), tmp_path / "out"
    with pytest.raises(ConsiliumError, match="--only lr: no such baseline; allowed: local, pooled"):
        run_baselines(plan, sites, out, only=["lr"])
    assert not out.exists()
    run_baselines(plan, sites, out, only=["svm_pooled"])
    with pytest.raises(RunError, match="already holds something; choose another --out"):
        run_baselines(plan, sites, out, only=["svm_pooled"])


def test_without_scikit_learn_one_sentence_says_what_to_install(
    plan: Plan, write_sites: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("experiments.baselines.learners.import_module", absent)
    with pytest.raises(ConsiliumError, match=r"pip install 'consilium\[baselines\]'"):
        run_baselines(plan, find_sites(write_sites()), tmp_path / "out")
    assert not (tmp_path / "out").exists()
