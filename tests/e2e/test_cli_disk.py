"""Output that cannot be written, and rules that cannot be kept: one sentence, no status of 0, no folder left."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from tests.conftest import small_content


def _plan(folder: Path, **aggregation: Any) -> Path:
    content = small_content()
    content["aggregation"] = {**content.get("aggregation", {}), **aggregation}
    path = folder / "federation.toml"
    path.write_text(tomli_w.dumps(content))
    return path


def _consilium(*arguments: object, stdout: Any = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments", *map(str, arguments)]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=120, check=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [("plan", "show"), ("--help",)])
def test_a_full_disk_behind_the_output(arguments: tuple[str, ...], tmp_path: Path) -> None:
    plan = [] if "--help" in arguments else [_plan(tmp_path)]
    with open("/dev/full", "w") as full:
        done = _consilium(*arguments, *plan, stdout=full)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["The output: No space left on device."]


@pytest.mark.parametrize("command", ["simulate", "prepare"])
def test_too_many_absent_members(command: str, write_sites: Any, tmp_path: Path) -> None:
    plan, out = _plan(tmp_path, secure=True, absent_members=2), tmp_path / "out"
    done = _consilium(command, plan, "--sites", write_sites(), "--out", out)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert "aggregation.absent_members = 2" in done.stderr and "at most 1 is allowed" in done.stderr
    assert not out.exists()
