"""A federation whose sites come and go while a run goes on, and what its journal says of them."""

import json
from collections.abc import Callable
from typing import Any

from client.sessions import close_sessions
from server.journal import EVENTS, Journal
from server.run import run
from tests.secure import Federation, Grid, Wire

ROUNDS = {"training": {"rounds": 4}, "aggregation": {"min_sites": 3}}


class Coming(Grid):
    """As ours; who is connected is what `there` says of the number of rounds that were finished."""

    def __init__(self, federation: Federation, there: Callable[[int], set[str]], wire: Wire | None = None) -> None:
        super().__init__(wire or Wire(), [{"site-config": str(path)} for path in federation.sites.values()])
        self._federation, self._there = federation, there

    def get_node_ids(self) -> list[int]:
        there = self._there(len(events_of(self._federation, "round")))
        return [node for node, name in enumerate(self._federation.sites, start=1) if name in there]


def events_of(federation: Federation, kind: str) -> list[dict[str, Any]]:
    path = federation.out / EVENTS
    events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [event for event in events if event["event"] == kind]


def run_with(federation: Federation, grid: Grid, *, begin_with: int | None = 3) -> dict[str, Any]:
    journal = Journal(federation.out, federation.plan, resume=True)
    try:
        return run(
            federation.plan,
            grid,
            journal,
            wanted_sites=len(federation.sites),
            keys=federation.keys,
            wait_s=5.0,
            begin_with=begin_with,
        )
    finally:
        journal.close()
        close_sessions()


def sites_of(federation: Federation) -> list[int]:
    return [event["sites"] for event in events_of(federation, "round")]
