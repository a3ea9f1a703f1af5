"""What the compose files promise of every service, read without an engine; compose.sh and test_hospital.py run them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ONCE = {"setup", "run"}
"""They end, and say with their exit status how."""


def services(name: str) -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load((ROOT / name).read_text())["services"])


@pytest.mark.parametrize("name", ["docker-compose.yml", "compose.site.yml"])
def test_whatever_stays_has_a_health_check(name: str) -> None:
    for service, settings in services(name).items():
        assert ("healthcheck" in settings) is (service not in ONCE), service
        assert (settings["restart"] == "no") is (service in ONCE), service
        if settings["command"][:3] == ["consilium", "site", "start"]:
            site = settings["command"][3]
            assert settings["healthcheck"]["test"] == ["CMD", "consilium", "site", "status", site]


def test_a_container_that_the_engine_starts_again_for_ever_never_ends_by_itself() -> None:
    settings = services("compose.site.yml")["site"]
    assert settings["restart"] == "unless-stopped" and settings["command"][-1] == "--stay"


@pytest.mark.parametrize(
    ("told", "well"),
    [
        ({"ready": True, "parts": {"superexec": {"pid": 7}}}, True),
        ({"ready": False, "parts": {"superexec": {"pid": 7}}}, False),
        ({"ready": True, "parts": {"superexec": {"pid": None}}}, False),
        (None, False),
    ],
)
def test_what_is_served_is_healthy_once_it_is_ready_and_runs(tmp_path: Path, told: object, well: bool) -> None:
    if told is not None:
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "serve.json").write_text(json.dumps(told))
    done = subprocess.run([sys.executable, ROOT / "deploy" / "compose" / "healthy.py", tmp_path], capture_output=True)
    assert (done.returncode == 0) is well, done.stderr
