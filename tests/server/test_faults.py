"""Sites that fail: left out of the round and named; below min_sites the run stops and can go on."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client import work
from client.config import find_sites
from client.release import Update
from common.errors import RunError, TooFewSites
from common.plan import Plan
from experiments.simulate import simulate
from server.journal import EVENTS
from tests.laws.asserts import assert_same_model


def _failing(
    monkeypatch: pytest.MonkeyPatch, when: Callable[[str, int], bool], how: Callable[[Update], Update]
) -> None:
    honest = work.train

    def train(session, request):
        release = honest(session, request)
        return how(release) if when(session.config.name, request.round) else release

    monkeypatch.setattr(work, "train", train)


def _raise(_: Update) -> Update:
    raise RuntimeError("a site's trouble")


def _not_finite(release: Update) -> Update:
    return Update(release.delta * np.nan, release.weights, release.tallies)


def _wrong_length(release: Update) -> Update:
    return Update(release.delta, release.weights, release.tallies[:-1])


def _too_many_rows(release: Update) -> Update:
    return Update(release.delta, release.weights, release.tallies + 1e10)


@pytest.mark.parametrize(
    ("how", "code"),
    [
        (_raise, "site_error"),
        (_not_finite, "update_not_finite"),
        (_wrong_length, "wrong_shape"),
        (_too_many_rows, "implausible"),
    ],
)
def test_site_that_fails_in_a_round_is_left_out_and_named(
    how, code: str, plan: Plan, write_sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _failing(monkeypatch, lambda site, number: site == "south" and number == 2, how)
    result = simulate(plan, find_sites(write_sites()), tmp_path / "out")
    assert [(e["round"], e["sites"], e["failed"]) for e in result["history"]] == [
        (1, 3, {}),
        (2, 2, {"south": code}),
        (3, 3, {}),
        (4, 3, {}),
    ]
    events = [json.loads(line) for line in (tmp_path / "out" / EVENTS).read_text().splitlines()]
    assert {"event": "site_failed", "site": "south", "round": 2, "code": code} in events


def test_too_few_sites_stops_resumably(plan: Plan, write_sites, tmp_path: Path, monkeypatch) -> None:
    sites = find_sites(write_sites())
    simulate(plan, sites, tmp_path / "whole")
    with monkeypatch.context() as broken:
        _failing(broken, lambda site, number: site != "north" and number == 2, _raise)
        with pytest.raises(
            TooFewSites, match=r"round 2: 1 site\(s\) reported, the plan asks for 2 .*south: site_error"
        ):
            simulate(plan, sites, tmp_path / "cut")
    assert not (tmp_path / "cut" / "result.json").exists()
    simulate(plan, sites, tmp_path / "cut", resume=True)
    assert_same_model(tmp_path / "whole" / "model.safetensors", tmp_path / "cut" / "model.safetensors")


def test_step_that_is_not_finite_keeps_the_last_model(make_plan, write_sites, tmp_path: Path) -> None:
    plan = make_plan(aggregation={"strategy": "fedavgm", "server_learning_rate": 1e40, "server_momentum": 0.0})
    with pytest.raises(RunError, match=r"round \d: .*not finite"), np.errstate(over="ignore", invalid="ignore"):
        simulate(plan, find_sites(write_sites()), tmp_path / "out")
    assert not (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize(
    "strategy",
    ["fedavg", "fedprox", "fedavgm", "fedadam", "fedyogi", "fedadagrad", "fedmedian", "fedtrimmedavg", "krum"],
)
def test_every_strategy_trains(strategy: str, make_plan, write_sites, tmp_path: Path) -> None:
    mu = 0.01 if strategy == "fedprox" else 0.0
    plan = make_plan(aggregation={"strategy": strategy, "min_sites": 3}, training={"rounds": 6, "proximal_mu": mu})
    result = simulate(plan, find_sites(write_sites()), tmp_path / "out")
    curve = [entry["tasks"]["death"]["loss"] for entry in result["history"]]
    assert curve[-1] < curve[0]
