"""Baselines of a plan with hours: the federation's rows and hours, and figures that scikit-learn gives by itself."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli_w
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from client.benefit.alone import alone
from client.config import SiteConfig, find_sites
from client.data.table import SiteTable
from client.site_rows import TEST, TRAIN
from common.hourly import hour_scores
from common.plan import Plan
from experiments.baselines import BASELINES, run_baselines
from experiments.baselines.beside import put_beside
from experiments.baselines.judge import judge
from experiments.baselines.network import train
from experiments.baselines.plans import multi_label
from experiments.baselines.rows import summaries
from experiments.baselines.tables import load_tables, merged, score_columns
from experiments.cli import app
from experiments.simulate import simulate
from tests.hourly import HOURS, hourly_content, hourly_plan, hourly_tables, write_site

DEATH, DAYS, SHOCK, WORSE = range(4)
BOOSTED = "gradient_boosting_pooled"


@pytest.fixture
def plan() -> Plan:
    return hourly_plan()


@pytest.fixture
def sites(tmp_path: Path) -> list[SiteConfig]:
    for seed, name in enumerate(("east", "north", "south")):
        write_site(tmp_path / "hospitals", name, *hourly_tables(seed))
    return find_sites(tmp_path / "hospitals")


@pytest.fixture
def tables(plan: Plan, sites: list[SiteConfig]) -> list[SiteTable]:
    return load_tables(plan, sites)


def scores_of(name: str, plan: Plan, tables: list[SiteTable]) -> np.ndarray:
    outcome = BASELINES[name].method(plan, tables, str)
    return np.concatenate([outcome.scores[table.site] for table in tables])


def test_every_baseline_is_judged_on_the_federations_stays_and_hours(
    plan: Plan, sites: list[SiteConfig], tmp_path: Path
) -> None:
    federation = simulate(plan, sites, tmp_path / "run")
    summary = run_baselines(plan, sites, tmp_path / "baselines")
    assert list(summary["baselines"]) == list(BASELINES) and not summary["left_out"]
    same = ("n", "hours", "positives", "train_n", "counted")
    for name in BASELINES:
        result = json.loads((tmp_path / "baselines" / name / "result.json").read_text())
        assert result["tasks"].keys() == federation["tasks"].keys() and result["parameters"] > 0
        assert result["sites"]["east"]["missing"] == federation["sites"]["east"]["missing"]
        for task, entry in result["tasks"].items():
            ours, theirs = entry["per_site_mean"], federation["tasks"][task]["per_site_mean"]
            assert (ours["sites"], ours["n"]) == (theirs["sites"], theirs["n"])
            for site, own in federation["tasks"][task]["per_site"].items():
                assert {key: entry["per_site"][site].get(key) for key in same} == {key: own.get(key) for key in same}
            measure = "mae" if entry["kind"] == "regression" else "auroc"
            counted = [own[measure] for own in entry["per_site"].values() if own["counted"]]
            assert ours[measure] == pytest.approx(np.mean(counted), abs=1e-9)
            assert ("brier" in ours) == (entry["kind"] != "regression" and not name.startswith("svm"))
    assert list(put_beside(tmp_path / "run", tmp_path / "baselines")["baselines"]) == list(BASELINES)


def test_pooled_network_is_a_federation_of_one(plan: Plan, tmp_path: Path) -> None:
    """The same bytes as `simulate` gives for one hospital with all stays and hours."""
    rows, hours = (pd.concat(parts) for parts in zip(*(hourly_tables(seed) for seed in (0, 1)), strict=True))
    write_site(tmp_path / "hospitals", "pooled", rows, hours)
    sites = find_sites(tmp_path / "hospitals")
    simulate(alone(plan), sites, tmp_path / "run")
    (whole,) = load_tables(plan, sites)
    arrays = {name: value for name, value in vars(whole).items() if isinstance(value, np.ndarray)}
    halves = [
        replace(whole, **{name: part(value) for name, value in arrays.items()})
        for part in (lambda a: a[:70], lambda a: a[70:])
    ]
    model = train(alone(plan), [merged(halves)])
    assert model.to_bytes() == (tmp_path / "run" / "model.safetensors").read_bytes()


def test_summaries_are_those_of_pandas() -> None:
    hours = np.random.default_rng(0).normal(80, 20, (9, HOURS, 2)).astype(np.float32)
    hours[np.random.default_rng(1).random(hours.shape) < 0.5] = np.nan
    hours[0, :, 1] = np.nan
    found = summaries(hours)
    for stay in range(9):
        frame = pd.DataFrame(hours[stay])
        far = frame.expanding()
        parts = [far.mean(), far.min(), far.max(), frame.ffill(), far.count(), _since(frame)]
        np.testing.assert_allclose(found[stay], pd.concat(parts, axis=1).to_numpy(), rtol=1e-5)


def _since(frame: pd.DataFrame) -> pd.DataFrame:
    """Hours since each column had a value."""
    hour = pd.DataFrame({column: np.arange(len(frame), dtype=float) for column in frame})
    return hour - hour.where(frame.notna()).ffill()


def by_hand(table: SiteTable, part: int, *, hourly: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and weights of the labelled stays of `death`, or of the labelled hours of an hourly task."""
    features, labels, weights = [], [], []
    for stay in np.flatnonzero(table.split == part):
        own = table.hour_labels[stay, :, hourly] if hourly is not None else table.labels[stay, [DEATH]]
        for hour, label in enumerate(own):
            seen = pd.DataFrame(table.hours[stay][: hour + 1 if hourly is not None else HOURS].astype(np.float64))
            known = [seen.mean(), seen.min(), seen.max(), seen.ffill().iloc[-1], seen.count()]
            known.append(_since(seen).iloc[-1])
            if not np.isnan(label):
                features.append(np.concatenate([table.features[stay], *known, [len(seen) - 1]]))
                labels.append(label)
                weights.append(1.0 / (~np.isnan(own)).sum())
    return np.array(features, dtype=np.float32), np.array(labels), np.array(weights)


@pytest.mark.parametrize(("task", "hourly"), [(SHOCK, 0), (DEATH, None)])
def test_boosting_on_summaries_is_that_of_scikit_learn(
    task: int, hourly: int | None, plan: Plan, tables: list[SiteTable]
) -> None:
    """`death` does not see lactate, whose six summaries are every third column from the fifth on."""
    columns = [column for column in range(2 + 18 + 1) if hourly is not None or column not in range(4, 20, 3)]
    features, labels, _ = by_hand(merged(tables), TRAIN, hourly=hourly)
    model = HistGradientBoostingClassifier(random_state=0).fit(features[:, columns], labels)
    result, found = judge("x", plan, tables, BASELINES[BOOSTED].method(plan, tables, str)), []
    for table in tables:
        features, labels, weights = by_hand(table, TEST, hourly=hourly)
        score = model.decision_function(features[:, columns])
        area = roc_auc_score(labels, score, sample_weight=weights)
        found.append(result["tasks"][plan.tasks[task].name]["per_site"][table.site]["auroc"])
        assert found[-1] == pytest.approx(area, abs=1e-6)
    assert set(found) != {0.5}


@pytest.mark.parametrize("name", ["logistic_regression_pooled", BOOSTED, "svm_pooled", "pooled"])
def test_later_hours_change_no_earlier_score(name: str, plan: Plan, tables: list[SiteTable]) -> None:
    """In test stays the hours from the fourth on are another stay's; only scores from there on differ."""

    def changed(table: SiteTable) -> SiteTable:
        hours, rows = table.hours.copy(), np.flatnonzero(table.split == TEST)
        hours[rows, 3:] = hours[rows[::-1], 3:]
        return replace(table, hours=hours)

    before, after = (scores_of(name, plan, group) for group in (tables, [changed(table) for table in tables]))
    for index in plan.hourly:
        first, second = (hour_scores(plan, index, scores) for scores in (before, after))
        np.testing.assert_allclose(first[:, :3], second[:, :3], rtol=1e-5)
        assert not np.allclose(first[:, 3:], second[:, 3:])
        column = score_columns(plan)[index][0]
        np.testing.assert_allclose(second[:, -1], after[:, column], rtol=1e-5)


@pytest.mark.parametrize("name", ["logistic_regression_pooled", BOOSTED, "single_task"])
def test_what_is_excluded_is_not_used_at_any_hour(name: str, plan: Plan, tables: list[SiteTable]) -> None:
    """`worse` does not see the pressure, which may hold anything: labels stay what they are."""

    def changed(table: SiteTable) -> SiteTable:
        hours = table.hours.copy()
        hours[:, :, 0] = hours[::-1, :, 0]
        return replace(table, hours=hours)

    before, after = (scores_of(name, plan, group) for group in (tables, [changed(table) for table in tables]))
    hidden, shown = score_columns(plan)[WORSE], score_columns(plan)[SHOCK]
    np.testing.assert_allclose(after[:, hidden], before[:, hidden], rtol=1e-5)
    assert not np.allclose(after[:, shown], before[:, shown])


def test_hours_of_test_stays_teach_nothing(plan: Plan, tables: list[SiteTable]) -> None:
    def changed(table: SiteTable) -> SiteTable:
        labels = table.hour_labels.copy()
        labels[table.split == TEST] = 1.0 - labels[table.split == TEST]
        return replace(table, hour_labels=labels)

    others = [changed(table) for table in tables]
    for name in (BOOSTED, "single_task"):
        assert np.array_equal(scores_of(name, plan, others), scores_of(name, plan, tables))


def test_multi_label_plan_hides_hours_too(plan: Plan) -> None:
    assert {task.exclude for task in multi_label(plan).tasks} == {("age", "map", "lactate")}


def test_bare_tables_and_one_hourly_table_on_the_command_line(tmp_path: Path) -> None:
    """`baselines --hours`, beside a run of `simulate --hours`."""
    tables = [hourly_tables(seed) for seed in range(3)]
    (tmp_path / "sites").mkdir()
    for name, (rows, _) in zip(("east", "north", "south"), tables, strict=True):
        rows.to_csv(tmp_path / "sites" / f"{name}.csv", index=False)
    pd.concat([hours for _, hours in tables]).to_csv(tmp_path / "all.csv", index=False)
    (tmp_path / "plan.toml").write_text(tomli_w.dumps(hourly_content()))
    places = ["plan.toml", "--sites", "sites", "--hours", "all.csv"]
    places = [place if place.startswith("--") else str(tmp_path / place) for place in places]
    run, out = str(tmp_path / "run"), str(tmp_path / "out")
    for arguments in (
        ["simulate", *places, "--out", run],
        ["baselines", *places, "--out", out, "--only", "pooled,svm_pooled", "--run", run],
    ):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
    assert "shock" in done.output and "svm" in done.output
    found = json.loads((tmp_path / "run" / "result.json").read_text())["baselines"]
    assert found.keys() == {"pooled", "svm_pooled"} and "shock" in found["svm_pooled"]["tasks"]
