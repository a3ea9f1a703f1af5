"""`consilium site benefit` and `predict` for a plan with hours: tasks of the stay, ordered ones and hourly ones."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli_w
from typer.testing import CliRunner

from client.at_rest.files import MODEL
from client.at_rest.key import vaulted
from client.benefit.alone import alone, train_alone
from client.benefit.answers import GAPS, REASONS, TOO_FEW, UNLIKE
from client.benefit.assess import NO_VALIDATION, assess
from client.benefit.cli import make
from client.benefit.fine_tune import fine_tune
from client.benefit.outputs import SiteOutputs
from client.benefit.site import PAGE, REPORT, open_site, read_outputs
from client.config import SiteConfig, find_sites, load_site
from client.predict import predict_file, predict_scores
from client.site_rows import TEST, SiteRows
from common.hourly import hour_scores, known_at_last
from common.model import Layout
from common.plan import plan_from_dict
from common.scores import task_columns
from experiments.baselines.network import train
from experiments.cli import app
from experiments.simulate import simulate
from tests.client.benefit.conftest import STAYS, stays_content, stays_tables, write_stays
from tests.hourly import HOURS, write_site

TASKS = ("death", "stay_days", "severity", "shock", "worse")


def _report(config: SiteConfig) -> dict[str, object]:
    return json.loads((config.folder / REPORT).read_text())


def _predicted(config: SiteConfig, table: Path, out: Path, *, hourly: bool = False) -> pd.DataFrame:
    predict_file(config.folder / MODEL, table, out, probabilities=True, hourly=hourly)
    return pd.read_csv(out, keep_default_na=False, dtype={"stay": str, "severity": str})


def test_figures_are_those_of_the_test_rows(stays: SiteConfig) -> None:
    """The site's own evaluation is the judge of the federated model's; a gain is the difference of two figures."""
    report, evaluation = _report(stays), json.loads((stays.folder / "evaluation.json").read_text())
    assert tuple(report["tasks"]) == TASKS and report["notes"] == []
    for name, entry in report["tasks"].items():
        assert set(entry["models"]) == {"federated", "fine-tuned", "local"}
        assert entry["test_rows"] == evaluation["tasks"][name]["n"]
        for measure, value in entry["models"]["federated"].items():
            assert value == pytest.approx(evaluation["tasks"][name][measure]), (name, measure)
        gain, key = entry["gains"]["federated over local"], "mae" if name == "stay_days" else "auroc"
        models = entry["models"]
        sign = -1 if key == "mae" else 1
        if name != "severity":  # of which cuts with few rows on one side are left aside
            assert gain["value"] == pytest.approx(sign * (models["federated"][key] - models["local"][key]), abs=1e-6)
        assert gain["low"] <= gain["value"] <= gain["high"] and gain["error"] > 0
        say, sets = entry["cannot_say"], entry["conformal"]
        assert set(say["reasons"]) <= set(REASONS) and sum(say["reasons"].values()) == pytest.approx(say["share"])
        assert sets["patients"] == entry["test_patients"] and sets["covered"] > 0.7
        assert entry["risk_coverage"][0] == {"kept": 1.0, "error": pytest.approx(say["error_of_all"])}
        assert ("bands" in entry) == (name in ("death", "shock", "worse"))
    assert report["tasks"]["shock"]["models"]["local"]["hours"] > report["tasks"]["shock"]["test_rows"]
    words = " ".join(report["words"])
    assert all(re.search(rf"\b{name}\b", words) for name in TASKS)


def test_test_rows_decide_nothing(stays: SiteConfig) -> None:
    finished = open_site(stays)
    table, test = finished.rows.table, finished.rows.table.split == TEST

    def spoilt(values: np.ndarray) -> np.ndarray:
        turned = values[::-1] if values.ndim < 3 else values[::-1, ::-1]
        return np.where(test.reshape(-1, *[1] * (values.ndim - 1)), turned, values).astype("f4")

    poisoned = SiteRows(stays, finished.rows.plan)
    names = ("features", "labels", "hours", "hour_labels")
    poisoned.table = replace(table, **{name: spoilt(getattr(table, name)) for name in names})
    (clean, outputs), (other, again) = (assess(each, least=10) for each in (finished, replace(finished, rows=poisoned)))
    assert outputs.to_bytes() == again.to_bytes()
    assert SiteOutputs.from_bytes(outputs.to_bytes(), source="x").to_bytes() == outputs.to_bytes()
    assert [e["choice"] for e in clean["tasks"].values()] == [e["choice"] for e in other["tasks"].values()]
    assert all(clean["tasks"][name]["models"] != other["tasks"][name]["models"] for name in TASKS)
    repeated, _ = assess(open_site(stays), least=10)
    assert repeated == clean


def test_the_local_model_is_that_of_a_federation_of_one(stays: SiteConfig) -> None:
    table, fast = open_site(stays).rows.table, open_site(stays).rows.plan.model_dump(mode="json")
    # At its rate the last bits, in which the two differ, send a unit across its kink sooner or later.
    calm = plan_from_dict(fast | {"training": fast["training"] | {"learning_rate": 0.03}}, source="calm")
    rows = SiteRows(stays, calm)
    rows.table = table
    ours, theirs = train_alone(rows), train(alone(calm), [table])
    assert ours.normaliser.to_vector() == pytest.approx(theirs.normaliser.to_vector(), rel=1e-5)
    assert np.abs(ours.parameters - theirs.parameters).max() < 1e-3
    assert np.abs(ours.parameters - open_site(stays).received.parameters).max() > 0.1


def test_fine_tuning_leaves_the_encoder_of_the_hours_as_it_came(stays: SiteConfig) -> None:
    finished = open_site(stays)
    tuned, epochs = fine_tune(finished.received, finished.rows)
    encoder = Layout(finished.received.plan).output_of < 0
    assert (tuned.parameters[encoder] == finished.received.parameters[encoder]).all()
    assert set(epochs) == set(TASKS) and any(epochs[name] for name in ("shock", "worse"))


def test_predictions_are_of_the_chosen_models_and_calibrated(stays: SiteConfig, tmp_path: Path) -> None:
    found = _predicted(stays, stays.source, tmp_path / "p.csv", hourly=True)
    report, finished = _report(stays), open_site(stays)
    outputs, _ = read_outputs(stays, vaulted(stays).read(stays.folder / MODEL))
    plan, table = finished.received.plan, finished.rows.table
    place = pd.Series(range(len(found)), index=found["stay"])[table.row_ids].to_numpy()
    last = known_at_last(table.hours)
    for number, (name, columns) in enumerate(zip(TASKS, task_columns(plan), strict=True)):
        output = outputs.tasks[name]
        assert set(found[f"{name}.model"]) == {output.model} == {report["tasks"][name]["choice"]["model"]}
        scores = predict_scores(outputs.of(output.model, finished.received), table.features, table.hours)
        if number < 3:
            expected = output.calibrator.probabilities(plan.tasks[number], scores[:, columns]) if number != 1 else None
            shown = {0: ["death"], 1: [], 2: [f"severity.{k}" for k in range(4)]}[number]
            for k, column in enumerate(shown):
                part = expected[:, 1] if number == 0 else expected[:, k]
                assert found[column].to_numpy()[place] == pytest.approx(part, abs=1e-6)
            continue
        each = hour_scores(plan, number, scores)
        p = output.calibrator.probabilities(plan.tasks[number], each.reshape(-1, 1))[:, 1].reshape(each.shape)
        assert found[name].to_numpy()[place] == pytest.approx(p[np.arange(len(p)), last], abs=1e-6)
        hours = found[[f"{name}.hour_{hour}" for hour in range(HOURS)]].replace("", np.nan).astype(float).to_numpy()
        assert (np.isnan(hours[place]) == (np.arange(HOURS) > last[:, None])).all()
        assert hours[place][:, 0] == pytest.approx(p[:, 0], abs=1e-6)
        said = found[f"{name}.reason"] == ""
        assert set(found.loc[said, f"{name}.band"]) <= {"low", "medium", "high"} and said.any()
        assert set(found.loc[~said, f"{name}.band"]) <= {"cannot say"}
    test = place[table.split == TEST]
    silent = (found["severity.reason"] != "").to_numpy()[test]
    assert silent.mean() == pytest.approx(report["tasks"]["severity"]["cannot_say"]["share"])


def test_sets_of_ordered_classes_are_neighbours_around_the_class_that_is_told(
    stays: SiteConfig, tmp_path: Path
) -> None:
    found = _predicted(stays, stays.source, tmp_path / "p.csv")
    sets = found["severity.set"].astype(str).str.split("|")
    assert all(part in "0123" and "".join(each) in "0123" for each in sets for part in each)
    assert all(told in each for told, each in zip(found["severity"], sets, strict=True))
    assert len({len(each) for each in sets}) > 1


def test_hours_that_went_wrong_and_hours_that_are_missing_say_so(stays: SiteConfig, tmp_path: Path) -> None:
    rows, hours = stays_tables(7, stays=100)

    def reasons(name: str, changed: pd.DataFrame) -> pd.Series:
        return _predicted(stays, write_site(tmp_path / name, name, rows, changed), tmp_path / "p.csv")["shock.reason"]

    usual = reasons("usual", hours)
    assert usual.isin([UNLIKE, GAPS]).mean() < 0.1
    shifted = hours.assign(map=hours["map"] * 2, temp=hours["temp"] - 8)
    assert (reasons("shifted", shifted) == UNLIKE).mean() > 0.8
    empty = hours.assign(map=np.nan, temp=np.nan, lactate=np.nan)
    assert reasons("empty", empty).isin([UNLIKE, GAPS]).mean() > 0.9
    early = hours[hours["hour"] < 3]  # a stay that goes on is no stay with gaps
    assert reasons("early", early).isin([UNLIKE, GAPS]).mean() < 0.2


def test_subgroups_of_stays_and_a_curve_for_each_task_of_classes(stays: SiteConfig) -> None:
    report, page = _report(stays), (stays.folder / PAGE).read_text()
    for name in TASKS:
        groups = report["tasks"][name]["subgroups"]
        assert set(groups) == {"sex", "age"} and groups["sex"]["feature"] == "sex_male"
        shown = [group for part in groups.values() for group in part["groups"].values() if group["shown"]]
        assert shown and all(group["patients"] >= 10 and group["patients"] % 5 == 0 for group in shown)
        assert ("auroc" in shown[0]) == (name in ("death", "shock", "worse"))
    assert page.count('stroke-dasharray="2 3"') == len(TASKS) and "one labelled hour of each stay" in page
    patients = open_site(stays).rows.table.patients
    assert len(patients) == STAYS and not any(patient in page for patient in np.unique(patients))


def test_small_groups_are_hidden_in_plans_with_hours(stays: SiteConfig) -> None:
    report, _ = assess(open_site(stays), least=60)
    groups = [part for entry in report["tasks"].values() for part in entry["subgroups"].values()]
    assert all(group == {"shown": False} for part in groups for group in part["groups"].values())


def test_simulate_makes_the_reports_of_a_federation_with_hours(tmp_path: Path) -> None:
    sites, out = write_stays(tmp_path / "hospitals"), tmp_path / "out"
    (tmp_path / "plan.toml").write_text(tomli_w.dumps(stays_content() | {"training": {"rounds": 1}}))
    arguments = ["simulate", tmp_path / "plan.toml", "--sites", sites, "--out", out, "--benefit"]
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.output
    assert "What joining did" in done.stdout and all(name in done.stdout for name in ("shock", "severity"))
    for site in ("north", "south", "west"):
        found = json.loads((out / "sites" / site / REPORT).read_text())
        assert tuple(found["tasks"]) == TASKS


def test_without_validation_rows_nothing_is_chosen_for_hours(tmp_path: Path) -> None:
    split = {"train": 0.75, "validation": 0.0, "test": 0.25}
    content = stays_content() | {"training": {"rounds": 1}, "split": split}
    plan = plan_from_dict(content, source="stays")
    simulate(plan, find_sites(write_stays(tmp_path / "hospitals")), tmp_path / "out")
    report = make(load_site(tmp_path / "out" / "sites" / "south"))
    assert report["notes"] == [NO_VALIDATION]
    for entry in report["tasks"].values():
        assert entry["choice"]["model"] == "federated" and "fine-tuned" not in entry["models"]
        assert entry["calibration"]["kind"] == "none" and entry["cannot_say"]["reasons"].keys() <= {
            TOO_FEW,
            UNLIKE,
            GAPS,
        }
