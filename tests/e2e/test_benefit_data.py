"""The benefit report on real hospitals' data and on the demo's, from the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from client.at_rest.files import MODEL
from client.benefit.answers import UNLIKE
from client.benefit.conformal import binomial_interval

ROOT = Path(__file__).parents[2]


def consilium(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments", *map(str, arguments)]
    environment = os.environ | {"COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done


def _reports(out: Path) -> dict[str, dict[str, Any]]:
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(out.glob("sites/*/benefit.json"))}


def _check_coverage(reports: dict[str, dict[str, Any]]) -> None:
    """Over all hospitals and tasks together; each alone has few patients, and its own interval in the report."""
    sets = [e["conformal"] for r in reports.values() for e in r["tasks"].values() if "covered" in e["conformal"]]
    patients = sum(each["patients"] for each in sets)
    hits = round(sum(each["covered"] * each["patients"] for each in sets))
    assert hits / patients > 0.85, binomial_interval(hits, patients)


def _predicted(out: Path, site: str, table: Path, tmp_path: Path) -> pd.DataFrame:
    consilium("predict", out / "sites" / site / MODEL, table, "--out", tmp_path / "p.csv")
    return pd.read_csv(tmp_path / "p.csv", keep_default_na=False)


@pytest.mark.data
@pytest.mark.slow
def test_heart(public_data: Path, tmp_path: Path) -> None:
    out, sites = tmp_path / "run", public_data / "fed_heart"
    done = consilium("simulate", ROOT / "examples" / "heart.toml", "--sites", sites, "--out", out, "--benefit")
    reports = _reports(out)
    assert list(reports) == ["cleveland", "hungary", "long_beach", "switzerland"]
    assert all(site in done.stdout for site in reports)
    _check_coverage(reports)
    for report in reports.values():
        assert report["words"] and len(report["tasks"]) == 6
        for entry in report["tasks"].values():
            for grouping in entry["subgroups"].values():
                assert all(g["patients"] >= 10 for g in grouping["groups"].values() if g["shown"])
    assert "sex" in reports["cleveland"]["tasks"]["heart_disease"]["subgroups"]


@pytest.mark.slow
def test_demo_hospitals_and_a_table_that_went_wrong(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "run"
    consilium("synthetic", "--out", data, "--seed", 3)
    quick = ("--set", "training.rounds=8", "--set", "aggregation.secure=false")
    consilium("simulate", data / "federation.toml", "--sites", data, "--out", out, "--benefit", "--seed", 3, *quick)
    reports = _reports(out)
    assert len(reports) == 3
    _check_coverage(reports)
    site, folder = next(iter(reports)), sorted(path.parent for path in data.glob("*/site.toml"))[0]
    usual = _predicted(out, site, folder, tmp_path)
    assert (usual["diabetes.reason"] == UNLIKE).mean() < 0.05
    (table,) = (
        path for path in folder.iterdir() if path.suffix in (".csv", ".parquet") or path.name.endswith(".csv.gz")
    )
    rows = pd.read_csv(table) if ".csv" in table.name else pd.read_parquet(table)
    numeric = rows.select_dtypes("number").columns
    shifted = rows.copy()
    shifted[numeric] = rows[numeric] + 2.5 * rows[numeric].std()
    copy = tmp_path / "shifted"
    copy.mkdir()
    (copy / "site.toml").write_text((folder / "site.toml").read_text())
    shifted.to_csv(copy / table.name, index=False)
    assert (_predicted(out, site, copy, tmp_path)["diabetes.reason"] == UNLIKE).mean() > 0.3
