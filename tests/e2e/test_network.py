"""A federation of processes behind its gateway: what is killed comes back by itself, and the run ends or pauses."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.config import find_sites
from client.data.synthetic import hospitals, write_hospitals
from common.files import read_plan
from common.plan import Plan
from experiments.simulate import simulate
from tests.e2e.deployed import ROOT, wait_until
from tests.e2e.network import Network, events, running
from tests.laws.asserts import assert_same_model

pytestmark = [pytest.mark.slow, pytest.mark.torture, pytest.mark.xdist_group("flower")]
MODEL, WAIT_S = "model.safetensors", 600.0


def _plan(*settings: str) -> Plan:
    return read_plan(ROOT / "experiments" / "demo.toml", overrides=("aggregation.min_sites=3", *settings))


FIRST = ("training.rounds=10",)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    folder = tmp_path_factory.mktemp("network")
    homes = write_hospitals(folder / "sites", hospitals(4, 5, patients=[150, 120, 100, 90]), seed=5)
    with running(folder, {home.name: home for home in homes}, _plan(*FIRST)) as network:
        yield network


def test_app_superlink_superexec_and_gateway_are_killed_and_the_model_is_the_same(
    network: Network, tmp_path: Path
) -> None:
    out, plan = tmp_path / "run", _plan(*FIRST)
    run = network.run(out)
    _wait_for_rounds(out, 2)
    os.kill(network.app_pid(), signal.SIGKILL)
    _wait_for_rounds(out, 4)
    link = network.pid("superlink")
    os.kill(link, signal.SIGKILL)
    _wait_for_rounds(out, 6)
    assert network.pid("superlink") != link
    for part in ("superexec", "gateway"):
        os.kill(network.pid(part), signal.SIGKILL)

    assert "It goes on from its journal." in network.ends(run)
    assert [event["round"] for event in events(out, "round")] == list(range(1, 11))
    assert all(event["sites"] == 4 for event in events(out, "round"))
    assert json.loads((out / "result.json").read_text())["secure"] is True
    simulate(plan, find_sites(network.folder / "sites"), tmp_path / "here")
    assert_same_model(tmp_path / "here" / MODEL, out / MODEL)


def test_a_site_that_was_away_takes_part_again_and_too_few_sites_pause_the_run(
    network: Network, tmp_path: Path
) -> None:
    gone, other = sorted(network.sites)[:2]
    out, plan = tmp_path / "run", _plan("training.rounds=40", "seeds.training=1")
    network.change_plan(plan)
    run = network.run(out)
    _wait_for_rounds(out, 2)
    network.kill_site(gone)
    wait_until(lambda: _round_with(out, 3), "a round of three sites", WAIT_S)
    network.start_site(gone)
    before = len(events(out, "round"))
    wait_until(lambda: any(e["sites"] == 4 for e in events(out, "round")[before:]), "a round of all four", WAIT_S)

    network.kill_site(gone)
    network.kill_site(other)
    network.stop_run(run)
    paused = network.ends(network.run(out, "--wait-s", 20), status=3)
    assert "The run pauses" in paused and f"--out {out}" in paused
    reached = len(events(out, "round"))
    assert 0 < reached < plan.training.rounds and not (out / "result.json").exists()

    network.start_site(gone)
    network.start_site(other)
    network.ends(network.run(out))
    assert [event["round"] for event in events(out, "round")] == list(range(1, 41))
    assert events(out, "round")[-1]["sites"] == 4


def _wait_for_rounds(out: Path, count: int) -> None:
    wait_until(lambda: len(events(out, "round")) >= count, f"{count} rounds", WAIT_S)


def _round_with(out: Path, sites: int) -> bool:
    return any(event["sites"] == sites for event in events(out, "round"))
