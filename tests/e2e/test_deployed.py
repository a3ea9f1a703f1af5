"""A deployed federation with secure sums, for real: TLS, keys, processes, commands; it gives the in-process model."""

import contextlib
import hashlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from client.at_rest.key import vaulted
from client.config import find_sites, load_site
from client.data.synthetic import hospitals, write_hospitals
from client.ledger.file import LEDGER
from client.ledger.reading import read_receipts
from client.secure.store import STORE
from common.files import read_plan
from common.plan import Plan
from experiments.simulate import simulate
from server.journal import EVENTS
from tests.e2e.deployed import ROOT, RUN_S, Federation, running, wait_until
from tests.e2e.recording_runner import sent
from tests.laws.asserts import assert_same_model
from tests.wire import assert_receipts_are_what_passed

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("flower")]
SITES, MODEL = ("north", "harbour", "valley"), "model.safetensors"
# The first bytes of every report are masked entries. With 255 degrees of freedom chance exceeds 400 once in 10^8.
WINDOW, MOST_CHI_SQUARE = 8192, 400.0


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    folder = tmp_path_factory.mktemp("deployed")
    homes = write_hospitals(folder / "sites", hospitals(3, 5, patients=[150, 120, 100]), seed=5)
    for home in homes:
        text = (home / "site.toml").read_text()
        (home / "site.toml").write_text(text.replace("[site]\n", '[site]\nplan = "plan.json"\n', 1))
    with running(folder, {home.name: home for home in homes}, recorded=("north",)) as federation:
        yield federation


def _plan(*settings: str) -> Plan:
    return read_plan(ROOT / "experiments" / "demo.toml", overrides=settings)


def _in_process(federation: Federation, plan: Plan, out: Path) -> Path:
    """The same plan and tables in this process; its virtual sites are in out/sites."""
    simulate(plan, find_sites(federation.folder / "sites"), out)
    return out


def test_commands_and_processes_give_the_in_process_model(federation: Federation, tmp_path: Path) -> None:
    plan = _plan("training.rounds=3")
    federation.approve(plan)
    run = federation.begin_run(tmp_path / "run")
    for home in federation.sites.values():
        _assert_random(wait_until(lambda home=home: _last_report(home), "a report in the store", RUN_S), home)
    assert federation.end_of(run)["status"] == "finished:completed", federation.logs()

    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["secure"] is True and result["site_count"] == 3 and result["rounds"] == 3
    here = _in_process(federation, plan, tmp_path / "here")
    assert_same_model(here / MODEL, tmp_path / "run" / MODEL)
    assert _chi_square((here / MODEL).read_bytes()[-WINDOW:]) > MOST_CHI_SQUARE  # parameters in the open do not pass
    for home in federation.sites.values():
        assert _rows(home, "SELECT * FROM session") == []
        assert len(_rows(home, "SELECT * FROM erased")) == 1
    _assert_receipts(federation, least=3 + 3 * plan.training.rounds)


@pytest.mark.torture  # a minute of it is the SuperLink's wait before it takes a silent site for lost; .ci/run runs it
def test_a_site_that_loses_power_stops_the_run_and_the_resumed_run_ends_with_the_same_model(
    federation: Federation, tmp_path: Path
) -> None:
    plan, out = _plan("training.rounds=12", "seeds.training=1"), tmp_path / "run"
    federation.approve(plan)
    run = federation.begin_run(out)
    wait_until(lambda: _rounds(out) >= 2, "two rounds", RUN_S)
    federation.kill_site("harbour")

    ended = federation.end_of(run)
    assert ended["status"] == "finished:failed", federation.logs()
    assert "2 site(s) reported, the plan asks for 3 (harbour: " in ended["status-details"]
    assert 2 <= _rounds(out) < plan.training.rounds and not (out / "result.json").exists()
    for site in ("north", "valley"):
        _assert_random(_last_report(federation.sites[site]), federation.sites[site])

    federation.start_site("harbour")
    resumed = federation.begin_run(out, resume=True)
    assert federation.end_of(resumed)["status"] == "finished:completed", federation.logs()
    assert json.loads((out / "result.json").read_text())["secure"] is True
    assert_same_model(_in_process(federation, plan, tmp_path / "here") / MODEL, out / MODEL)
    for home in federation.sites.values():
        assert _rows(home, "SELECT * FROM session") == []
    _assert_receipts(federation, least=3 + 3 * plan.training.rounds)


def _assert_receipts(federation: Federation, *, least: int) -> None:
    """What the runner of `north` has sent, byte for byte, is what the receipts in its ledger say."""
    home = federation.sites["north"]
    receipts = assert_receipts_are_what_passed(home / LEDGER, sent(home))
    assert len(receipts) >= least and not any(receipt["code"] for receipt in receipts)


def _rounds(out: Path) -> int:
    return (out / EVENTS).read_text().count('"event": "round"') if (out / EVENTS).exists() else 0


def _rows(home: Path, query: str) -> list[tuple[bytes, ...]]:
    with contextlib.closing(sqlite3.connect(load_site(home).keys / STORE)) as database:
        return database.execute(query).fetchall()


def _last_report(home: Path) -> bytes:
    """The report that this site stored last, before it left; read from a copy, so that no site has to wait."""
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(OSError, sqlite3.Error):
        for suffix in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(load_site(home).keys / (STORE + suffix), Path(folder) / (STORE + suffix))
        with contextlib.closing(sqlite3.connect(Path(folder) / STORE)) as database:
            site = vaulted(load_site(home))
            rows = database.execute("SELECT name, sealed FROM report")
            opened = (site.open(report, STORE, f"report {name.hex()}", source=STORE) for name, report in rows)
            return next(opened, b"")
    return b""


def _assert_random(report: bytes, home: Path) -> None:
    """These bytes left the site, as its receipts say, and where its vector stands they are as good as random."""
    digest = hashlib.sha256(report).hexdigest()
    wait_until(
        lambda: any(receipt["sha256"] == digest for receipt in read_receipts(home / LEDGER)), "the receipt", RUN_S
    )
    assert len(report) > WINDOW and _chi_square(report[:WINDOW]) < MOST_CHI_SQUARE


def _chi_square(data: bytes) -> float:
    counts = np.bincount(np.frombuffer(data, dtype=np.uint8), minlength=256)
    return float(((counts - len(data) / 256) ** 2 / (len(data) / 256)).sum())
