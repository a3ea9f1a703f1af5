"""The benefit of joining in plain words."""

from collections.abc import Mapping
from typing import Any

HELPED, SAME, HURT, UNKNOWN = "helped", "no difference", "hurt", "cannot be said"


def verdict(gain: Mapping[str, float] | None) -> str:
    """Of a difference with its 95 % interval: more than 0 throughout, less, or neither."""
    if gain is None:
        return UNKNOWN
    if gain["low"] > 0.0:
        return HELPED
    return HURT if gain["high"] < 0.0 else SAME


def figure(value: float, *, sign: bool = False) -> str:
    """Two decimals (or three significant digits from 10 on) without the zero in front: .04, -.12, 1.50."""
    text = f"{value:+.3g}" if abs(value) >= 10 else f"{round(value, 2) + 0.0:+.2f}"  # adding 0 turns -0 into 0
    text = text.replace("+0.", "+.").replace("-0.", "-.")
    return text if sign else text.removeprefix("+")


def interval(gain: Mapping[str, float], *, sign: bool = False) -> str:
    """`.04 [.01, .07]`."""
    return f"{figure(gain['value'], sign=sign)} [{figure(gain['low'])}, {figure(gain['high'])}]"


def sentences(tasks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One sentence for what helped, one for what hurt, one for what made no difference; one for each unknown task."""
    by_verdict: dict[str, list[str]] = {}
    unknown = []
    for name, entry in tasks.items():
        joining = entry["joining"]
        if joining["verdict"] == UNKNOWN:
            unknown.append(f"Whether joining helped {name} cannot be said: {joining['why']}.")
            continue
        gain = dict(joining["gain"])
        if joining["verdict"] == HURT:
            gain |= {"value": -gain["value"], "low": -gain["high"], "high": -gain["low"]}
        same = joining["verdict"] == SAME
        words = f"{name} {'' if same else 'by '}{interval(gain)} {_unit(entry)}".rstrip()
        by_verdict.setdefault(joining["verdict"], []).append(words + (_unseen(gain) if same else ""))
    starts = {HELPED: "Joining helped", HURT: "Joining hurt", SAME: "It made no difference that can be shown for"}
    return [f"{start} {_and(by_verdict[key])}." for key, start in starts.items() if key in by_verdict] + unknown


def _unseen(gain: Mapping[str, float]) -> str:
    """What this hospital's test rows are too few to show: half the interval."""
    return f" (one below {figure((gain['high'] - gain['low']) / 2.0)} would not be seen)"


def _unit(entry: Mapping[str, Any]) -> str:
    return f"{entry['unit']} (mean absolute error)" if entry["kind"] == "regression" else ""


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{'; '.join(parts[:-1])}; and {parts[-1]}"
