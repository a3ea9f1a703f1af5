"""The page of receipts that a data-protection officer files: what left, when, to whom, how large, and its hash."""

from collections.abc import Sequence
from typing import Any

from client.ledger.markup import page, paragraph, table
from client.ledger.receipts import refusal_note, refused
from client.ledger.text import how_words, masked

Body = dict[str, Any]
_COLUMNS = (
    "Receipt",
    "Time (UTC)",
    "To",
    "Asked for",
    "What left",
    "Bytes",
    "SHA-256",
    "Norm",
    "Noise",
    "Readable",
    "Entry",
)
_ABOUT = (
    "Every line is one answer of this site to its federation's coordinator. What is masked can only be read in the sum "
    "over all sites of its round; what left in the open can be read by the coordinator. The norm is the length of the "
    "update before and after it was clipped. Noise of 1.5 x sensitivity has a standard deviation of 1.5 times what one "
    "patient can change at most; `consilium site ledger` says what all of it adds up to. An entry is the record of the "
    "ledger that was written before the release was made."
)
_KINDS = {
    "declaration": "per task and feature a weight of 1/8, 1/4, 1/2 or 1, and the site's public keys",
    "opinion": "whether the data here look unlike the other hospitals', as one word",
    "statistics": "sums and histograms: of the training rows (query.survey), or of the test rows (evaluate)",
    "update": "the model's change, clipped, with tallies of the validation rows",
    "report_again": "the same bytes as before, asked for again",
    "crosscheck": "the site's signature of which sites are in a sum",
    "shares": "shares of the masks' keys, with which the sum is opened and no site's part",
    "acknowledgement": "that a message has arrived; no bytes",
}
_CHECK = (
    "records.jsonl in the same folder holds every record with its signature. `consilium site receipts verify --file "
    "records.jsonl --card NAME.card.json` checks it on any machine, without the site."
)


def receipts_html(site: str, bodies: Sequence[Body], state: str) -> str:
    """bodies: of all receipts, each with its number. state: what the check of the ledger said."""
    title = f"Receipts of {site}"
    return page(
        title,
        paragraph(summary(bodies)),
        paragraph(state, "state"),
        paragraph(_ABOUT),
        paragraph(_CHECK),
        table(("What left", "What that is"), _kinds(bodies)),
        table(_COLUMNS, _rows(bodies), code=("SHA-256",), right=("Receipt", "Bytes", "Entry")),
    )


def receipts_markdown(site: str, bodies: Sequence[Body], state: str) -> str:
    """The same as Markdown."""
    lines = [f"# Receipts of {site}", "", summary(bodies), "", state, "", _ABOUT, "", _CHECK, ""]
    lines += [*(f"- {kind}: {words}" for kind, words in _kinds(bodies)), ""]
    lines += ["| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in _rows(bodies)]
    return "\n".join(lines) + "\n"


def summary(bodies: Sequence[Body]) -> str:
    """What left, in one sentence."""
    left = [body for body in bodies if not body["code"]]
    if not left:
        return f"Nothing has left; refused requests: {refused(bodies)}."
    first, last = (_time(left[at]) for at in (0, -1))
    total = sum(body["bytes"] for body in left)
    secure = sum(map(masked, left))
    return (
        f"{len(left)} releases from {first} to {last} UTC, {total:,} bytes; {secure} of them masked for a secure sum; "
        f"refused requests: {refused(bodies)}.{_only_plan(bodies)}"
    )


def _only_plan(bodies: Sequence[Body]) -> str:
    plans = _plans(bodies)
    return f" All under the plan {plans.pop()}." if len(plans) == 1 else ""


def _kinds(bodies: Sequence[Body]) -> list[tuple[str, str]]:
    """Of the kinds of release that there are, what they are."""
    found = {body["release"] for body in bodies}
    return [(kind, words) for kind, words in _KINDS.items() if kind in found]


def _plans(bodies: Sequence[Body]) -> set[str]:
    return {body["step"]["plan_hash"] for body in bodies}


def _rows(bodies: Sequence[Body]) -> list[tuple[str, ...]]:
    """The plan is in each row where there are several; the only one is in the summary."""
    several = len(_plans(bodies)) > 1
    return [_row(body, plan=several) for body in bodies]


def _row(body: Body, *, plan: bool) -> tuple[str, ...]:
    step = body["step"]
    places = [f"{name} {step[name]}" for name in ("round", "stage") if step[name]]
    asked = ", ".join([step["kind"], *places]) + (f"; plan {step['plan_hash'][:16]}" if plan else "")
    head = (str(body["number"]), _time(body), body["recipient"], asked)
    if body["code"]:
        return (*head, f"nothing: refused ({body['code']}){refusal_note(body)}", "0", "", "", "", "", "")
    norms = (body["norm_before_clip"], body["norm_after_clip"])
    norm = "" if None in norms else f"{norms[0]:.4g} → {norms[1]:.4g}"
    how, entry = how_words(body), str(body["entry"] or "")
    return (*head, body["release"], f"{body['bytes']:,}", body["sha256"], norm, str(body["noise"]), how, entry)


def _time(body: Body) -> str:
    return str(body["time"][:19].replace("T", " "))
