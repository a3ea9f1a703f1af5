"""A ledger and its receipts as lines of text for a terminal."""

from collections.abc import Iterable, Iterator
from typing import Any

from client.ledger.account import MOST_ROUNDS, Account

_BAR = 30


def account_lines(site: str, studies: list[Account], years: list[Account], *, delta: float) -> Iterator[str]:
    """Two columns for each study and year: epsilon of what had noise, and what had none."""
    yield f"Privacy ledger of {site}; epsilon at delta {delta:g}."
    for title, accounts in (("Study", studies), ("Year", years)):
        for account in accounts:
            yield ""
            yield f"{title} {account.name}: {account.headline}"
            yield f"  with noise     {_bar(account)}"
            yield f"                 {rounds_words(account)}"
            yield f"  without noise  {unnoised_words(account)}"


def receipt_lines(bodies: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Each receipt with its number."""
    for body in bodies:
        yield f"{body['number']:>6}  {body['time'][:19].replace('T', ' ')} UTC  {receipt_words(body)}"


def receipt_words(body: dict[str, Any]) -> str:
    """What a receipt says, in one line."""
    step = body["step"]
    asked = f"{step['kind']}, round {step['round']}" if step["round"] else step["kind"]
    if body["code"]:
        return f"{asked}: refused ({body['code']}), nothing left"
    how = "masked, for a sum" if body["secure"] else "in the open"
    entry = "" if body["entry"] is None else f", entry {body['entry']}"
    left = f"{body['bytes']:,} bytes to {body['recipient']}, {how}, noise: {body['noise']}{entry}"
    return f"{asked}: {body['release']}, {left}, sha256 {body['sha256'][:16]}…"


def unnoised_words(account: Account) -> str:
    """How many releases of each kind had no noise."""
    return ", ".join(f"{count} × {kind}" for kind, count in account.unnoised.items()) or "nothing"


def rounds_words(account: Account) -> str:
    """What is left, in rounds."""
    if account.left is None:
        return "no release had noise" if not account.noised else "no limit"
    many = f"{account.left:,} or more" if account.left >= MOST_ROUNDS else f"{account.left:,}"
    return f"{many} more release{'' if account.left == 1 else 's'} like the last round fit"


def _bar(account: Account) -> str:
    if account.limit is None:
        return f"epsilon {account.epsilon:.3g}, no limit"
    full = min(_BAR, round(_BAR * account.epsilon / account.limit))
    return f"[{'#' * full}{'.' * (_BAR - full)}] epsilon {account.epsilon:.3g} of {account.limit:g}"
