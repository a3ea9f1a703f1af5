"""A run under patient-level privacy: every thing is asked once, the figures carry their noise, and the page says so."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from html import unescape
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Context, Message
from rich.console import Console

from client.app import app
from client.config import find_sites
from common.model_file import ModelFile
from experiments.simulate import simulate
from server.dashboard.report import page
from server.terminal import result_table
from tests.conftest import small_table
from tests.private import private_plan


@dataclass
class Wire:
    """Counts what each site is asked. lies: (site, kind) -> what becomes of its vector on the way."""

    asked: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    lies: dict[tuple[str, str], Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)

    def __call__(self, message: Message, context: Context) -> Message:
        site, kind = Path(str(context.node_config["site-config"])).parent.name, message.metadata.message_type
        self.asked[site, kind, int(message.content["header"].get("stage", 0))] += 1
        reply = app(message, context)
        if (lie := self.lies.get((site, kind))) is not None:
            vector = lie(reply.content["arrays"]["vector"].numpy())
            reply.content["arrays"] = ArrayRecord({"vector": Array(vector)})
        return reply


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    wire = Wire()
    monkeypatch.setattr("experiments.simulate.app", wire)
    return wire


def _sites(write_sites: Callable[..., Path], rows: int = 300) -> Any:
    names = ("north", "south", "west", "east")
    return find_sites(write_sites(**{name: small_table(seed, rows) for seed, name in enumerate(names)}))


@pytest.mark.parametrize("noise", ["local", "shared"])
def test_survey_and_evaluation_are_asked_once_and_rounds_have_no_metrics(noise, write_sites, tmp_path, wire) -> None:
    plan = private_plan(noise=noise, expected_patients=780)
    result = simulate(plan, _sites(write_sites), tmp_path / "out")
    kinds = {(kind, stage): count for (site, kind, stage), count in wire.asked.items() if site == "north"}
    assert {kinds["query.survey", 1], kinds["evaluate", 2]} == {1}
    assert not {("query.survey", 2), ("evaluate", 0), ("evaluate", 1)} & set(kinds)
    assert kinds["train", 0] == 3 == len(result["history"])
    assert all(entry["tasks"] == {} for entry in result["history"])
    written = json.loads((tmp_path / "out" / "result.json").read_bytes())
    for task in written["tasks"].values():
        assert set(task["pooled"]) - {"n"} <= set(task["noise"]) and "oracle_auroc" not in task
    assert set(written["survey_noise"]) <= {"age", "sbp", "smoker", "stay"}
    model = ModelFile.from_bytes((tmp_path / "out" / "model.safetensors").read_bytes(), source="model")
    assert (model.normaliser.std > 0).all()


def test_page_and_terminal_show_the_noise_and_the_mean_of_sites_is_from_their_own_files(write_sites, tmp_path) -> None:
    result = simulate(private_plan(expected_patients=780), _sites(write_sites), tmp_path / "out")
    text = unescape((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    score, noise = result["tasks"]["death"]["pooled"]["auroc"], result["tasks"]["death"]["noise"]["auroc"]
    assert f"{score:.3f} \u00b1 {noise:.3f}" in text and "no learning curve" in text
    assert "Inputs were scaled by a survey under noise" in text
    console = Console(width=200, file=StringIO())
    console.print(result_table(result, encoding="ascii"))
    shown = " ".join(console.file.getvalue().split())
    assert f"{score:.3f} +- {noise:.3f}" in shown and "no learning curve" in shown
    deployed = result | {"sites": {}}
    deployed["tasks"] = {
        name: {key: value for key, value in task.items() if key not in ("per_site_mean",)} | {"per_site": {}}
        for name, task in result["tasks"].items()
    }
    assert f"{score:.3f} \u00b1 {noise:.3f}" in unescape(page(deployed))
    for task in result["tasks"].values():
        own = [entry for entry in task["per_site"].values() if entry["counted"]]
        measure = "mae" if task["kind"] == "regression" else "auroc"
        assert task["per_site_mean"][measure] == pytest.approx(np.mean([entry[measure] for entry in own]))
        assert task["per_site_mean"]["sites"] == len(own) == 4


@pytest.mark.parametrize(("kind", "number"), [("query.survey", 0), ("evaluate", 4)])
def test_what_no_noise_explains_is_left_out(kind, number, write_sites, tmp_path, wire) -> None:
    wire.lies["west", kind] = lambda vector: vector - 500.0
    plan = private_plan(noise="local", secure=False, expected_patients=780)
    simulate(plan, _sites(write_sites), tmp_path / "out")
    events = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    failed = [(event["site"], event["round"], event["code"]) for event in events if event["event"] == "site_failed"]
    assert failed == [("west", number, "implausible")]
