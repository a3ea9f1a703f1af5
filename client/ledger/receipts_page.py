"""The page of receipts that a data-protection officer files: what left, when, to whom, how large, and its hash."""

from collections.abc import Sequence
from typing import Any

from client.ledger.markup import page, paragraph, table

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
    "How",
    "Entry",
)
_ABOUT = (
    "Every line is one answer of this site to its federation's coordinator. A masked vector can only be read in the "
    "sum over all sites of its round; what left in the open can be read by the coordinator. The norm is that of the "
    "update before and after it was clipped. An entry is the record of the ledger that was written before the release "
    "was made."
)
_CHECK = (
    "records.jsonl in the same folder holds every record with its signature. `consilium site receipts verify --file "
    "records.jsonl --card NAME.card.json` checks it on any machine, without the site."
)


def receipts_html(site: str, bodies: Sequence[Body], state: str) -> str:
    """bodies: of all receipts, each with its number. state: what the check of the ledger said."""
    title = f"Receipts of {site}"
    rows = (_row(body) for body in bodies)
    return page(
        title,
        paragraph(_summary(bodies)),
        paragraph(state, "state"),
        paragraph(_ABOUT),
        paragraph(_CHECK),
        table(_COLUMNS, rows, code=("SHA-256",)),
    )


def receipts_markdown(site: str, bodies: Sequence[Body], state: str) -> str:
    """The same as Markdown."""
    lines = [f"# Receipts of {site}", "", _summary(bodies), "", state, "", _ABOUT, "", _CHECK, ""]
    lines += ["| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in _row(body)) + " |" for body in bodies]
    return "\n".join(lines) + "\n"


def _summary(bodies: Sequence[Body]) -> str:
    left = [body for body in bodies if not body["code"]]
    if not left:
        return f"Nothing has left; refused requests: {len(bodies)}."
    first, last = (_time(left[at]) for at in (0, -1))
    total = sum(body["bytes"] for body in left)
    secure = sum(body["secure"] for body in left)
    return (
        f"{len(left)} releases from {first} to {last} UTC, {total:,} bytes, {secure} of them masked for a secure sum; "
        f"refused requests: {len(bodies) - len(left)}."
    )


def _row(body: Body) -> tuple[str, ...]:
    step = body["step"]
    asked = f"{step['kind']}, round {step['round']}, stage {step['stage']}; plan {step['plan_hash'][:16]}"
    head = (str(body["number"]), _time(body), body["recipient"], asked)
    if body["code"]:
        return (*head, f"nothing: refused ({body['code']})", "0", "", "", "", "", "")
    norms = (body["norm_before_clip"], body["norm_after_clip"])
    norm = "" if None in norms else f"{norms[0]:.4g} → {norms[1]:.4g}"
    how, entry = "masked" if body["secure"] else "in the open", str(body["entry"] or "")
    return (*head, body["release"], f"{body['bytes']:,}", body["sha256"], norm, str(body["noise"]), how, entry)


def _time(body: Body) -> str:
    return str(body["time"][:19].replace("T", " "))
