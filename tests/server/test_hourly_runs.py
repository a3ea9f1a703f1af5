"""A federation with hours, whole: its survey, its sums in the open and masked, its model at a workstation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli_w
from typer.testing import CliRunner

from client.config import SiteConfig, find_sites
from client.data.table import load_table
from common.contribution import Contribution
from common.errors import PlanError
from common.model import Normaliser
from common.model_file import ModelFile
from common.plan import Plan, plan_from_dict
from common.privacy.shares import rounding_error
from common.survey import Survey
from experiments.cli import app
from experiments.simulate import simulate
from server.journal import RunState
from tests.hourly import HOURS, hourly_content, hourly_tables, write_site

NAMES = ("east", "north", "south", "west")


@pytest.fixture
def sites(tmp_path: Path) -> list[SiteConfig]:
    for seed, name in enumerate(NAMES):
        write_site(tmp_path / "hospitals", name, *hourly_tables(seed))
    return find_sites(tmp_path / "hospitals")


def _plan(*, secure: bool = False, **changes: Any) -> Plan:
    content = hourly_content(**changes)
    return plan_from_dict({**content, "aggregation": {"secure": secure}}, source="hourly")


def _state(folder: Path) -> RunState:
    return RunState.from_bytes((folder / "checkpoint.safetensors").read_bytes(), source="")


def test_normaliser_is_that_of_the_pooled_stays(sites: list[SiteConfig], tmp_path: Path) -> None:
    """pandas is the judge: each stay counts once, however many hours it has."""
    plan = _plan()
    simulate(plan, sites, tmp_path / "out")
    found = Normaliser.from_vector(_state(tmp_path / "out").arrays["normaliser"], plan)
    parts = []
    for config in sites:
        table = load_table(config, plan)
        train = table.row_ids[table.split == 0]
        hours = pd.read_csv(config.hours[0], dtype={"stay": str})
        parts.append(hours[hours["stay"].isin(train) & (hours["hour"] < HOURS)])
    every = pd.concat(parts)
    for index, name in enumerate(("map", "temp", "lactate")):
        values = every[name].where(every[name].between(*plan.hour_features[index].range))
        means = values.groupby(every["stay"]).mean().mean()
        squares = (values**2).groupby(every["stay"]).mean().mean()
        assert found.mean[2 + index] == pytest.approx(means, rel=1e-5)
        assert found.std[2 + index] == pytest.approx(np.sqrt(squares - means**2), rel=1e-3)


def test_a_stay_adds_at_most_one_to_the_survey() -> None:
    plan = _plan()
    layout, random = Survey(plan), np.random.default_rng(0)
    low, high = np.array([feature.range for feature in plan.hour_features]).T
    hours = random.uniform(low, high, (1, HOURS, 3)).astype(np.float32)
    row, labels = np.array([[120.0, 1.0]], dtype=np.float32), np.full((1, 4), np.nan, dtype=np.float32)
    vector = layout.of(row, labels, layout.first_edges(), hours=hours)
    assert vector.max() <= 1.0 + 1e-6 and len(vector) == layout.size == sum(each.size for each in layout.entries)
    assert layout.plausible(vector)


@pytest.mark.parametrize("encoder", ["tcn", "gru"])
def test_secure_and_plain_sums_give_the_same_federation(encoder: str, sites: list[SiteConfig], tmp_path: Path) -> None:
    """One round differs by no more than the stated bound, which is the only difference there is."""
    parameters, results, rounds = [], [], {"rounds": 1, "batch_size": 16}
    for secure in (False, True):
        plan = plan_from_dict(
            {**hourly_content(encoder=encoder), "aggregation": {"secure": secure}, "training": rounds}, source="x"
        )
        out = tmp_path / f"secure-{secure}"
        results.append(simulate(plan, sites, out))
        parameters.append(_state(out).arrays["parameters"].astype(np.float64))
    levels = 4 / 8  # the sum is divided by the declared levels, at least 1/8 of each site
    error = np.linalg.norm(parameters[1] - parameters[0])
    assert 0 < error <= rounding_error(plan, len(NAMES)) / levels
    assert Contribution(plan, "train").narrow == len(parameters[0])
    for name, task in results[0]["tasks"].items():
        for key, value in task["pooled"].items():
            assert results[1]["tasks"][name]["pooled"][key] == pytest.approx(value, abs=1e-3), (name, key)


@pytest.mark.parametrize("encoder", ["tcn", "lstm", "gru", "attention", "mlp"])
def test_hourly_tasks_are_learnt_and_judged_at_every_site(
    encoder: str, sites: list[SiteConfig], tmp_path: Path
) -> None:
    training = {"rounds": 12, "batch_size": 16, "learning_rate": 0.3}
    content = {**hourly_content(encoder=encoder, dropout=0.0), "training": training}
    content["aggregation"] = {"secure": False, "clip_norm": 2.0}
    result = simulate(plan_from_dict(content, source="x"), sites, tmp_path / "out")
    shock = result["tasks"]["shock"]
    assert shock["kind"] == "hourly" and shock["pooled"]["auroc"] > 0.65
    assert shock["pooled"]["n"] == sum(site["n"] for site in shock["per_site"].values())
    assert all(site["hours"] > site["n"] for site in shock["per_site"].values())
    assert result["missing"].keys() == {"age", "smoker", "map", "temp", "lactate"}


def test_a_feature_of_the_sequence_that_one_site_holds_is_left_out(sites: list[SiteConfig], tmp_path: Path) -> None:
    for name in NAMES[1:]:
        rows, hours = hourly_tables(NAMES.index(name))
        write_site(tmp_path / "hospitals", name, rows, hours.drop(columns="lactate"), '[columns]\nlactate = ""\n')
    plan = _plan()
    result = simulate(plan, find_sites(tmp_path / "hospitals"), tmp_path / "out")
    assert set(result["left_out"]["features"]) == {"lactate"}
    normaliser = Normaliser.from_vector(_state(tmp_path / "out").arrays["normaliser"], plan)
    assert normaliser.available.tolist() == [1, 1, 1, 1, 0]


def test_a_model_predicts_from_hours(sites: list[SiteConfig], tmp_path: Path) -> None:
    simulate(_plan(), sites, tmp_path / "out")
    rows, hours = hourly_tables(9, stays=5)
    table, out = write_site(tmp_path / "new", "new", rows, hours), tmp_path / "predictions.csv"
    arguments = ["predict", tmp_path / "out" / "model.safetensors", table, "--out", out, "--hourly"]
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    found = pd.read_csv(out, dtype={"stay": str})
    assert found["stay"].tolist() == rows["stay"].tolist()
    each = found[[f"shock.hour_{hour}" for hour in range(HOURS)]].to_numpy()
    known = hours[hours["hour"].lt(HOURS) & hours[["map", "temp", "lactate"]].notna().any(axis=1)]
    last = known.groupby("stay")["hour"].max().reindex(rows["stay"]).to_numpy()
    np.testing.assert_allclose(found["shock"], each[np.arange(5), last])
    assert last.min() < HOURS - 1 <= last.max()  # stays that ended before the last hour, and one that did not
    np.testing.assert_array_equal(~np.isnan(each), np.arange(HOURS) <= last[:, None])
    assert (each[~np.isnan(each)] > 0).all() and (each[~np.isnan(each)] < 1).all()
    assert out.stat().st_mode & 0o777 == 0o600
    changed = hours.copy()
    changed.loc[hours["hour"] > 1, "map"] = 50.0
    write_site(tmp_path / "new", "new", rows, changed)
    assert CliRunner().invoke(app, [str(argument) for argument in arguments]).exit_code == 0
    again = pd.read_csv(out)
    np.testing.assert_array_equal(again[["shock.hour_0", "shock.hour_1"]], found[["shock.hour_0", "shock.hour_1"]])
    assert not np.array_equal(again["shock.hour_5"], found["shock.hour_5"])


def test_bare_tables_and_one_hourly_table_on_the_command_line(tmp_path: Path) -> None:
    """`simulate --hours`, resumed: the same result, which a second run of the same seed has as well."""
    tables = [hourly_tables(seed) for seed in range(3)]
    (tmp_path / "sites").mkdir()
    for name, (rows, _) in zip(NAMES, tables, strict=False):
        rows.to_csv(tmp_path / "sites" / f"{name}.csv", index=False)
    pd.concat([hours for _, hours in tables]).to_csv(tmp_path / "all.csv", index=False)
    (tmp_path / "plan.toml").write_text(tomli_w.dumps(hourly_content()))
    results = []
    for out, more in (("a", ()), ("b", ()), ("a", ("--resume",))):
        arguments = ["simulate", "plan.toml", "--sites", "sites", "--hours", "all.csv", "--seed", "3"]
        arguments = [str(tmp_path / part) if part in ("plan.toml", "sites", "all.csv") else part for part in arguments]
        done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / out), *more])
        assert done.exit_code == 0, done.output
        results.append(json.loads((tmp_path / out / "result.json").read_text()))
    for result in results:
        assert result["tasks"] == results[0]["tasks"] and set(result["sites"]) == set(NAMES[:3])
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()


def test_model_file_comes_back(sites: list[SiteConfig], tmp_path: Path) -> None:
    simulate(_plan(encoder="lstm"), sites, tmp_path / "out")
    data = (tmp_path / "out" / "model.safetensors").read_bytes()
    model = ModelFile.from_bytes(data, source="model")
    assert model.to_bytes() == data and model.plan.hours == HOURS and len(model.normaliser.mean) == 5
    report = json.loads((tmp_path / "out" / "sites" / "north" / "data_report.json").read_text())
    assert [feature["name"] for feature in report["hour_features"]] == ["map", "temp", "lactate"]


def test_what_a_plan_has_no_use_for_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    rows, hours = hourly_tables(0)
    (tmp_path / "sites").mkdir()
    rows.to_csv(tmp_path / "sites" / "north.csv", index=False)
    hours.to_csv(tmp_path / "all.csv", index=False)
    content = hourly_content()
    content["tasks"] = [task | {"exclude": []} for task in content["tasks"] if task.get("kind") != "hourly"]
    content.pop("sequence")
    content["model"] = {"hidden": [4]}
    (tmp_path / "rows.toml").write_text(tomli_w.dumps(content))
    out, with_hours = ("--out", str(tmp_path / "out")), ("--hours", str(tmp_path / "all.csv"))
    for command in ("simulate", "prepare"):
        arguments = [command, str(tmp_path / "rows.toml"), "--sites", str(tmp_path / "sites"), *out, *with_hours]
        done = CliRunner().invoke(app, arguments)
        words = "rows.toml: has no [sequence], so that no hour of --hours would be read"
        assert isinstance(done.exception, PlanError) and words in str(done.exception), done.output
    assert not (tmp_path / "out").exists()
