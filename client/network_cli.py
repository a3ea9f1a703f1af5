"""`consilium site join|check|start|status|leave`: how a hospital connects, stays connected, and goes."""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from client.config import SiteConfig
    from client.network.preflight import Finding

SITE = Annotated[Path, typer.Argument(help="The hospital's folder, or its site.toml.")]
AS_JSON = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
APP = Annotated[Path | None, typer.Option("--app", help="The stub app of this release, if it is elsewhere.")]
_STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


def join(
    site: SITE,
    invitation: Annotated[Path, typer.Argument(help="NAME.invitation.json, from the coordinator.")],
    approve: Annotated[
        str | None,
        typer.Option("--approve", metavar="DIGITS", help="The fingerprint of a new authority, instead of being asked."),
    ] = None,
) -> None:
    """Check the coordinator's invitation and keep it; what it proposes waits for a person to decide."""
    from datetime import UTC, datetime

    from client.network.home import Home
    from client.network.join import check_invitation, check_same_authority
    from client.network.progress import next_steps
    from client.network.status import supervisor_pid

    config = _site(site)
    home = Home.of(config)
    checked = check_invitation(config, invitation, now=datetime.now(UTC))
    check_same_authority(home, checked, lambda question: _typed(question, approve))
    changed = checked.keep()
    _print(
        f"{config.name} is invited to {checked.invitation.federation}, at {checked.invitation.address}.",
        "The certificate was made for this hospital's own key. The authority's fingerprint, to be compared over the",
        "telephone with a number that is not from the invitation:",
        f"  {checked.authority}",
        f"Written: {', '.join(str(path) for path in changed)}." if changed else "All of it was here already.",
    )
    if home.plan in changed and config.plan != home.plan:
        _print(f"site.toml names another plan, {config.plan}; take that line out to use {home.plan}.")
    if changed and supervisor_pid(home.state) is not None:
        _print("It is running with what was here before: restart the service, and it uses the new files.")
    _steps(next_steps(config), f"consilium site check {home.folder}")


def check(
    site: Annotated[Path, typer.Argument(help="A site.toml, its folder, or a bare table.")],
    plan: Annotated[
        Path | None, typer.Option("--plan", help="Only hold the tables against this federation.toml or plan.json.")
    ] = None,
    as_json: AS_JSON = False,
    app: APP = None,
) -> None:
    """Say what keeps this hospital from taking part: data, policy, keys, plan, roster, connection, clock, disk, GPU.

    With --plan, look at the tables only: nothing leaves this machine.
    """
    if plan is not None:
        _check_tables(site, plan, as_json)
        return
    from client.network.preflight import preflight

    config = _site(site, why="has no connection to check (--plan FILE checks the table alone)")
    findings = preflight(config, app=app)
    if as_json:
        typer.echo(json.dumps([vars(finding) for finding in findings], indent=1))
    else:
        _show(findings, config)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


def start(
    site: SITE,
    app: APP = None,
    stay: Annotated[
        bool, typer.Option("--stay", help="In a container: where a person has to act first, wait instead of ending.")
    ] = False,
) -> None:
    """Stay connected until SIGTERM or Ctrl-C: SuperNode and runner, started again whenever one of them ends."""
    import os
    import sys

    from client.network.app_stub import find_app
    from client.network.home import Home, load_connection
    from client.network.status import supervisor_pid
    from common.errors import ConsiliumError
    from common.files import own_folder

    supervisor = [sys.executable, "-P", "-m", "client.network.supervisor", *(["--stay"] if stay else [])]
    try:
        config = _site(site)
        home = Home.of(config)
        connection, folder = load_connection(home), find_app(app)
        own_folder(home.state)
    except ConsiliumError as error:
        if not stay:
            raise
        print(f"This site does not start: {error}", file=sys.stderr, flush=True)
        os.execv(sys.executable, supervisor)  # noqa: S606  as below
    running = supervisor_pid(home.state)
    if running is not None:
        raise ConsiliumError(
            f"{config.name} is running already, as process {running}; `consilium site status {home.folder}` says how."
        )
    _print(f"{config.name} connects to {connection.federation} at {connection.address}; Ctrl-C or SIGTERM ends it.")
    sys.stdout.flush()
    worker = [sys.executable, "-P", "-m", "client.network.worker", str(config.source), "--app", str(folder)]
    command = [*supervisor, str(home.state), "--", *worker]
    os.execv(sys.executable, command)  # noqa: S606  a small process stays; this one has loaded far more


def status(site: SITE, as_json: AS_JSON = False) -> None:
    """Whether this hospital runs and is connected, and since when. Status 0: connected; 3: not."""
    from client.network.status import read_state

    state = read_state(_site(site))
    if as_json:
        typer.echo(json.dumps(state.details, indent=1))
    else:
        _print(*state.lines)
    if not state.connected:
        raise typer.Exit(3)


def stop(site: SITE) -> None:
    """End this hospital's processes in order; the next start goes on from where they were."""
    from client.network.leave import stop as stop_processes

    config = _site(site)
    _print(f"{config.name} has stopped." if stop_processes(config) else f"{config.name} was not running.")


def leave(
    site: SITE,
    confirm: Annotated[
        str | None, typer.Option("--confirm", metavar="NAME", help="This hospital's name, instead of being asked.")
    ] = None,
) -> None:
    """Leave the federation: put the brake on, stop, delete the network keys. Ledger, receipts and model stay."""
    from client.network.home import Home
    from client.network.leave import leave as leave_federation
    from common.errors import ConsiliumError

    config = _site(site)
    question = f"{config.name} will not be able to connect again without a new enrolment. To leave, type its name"
    if _typed(question, confirm) != config.name:
        raise ConsiliumError(f"Not left, nothing was changed: that is not this hospital's name, {config.name}.")
    stopped, gone = leave_federation(config)
    home = Home.of(config).folder
    _print(
        f"{config.name} {'has stopped' if stopped else 'was not running'}, and is paused.",
        f"Deleted: {', '.join(str(path) for path in gone)}." if gone else "Its network keys were gone already.",
        f"Kept: the ledger and its receipts, the approvals, the signing key and the model, in {home}.",
        f"Tell the coordinator, who types `consilium server enrol HOME --leaves {config.name}`, and the hospitals that",
        "stay, which expect a roster without it then.",
        "What was already added to the shared model stays in it; nothing here can take it out again.",
        f"To come back later: consilium site init {home}, a new request, and consilium site resume {home}.",
    )


def _check_tables(site: Path, plan: Path, as_json: bool) -> None:
    from client.config import load_site
    from client.data.show import print_report
    from client.data.table import load_table
    from common.files import read_plan

    report = load_table(load_site(site), read_plan(plan)).report
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=1))
    else:
        print_report(report, Console())


def _show(findings: "list[Finding]", config: "SiteConfig") -> None:
    from client.network.progress import next_steps
    from common.errors import ConsiliumError

    console = Console(soft_wrap=True)
    for finding in findings:
        console.print(f"{finding.level:8}", style=_STYLES[finding.level], end="", highlight=False)
        console.print(f"{finding.about}: {finding.words}", markup=False, highlight=False)
    errors = sum(finding.level == "error" for finding in findings)
    home = config.source.parent
    with contextlib.suppress(ConsiliumError):  # what is damaged stands above
        if steps := next_steps(config):
            _steps(steps, "")
    _print(
        f"{errors} thing(s) keep {config.name} from taking part; mend them from the top and check again."
        if errors
        else f"{config.name} can take part: consilium site start {home}, or the service."
    )


def _steps(steps: list[str], last: str) -> None:
    if steps:
        _print("Next, in this order:", *(f"  {step}" for step in steps))
    else:
        _print(f"Nothing is left to decide; {last} says whether all is ready.")


def _typed(question: str, given: str | None) -> str:
    from common.errors import ConsiliumError

    if given is not None:
        return given
    try:
        return str(typer.prompt(question))
    except typer.Abort:
        raise ConsiliumError("Nothing was changed; where nobody can type, give the answer as an option.") from None


def _site(path: Path, *, why: str = "cannot connect") -> "SiteConfig":
    from client.config import load_home

    return load_home(path, why=why)


def _print(*lines: str) -> None:
    console = Console(soft_wrap=True)
    for line in lines:
        console.print(line, markup=False, highlight=False)
