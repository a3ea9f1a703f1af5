"""`consilium site review|approve|pause|resume`: what a hospital's operator decides about plans, and the brake."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from client.approval.review import Review
    from client.config import SiteConfig

SITE = Annotated[Path, typer.Argument(help="The site.toml, or its folder.")]
PLAN = Annotated[Path, typer.Argument(help="The plan: a federation.toml, or the plan.json of a run.")]
_LEAST_DIGITS = 8


def review(site: SITE, plan: PLAN) -> None:
    """Show a plan in plain words: what runs and leaves, what changed, what it costs, what the policy says to it."""
    from common.files import read_plan

    shown = _shown(_site(site), plan)
    _print(f"Plan {read_plan(plan).hash[:16]}: {'would be refused here' if shown.refusals else 'can be approved'}.")


def approve(
    site: SITE,
    plan: PLAN,
    given: Annotated[
        str | None,
        typer.Option(
            "--approve", metavar="DIGITS", help="First 8 or more digits of the plan's hash, instead of asking."
        ),
    ] = None,
) -> None:
    """Review a plan and sign it: from then on this site runs it, with the code that is installed now."""
    from client.approval import approval
    from client.secure import keys
    from common.errors import ConsiliumError
    from common.files import read_plan

    config, wanted = _site(site), read_plan(plan)
    keys.load_signing_key(config)  # before anybody reads two pages
    shown = _shown(config, plan)
    if shown.refusals:
        codes = ", ".join(dict.fromkeys(refusal.code for refusal in shown.refusals))
        raise ConsiliumError(f"{plan}: not approved, for this site's policy refuses it: {codes}.")
    if given is None:
        try:
            given = typer.prompt(f"To approve, type the first {_LEAST_DIGITS} or more digits of the plan's hash")
        except typer.Abort:
            raise ConsiliumError("Not approved; where nobody can type, use --approve.") from None
    typed = "".join(str(given).split()).lower()
    if len(typed) < _LEAST_DIGITS or not wanted.hash.startswith(typed):
        raise ConsiliumError(
            f"Not approved: {given!r} is not how the hash of this plan begins, with {_LEAST_DIGITS} digits or more."
        )
    done = approval.approve(config, wanted)
    _print(f"{config.name} has approved plan {wanted.hash[:16]} (approval {done.number}).", *_next_step(config, plan))


def pause(site: SITE) -> None:
    """Stop: from now on nothing leaves this site, whatever the coordinator asks, also after a restart."""
    from client import brake

    path = brake.pause(_site(site))
    _print(f"Paused. {path} says so; `consilium site resume` takes it away.")


def resume(site: SITE) -> None:
    """Go on after a pause."""
    from client import brake

    config = _site(site)
    _print(f"{config.name} goes on." if brake.resume(config) else f"{config.name} was not paused.")


def _shown(config: "SiteConfig", plan: Path) -> "Review":
    from client.approval.review import review as make_review
    from common.files import read_plan

    shown = make_review(config, read_plan(plan))
    _print(*shown.lines)
    return shown


def _next_step(config: "SiteConfig", plan: Path) -> list[str]:
    """What is still to do where site.toml names another plan."""
    from common.errors import ConsiliumError
    from common.files import read_plan

    try:
        named = None if config.plan is None else read_plan(config.plan).hash
    except ConsiliumError:
        named = ""
    if named == read_plan(plan).hash:
        return []
    return [f'{config.source} does not name it yet: write plan = "{plan.absolute()}" below [site].']


def _site(path: Path) -> "SiteConfig":
    from client.config import load_home

    return load_home(path, why="has no keys")


def _print(*lines: str) -> None:
    console = Console(soft_wrap=True)
    for line in lines:
        console.print(line, markup=False, highlight=False)
