"""Real cases through whole runs: Cleveland's raw code, degrees Fahrenheit; and the study that draws faults."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from client.comparison import UNLIKE
from client.config import find_sites
from client.data.synthetic import hospitals, write_hospitals
from common.files import read_plan
from common.unlike import Finding
from experiments.commit import ROOT
from experiments.simulate import simulate
from experiments.wrong_site.document import Federation, document
from experiments.wrong_site.faults import KINDS, possible
from experiments.wrong_site.flipped import COLUMNS, SITE, as_coded
from experiments.wrong_site.study import Hospitals, Tried

SHORT = ("training.rounds=1",)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_hospitals(folder, hospitals(3, 0, patients=400), seed=0)
    return folder


def _said(out: Path) -> dict[str, list[tuple[str, str]]]:
    files = sorted(out.glob(f"sites/*/{UNLIKE}"))
    return {
        file.parent.name: [(each["column"], each["kind"]) for each in json.loads(file.read_text())["findings"]]
        for file in files
    }


@pytest.mark.parametrize("what", COLUMNS)
def test_clevelands_raw_code_is_caught_before_round_1(what: str, public_data: Path, tmp_path: Path) -> None:
    """Swiss exercise_mets are watts in these tables: the other true finding."""
    hearts, folder = public_data / "fed_heart", tmp_path / "hospitals"
    folder.mkdir()
    for config in find_sites(hearts):
        table = pd.read_csv(config.files[0], dtype=str)
        table = as_coded(table, COLUMNS[what]) if config.name == SITE else table
        table.to_csv(folder / f"{config.name}.csv", index=False)
    plan = read_plan(ROOT / "examples" / "heart.toml", overrides=SHORT)
    result = simulate(plan, find_sites(folder), tmp_path / "out")
    assert result["unlike"]["sites"] == [SITE, "switzerland"] and result["secure"]
    names = {"the label": ["hypertension"], "the input": ["history_of_hypertension"]}
    wanted = [(name, "reversed") for name in names.get(what, ["history_of_hypertension", "hypertension"])]
    said = _said(tmp_path / "out")
    assert said[SITE] == wanted and said["switzerland"] == [("exercise_mets", "range")]
    assert said["hungary"] == said["long_beach"] == []


def test_site_in_fahrenheit_is_caught_and_told_the_unit(demo: Path, tmp_path: Path) -> None:
    """A hospital that records degrees Fahrenheit and forgets to say so; what it says of weight and height is right."""
    folder = tmp_path / "hospitals"
    for site in demo.iterdir():
        if not site.is_dir():
            continue
        (folder / site.name).mkdir(parents=True)
        text = (site / "site.toml").read_text()
        assert ('temperature_c = "degF"' in text) == (site.name == "harbour")
        (folder / site.name / "site.toml").write_text(text.replace('temperature_c = "degF"\n', ""))
        (folder / site.name / "patients.csv").write_bytes((site / "patients.csv").read_bytes())
    plan, warned = read_plan(ROOT / "experiments" / "demo.toml", overrides=SHORT), list[str]()
    result = simulate(plan, find_sites(folder), tmp_path / "out", warn=warned.append)
    assert result["unlike"]["sites"] == ["harbour"]
    assert _said(tmp_path / "out") == {"harbour": [("temperature_c", "range")], "north": [], "valley": []}
    (words,) = result["sites"]["harbour"]["unlike"]
    assert "would fit as [degF]" in words
    (warning,) = [each for each in warned if "temperature_c" in each]
    assert "they look like [degF]" in warning
    assert "[degF]" in (tmp_path / "out" / "report.html").read_text()


def test_clean_demo_raises_nothing_and_every_kind_of_fault_is_possible(demo: Path, tmp_path: Path) -> None:
    three = Hospitals(ROOT / "experiments" / "demo.toml", demo, 5)
    assert three.flags == {"harbour": (), "north": (), "valley": ()}
    random = np.random.default_rng(1)
    tried = {kind: three.attempt(kind, tmp_path, random, innocent=2) for kind in KINDS}
    assert all(one is not None and one.fault.name in three.compared for one in tried.values())
    assert sum(one.named for one in tried.values() if one is not None) >= 4


def test_a_fault_changes_one_column_as_it_says(demo: Path) -> None:
    three = Hospitals(ROOT / "experiments" / "demo.toml", demo, 0)
    frame = three.frame("north")
    for kind in KINDS:
        faults = possible(kind, three.plan, frame)
        assert faults
        for fault in faults:
            changed = fault.of(frame, np.random.default_rng(0))
            assert changed.drop(columns=fault.column).equals(frame.drop(columns=fault.column))
            before, after = (pd.to_numeric(table[fault.column], errors="coerce") for table in (frame, changed))
            assert (before.isna() == after.isna()).all() and not np.allclose(before.dropna(), after.dropna())
            if kind == "permuted":
                assert sorted(before.dropna()) == sorted(after.dropna())
            if kind == "reversed code":
                assert (before.dropna() + after.dropna() == 1).all()
    assert {"[degF]", "K"} <= {fault.words[3:] for fault in possible("unit", three.plan, frame)}


def test_document_says_what_was_caught(demo: Path) -> None:
    three = Hospitals(ROOT / "experiments" / "demo.toml", demo, 0)
    fault = possible("permuted", three.plan, three.frame("north"))[0]
    tried = [Tried(fault, "north", number < 3, number < 3, ("valley",) if number == 0 else ()) for number in range(4)]
    flags = [("valley", Finding("age", "shift", "words"))] * 2
    told = Federation("demo", 3, 20, flags, {kind: tried if kind == "permuted" else [] for kind in KINDS})
    page = document([told], {"both": (19, 1, 20)}, (17, 1, 18), "abc1234", first=600)
    assert "| permuted | 0.75 [0.30, 0.95], n = 4 |" in page and "| permuted | 0.25 [0.05, 0.70], n = 4 |" in page
    assert "| unit | none possible |" in page and "| both | 19 of 20 | 1 of 20 |" in page
    assert "- demo, 20 splits: valley: age (shift) in 2 splits." in page and "abc1234" in page
