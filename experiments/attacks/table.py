"""What became of every attack, in groups, with Flower's own functions and the limits: for the terminal or as JSON."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from rich.console import RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from experiments.attacks.flower_builtin import FlowerAttack

GROUPS = {
    "site": "Refused by the site that is asked for its vector",
    "committee": "Refused by a committee member",
    "roster": "Refused before a roster is accepted",
    "coordinator": "A site that lies, found out by the coordinator",
}
_SETTING = (
    "Played: five hospitals add their updates. alder is the victim, whose numbers the coordinator is after; birch "
    "sides with the coordinator (f = 1). The sites run the code that a hospital runs, each with its own store."
)
_NOISE = (
    "noise: no single check refuses this one; what the coordinator obtains was measured, and it is worthless: "
    "unrelated to alder's numbers, or no more than the honest sum."
)


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


@dataclass(frozen=True)
class Limit:
    """limit: what is asked, in a sentence or two. what: what the coordinator obtained."""

    limit: str
    what: str


def pages(
    outcomes: Sequence[Outcome], flower: Sequence[FlowerAttack], limits: Sequence[Limit]
) -> Iterator[RenderableType]:
    """All that the terminal shows, in order: what is played, one table per group, Flower, limits, the counts."""
    yield _SETTING
    for where, title in GROUPS.items():
        yield from _headed(title, [_row(outcome) for outcome in outcomes if outcome.where == where])
    if any(outcome.by == "noise" for outcome in outcomes):
        yield f"\n{_NOISE}"
    rows = [(found.name, "[red]succeeds[/red]" if found.succeeded else "refused", found.what) for found in flower]
    yield from _headed("The same lies to Flower's built-in functions (Flower 1.41, SecAgg+)", rows)
    yield "\n[bold]No check refuses these:[/bold]"
    for found in limits:
        yield Padding(f"{found.limit} {found.what}", (0, 0, 0, 2))
    yield f"\n{summary(outcomes, flower)}"


def _row(outcome: Outcome) -> tuple[str, str, str]:
    if outcome.refused:
        return outcome.attack, "refused", outcome.by
    return outcome.attack, "[bold red]SUCCEEDS[/bold red]", escape(outcome.detail)


def _headed(title: str, rows: Sequence[tuple[str, str, str]]) -> Iterator[RenderableType]:
    if not rows:
        return
    widest = max((len(last) for _, _, last in rows if " " not in last), default=0)
    shown = Table.grid(padding=(0, 2, 0, 0))
    shown.add_column(overflow="fold", ratio=1)
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold", min_width=widest)  # a code is copied, so it is never cut
    for row in rows:
        shown.add_row(*row)
    yield f"\n[bold]{title}[/bold]"
    yield shown


def summary(outcomes: Sequence[Outcome], flower: Sequence[FlowerAttack]) -> str:
    """One sentence with both counts."""
    refused = sum(outcome.refused for outcome in outcomes)
    succeeded = sum(found.succeeded for found in flower)
    return (
        f"Consilium: {refused} of {len(outcomes)} attacks refused or useless. "
        f"Flower's built-in SecAgg+: {succeeded} of {len(flower)} tried succeed."
    )


def as_json(outcomes: Sequence[Outcome], flower: Sequence[FlowerAttack], limits: Sequence[Limit]) -> str:
    """The same rows for a program."""
    rows = {
        "consilium": [asdict(row) for row in outcomes],
        "flower_builtin": [asdict(row) for row in flower],
        "limits": [asdict(row) for row in limits],
    }
    return json.dumps(rows, indent=1)
