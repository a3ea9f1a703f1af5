"""Runs of two commits do not share a table."""

from pathlib import Path

import pytest

from common.errors import RunError
from experiments import commit as module
from experiments.commit import claim


def test_a_folder_belongs_to_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "runs" / "study"
    monkeypatch.setattr(module, "commit", lambda: "a1b2c3d")
    assert claim(work) == claim(work) == "a1b2c3d"
    monkeypatch.setattr(module, "commit", lambda: "a1b2c3d-dirty")
    with pytest.raises(RunError, match="its runs are of commit a1b2c3d, and this is a1b2c3d-dirty"):
        claim(work)


def test_runs_of_nobody_knows_which_commit_are_not_used(tmp_path: Path) -> None:
    (tmp_path / "0.json").write_text("{}")
    with pytest.raises(RunError, match="of an unknown commit"):
        claim(tmp_path)
