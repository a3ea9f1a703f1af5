"""`consilium site benefit` and the predictions after it, on a site whose run has come to its end."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from client.at_rest.files import MODEL, is_sealed
from client.at_rest.key import vaulted
from client.benefit import assess as assess_module
from client.benefit.answers import GAPS, REASONS, TOO_FEW, UNLIKE
from client.benefit.assess import NO_VALIDATION, assess
from client.benefit.cli import make
from client.benefit.outputs import OUTPUTS, SiteOutputs
from client.benefit.site import PAGE, REPORT, open_site
from client.config import SiteConfig, load_site
from client.site_rows import TEST, SiteRows
from common.errors import ConsiliumError, ModelFileError
from experiments.cli import app
from tests.client.benefit.conftest import ROWS, SITES, predictions, run_small
from tests.conftest import small_plan, small_table


def test_what_it_leaves_is_private_and_models_are_sealed(north: SiteConfig, made: dict[str, object]) -> None:
    for name in (REPORT, PAGE, OUTPUTS):
        assert (north.folder / name).stat().st_mode & 0o777 == 0o600
    sealed, opened = (north.folder / OUTPUTS).read_bytes(), vaulted(north).read(north.folder / OUTPUTS)
    assert is_sealed(sealed) and opened[:64] not in sealed
    assert json.loads((north.folder / REPORT).read_text()) == made
    page = (north.folder / PAGE).read_text()
    assert page.startswith("<!doctype html>") and "<script" not in page and "http" not in page.replace("http-equiv", "")
    assert all(task in page for task in ("death", "stay", "triage", "pressure"))
    identifiers = open_site(north).rows.table.patients.tolist()
    for text in (page, (north.folder / REPORT).read_text()):
        assert not any(patient in text for patient in identifiers)


def test_figures_are_those_of_the_test_rows(north: SiteConfig, made: dict[str, object]) -> None:
    finished = open_site(north)
    evaluation = json.loads((north.folder / "evaluation.json").read_text())
    for name, entry in made["tasks"].items():
        own = evaluation["tasks"][name]
        assert entry["test_rows"] == own["n"]
        for measure in entry["models"]["federated"]:
            assert entry["models"]["federated"][measure] == pytest.approx(own[measure])
        gain = entry["gains"]["federated over local"]
        key, sign = ("mae", -1) if entry["kind"] == "regression" else ("auroc", 1)
        expected = sign * (entry["models"]["federated"][key] - entry["models"]["local"][key])
        assert gain["value"] == pytest.approx(expected, abs=1e-6) and gain["low"] <= gain["value"] <= gain["high"]
        if entry["kind"] == "regression":
            assert 0.75 < entry["calibration"]["within_1_645_scales"] <= 1.0
        else:
            assert {"ece", "ece_if_perfect", "brier"} == set(entry["calibration"]["after"])
        say = entry["cannot_say"]
        assert set(say["reasons"]) <= set(REASONS) and sum(say["reasons"].values()) == pytest.approx(say["share"])
    assert made["patients"] == {
        part: int((finished.rows.table.split == index).sum())
        for index, part in enumerate(("train", "validation", "test"))
    }
    words = " ".join(made["words"])
    assert all(re.search(rf"\b{name}\b", words) for name in made["tasks"])


def test_test_rows_decide_nothing(north: SiteConfig) -> None:
    finished = open_site(north)
    poisoned = SiteRows(north, finished.rows.plan)
    table, test = finished.rows.table, finished.rows.table.split == TEST
    features = np.where(test[:, None], 120.0 - table.features[::-1], table.features).astype("f4")
    features[:, 2:] = table.features[:, 2:]
    labels = np.where(test[:, None], table.labels[::-1], table.labels).astype("f4")
    poisoned.table = replace(table, features=features, labels=labels)
    (clean, outputs), (spoilt, again) = (
        assess(each, least=10) for each in (finished, replace(finished, rows=poisoned))
    )
    assert outputs.to_bytes() == again.to_bytes()
    assert [e["choice"] for e in clean["tasks"].values()] == [e["choice"] for e in spoilt["tasks"].values()]
    assert all(clean["tasks"][name]["models"] != spoilt["tasks"][name]["models"] for name in clean["tasks"])


def test_it_repeats_bit_for_bit(north: SiteConfig) -> None:
    one, two = (assess(open_site(north), least=10) for _ in range(2))
    assert one[0] == two[0] and one[1].to_bytes() == two[1].to_bytes()


def test_outputs_come_back_as_they_were(north: SiteConfig) -> None:
    _, outputs = assess(open_site(north), least=10)
    again = SiteOutputs.from_bytes(outputs.to_bytes(), source="x")
    assert again.tasks == outputs.tasks and again.model == outputs.model
    assert (again.detector.precision == outputs.detector.precision).all()
    assert {n: m.to_bytes() for n, m in again.further.items()} == {n: m.to_bytes() for n, m in outputs.further.items()}
    for spoilt in (
        b"",
        outputs.to_bytes()[:-5],
        outputs.to_bytes().replace(b"consilium/outputs/1", b"consilium/outputs/9"),
    ):
        with pytest.raises(ModelFileError, match="`consilium site benefit` makes it anew"):
            SiteOutputs.from_bytes(spoilt, source="x")


@pytest.mark.parametrize("name", [OUTPUTS, PAGE, REPORT])
def test_what_cannot_be_written_is_told_before_the_work(
    name: str, north: SiteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assess_module, "assess", lambda *_, **__: pytest.fail("worked before it looked"))
    (north.folder / name).mkdir()
    try:
        with pytest.raises(ConsiliumError, match=rf"{name}: cannot be written: it is not an ordinary file\.$"):
            make(north)
        assert [each for each in (OUTPUTS, PAGE, REPORT) if (north.folder / each).exists()] == [name]
    finally:
        (north.folder / name).rmdir()


def test_the_page_fits_a_narrow_window(north: SiteConfig, made: dict[str, object]) -> None:
    """Each table, and the chart, scrolls in a box of its own, so that the page is never wider than the window."""
    text = (north.folder / PAGE).read_text()
    assert '<meta name="viewport" content="width=device-width' in text
    assert ".wide, figure { overflow-x: auto;" in text
    assert text.count("<table>") == text.count('<div class="wide"><table>') == text.count("</table></div>") >= 3
    assert text.count("<svg") == text.count("<figure><svg") == 2


def test_no_run_yet_and_another_plan_are_one_sentence(tmp_path: Path) -> None:
    sites = run_small(tmp_path, small_plan(training={"rounds": 1}))
    north, south = (load_site(sites / name) for name in ("north", "south"))
    (north.folder / MODEL).unlink()
    with pytest.raises(ConsiliumError, match=r"enc: no such file; a run that came to its end leaves the model there\."):
        make(north)
    assert south.plan is not None
    south.plan.write_bytes(small_plan(training={"rounds": 2}).canonical)
    with pytest.raises(
        ConsiliumError, match=r"plan\.json: is another plan than that of .*enc; benefit looks at the run"
    ):
        make(south)
    assert not any((config.folder / name).exists() for config in (north, south) for name in (REPORT, PAGE, OUTPUTS))


def test_without_validation_rows_nothing_is_chosen(tmp_path: Path) -> None:
    sites = run_small(tmp_path, small_plan(split={"train": 0.75, "validation": 0.0, "test": 0.25}))
    north = load_site(sites / "north")
    report = make(north)
    assert report["notes"] == [NO_VALIDATION]
    for entry in report["tasks"].values():
        assert entry["choice"]["model"] == "federated" and "fine-tuned" not in entry["models"]
        assert entry["joining"]["gain"]["low"] < entry["joining"]["gain"]["high"]
        assert entry["calibration"]["kind"] == "none" and entry["cannot_say"]["reasons"].keys() <= {
            TOO_FEW,
            UNLIKE,
            GAPS,
        }
    assert set(predictions(north, north.files[0], tmp_path)["death.band"]) == {"cannot say"}


def test_a_plan_that_hides_patients_needs_no_noise_here(tmp_path: Path) -> None:
    privacy = {"unit": "patient", "target_epsilon": 8.0, "expected_patients": 600}
    sites = run_small(tmp_path, small_plan(privacy=privacy))
    ledger = (sites / "north" / "ledger.sqlite").read_bytes()
    report = make(load_site(sites / "north"))
    assert (sites / "north" / "ledger.sqlite").read_bytes() == ledger
    assert report["tasks"]["death"]["models"].keys() == {"federated", "fine-tuned", "local"}


def test_small_groups_are_hidden(tmp_path: Path) -> None:
    tables = {name: small_table(i, rows=ROWS).assign(male=0) for i, name in enumerate(SITES)}
    for table in tables.values():
        table.loc[table.index % 40 == 0, "male"] = 1
    features = [{"name": "age", "range": [0, 120], "unit": "a"}, {"name": "male", "kind": "binary"}]
    plan = small_plan(features=features, tasks=[{"name": "death", "label": "died"}])
    groups = make(load_site(run_small(tmp_path, plan, **tables) / "north"))["tasks"]["death"]["subgroups"]
    assert groups["sex"]["groups"] == {"female": {"shown": False}, "male": {"shown": False}}
    seen = [group for group in groups["age"]["groups"].values() if group["shown"]]
    assert seen and all(group["patients"] >= 10 and group["patients"] % 5 == 0 for group in seen)


def test_what_looks_like_a_slip_in_the_table_is_told_beside_the_report(tmp_path: Path) -> None:
    tables = {name: small_table(i, rows=ROWS) for i, name in enumerate(SITES)}
    tables["north"]["sbp"] /= 7.5  # kPa
    sites = run_small(tmp_path, small_plan(training={"rounds": 1}), **tables)
    told = CliRunner().invoke(app, ["site", "benefit", str(sites / "north"), "--json"])
    assert told.exit_code == 0 and json.loads(told.stdout)["site"] == "north"
    assert told.stderr.startswith("warning: sbp: ") and "look like kPa" in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert CliRunner().invoke(app, ["site", "benefit", str(sites / "south")]).stderr == ""
