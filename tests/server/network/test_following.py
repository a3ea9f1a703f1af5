"""What is read of a journal while another process writes it: whole lines, once each, from where this attempt began."""

import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConsiliumError
from server.journal import EVENTS, PLAN
from server.network.following import Following, is_journal, last_events


def _write(folder: Path, *events: dict[str, Any], torn: str = "") -> None:
    with open(folder / EVENTS, "a") as file:
        file.write("".join(json.dumps(event) + "\n" for event in events) + torn)


def test_each_event_is_read_once_and_only_when_it_is_whole(tmp_path: Path) -> None:
    following = Following(tmp_path)
    assert following.look() == [] and not following.begun
    _write(tmp_path, {"event": "waiting"}, torn='{"event": "rou')
    assert [event["event"] for event in following.look()] == ["waiting"] and following.begun
    assert following.look() == []
    _write(tmp_path, torn='nd", "round": 1, "failed": {"north": "gone"}}\n')
    assert [event["round"] for event in following.look()] == [1]
    assert following.rounds == 1


def test_what_an_earlier_attempt_wrote_is_not_news(tmp_path: Path) -> None:
    _write(tmp_path, {"event": "round", "round": 1}, {"event": "stopped", "reason": "x", "resumable": True})
    following = Following(tmp_path)
    assert following.look() == [] and following.rounds == 0 and following.stopped is None
    _write(tmp_path, {"event": "stopped", "reason": "y", "resumable": False})
    following.look()
    assert following.stopped is not None and following.stopped["reason"] == "y"
    following.again()
    assert following.stopped is None and not following.begun and not following.finished


def test_a_torn_line_that_the_next_app_cuts_off_is_no_hindrance(tmp_path: Path) -> None:
    _write(tmp_path, {"event": "round", "round": 1}, torn='{"event": "rou')
    following = Following(tmp_path)
    whole = (tmp_path / EVENTS).read_bytes()
    (tmp_path / EVENTS).write_bytes(whole[: whole.rindex(b"\n") + 1])
    _write(tmp_path, {"event": "waiting"}, {"event": "finished"})
    assert [event["event"] for event in following.look()] == ["waiting", "finished"] and following.finished


def test_the_last_event_of_each_kind(tmp_path: Path) -> None:
    _write(tmp_path, {"event": "round", "round": 1}, {"event": "round", "round": 2}, {"event": "resumed", "round": 2})
    assert {kind: event["round"] for kind, event in last_events(tmp_path).items()} == {"round": 2, "resumed": 2}
    assert last_events(tmp_path / "none") == {}


def test_a_folder_of_another_plan_is_refused(tmp_path: Path) -> None:
    assert is_journal(tmp_path, b"this") is False
    (tmp_path / PLAN).write_bytes(b"this")
    assert is_journal(tmp_path, b"this") is True
    with pytest.raises(ConsiliumError, match="holds a run of another plan; choose another --out"):
        is_journal(tmp_path, b"other")
