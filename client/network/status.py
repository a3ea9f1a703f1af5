"""Whether a hospital's processes run and are connected, from what they write into its state folder."""

import fcntl
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from client import brake
from client.comparison import read_findings
from client.config import SiteConfig
from client.network.contact import Contact, read_contact
from client.network.home import Home, load_connection
from client.network.supervisor import LOCK, STATUS
from common.errors import ConsiliumError
from common.files import exists, read_bytes
from common.network.certificates import expires

FRESH_S = 90.0
SOON_DAYS = 30


@dataclass(frozen=True)
class State:
    """connected: the last exchange with the coordinator is recent and went well. lines: the same in words."""

    running: bool
    connected: bool
    lines: tuple[str, ...]
    details: dict[str, Any]


def supervisor_pid(state: Path) -> int | None:
    """The process that keeps this hospital connected; None where none does."""
    path = state / LOCK
    if not exists(path):
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise ConsiliumError(f"{path}: cannot be read: {error.strerror or error}.") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(descriptor, 32).decode("ascii", "replace").strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(descriptor)
    return None


def read_state(config: SiteConfig, *, now: datetime | None = None) -> State:
    """How this hospital is now. Raises ConsiliumError where its files cannot be read."""
    home, now = Home.of(config), now or datetime.now(UTC)
    connection, pid, said = load_connection(home), supervisor_pid(home.state), _said(home.state / STATUS)
    contact = read_contact(home.state)
    age_s = None if contact is None else (now - datetime.fromisoformat(contact.time)).total_seconds()
    connected = pid is not None and contact is not None and contact.ok and age_s is not None and age_s < FRESH_S
    lines = [
        f"{config.name} in {connection.federation}, through {connection.address}.",
        *_about_processes(pid, said),
        *_about_contact(pid, contact, age_s),
    ]
    if brake.is_paused(config):
        lines.append(f"PAUSED: nothing leaves this hospital; `consilium site resume {home.folder}` lets it go on.")
    unlike = read_findings(config)
    lines += [f"Unlike the other hospitals: {words}" for words in unlike]
    ends = expires(read_bytes(home.certificate), source=str(home.certificate))
    if (ends - now).days < SOON_DAYS:
        lines.append(f"The certificate ends on {ends:%Y-%m-%d}: ask the coordinator for a new invitation.")
    details = {
        "site": config.name,
        "federation": connection.federation,
        "address": connection.address,
        "running": pid is not None,
        "connected": connected,
        "paused": brake.is_paused(config),
        "supervisor": pid,
        "processes": said,
        "contact": None if contact is None else vars(contact),
        "unlike": list(unlike),
        "certificate_ends": ends.isoformat(timespec="seconds"),
    }
    return State(pid is not None, connected, tuple(lines), details)


def _about_processes(pid: int | None, said: dict[str, Any]) -> list[str]:
    if pid is None:
        last = f" (last: {said['state']}, {said['changed']})" if said else ""
        return [f"It is not running{last}; `consilium site start` or the service starts it."]
    lines = [f"It runs since {said.get('since', '?')} as process {pid}; its worker is {said.get('state', 'starting')}."]
    if said.get("restarts"):
        lines.append(f"The worker was started again {said['restarts']} time(s); last: {said['last_end']}.")
    return lines


def _about_contact(pid: int | None, contact: Contact | None, age_s: float | None) -> list[str]:
    if pid is None:
        return []
    if contact is None or age_s is None:
        return ["It has not reached the coordinator yet; that takes up to half a minute after a start."]
    old = "" if age_s < FRESH_S else " Nothing has been heard since."
    return [f"{_ago(age_s)}: {contact.words}{old}"]


def _ago(age_s: float) -> str:
    return f"{age_s:.0f} s ago" if age_s < 120 else f"{age_s / 60:.0f} min ago"


def _said(path: Path) -> dict[str, Any]:
    if not exists(path):
        return {}
    try:
        return dict(json.loads(read_bytes(path)))
    except (ValueError, TypeError):
        raise ConsiliumError(f"{path}: is damaged; the next start writes it again.") from None
