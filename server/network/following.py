"""What the coordinator's app writes into its journal, read by another process while it runs."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import ConsiliumError
from common.files import read_bytes
from server.journal import EVENTS


@dataclass
class Following:
    """New events of the journal in `folder`, from where it stood when this was made.

    rounds: finished rounds that were seen. stopped: the last reason for which a run gave up. begun: whether the app of
    this attempt has written anything.
    """

    folder: Path
    rounds: int = 0
    begun: bool = False
    finished: bool = False
    stopped: dict[str, Any] | None = None
    failed: dict[str, str] = field(default_factory=dict)
    _read: int = 0

    def __post_init__(self) -> None:
        self._read = _bytes(self.folder).rfind(b"\n") + 1  # the next app cuts a torn line off

    def again(self) -> None:
        """Before another attempt: what it begins with is not known yet."""
        self.begun, self.finished, self.stopped, self.failed = False, False, None, {}

    def look(self) -> list[dict[str, Any]]:
        """Events since the last look; a line that is not whole yet waits for the next."""
        data = _bytes(self.folder)
        whole = data.rfind(b"\n") + 1
        lines, self._read = data[self._read : whole].splitlines(), max(self._read, whole)
        found = [event for line in lines if isinstance(event := _event(line), dict)]
        for event in found:
            self._take(event)
        return found

    def _take(self, event: dict[str, Any]) -> None:
        self.begun = True
        kind = event.get("event")
        if kind == "round":
            self.rounds += 1
            self.failed = dict(event.get("failed") or {})
        elif kind == "site_failed":
            self.failed[str(event.get("site"))] = str(event.get("code"))
        elif kind == "finished":
            self.finished = True
        elif kind == "stopped":
            self.stopped = event


def last_events(folder: Path) -> dict[str, dict[str, Any]]:
    """The last event of each kind in a journal."""
    events = (_event(line) for line in _bytes(folder).splitlines())
    return {str(event.get("event")): event for event in events if isinstance(event, dict)}


def _bytes(folder: Path) -> bytes:
    path = folder / EVENTS
    return read_bytes(path) if path.exists() else b""


def _event(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def is_journal(folder: Path, canonical: bytes) -> bool:
    """Whether `folder` holds a run of this plan. Raises ConsiliumError if it holds one of another."""
    path = folder / "plan.json"
    if not path.exists():
        return False
    if read_bytes(path) != canonical:
        raise ConsiliumError(f"{folder}: holds a run of another plan; choose another --out.")
    return True
