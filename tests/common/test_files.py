"""Whole files or none; and never in the place of something that is no file."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConsiliumError
from common.files import check_target, check_writable, exists, write_atomic, write_set
from common.secagg.json_view import to_json
from common.secagg.messages import SiteCard


def _make(path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a device":
        path.symlink_to("/dev/null")
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["pipe", "link to a device", "folder"])
def test_what_is_no_ordinary_file_is_left_alone(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    _make(path, kind)
    before = os.lstat(path)
    for write in (lambda: write_atomic(path, b"data"), lambda: check_target(path, SiteCard)):
        with pytest.raises(ConsiliumError, match=r"out: cannot be written: it is not an ordinary file\.$"):
            write()
    assert os.lstat(path) == before and list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_whole_also_behind_a_link_that_ends_nowhere(tmp_path: Path) -> None:
    write_atomic(tmp_path / "file", b"old")
    write_atomic(tmp_path / "file", b"new")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert not exists(tmp_path / "link") and not exists(tmp_path / "file" / "inside")
    write_atomic(tmp_path / "link", b"data")
    assert (tmp_path / "file").read_bytes() == b"new" and (tmp_path / "link").read_bytes() == b"data"


@pytest.mark.parametrize("private", [True, False])
def test_of_a_set_all_files_are_written_or_none(private: bool, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_set({first: b"1", second: b"2"}, private=private)
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
    assert (second.stat().st_mode & 0o777 == 0o600) is private
    for broken in (tmp_path / "first" / "inside", tmp_path / ("x" * 250)):
        with pytest.raises(ConsiliumError, match=r"cannot be (written|made)"):
            write_set({first: b"3", broken: b"4", second: b"5"}, private=private)
        assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
        assert sorted(tmp_path.iterdir()) == [first, second]


def test_where_nothing_could_be_written_is_told_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    check_writable(tmp_path / "file", tmp_path / "new" / "folders" / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(ConsiliumError, match=r"inside/x: cannot be written: \S+file is no folder in which this user"):
        check_writable(tmp_path / "file" / "inside" / "x")
    with pytest.raises(ConsiliumError, match="not an ordinary file"):
        check_writable(tmp_path / "file", tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # tests may run as a user who may write everywhere
    with pytest.raises(ConsiliumError, match=r"new: cannot be written: \S+ is no folder in which this user may write"):
        check_writable(tmp_path / "new")


def test_a_folder_that_may_not_be_entered_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Any, **_: Any) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "stat", closed)
    with pytest.raises(ConsiliumError, match=r"keys/signing\.key: cannot be reached: Permission denied\.$"):
        exists(tmp_path / "keys" / "signing.key")


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"message": "Roster"}', b"[" * 100_000, b"-----BEGIN"])
def test_only_a_message_of_the_same_kind_may_be_replaced(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    check_target(path, SiteCard)
    path.write_bytes(content)
    with pytest.raises(ConsiliumError, match=r"card\.json: exists and holds something else than a SiteCard; choose"):
        check_target(path, SiteCard)
    path.write_bytes(to_json(SiteCard("north", b"")))
    check_target(path, SiteCard)
    with pytest.raises(ConsiliumError, match=r"is for this site's keys only"):
        check_target(path, SiteCard, keys=tmp_path)
