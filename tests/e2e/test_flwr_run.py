"""`flwr run deploy/flower_app` on Flower's own simulation engine, for real: it gives what the in-process run gives."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from client.config import find_sites
from client.data.synthetic import hospitals, write_hospitals
from client.runner import approved_hash
from common.files import read_plan, write_atomic
from experiments.enrolment import COORDINATOR_KEY, ROSTER, enrol_virtual
from experiments.simulate import prepare_sites, simulate

ROOT = Path(__file__).parents[2]
APP = ROOT / "deploy" / "flower_app"
BIN = Path(sys.executable).parent
STARTUP_S, RUN_S = 60, 300
pytestmark = pytest.mark.xdist_group("flower")  # one SuperLink for the whole file


@dataclass(frozen=True)
class Link:
    """A local SuperLink that this test started, and the environment in which `flwr` finds it."""

    environment: dict[str, str]

    def flwr(self, *arguments: str) -> str:
        command = [str(BIN / "flwr"), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=RUN_S)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def last_run(self) -> dict[str, Any]:
        return json.loads(self.flwr("ls", "--limit", "1", "--format", "json"))["runs"][0]


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Link]:
    pytest.importorskip("ray", reason="the simulation extra is not installed")
    home = tmp_path_factory.mktemp("flwr")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "{address}"\ninsecure = true\n'
    )
    environment = os.environ | {
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # the link starts `flwr-simulation` by name
    }
    host, port = address.split(":")
    command = [str(BIN / "flower-superlink"), "--insecure", "--simulation", "--host", host, "--port", port]
    with open(home / "superlink.log", "wb") as log:
        # A session of its own, so that what a run starts can be ended with it.
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_until_healthy(process, f"http://{address}/health", home / "superlink.log")
        yield Link(environment)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=15)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.2)
                break
    pytest.fail(f"the SuperLink did not start:\n{log.read_text()}")


def _run_config(**values: Path) -> str:
    return " ".join(f'{key}="{value}"' for key, value in values.items())


@pytest.mark.slow
def test_simulation_engine_gives_the_in_process_model(link: Link, tmp_path: Path) -> None:
    plan = read_plan(ROOT / "experiments" / "demo.toml", overrides=("training.rounds=3",))
    write_hospitals(tmp_path / "data", hospitals(3, 5, patients=[300, 220, 150]), seed=5)
    sites = find_sites(tmp_path / "data")
    expected = simulate(plan, sites, tmp_path / "in-process")
    prepared = tmp_path / "prepared"
    write_atomic(prepared / "plan.json", plan.canonical)
    enrol_virtual(plan, prepare_sites(plan, sites, prepared), prepared)

    names = {"plan": "plan.json", "sites": "sites", "key": COORDINATOR_KEY, "roster": ROSTER}
    config = _run_config(**{key: prepared / name for key, name in names.items()}, out=tmp_path / "flower")
    shown = link.flwr(
        "run",
        str(APP),
        "--stream",
        "--federation-config",
        "num-supernodes=3 client-resources-num-cpus=1",
        "--run-config",
        config,
    )

    assert link.last_run()["status"] == "finished:completed", shown
    assert "hypertension" in shown  # the table of results reaches the person who started the run
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("in-process", "flower"))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        np.testing.assert_array_equal(theirs[name], tensor, err_msg=name)
    result = json.loads((tmp_path / "flower" / "result.json").read_text())
    assert result["secure"] is True
    assert result["plan_hash"] == plan.hash
    assert result["site_count"] == 3
    assert result["tasks"].keys() == expected["tasks"].keys()
    for name, task in result["tasks"].items():
        for metric, value in expected["tasks"][name]["pooled"].items():
            assert task["pooled"][metric] == pytest.approx(value, rel=1e-5, abs=1e-6), (name, metric)
    assert all(not task["per_site"] for task in result["tasks"].values())  # only an in-process run reads sites' files


@pytest.mark.slow
def test_a_run_that_cannot_start_is_marked_failed_with_one_sentence(link: Link, tmp_path: Path) -> None:
    missing = tmp_path / "no-such-plan.toml"
    shown = link.flwr("run", str(APP), "--stream", "--run-config", _run_config(plan=missing, out=tmp_path / "out"))
    run = link.last_run()
    assert run["status"] == "finished:failed"
    assert run["status-details"].endswith(f"{missing}: cannot be read: No such file or directory.")
    assert "Traceback" not in shown
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
def test_what_is_shipped_is_two_stubs() -> None:
    from flwr.cli.build import build_fab_from_disk

    shipped = build_fab_from_disk(APP)
    assert approved_hash(APP) == hashlib.sha256(shipped).hexdigest()  # the same at every site
    names = set(zipfile.ZipFile(BytesIO(shipped)).namelist())
    stubs = {f"consilium_app/{name}.py" for name in ("__init__", "server_app", "client_app")}
    assert names == stubs | {"pyproject.toml", "LICENSE", ".info/CONTENT"}
