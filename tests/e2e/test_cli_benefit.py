"""`simulate --benefit`, `site benefit` and `predict` after it, as a person types them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import tomli_w

from client.at_rest.files import MODEL
from tests.conftest import small_content

VERDICTS = {"helped", "no difference", "hurt", "?"}


def consilium(*arguments: object, width: int = 160) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments", *map(str, arguments)]
    environment = os.environ | {"COLUMNS": str(width)}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)


@pytest.fixture
def federation(tmp_path: Path) -> Path:
    path = tmp_path / "federation.toml"
    path.write_text(tomli_w.dumps(small_content()))
    return path


def test_from_a_run_to_a_page_and_predictions(
    federation: Path, write_sites: Callable[..., Path], tmp_path: Path
) -> None:
    out, sites = tmp_path / "out", write_sites()
    done = consilium("simulate", federation, "--sites", sites, "--out", out, "--benefit")
    assert done.returncode == 0, done.stderr
    assert "What joining did" in done.stdout and done.stdout.index("AUROC") < done.stdout.index("What joining did")
    for site in ("north", "south", "west"):
        report = json.loads((out / "sites" / site / "benefit.json").read_text())
        (line,) = (row for row in done.stdout.splitlines() if row.split() and row.split()[0] == site)
        verdicts = [entry["joining"]["verdict"] for entry in report["tasks"].values()]
        told = [verdict if verdict in VERDICTS else "?" for verdict in verdicts]
        assert line.split() == [site, *" ".join(told).split()]
        assert (out / "sites" / site / "benefit.html").is_file()
    alone = consilium("site", "benefit", out / "sites" / "north")
    assert alone.returncode == 0, alone.stderr
    saved = json.loads((out / "sites" / "north" / "benefit.json").read_text())
    assert all(sentence in alone.stdout for sentence in saved["words"])
    assert json.loads(consilium("site", "benefit", out / "sites" / "north", "--json").stdout) == saved
    predictions = tmp_path / "p.csv"
    told = consilium("predict", out / "sites" / "north" / MODEL, sites / "south.csv", "--out", predictions)
    assert told.returncode == 0 and told.stderr == ""
    assert {"death.band", "stay.set", "triage.reason", "pressure.model"} <= set(pd.read_csv(predictions).columns)


@pytest.mark.parametrize(
    ("site", "words"),
    [
        ("hospitals/north.csv", "a bare table has no model of a run"),
        ("nowhere", "no such file"),
        ("fresh", "model.safetensors.enc: no such file; a run that came to its end leaves the model there."),
    ],
)
def test_what_cannot_be_assessed_is_one_sentence(
    site: str, words: str, write_sites: Callable[..., Path], tmp_path: Path
) -> None:
    write_sites()
    (tmp_path / "fresh").mkdir()
    (tmp_path / "fresh" / "site.toml").write_text(
        '[site]\nname = "fresh"\n[data]\nfiles = ["../hospitals/north.csv"]\n'
    )
    done = consilium("site", "benefit", tmp_path / site)
    assert done.returncode == 2 and words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and "Traceback" not in done.stderr
