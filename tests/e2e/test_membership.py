"""Hospitals that have not approved, that join late, or that leave: a federation of processes behind its gateway."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.data.synthetic import hospitals, write_hospitals
from common.files import read_plan
from common.plan import Plan
from server.network.drive import APP, Drive, Paused
from server.network.home import load_home
from tests.e2e.deployed import ROOT, wait_until
from tests.e2e.membership import (
    WAIT_S,
    Credentials,
    apply,
    approve,
    assert_books_are_whole,
    next_roster,
    offer,
    records,
    wait_for_rounds,
)
from tests.e2e.network import Network, events, running
from tests.e2e.processes import child

pytestmark = [pytest.mark.slow, pytest.mark.torture, pytest.mark.xdist_group("flower")]
of_three = pytest.mark.parametrize("network", [3], indirect=True)
of_four = pytest.mark.parametrize("network", [4], indirect=True)
SEEDS = iter(range(100))


@pytest.fixture(scope="module")
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """So many hospitals, enrolled and connected. The folder of a fourth is there in any case."""
    folder = tmp_path_factory.mktemp("membership")
    homes = write_hospitals(folder / "sites", hospitals(4, 5, patients=[150, 120, 100, 90]), seed=5)
    with running(folder, {home.name: home for home in homes[: request.param]}, _plan(1)) as network:
        yield network


def _plan(rounds: int, *more: str) -> Plan:
    """Another one at each call: sums over three hospitals or more."""
    settings = (f"training.rounds={rounds}", f"seeds.training={next(SEEDS)}", "aggregation.min_sites=3", *more)
    return read_plan(ROOT / "experiments" / "demo.toml", overrides=settings)


@of_four
def test_one_of_four_has_not_approved_the_plan_and_the_others_go_on(network: Network, tmp_path: Path) -> None:
    *others, doubter = network.sites
    out, plan = tmp_path / "run", _plan(3)
    offer(network, plan, approved_by=tuple(others))
    network.ends(network.run(out))

    assert all(event["sites"] == 3 for event in events(out, "round"))
    assert {event["code"] for event in events(out, "site_failed")} == {"plan_not_approved"}
    _assert_nothing_but_refusals(network, doubter, plan, "plan_not_approved")
    assert_books_are_whole(network, plan, out, took_part=tuple(others))


@of_four
def test_a_hospital_whose_worker_hangs_costs_one_deadline_in_all(network: Network, tmp_path: Path) -> None:
    """Its node is connected all the time. The others are not asked again on its account."""
    *others, hung = network.sites
    out, plan = tmp_path / "run", _plan(6, "aggregation.round_timeout_s=15")
    offer(network, plan, approved_by=tuple(network.sites))
    worker = child(network.pids[hung], b"client.network.worker")
    assert worker is not None
    os.kill(worker, signal.SIGSTOP)
    try:
        network.ends(network.run(out))
    finally:
        os.kill(worker, signal.SIGCONT)
    failed = [(event["site"], event["code"]) for event in events(out, "site_failed")]
    assert failed == [(hung, "no_answer_in_time")] and not events(out, "resumed")
    for site in others:
        asked = [receipt["step"]["kind"] for receipt in records(network, site, plan)]
        assert asked.count("query.declare") == 1
    assert_books_are_whole(network, plan, out, took_part=tuple(others))


@of_four
def test_an_app_that_is_not_ours_is_shipped_and_does_nothing(network: Network, tmp_path: Path) -> None:
    *others, doubter = network.sites
    plan, came_in = _plan(3), tmp_path / "came_in"
    offer(network, plan, approved_by=tuple(network.sites))
    foreign = Path(shutil.copytree(APP, tmp_path / "flower_app"))
    with open(foreign / "consilium_app" / "client_app.py", "a") as stub:
        stub.write(f"\nopen({str(came_in)!r}, 'w').close()\n")

    home, said, told = load_home(network.home), [], []
    drive = Drive(home, plan, tmp_path / "foreign", said.append, told.append, 20.0, foreign)
    with pytest.raises(Paused, match="app_not_approved"):
        drive.run()
    for site in network.sites:
        _assert_nothing_but_refusals(network, site, plan, "app_not_approved")

    # A hospital with another release of the stub: to it, ours is the foreign one.
    network.consilium("site", "stop", network.sites[doubter])
    network.start_site(doubter, "--app", foreign)
    out = tmp_path / "ours"
    network.ends(network.run(out))
    assert {event["code"] for event in events(out, "site_failed")} == {"app_not_approved"}
    assert all(event["sites"] == 3 for event in events(out, "round"))
    _assert_nothing_but_refusals(network, doubter, plan, "app_not_approved")
    assert_books_are_whole(network, plan, out, took_part=tuple(others))
    assert not came_in.exists()
    network.consilium("site", "stop", network.sites[doubter])
    network.start_site(doubter)


@of_four
def test_a_hospital_leaves_and_the_others_go_on(network: Network, tmp_path: Path) -> None:
    *others, leaver = network.sites
    out, plan, gone = tmp_path / "run", _plan(12), network.sites[leaver]
    offer(network, plan, approved_by=tuple(network.sites))
    copied = Credentials.of(gone, tmp_path)
    run = network.run(out)
    wait_for_rounds(out, 2, sites=4)
    network.consilium("site", "leave", gone, "--confirm", leaver)
    assert copied.status() != 403
    proposed = network.consilium("server", "enrol", network.home, "--leaves", leaver)
    wait_until(lambda: copied.status() == 403, "the gateway's refusal", WAIT_S)
    network.consilium("site", "start", gone, status=2)
    network.ends(run)
    assert events(out, "round")[-1]["sites"] == 3
    assert_books_are_whole(network, plan, out, took_part=tuple(others))

    next_roster(network, proposed, signers=tuple(others))
    again, plan = tmp_path / "again", _plan(2)
    del network.sites[leaver]
    offer(network, plan, approved_by=tuple(others))
    network.ends(network.run(again))
    assert_books_are_whole(network, plan, again, took_part=tuple(others))


@of_three
def test_one_of_three_has_not_approved_and_the_run_pauses_until_it_does(network: Network, tmp_path: Path) -> None:
    *others, doubter = network.sites
    out, plan = tmp_path / "run", _plan(3)
    offer(network, plan, approved_by=tuple(others))
    paused = network.ends(network.run(out, "--wait-s", 20), status=3)
    assert "The run pauses" in paused and "plan_not_approved" in paused.splitlines()[-1]
    assert not events(out, "round")
    _assert_nothing_but_refusals(network, doubter, plan, "plan_not_approved")

    approve(network, plan, doubter)
    network.ends(network.run(out))
    assert_books_are_whole(network, plan, out, took_part=tuple(network.sites))


@of_three
def test_a_fourth_hospital_joins_in_the_middle_of_a_study(network: Network, tmp_path: Path) -> None:
    first = tuple(network.sites)
    out, plan = tmp_path / "run", _plan(60)
    offer(network, plan, approved_by=first)
    run = network.run(out)
    wait_for_rounds(out, 2)
    (newcomer,) = {home.name: home for home in (network.folder / "sites").iterdir() if home.name not in first}.items()
    proposed = network.consilium("server", "enrol", network.home, apply(network, *newcomer))
    next_roster(network, proposed, signers=first, joins=(newcomer[0],))
    approve(network, plan, newcomer[0])
    network.start_site(newcomer[0])
    wait_until(lambda: any(event["sites"] == 4 for event in events(out, "round")), "a round of all four", WAIT_S)

    network.ends(run)
    assert [event["site"] for event in events(out, "site_joined")] == [newcomer[0]]
    assert events(out, "round")[-1]["sites"] == 4
    assert_books_are_whole(network, plan, out, took_part=tuple(network.sites))


def _assert_nothing_but_refusals(network: Network, site: str, plan: Plan, code: str) -> None:
    """Under this plan the hospital has refused, with this code and in its log, and released nothing."""
    assert {receipt["code"] for receipt in records(network, site, plan)} == {code}
    assert not records(network, site, plan, "entry")
    log = (network.sites[site] / "site.log").read_text()
    assert f"refused query.declare: {code}: " in log
