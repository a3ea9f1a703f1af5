"""Experiments from one file: what is run, what is refused, and that a kill at any instant loses nothing."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import tomli_w
from typer.testing import CliRunner

from common.errors import ConsiliumError, RunError
from experiments.cli import app
from experiments.commit import ROOT
from experiments.sweep.cells import cells_of
from experiments.sweep.figures import FAILED, MEAN, finished
from experiments.sweep.sweep import Sweep
from experiments.sweep.table import TABLE, means, table_of
from tests.conftest import small_content

FILE = """
title = "Two clip norms"
federation = "{plan}"
seeds = [0, 1]
set = {{ "training.rounds" = 1 }}
[synthetic]
sites = 3
patients = 60
[grid]
"aggregation.clip_norm" = [0.1, 1.0]
"""
DEADLINE_S = 180.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(FILE.format(plan=ROOT / "experiments" / "demo.toml"))
    return path


def begun(file: Path, out: Path, command: str) -> subprocess.Popen[bytes]:
    """`consilium experiment` in a process group of its own."""
    arguments = ["experiment", command, str(file), "--out", str(out), "--processes", "2"]
    return subprocess.Popen(
        [sys.executable, "-m", "experiments", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.torture)])
def test_killed_at_any_instant_it_ends_with_the_same_table(kills: int, file: Path, tmp_path: Path) -> None:
    """Only the sweep is killed, its workers have to end by themselves; what was finished is not made again."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    first = begun(file, whole, "run")
    assert first.wait(DEADLINE_S) == 0, first.communicate()[0]
    points, command = random.Random(8), "run"
    kept: dict[Path, int] = {}
    for _ in range(kills):
        process = begun(file, cut, command)
        until = time.monotonic() + points.uniform(0.0, 6.0)
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait(DEADLINE_S)
        command = "resume" if (cut / "experiment.toml").exists() else "run"
        now = {path: path.stat().st_mtime_ns for path in (cut / "cells").glob("*.json")}
        assert kept.items() <= now.items()
        kept = now
    last = begun(file, cut, command)
    assert last.wait(DEADLINE_S) == 0, last.communicate()[0]
    assert (cut / TABLE).read_bytes() == (whole / TABLE).read_bytes()
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())


def test_workers_of_a_killed_sweep_end(file: Path, tmp_path: Path) -> None:
    process = begun(file, tmp_path / "out", "run")
    until = time.monotonic() + DEADLINE_S
    while not list((tmp_path / "out").glob("work/*/run/plan.json")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(DEADLINE_S)
    while True:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        assert time.monotonic() < until
        time.sleep(0.05)
    Sweep(tmp_path / "out", tuple(cells_of(file, tmp_path)[1]), file).claim(resume=True)


def test_the_table_has_each_figure_once_and_says_where_it_is_from(file: Path, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["experiment", "run", str(file), "--out", str(tmp_path / "out")])
    assert found.exit_code == 0, found.output
    frame = pd.read_parquet(tmp_path / "out" / TABLE)
    assert not frame.duplicated(["cell", "subject", "measure"]).any() and frame["cell"].nunique() == 4
    one = frame[(frame["subject"] == MEAN) & (frame["measure"] == "auroc")]
    tasks = frame[(frame["measure"] == "auroc") & (frame["subject"] != MEAN)]
    for cell, of in tasks.groupby("cell")["value"]:
        assert one.set_index("cell")["value"][cell] == pytest.approx(of.mean())
    about = pq.read_schema(tmp_path / "out" / TABLE).metadata[b"consilium"]
    assert b"code_sha256" in about and b"torch" in about
    each = means(frame, ("aggregation.clip_norm",), judged_per_trained=0.0)
    of_mean = each[(each["subject"] == MEAN) & (each["measure"] == "auroc")]
    assert of_mean["n"].tolist() == [2, 2] and (of_mean["low"] < of_mean["mean"]).all()
    assert of_mean["mean"].iloc[0] == pytest.approx(one["value"].iloc[:2].mean())


def test_an_address_follows_from_what_the_figures_follow_from(file: Path, tmp_path: Path) -> None:
    _, cells = cells_of(file, tmp_path)
    assert len({cell.address for cell in cells}) == 4
    assert [cell.address for cell in cells] == [cell.address for cell in cells_of(file, tmp_path)[1]]
    file.write_text(file.read_text().replace("[0, 1]", "[1, 2]").replace("Two", "Other"))
    kept = {cell.address for cell in cells if cell.seed == 1}
    assert {cell.address for cell in cells_of(file, tmp_path)[1]} & {cell.address for cell in cells} == kept
    file.write_text(file.read_text().replace("patients = 60", "patients = 61"))
    assert not {cell.address for cell in cells_of(file, tmp_path)[1]} & {cell.address for cell in cells}


def test_the_hospitals_can_be_varied_too(file: Path, tmp_path: Path) -> None:
    file.write_text(file.read_text().replace('"aggregation.clip_norm" = [0.1, 1.0]', '"synthetic.sites" = [3, 4]'))
    out = tmp_path / "out"
    found = CliRunner().invoke(app, ["experiment", "run", str(file), "--out", str(out), "--processes", "1"])
    assert found.exit_code == 0, found.output
    frame = pd.read_parquet(out / TABLE)
    run = frame[(frame["subject"] == "run") & (frame["measure"] == "site_count")]
    assert run["value"].tolist() == [3.0, 3.0, 4.0, 4.0] and run["synthetic.sites"].tolist() == ["3", "3", "4", "4"]


def test_addresses_of_tables_follow_from_their_bytes_and_not_from_their_place(write_sites, tmp_path: Path) -> None:
    path = tmp_path / "tables.toml"
    text = 'title = "t"\nfederation = "{}"\nsites = "{}"\nseeds = [0]\n'

    (tmp_path / "plan.toml").write_text(tomli_w.dumps(small_content()))
    folder = write_sites()
    path.write_text(text.format("plan.toml", folder.name))
    (before,) = cells_of(path, tmp_path)[1]
    folder.rename(tmp_path / "moved")
    path.write_text(text.format("plan.toml", "moved"))
    (moved,) = cells_of(path, tmp_path)[1]
    table = next((tmp_path / "moved").glob("*.csv"))
    table.write_text(table.read_text() + "\n")
    (changed,) = cells_of(path, tmp_path)[1]
    assert before.address == moved.address != changed.address


def test_what_cannot_be_run_is_an_outcome_of_its_cell(file: Path, tmp_path: Path) -> None:
    file.write_text(file.read_text().replace("[0.1, 1.0]", "[1.0]").replace("sites = 3", "sites = 2"))
    out = tmp_path / "out"
    found = CliRunner().invoke(app, ["experiment", "run", str(file), "--out", str(out), "--processes", "1"])
    assert found.exit_code == 0, found.output
    experiment, cells = cells_of(file, tmp_path)
    frame = table_of(out, experiment, cells)
    assert set(frame["subject"]) == {FAILED} and len(frame) == 2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds = [0, 1]", "seeds = []", "'seeds' is [], but at least 1 entry is needed"),
        ("seeds = [0, 1]", "seeds = [0, 0]", "seeds holds a seed twice"),
        ("[synthetic]", 'sites = "x"\n[synthetic]', "exactly one of 'sites', [synthetic] and [partition]"),
        ("[0.1, 1.0]", "[0.1, -1.0]", "aggregation.clip_norm -1.0: "),
        ("clip_norm", "clip_size", "clip_size"),
        ("aggregation.clip_norm", "partition.sites", "there is no [partition] of which a key could be set"),
        ('"aggregation.clip_norm" = [0.1, 1.0]', '"synthetic.sites" = [3, 0]', "synthetic.sites 0: 'sites' is 0, but"),
        ("[grid]", "[grids]", "unknown key 'grids'; docs/research.md lists the keys"),
        ("title =", "title", "not valid TOML"),
        ("demo.toml", "nothing.toml", "nothing.toml"),
    ],
)
def test_a_file_that_is_wrong_is_one_sentence(old: str, new: str, words: str, file: Path, tmp_path: Path) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(ConsiliumError) as error:
        cells_of(file, tmp_path)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_folders_are_not_mixed_up(file: Path, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "out", tuple(cells_of(file, tmp_path)[1]), file)
    with pytest.raises(RunError, match="holds no experiment"):
        sweep.claim(resume=True)
    sweep.claim(resume=False)
    with pytest.raises(RunError, match="holds an experiment"):
        sweep.claim(resume=False)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        Sweep(tmp_path / "full", sweep.cells, file).claim(resume=False)
    assert all(finished(tmp_path / "out", cell) is None for cell in sweep.cells)
