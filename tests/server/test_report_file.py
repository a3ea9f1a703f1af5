"""The report file: written whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from common.errors import ConsiliumError, RunError
from server.dashboard.report import page, write_report

RESULT = {"schema": "consilium/result/1"}


def test_another_schema_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="consilium/result/1"):
        write_report({"schema": "consilium/result/2"}, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_report_is_written_whole_and_alone(tmp_path: Path) -> None:
    write_report(RESULT, tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_bytes().decode() == page(RESULT)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_report(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("the old report")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, step, full)
    with pytest.raises(ConsiliumError, match=r"report\.html.*No space left"):
        write_report(RESULT, path)
    assert path.read_text() == "the old report"
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConsiliumError, match="file"):
        write_report(RESULT, tmp_path / "file" / "report.html")
