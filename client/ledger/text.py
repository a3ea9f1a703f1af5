"""A ledger and its receipts as lines of text for a terminal."""

from collections.abc import Iterable, Iterator
from typing import Any

from client.ledger.account import MOST_ROUNDS, Account
from client.ledger.receipts import refusal_note

_BAR = 30
_MASKED, _OPEN, _EMPTY = "masked", "in the open", "no values"
_HOW = {"declaration": _OPEN, "opinion": _OPEN, "crosscheck": _EMPTY, "shares": _EMPTY, "acknowledgement": _EMPTY}


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
        return f"{asked}: refused ({body['code']}), nothing left{refusal_note(body)}"
    how = "masked, for a sum" if masked(body) else how_words(body)
    entry = "" if body["entry"] is None else f", entry {body['entry']}"
    left = f"{body['bytes']:,} bytes to {body['recipient']}, {how}, noise: {body['noise']}{entry}"
    return f"{asked}: {body['release']}, {left}, sha256 {body['sha256'][:16]}…"


def masked(body: dict[str, Any]) -> bool:
    """Whether what left can only be read in a sum: in a plan with secure sums, the values, and not what opens them."""
    return body["secure"] and not body["code"] and body["release"] not in _HOW


def how_words(body: dict[str, Any]) -> str:
    """Who can read what left."""
    return _MASKED if masked(body) else _HOW.get(body["release"], _OPEN)


def bound(value: float) -> str:
    """A limit as people write it: 4, 0.5, 1,000,000."""
    return f"{value:,.0f}" if value >= 1000.0 and value == round(value) else f"{value:g}"


def unnoised_words(account: Account) -> str:
    """How many releases of each kind had no noise."""
    return ", ".join(f"{count} × {kind}" for kind, count in account.unnoised.items()) or "nothing"


def rounds_words(account: Account) -> str:
    """What is left, in rounds."""
    if account.left is None:
        return "no release had noise" if not account.noised else "no limit"
    many = f"{account.left:,} or more" if account.left >= MOST_ROUNDS else f"{account.left:,} more"
    return f"{many} {'release' if account.left == 1 else 'releases'} like the last round fit"


def _bar(account: Account) -> str:
    if account.limit is None:
        return f"epsilon {account.epsilon:.3g}, no limit"
    full = min(_BAR, round(_BAR * account.epsilon / account.limit))
    return f"[{'#' * full}{'.' * (_BAR - full)}] epsilon {account.epsilon:.3g} of {bound(account.limit)}"
