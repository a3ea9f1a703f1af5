"""Unit 'hospital' with real sites: refused or warned of with two numbers where few take part; learns where many do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from typer.testing import CliRunner

from client.config import find_sites, load_site
from client.ledger.file import LEDGER
from client.ledger.reading import read_receipts
from common.errors import RunError
from common.plan import Plan, plan_from_dict
from common.privacy.hospital import REFUSED, noise_and_signal
from experiments.cli import app
from experiments.simulate import simulate
from tests.conftest import small_content, small_table
from tests.secure import Federation

Build = Callable[..., Federation]
CLIP = 0.5


def _hospital(ratio: float, make_plan: Callable[..., Plan]) -> dict[str, Any]:
    """Sections of the small plan for which the noise over three sites is `ratio` times as long as the signal."""
    sums = {"secure": True, "min_sites": 3, "clip_norm": CLIP}
    rules = {"unit": "hospital", "noise": "shared", "noise_multiplier": 1.0}
    noise, signal = noise_and_signal(make_plan(aggregation=sums, privacy=rules), 3)
    return {"aggregation": sums, "privacy": rules | {"noise_multiplier": ratio * signal / noise}}


def _events(federation: Federation) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (federation.out / "events.jsonl").read_text().splitlines()]


def _told(plan: Plan) -> tuple[str, str]:
    noise, signal = noise_and_signal(plan, 3)
    return f"over 3 sites has a norm of about {noise:.3g}", f"updates together have at most {signal:.3g}"


def test_noise_that_drowns_the_updates_is_refused_before_anything_is_asked(federation: Build, make_plan) -> None:
    three = federation(3, **_hospital(1.01 * REFUSED, make_plan))
    with pytest.raises(RunError) as refused:
        three.run()
    assert all(words in str(refused.value) for words in _told(three.plan))
    assert "unit = 'patient' works with few sites" in str(refused.value)
    kinds = [event["event"] for event in _events(three)]
    assert "run_started" in kinds and not {"survey", "round", "warning"} & set(kinds)
    for site in three.sites:
        receipts = read_receipts(load_site(three.sites[site]).folder / LEDGER)
        assert [receipt["step"]["kind"] for receipt in receipts] == ["query.declare", "query.cards"]


@pytest.mark.parametrize(("ratio", "warned"), [(1.01, True), (0.9 * REFUSED, True), (0.99, False)])
def test_noise_above_the_signal_is_warned_of_with_both_numbers(federation: Build, make_plan, ratio, warned) -> None:
    three = federation(3, **_hospital(ratio, make_plan))
    three.run()
    warnings = [event["text"] for event in _events(three) if event["event"] == "warning"]
    assert len(warnings) == warned
    for text in warnings:
        assert all(words in text for words in _told(three.plan)) and "mostly noise" in text


@pytest.mark.parametrize(
    ("ratio", "words"), [(0.99, ""), (1.01, "A single round's step is mostly noise."), (11.0, "nothing can be learnt")]
)
def test_plan_show_has_the_numbers_for_the_smallest_sum(make_plan, tmp_path: Path, ratio: float, words: str) -> None:
    sections = _hospital(ratio, make_plan)
    file = tmp_path / "federation.toml"
    file.write_text(tomli_w.dumps(small_content() | sections), encoding="utf-8")
    shown = CliRunner().invoke(app, ["plan", "show", str(file)])
    assert shown.exit_code == 0, shown.output
    assert "What hides a hospital's updates: noise, with epsilon = " in shown.stdout
    told = _told(make_plan(**sections))
    assert all((number in shown.stdout) == bool(words) for number in told) and words in shown.stdout


@pytest.mark.slow
def test_many_hospitals_learn_under_noise_that_hides_each(tmp_path: Path) -> None:
    """32 sites with 60 rows each, one task, an epsilon below 10: noise a third as long as all updates may be."""
    sites, content = 32, small_content()
    content |= {"tasks": content["tasks"][:1], "model": {"hidden": [4]}}
    content["training"] = {"rounds": 3, "batch_size": 16, "learning_rate": 0.5}
    content["aggregation"] = {"secure": True, "min_sites": sites, "clip_norm": 1.0}
    content["privacy"] = {"unit": "hospital", "noise": "shared", "noise_multiplier": 1.0}
    plan = plan_from_dict(content, source="many")
    hospitals = tmp_path / "hospitals"
    hospitals.mkdir()
    for seed in range(sites):
        small_table(seed, 60).to_csv(hospitals / f"s{seed:02d}.csv", index=False)
    result = simulate(plan, find_sites(hospitals), tmp_path / "out")
    assert [entry["sites"] for entry in result["history"]] == [sites] * 4
    assert result["privacy"]["epsilon"] < 10.0
    noise, signal = noise_and_signal(plan, sites)
    assert noise / signal == pytest.approx(0.31, abs=0.01)
    assert result["tasks"]["death"]["pooled"]["auroc"] > 0.75
    assert np.isfinite(result["tasks"]["death"]["pooled"]["loss"])
