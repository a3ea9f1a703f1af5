"""`consilium site ledger` and `consilium site receipts show|verify|export`: a hospital's own books, only read here."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from client.config import SiteConfig
    from client.ledger.ledger import Budget
    from client.ledger.verify import Report

SITE = Annotated[Path, typer.Argument(help="The site.toml, or its folder.")]
CARD = Annotated[
    Path | None, typer.Option("--card", help="The site's card (NAME.card.json), whose key has to have signed.")
]
receipts_app = typer.Typer(help="What left this site, with signed receipts.", no_args_is_help=True)


def ledger(
    site: SITE,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with the same and a chart.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    accept_restored: Annotated[
        bool, typer.Option("--accept-restored", help="Go on with a ledger that was put back from a copy.")
    ] = False,
) -> None:
    """Show what was spent of this site's privacy budgets, and how many rounds the rest buys."""
    from client.ledger.account import accounts, course, postings, to_json
    from client.ledger.page import ledger_page
    from client.ledger.text import account_lines
    from common.errors import ConsiliumError
    from common.files import write_atomic

    books = _books(site)
    budget = books.budget
    if html is not None:
        _check_place(books, html)
        if html.is_dir():
            raise ConsiliumError(f"{html}: is a folder; --html names the page to be written.")
    if accept_restored:
        _accept(books)
    report = books.verified(None)
    entries = postings(report)
    studies, years = accounts(entries, budget)
    if html is not None:
        by_study = {
            one.name: course([e for e in entries if e.study == one.name], delta=budget.delta) for one in studies
        }
        page = ledger_page(books.name, studies, years, by_study, delta=budget.delta, state=_state(report))
        write_atomic(html, page.encode())
    if as_json:
        told = {"site": books.name, "delta": budget.delta, "whole": report.ok, "state": _state(report)}
        groups = {"studies": list(map(to_json, studies)), "years": list(map(to_json, years))}
        typer.echo(json.dumps(told | groups, indent=1))
    else:
        _print(*account_lines(books.name, studies, years, delta=budget.delta), _state(report))
        if html is not None:
            _print(f"{html}: the same, with a chart.")
    _stop_if_broken(report)


@receipts_app.command("show")
def show(
    site: SITE,
    last: Annotated[int, typer.Option("--last", min=1, help="How many of them.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print all of them as JSON lines.")] = False,
) -> None:
    """Show what left this site, the last first."""
    from client.ledger.text import receipt_lines

    report = _books(site).verified(None)
    bodies = [{"number": record.number} | body for record, body in report.of("receipt")]
    if as_json:
        for body in bodies:
            typer.echo(json.dumps(body))
    else:
        _print(*receipt_lines(bodies[-last:][::-1]), _state(report))
    _stop_if_broken(report)


@receipts_app.command("verify")
def verify(
    site: Annotated[Path | None, typer.Argument(help="The site.toml, or its folder.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="The records.jsonl of an export.")] = None,
    card: CARD = None,
) -> None:
    """Check every signature, hash and number; name the first record that is not what the site wrote.

    With a site and --file, also that the site's ledger still begins with what was exported.
    """
    from client.ledger.verify import verify_continued, verify_export
    from common.errors import ConsiliumError

    if site is None and file is None:
        raise ConsiliumError("Name a site, or an exported file with --file, or both.")
    key, export = None if card is None else _key_of(card), None
    if file is not None:
        export = verify_export(file, key if site is None else None)
        if export.broken is None and not export.records:
            raise ConsiliumError(f"{file}: holds no record; an export has one line for each.")
        _print(f"{file}: {_state(export)}")
        _stop_if_broken(export)
    if site is not None:
        report = _books(site).verified(key)
        if export is not None:
            report = verify_continued(report, export)
        _print(_state(report), *report.notes)
        _stop_if_broken(report)
    if card is None:
        _print("Whose key has signed them, only the records say; with --card, the site's card says it.")


@receipts_app.command("export")
def export(
    site: SITE,
    out: Annotated[Path, typer.Option("--out", help="A new folder for the page and the signed records.")],
) -> None:
    """Write every record with its signature (records.jsonl), and a page for the files (receipts.html, receipts.md)."""
    from client.ledger.receipts_page import receipts_html, receipts_markdown
    from client.ledger.verify import to_line
    from common.errors import ConsiliumError
    from common.files import exists, write_atomic

    books = _books(site)
    report = books.verified(None)
    if report.broken is not None:
        _print(_state(report))
    _stop_if_broken(report)
    _check_place(books, out)
    if exists(out):
        raise ConsiliumError(f"{out}: exists already; an export is never written over another.")
    state, bodies = _state(report), [{"number": record.number} | body for record, body in report.of("receipt")]
    write_atomic(out / "records.jsonl", b"".join(map(to_line, report.records)))
    write_atomic(out / "receipts.html", receipts_html(books.name, bodies, state).encode())
    write_atomic(out / "receipts.md", receipts_markdown(books.name, bodies, state).encode())
    _print(f"{out}: receipts.html and receipts.md to be filed, records.jsonl to be verified.")


@dataclass(frozen=True)
class _Books:
    """A site's ledger, and what its policy says of budgets."""

    config: "SiteConfig"

    @property
    def budget(self) -> "Budget":
        from client.ledger.ledger import Budget
        from client.policy.policy import load_policy

        rules = load_policy(self.config.policy).budget
        return Budget(rules.epsilon_per_study, rules.epsilon_per_year, rules.delta)

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def path(self) -> Path:
        from client.ledger.file import LEDGER

        return self.config.folder / LEDGER

    def verified(self, key: bytes | None) -> "Report":
        from client.ledger.verify import verify_ledger

        return verify_ledger(self.path, key)


def _books(site: Path) -> _Books:
    """site: a site.toml or its folder. Raises ConsiliumError."""
    from client.config import load_home

    return _Books(load_home(site, why="has no ledger"))


def _check_place(books: _Books, out: Path) -> None:
    """Raises ConsiliumError where `out` is among the keys, or is a file that is not a page."""
    from common.errors import ConsiliumError
    from common.files import exists, read_bytes

    if out.resolve().is_relative_to(books.config.keys.resolve()):
        raise ConsiliumError(f"{out}: is inside {books.config.keys}, which is for this site's keys only.")
    if exists(out) and out.is_file() and not read_bytes(out).startswith(b"<!doctype html>"):
        raise ConsiliumError(f"{out}: exists and is not a page of this kind; choose another name.")


def _accept(books: _Books) -> None:
    from client.ledger.ledger import accept_restored
    from client.secure.keys import load_signing_key
    from common.errors import ConsiliumError

    typer.echo(
        "Accept only what you put back yourself: what was released after that copy was made is not in it, and its\n"
        "budget would be spent twice. That it was put back is written into the ledger and stays there.",
        err=True,
    )
    try:
        typed = str(typer.prompt(f"To go on with this ledger, type the site's name ({books.name})", err=True))
    except typer.Abort:
        raise ConsiliumError("Not accepted: somebody has to type the site's name.") from None
    if typed.strip() != books.name:
        raise ConsiliumError(f"Not accepted: {typed!r} is not the site's name.")
    accept_restored(books.path, load_signing_key(books.config))


def _key_of(card: Path) -> bytes:
    from common.files import read_bytes
    from common.secagg.json_view import from_json
    from common.secagg.roster import EnrolCard

    return from_json(EnrolCard, read_bytes(card), source=str(card)).card.verify_key


def _state(report: "Report") -> str:
    from common.secagg.primitives import fingerprint

    if report.broken is not None:
        return f"BROKEN: {report.broken}"
    if not report.records:
        return "The ledger is empty."
    return (
        f"{len(report.records)} records, all of them as they were written; fingerprint of the last one: "
        f"{fingerprint(report.records[-1].hash)}"
    )


def _stop_if_broken(report: "Report") -> None:
    if report.broken is not None:
        raise typer.Exit(1)


def _print(*lines: Any) -> None:
    console = Console(soft_wrap=True)
    for line in lines:
        console.print(line, markup=False, highlight=False)
