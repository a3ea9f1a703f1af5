"""What became of every attack: one row each, for the terminal or as JSON, beside Flower's built-in functions."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.table import Table

from experiments.attacks.flower_builtin import FlowerAttack


@dataclass(frozen=True)
class Outcome:
    """refused: the attacker got nothing. by: code of the check that refused, or "noise". where: who refused it.

    detail: the refusal's own sentence, or what the attacker's answer was worth.
    """

    attack: str
    refused: bool
    by: str
    where: str
    detail: str


def table(outcomes: Sequence[Outcome], flower: Sequence[FlowerAttack]) -> Table:
    """One row per attack; the last column says what the same lie obtains from Flower's SecAgg+."""
    beside = {found.name: found for found in flower}
    shown = Table(
        "Attack by the coordinator", "Consilium", "Refused by", "Flower 1.41, SecAgg+", box=None, pad_edge=False
    )
    for outcome in outcomes:
        other = beside.get(outcome.attack)
        shown.add_row(
            outcome.attack,
            "refused" if outcome.refused else "[bold red]SUCCEEDS[/bold red]",
            f"{outcome.by} ({outcome.where})" if outcome.refused else outcome.detail,
            "" if other is None else f"{'[red]succeeds[/red]' if other.succeeded else 'refused'}: {other.what}",
        )
    return shown


def summary(outcomes: Sequence[Outcome], flower: Sequence[FlowerAttack]) -> str:
    """One sentence with both counts."""
    refused = sum(outcome.refused for outcome in outcomes)
    succeeded = sum(found.succeeded for found in flower)
    return (
        f"Consilium: {refused} of {len(outcomes)} attacks refused or useless. "
        f"Flower's built-in SecAgg+: {succeeded} of {len(flower)} tried succeed."
    )


def as_json(outcomes: Sequence[Outcome], flower: Sequence[FlowerAttack]) -> str:
    """The same rows for a program."""
    rows = {"consilium": [asdict(row) for row in outcomes], "flower_builtin": [asdict(row) for row in flower]}
    return json.dumps(rows, indent=1)
