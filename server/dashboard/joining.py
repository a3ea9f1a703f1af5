"""What joining changed at each hospital: the federation against the same network trained there alone, in words.

A task speaks for a hospital only where the hospital counts in the per-site mean, in both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from server.dashboard.scores import mapping, score_of
from server.dashboard.wording import amount, fraction, number, title_of

ALONE = "local"  # the baseline: the same network, each site alone
SMALLEST = 0.01  # of AUROC; of an error, this share of the error alone
_NAMED = 3
Baseline = Mapping[str, Any]


@dataclass(frozen=True)
class Gain:
    """One task at one hospital: its score with the federation and alone, AUROC or (measure "mae") the mean error."""

    task: str
    measure: str
    unit: str
    together: float
    alone: float

    @property
    def better(self) -> float:
        """By how much the federation is better, whichever way the measure points."""
        return self.alone - self.together if self.measure == "mae" else self.together - self.alone

    @property
    def verdict(self) -> int:
        """1: joining helped, -1: alone did better, 0: less than the smallest difference that is counted."""
        return 0 if abs(self.steps) < 1 else (1 if self.better > 0 else -1)

    @property
    def steps(self) -> float:
        """`better` in units of the smallest difference that is counted, so that tasks can be put in order."""
        smallest = SMALLEST * abs(self.alone) if self.measure == "mae" else SMALLEST
        if smallest == 0:  # alone there was no error at all
            return -inf if self.better else 0.0
        return round(self.better / smallest, 6)  # without rounding 0.06 - 0.05 would be less than 0.01

    @property
    def text(self) -> str:
        """ "Triage level by 0.015", without the capital: the difference as finely as the scores are shown."""
        name, size = title_of(self.task), fraction(abs(self.better))
        if self.measure == "mae":
            decimals = len(amount(self.alone).partition(".")[2])  # no more of them than the errors are shown with
            size = f"{abs(self.better):,.{decimals}f} {self.unit}".rstrip()
        return f"{name[:1].lower()}{name[1:]} by {size}"


def gains(result: Mapping[str, Any]) -> dict[str, list[Gain]]:
    """Hospital -> its gains, in the order of the result's tasks; empty where nothing is known of single hospitals."""
    tasks = mapping(result, "tasks")
    alone = mapping(mapping(mapping(result, "baselines"), ALONE), "tasks")
    found: dict[str, list[Gain]] = {site: [] for site in mapping(result, "sites")} if alone else {}
    for name, task in tasks.items() if alone else ():
        score = score_of(task)
        for site, entry in mapping(task, "per_site").items():
            own = mapping(mapping(mapping(alone, name), "per_site"), site)
            ours, theirs = number(entry.get(score.measure)), number(own.get(score.measure))
            listed = found.setdefault(site, [])
            if ours is not None and theirs is not None and entry.get("counted") and own.get("counted"):
                listed.append(Gain(name, score.measure, score.unit, ours, theirs))
    return found


def mean_aurocs(of: Sequence[Gain]) -> tuple[float, float] | None:
    """The hospital's mean AUROC with the federation and alone, over its tasks that have one; None if none has."""
    ranked = [gain for gain in of if gain.measure == "auroc"]
    if not ranked:
        return None
    return sum(gain.together for gain in ranked) / len(ranked), sum(gain.alone for gain in ranked) / len(ranked)


def verdict_words(of: Sequence[Gain]) -> str:
    """What joining came to for one hospital, as the rest of a sentence that begins with its name and a colon."""
    if not of:
        return "no task has enough patients here to tell whether joining helped."
    helped = sorted((gain for gain in of if gain.verdict > 0), key=lambda gain: -gain.steps)
    lost = sorted((gain for gain in of if gain.verdict < 0), key=lambda gain: gain.steps)
    same = [gain for gain in of if gain.verdict == 0]
    parts = []
    total = len(of)
    if helped:
        parts.append(f"joining helped {_share(len(helped), total, first=True)} ({_listed(helped)})")
    if same:
        start = "made no difference to" if parts else "joining made no difference to"
        parts.append(f"{start} {_share(len(same), total, first=not parts)} ({_within(same)})")
    if lost:
        parts.append(f"{_share(len(lost), total, first=not parts)} did better alone ({_listed(lost)})")
    if len(parts) == 1:
        return f"{parts[0]}."
    return f"{', '.join(parts[:-1])}{' and ' if len(parts) == 2 and not lost else ', and '}{parts[-1]}."


def _share(some: int, total: int, *, first: bool) -> str:
    """ "3 of 5 tasks", later in the sentence "1"; everything is "all 5 tasks", "both tasks", "the one task …"."""
    if some < total:
        return f"{some} of {total} tasks" if first else str(some)
    if total == 1:
        return "the one task that counts here"
    return "both tasks" if total == 2 else f"all {total} tasks"


def _listed(of: Sequence[Gain]) -> str:
    named = [gain.text for gain in (of if len(of) == _NAMED + 1 else of[:_NAMED])]
    rest = len(of) - len(named)
    if rest:
        return f"{', '.join(named)} and {rest} more"
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def _within(of: Sequence[Gain]) -> str:
    measures = {gain.measure for gain in of}
    words = [f"{SMALLEST:g}"] if "auroc" in measures else []
    words += [f"{100 * SMALLEST:g} % of the error"] if "mae" in measures else []
    return f"within {' or '.join(words)}"
