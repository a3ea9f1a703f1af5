"""`consilium site assessment`: an impact assessment for the data-protection officer, begun here."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def assessment(
    site: Annotated[Path, typer.Argument(help="The site.toml, or its folder.")],
    out: Annotated[Path, typer.Option("--out", help="Where to write it, a Markdown file that does not exist yet.")],
    plan: Annotated[
        Path | None, typer.Option("--plan", help="The plan; without it, the one that site.toml names.")
    ] = None,
) -> None:
    """Begin a data-protection impact assessment (GDPR, Article 35) from this site's plan, policy, roster and ledger."""
    from client.assessment.document import OPEN
    from client.assessment.document import assessment as document
    from client.assessment.facts import gather
    from client.config import load_home
    from common.errors import ConsiliumError
    from common.files import exists, read_plan, write_atomic

    config = load_home(site, why="has no policy")
    named = plan or config.plan
    if named is None:
        raise ConsiliumError(f"{config.source}: names no plan; add --plan FILE.")
    if exists(out):
        raise ConsiliumError(f"{out}: exists already; what a person has completed is never written over.")
    text = document(gather(config, read_plan(named)))
    write_atomic(out, text.encode())
    Console(soft_wrap=True).print(
        f"{out}: {text.count(OPEN)} places are left for a person to complete.", markup=False, highlight=False
    )
