"""kill -9 at random moments, then --resume: the final model is bit-identical to an uninterrupted run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.plan import plan_from_dict
from server.journal import EVENTS
from tests.conftest import small_content, small_table
from tests.laws.asserts import assert_same_model, last_line_is_json

DEADLINE_S = 120.0
ROUNDS = 60


def _federation(folder: Path, strategy: str, secure: bool) -> tuple[Path, Path]:
    """A plan file and a folder of sites; rounds take some tens of milliseconds, so that a kill can land inside one."""
    content = small_content() | {
        "training": {"rounds": ROUNDS, "batch_size": 8},
        "aggregation": {"strategy": strategy, "secure": secure},
    }
    plan = folder / "plan.json"
    plan.write_bytes(plan_from_dict(content, source="test").canonical)
    sites = folder / "hospitals"
    sites.mkdir()
    for number, name in enumerate(("north", "south", "west")):
        small_table(number, rows=200).to_csv(sites / f"{name}.csv", index=False)
    return plan, sites


def _start(plan: Path, sites: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "experiments", "simulate", str(plan), "--sites", str(sites), "--out", str(out)]
    return subprocess.Popen([*command, "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _rounds_done(out: Path) -> int:
    events = out / EVENTS
    if not events.exists():
        return -1
    lines = events.read_text().splitlines()
    return sum('"event": "round"' in line for line in lines)


def _wait_for(process: subprocess.Popen[bytes], condition, what: str) -> bool:
    """Wait until `condition()`; False if the process ended first."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < deadline, f"waited {DEADLINE_S:g} s for {what}"
        time.sleep(0.002)
    return True


def _kill_and_resume(folder: Path, strategy: str, kills: int, seed: int, *, secure: bool = False) -> None:
    plan, sites = _federation(folder, strategy, secure)
    whole, cut = folder / "whole", folder / "cut"
    assert _start(plan, sites, whole).wait(DEADLINE_S) == 0
    chance, killed = random.Random(seed), 0
    for number in range(kills):
        process = _start(plan, sites, cut)
        done = max(_rounds_done(cut), 0)
        if number == 0:
            reached = _wait_for(process, lambda: (cut / "plan.json").exists(), "the folder")  # before any checkpoint
        else:
            goal = done + chance.randint(1, max(1, (ROUNDS - 5) // kills))
            reached = _wait_for(process, lambda goal=goal: _rounds_done(cut) >= goal, f"round {goal}")
        moment = time.monotonic() + chance.uniform(0.0, 0.08)
        while time.monotonic() < moment and process.poll() is None:
            pass
        if reached and process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait(DEADLINE_S)
        process.stderr.close()
    assert killed == kills, f"only {killed} of {kills} kills met a living run"
    last = _start(plan, sites, cut)
    _, errors = last.communicate(timeout=DEADLINE_S)
    assert last.returncode == 0, errors.decode()
    assert_same_model(whole / "model.safetensors", cut / "model.safetensors")
    assert last_line_is_json(cut / EVENTS)["event"] == "finished"
    first, second = (json.loads((out / "result.json").read_text()) for out in (whole, cut))
    assert first["tasks"] == second["tasks"]
    strip = [[{k: v for k, v in entry.items() if k != "seconds"} for entry in r["history"]] for r in (first, second)]
    assert strip[0] == strip[1]


def test_ten_kills_leave_the_same_model(tmp_path: Path) -> None:
    _kill_and_resume(tmp_path, "fedavg", kills=10, seed=1)


def test_ten_kills_leave_the_same_model_with_secure_sums(tmp_path: Path) -> None:
    """Keys, sessions and masks are others in each process; the model is the same, bit for bit."""
    _kill_and_resume(tmp_path, "fedavg", kills=10, seed=2, secure=True)


@pytest.mark.torture
@pytest.mark.parametrize("strategy", ["fedavgm", "fedadam", "fedyogi", "fedadagrad"])
@pytest.mark.parametrize("seed", range(5))
def test_many_kills_with_every_stateful_strategy(tmp_path: Path, strategy: str, seed: int) -> None:
    _kill_and_resume(tmp_path, strategy, kills=10, seed=seed, secure=seed % 2 == 1)
