"""Attacks with a roster's numbers, names and keys: all founding sites but the victim were talked into it; it checks."""

from collections.abc import Callable
from typing import Any

from experiments.attacks.registry import attack
from experiments.attacks.roster import accept, first
from experiments.attacks.stage import SITES, Stage

Changes = dict[str, Any] | Callable[[Stage], dict[str, Any]]


def _keys_short(stage: Stage) -> dict[str, Any]:
    return {"keys": (*stage.roster.keys[:-1], b"\1" * 31)}


def _keys_twice(stage: Stage) -> dict[str, Any]:
    return {"keys": (*stage.roster.keys[:-1], stage.roster.keys[-2])}


def _keys_few(stage: Stage) -> dict[str, Any]:
    return {"keys": stage.roster.keys[:-1]}


def _backwards(stage: Stage) -> dict[str, Any]:
    return {"sites": SITES[::-1], "keys": stage.roster.keys[::-1]}


# name, guard, what the roster says, its changes, and the victim's own policy where that is what refuses
_RULES: tuple[tuple[str, str, str, Changes, dict[str, int]], ...] = (
    (
        "unsafe t: two survivor sets",
        "roster_threshold_splits",
        "t = 2 of C = 4 at f = 1: two halves of the committee, each with the colluder, could open two sets.",
        {"threshold": 2},
        {},
    ),
    (
        "unsafe t: colluders alone",
        "roster_threshold_too_low",
        "t = 1 at f = 1: one colluding member alone could open every mask.",
        {"threshold": 1},
        {},
    ),
    (
        "unsafe t: more than there are",
        "roster_threshold_too_high",
        "t = 5 of C = 4: nobody could ever open a sum.",
        {"threshold": 5},
        {},
    ),
    (
        "a smallest cohort of two",
        "roster_cohort_too_small",
        "m = 2: the other site of a sum would know the victim's part.",
        {"min_cohort": 2},
        {},
    ),
    (
        "a cohort below this site's policy",
        "roster_cohort_policy",
        "m = 3 where the victim's own policy asks for 4.",
        {},
        {"least_cohort": 4},
    ),
    (
        "collusion below this site's policy",
        "roster_colluding_policy",
        "f = 1 where the victim's own policy asks for 2.",
        {},
        {"least_colluding": 2},
    ),
    (
        "a committee member twice",
        "roster_committee_not_sorted",
        "One site has two seats, and two shares, in the committee.",
        {"committee": ("alder", "birch", "birch", "cedar")},
        {},
    ),
    (
        "a committee of strangers",
        "roster_committee_of_strangers",
        "A seat of the committee belongs to no enrolled site.",
        {"committee": ("alder", "birch", "cedar", "zelkova")},
        {},
    ),
    ("a site twice in the roster", "roster_sites_not_sorted", "The sites are not in order.", _backwards, {}),
    ("one key for two sites in the roster", "roster_key_twice", "elm has dogwood's signing key.", _keys_twice, {}),
    ("a site without a key", "roster_key_count", "The roster has a key fewer than sites.", _keys_few, {}),
    ("a key of the wrong size", "roster_key_size", "A signing key has 31 bytes.", _keys_short, {}),
    (
        "a name that moves the cursor",
        "roster_name",
        "The federation's name clears the operator's screen.",
        {"federation": "grove\x1b[2J"},
        {},
    ),
    (
        "another fixed point",
        "roster_fixed_point",
        "The ring has 16 bits: sums run over and show residues.",
        {"narrow_bits": 16},
        {},
    ),
)


def _register(name: str, guard: str, what: str, changes: Changes, policy: dict[str, Any]) -> None:
    def play(stage: Stage) -> None:
        accept(stage, first(stage, **(changes(stage) if callable(changes) else changes)), **policy)

    play.__doc__ = what
    attack(name, guard=guard, where="roster")(play)


for _rule in _RULES:
    _register(*_rule)
