"""All attacks on Consilium, by name: who plays them, what must refuse them, and one run of each.

An attack is a function of a fresh `Stage`, a small federation with live sites. It must end in a `Refusal`. Where the
protocol gives an answer that must be useless, it returns `Measured`; returning nothing says that it was not refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from common.errors import Refusal
from experiments.attacks.measure import Measured
from experiments.attacks.stage import Stage
from experiments.attacks.table import Outcome

Where = Literal["site", "committee", "coordinator", "roster"]
NOISE = "noise"
_TOPICS = (
    "roster",
    "roster_numbers",
    "session",
    "sessions",
    "header",
    "cohort",
    "crosscheck",
    "unmask",
    "models",
    "messages",
    "reports",
    "restarts",
)


Play = Callable[[Stage], Measured | None]


@dataclass(frozen=True)
class Attack:
    """guard: the code of the check that refuses it, or "noise". where: who refuses. what: one sentence."""

    name: str
    guard: str
    where: Where
    what: str
    play: Play


_ATTACKS: dict[str, Attack] = {}


def attack(name: str, *, guard: str, where: Where) -> Callable[[Play], Play]:
    """Puts a function on the list; its docstring's first line says what it does. ValueError for a name twice."""

    def put(play: Play) -> Play:
        if name in _ATTACKS:
            raise ValueError(f"two attacks are called {name!r}")
        _ATTACKS[name] = Attack(name, guard, where, (play.__doc__ or "").strip().splitlines()[0], play)
        return play

    return put


def attacks() -> tuple[Attack, ...]:
    """Every attack, in the order of the topics and of their source."""
    for topic in _TOPICS:
        import_module(f"experiments.attacks.{topic}")
    # Whoever imports one topic by itself changes the order of registration, but not this one.
    return tuple(sorted(_ATTACKS.values(), key=lambda found: _TOPICS.index(found.play.__module__.split(".")[-1])))


def run(chosen: Attack) -> Outcome:
    """One run against a fresh federation."""
    try:
        measured = chosen.play(Stage())
    except Refusal as refusal:
        return Outcome(chosen.name, refused=True, by=refusal.code, where=chosen.where, detail=str(refusal))
    if measured is None:
        return Outcome(chosen.name, refused=False, by="nothing", where=chosen.where, detail="Nobody refused.")
    return Outcome(chosen.name, refused=measured.worthless, by=NOISE, where=chosen.where, detail=measured.what)
