"""A hospital that has no label of a task, or no test row of it: nothing is made up, and nothing fails."""

from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console

from client.at_rest.files import MODEL
from client.benefit.answers import TOO_FEW
from client.benefit.assess import NONE_HERE
from client.benefit.cli import _table as table_of
from client.benefit.cli import make
from client.config import load_site
from client.data.split import split_by_hash
from client.predict import predict_file
from client.site_rows import TEST, VALIDATION
from tests.client.benefit.conftest import ROWS, SITES, run_small
from tests.conftest import small_plan, small_table


def test_tasks_without_labels_and_tasks_that_were_left_out(tmp_path: Path) -> None:
    tables = {name: small_table(i, rows=ROWS) for i, name in enumerate(SITES)}
    tables["north"] = tables["north"].drop(columns="died")
    tables["north"]["days"] = np.where(np.arange(ROWS) < 15, tables["north"]["days"], np.nan)  # too few to learn alone
    for name in ("south", "west"):
        tables[name] = tables[name].drop(columns="sbp_class")
    sites = run_small(tmp_path, small_plan(), **tables)
    north = load_site(sites / "north")
    report = make(north)
    assert report["left_out"] == ["pressure"] and set(report["tasks"]) == {"death", "stay", "triage"}
    assert report["notes"] == ["The federation left pressure out, so there is nothing to compare."]
    death, stay = report["tasks"]["death"], report["tasks"]["stay"]
    assert death["test_rows"] == 0 and death["joining"]["verdict"] == "cannot be said"
    assert "auroc" not in death["models"].get("local", {}) and death["subgroups"] == {}
    assert "too few training rows for a model of its own" in stay["joining"]["why"] and "local" not in stay["models"]
    words = "Whether joining helped death cannot be said: of the test rows, none has a label."
    assert words in report["words"] and "0 of 0" not in str(report)
    assert death["cannot_say"] == {"reasons": {}} and death["choice"]["why"].endswith("to choose on: none has a label.")
    shown = Console(width=200, file=StringIO())
    shown.print(table_of(report))
    (line,) = (line for line in shown.file.getvalue().splitlines() if line.split()[:1] == ["death"])
    assert line.split()[-1] == "-"
    predict_file(north.folder / MODEL, north.files[0], tmp_path / "p.csv", probabilities=False)
    found = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    assert not [column for column in found.columns if column.startswith("pressure")]
    assert (found["death.reason"] == TOO_FEW).mean() > 0.9 and found["death"].between(0, 1).all()
    assert "<svg" in (north.folder / "benefit.html").read_text()


def test_a_hospital_without_test_rows_still_gets_its_outputs(tmp_path: Path) -> None:
    plan = small_plan(split={"split_column": "part"})
    tables = {}
    for i, name in enumerate(SITES):
        parts = np.array(["train", "validation", "test"])[np.arange(ROWS) % 3]
        tables[name] = small_table(i, rows=ROWS).assign(part=parts)
    tables["north"].loc[tables["north"]["part"] == "test", "part"] = "train"
    north = load_site(run_small(tmp_path, plan, **tables) / "north")
    report = make(north)
    assert report["patients"][("train", "validation", "test")[TEST]] == 0
    assert {entry["joining"]["verdict"] for entry in report["tasks"].values()} == {"cannot be said"}
    predict_file(north.folder / MODEL, north.files[0], tmp_path / "p.csv", probabilities=False)
    assert (pd.read_csv(tmp_path / "p.csv", keep_default_na=False)["death.reason"] == "").any()


def test_a_hospital_that_alone_has_no_validation_rows_is_not_told_that_the_plan_keeps_none(tmp_path: Path) -> None:
    plan = small_plan(training={"rounds": 1})
    tables = {name: small_table(i, rows=ROWS) for i, name in enumerate(SITES)}
    sets = split_by_hash(tables["north"]["patient"].to_numpy(dtype=str), plan)
    tables["north"] = tables["north"][sets != VALIDATION]
    sites = run_small(tmp_path, plan, **tables)
    report = make(load_site(sites / "north"))
    assert report["notes"] == [NONE_HERE] and report["patients"]["validation"] == 0
    assert {entry["choice"]["model"] for entry in report["tasks"].values()} == {"federated"}
    assert make(load_site(sites / "south"))["notes"] == []
