"""What `consilium server status` says: the processes, the hospitals by name, the run and why sites last failed."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from server.journal import LOCK
from server.network.flower import FlowerFailed, healthy, nodes
from server.network.following import last_events
from server.network.home import Home
from server.network.locks import is_held
from server.network.runs import FOLLOWED, going_on, last_run
from server.network.serve import served


def report(home: Home) -> tuple[list[str], bool]:
    """Lines for a person, and whether everything that was started runs."""
    told = served(home)
    if told is None:
        return [f"not served: `consilium server serve {home.folder}` starts its processes.", *_run(home)], False
    lines = [_process(name, part) for name, part in told["parts"].items()]
    lines += list(_hospitals(home, told))
    running = all(part["pid"] for part in told["parts"].values())
    return [*lines, *_run(home), *_others(home)], bool(running and told["ready"])


def _process(name: str, part: dict[str, Any]) -> str:
    again = (
        f", started {part['starts']} times, last ended with status {part['last_status']}" if part["starts"] > 1 else ""
    )
    return f"{name}: runs as process {part['pid']}{again}" if part["pid"] else f"{name}: does not run{again}"


def _hospitals(home: Home, told: dict[str, Any]) -> Iterator[str]:
    if not told["ready"] or not healthy(home):
        yield "hospitals: not known, the SuperLink is not ready yet"
        return
    try:
        found = nodes(home)
    except FlowerFailed as failure:
        yield f"hospitals: not known: {failure}"
        return
    for name, node in told["nodes"].items():
        status = found.get(node, "unknown")
        words = {"online": "connected", "offline": "not connected any more", "registered": "has never connected"}
        yield f"{name}: {words.get(status, status)}"


def _run(home: Home) -> list[str]:
    if not (known := last_run(home)):
        return ["run: none yet"]
    out = Path(known["out"])
    events = last_events(out)
    last = events.get("round", {})
    done = f"round {last['round']} of {last['rounds']}" if last else "no round yet"
    if (out / "result.json").exists():
        state = "finished"
    elif is_held(out / LOCK):
        state = "goes on"
        if not is_held(home.state / FOLLOWED):
            state += f" until it is cut off; `consilium server run {home.folder} --out {out}` follows it again"
    else:
        state = f"stands still; `consilium server run {home.folder} --out {out}` goes on with it"
    lines = [f"run {out}: {done}, {state}"]
    lines += [f"  {site}: {code} (round {last['round']})" for site, code in dict(last.get("failed") or {}).items()]
    if state != "finished":
        with contextlib.suppress(KeyError):
            lines.append(f"  last stop: {events['stopped']['reason']}")
        with contextlib.suppress(KeyError):
            failed = events["site_failed"]
            lines.append(f"  last failure: {failed['site']}: {failed['code']} (round {failed['round']})")
    return lines


def _others(home: Home) -> Iterator[str]:
    """Runs in Flower beside the one that was begun last."""
    try:
        found = [each for each in going_on(home) if each.out is None]
    except FlowerFailed as failure:
        yield f"other runs: not known: {failure}"
        return
    for each in found:
        yield f"{each.name}: goes on; `consilium server stop {home.folder}` ends it"
