"""docs/attacks.md: every attack, what refuses it, and what becomes of it without that check. Written, never edited."""

from experiments.attacks.flower_builtin import ATTACKS
from experiments.attacks.limits import played
from experiments.attacks.registry import NOISE, Attack, attacks
from experiments.attacks.table import GROUPS
from experiments.attacks.without import run_without

_HEAD = """# Attacks

What a coordinator that lies can try, and what stops it. This file is written by
`python -m experiments.attacks docs/attacks.md` from live runs; a test compares it with a fresh one.
`consilium attack coordinator` plays all of it, the limits at the end too, and ends with status 1 if an attack succeeds.

Five hospitals, f = 1 (birch may side with the coordinator), a committee of four, t = 3, m = 3; alder is the victim. The
sites are those that a hospital runs (client/secure/answers.py), each with its own store.

The last column says what happens when the one check named beside it is taken out: in bold where the attacker gets what
it is after, or where a false message goes through. Where another check refuses instead, two stand in the way.
"""
_FLOWER = """
## The same lies to Flower's built-in functions

Flower 1.41, SecAgg+ (`secaggplus_mod`), five clients, its own messages and its own client code. Without the lie the
same driver recovers nothing.

| Attack | What the server does | Result |
|---|---|---|
"""
_LIMITS = """
## What no check refuses

| Limit | Result |
|---|---|
"""


def text() -> str:
    """The whole file, from live runs."""
    parts = [_HEAD]
    for where, title in GROUPS.items():
        rows = [_row(attack) for attack in attacks() if attack.where == where]
        head = "| Attack | What is tried | Refused by | Without that check |\n|---|---|---|---|"
        parts.append("\n".join([f"\n## {title}\n", head, *rows, ""]))
    flower = (f"| {found.name} | {_first_line(play)} | {found.what} |" for play in ATTACKS for found in (play(),))
    limits = (f"| {found.limit} | {found.what} |" for found in played())
    return "".join([*parts, _FLOWER, "\n".join(flower), "\n", _LIMITS, "\n".join(limits), "\n"])


def _row(attack: Attack) -> str:
    guard = "what is obtained is worthless" if attack.guard == NOISE else f"`{attack.guard}`"
    return f"| {attack.name} | {attack.what} | {guard} | {run_without(attack).what} |"


def _first_line(play: object) -> str:
    return " ".join((play.__doc__ or "").split())
