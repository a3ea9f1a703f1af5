"""The fault table: what is killed, paused or cut off, what the run says, and that nothing is lost or counted twice.

Each cell is one run of a federation of processes behind its gateway; `make torture` plays all of them and writes
runs/torture/faults.md. CONSILIUM_FAULTS=N:SEED plays N of the cells that end within a minute and a half.
"""

import os
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from client.data.synthetic import hospitals, write_hospitals
from common.files import read_plan
from common.plan import Plan
from tests.e2e.books import assert_books, assert_model_of_one_process, assert_rounds, paid_again
from tests.e2e.coordinator_faults import run_killed, serve_killed
from tests.e2e.deployed import ROOT
from tests.e2e.faults import CUT, KILL, PARTS, PAUSE, ROUNDS, TARGETS, Faulty, Play, all_sites_killed, fault
from tests.e2e.network import events
from tests.e2e.site_faults import OFF_S, SMALL_DISK, clock_off, full_disk, small_disk

pytestmark = [pytest.mark.slow, pytest.mark.torture, pytest.mark.xdist_group("flower")]
SAMPLE = "CONSILIUM_FAULTS"
CELLS: dict[str, Callable[[Play], None]] = {
    **{f"{KILL}-{target}": partial(fault, kind=KILL, target=target) for target in TARGETS},
    "all-sites-killed": all_sites_killed,
    **{f"{CUT}-{target}": partial(fault, kind=CUT, target=target) for target in TARGETS},
    "disk-full": full_disk,
    "clock-ahead": partial(clock_off, seconds=OFF_S),
    "clock-behind": partial(clock_off, seconds=-OFF_S),
    **{f"{PAUSE}-{target}": partial(fault, kind=PAUSE, target=target) for target in TARGETS},
    f"{KILL}-serve": serve_killed,
    f"{KILL}-run": run_killed,
}
DEADLINE_S = 60
"""Of one exchange, in the plan: a message that is lost on the way costs so much, not the ten minutes of the default."""
QUICK = tuple(f"{KILL}-{part}" for part in PARTS)
NUMBERS = {name: number for number, name in enumerate(CELLS)}


def _plan(number: int) -> Plan:
    """A plan of its own for each cell: no site opens two sums of the same model."""
    rules = ("aggregation.min_sites=3", f"aggregation.round_timeout_s={DEADLINE_S}")
    settings = (f"training.rounds={ROUNDS}", *rules, f"seeds.training={number}")
    return read_plan(ROOT / "experiments" / "demo.toml", overrides=settings)


def _chosen() -> list[str]:
    count, _, seed = os.environ.get(SAMPLE, "").partition(":")
    return random.Random(seed).sample(QUICK, int(count)) if count else list(CELLS)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    folder = tmp_path_factory.mktemp("faults")
    with small_disk(folder / "sites" / SMALL_DISK):
        homes = write_hospitals(folder / "sites", hospitals(3, 5, patients=[150, 120, 100]), seed=5)
        network = Faulty(folder, {home.name: home for home in homes})
        try:
            network.enrol(_plan(len(CELLS)))
            network.serve()
            for site in network.sites:
                network.start_site(site)
            yield network
        finally:
            network.stop()


@pytest.mark.parametrize("cell", _chosen())
def test_a_fault_loses_nothing(
    cell: str, network: Faulty, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    plan, out = _plan(NUMBERS[cell]), tmp_path / "run"
    network.change_plan(plan)
    play = Play(network, plan, out)
    try:
        CELLS[cell](play)
    finally:
        play.give_up()
        record_property("cell", cell)
        record_property("told", " / ".join(play.told) or "-")
        record_property("rounds", play.rounds())
        record_property("seconds", round(play.seconds))
        record_property("next round after", round(play.again_s - play.struck_s) if play.again_s else "-")
        failed = {f"{event['site']}: {event['code']}" for event in events(out, "site_failed")}
        record_property("failed", ", ".join(sorted(failed)) or "-")
        record_property("paid again", paid_again(network, plan))
        record_property("ended", "finished" if (out / "result.json").exists() else "NOT FINISHED")
    assert_rounds(out, plan, sites=len(network.sites))
    assert_books(network, plan)
    assert_model_of_one_process(network, plan, out, tmp_path / "here")
    record_property("model", "the same bits")
