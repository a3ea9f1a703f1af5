"""Hospitals whose data look unlike the others', as the page says it."""

from collections.abc import Iterator, Mapping
from typing import Any

from server.dashboard.markup import Markup, el, join
from server.dashboard.scores import mapping
from server.dashboard.wording import count, number

CODE = "data_unlike_others"


def unlike(result: Mapping[str, Any]) -> Markup | None:
    """Who said it, and who said nothing; None where the hospitals were not asked."""
    told = mapping(result, "unlike")
    asked = number(told.get("asked"))
    if asked is None:
        return None
    words = "Before round 1 each hospital held its columns against the sum of the others': another unit, a shift, a "
    words += "reversed code, a column that goes with nothing. "
    words += "Which column it is, only the hospital knows, and its own log says."
    rows = list(_rows(result, told))
    if not rows:
        words = f"{words} All {count(asked)} said that they found nothing."
    return el(
        "section",
        el("h2", "Unlike the others"),
        el("p", words, class_="text"),
        el("dl", *rows, class_="entries") if rows else None,
        id="unlike",
    )


def _rows(result: Mapping[str, Any], told: Mapping[str, Any]) -> Iterator[Markup]:
    for site in _names(told, "sites"):
        own = mapping(mapping(result, "sites"), site).get("unlike")
        said = " ".join(str(words) for words in own) if isinstance(own, list) else ""
        yield el("div", el("dt", site, el("small", "hospital")), el("dd", join(el("code", CODE), " ", said)))
    for key, words in (
        ("not_told", "does not tell whether its data look unlike the others'"),
        ("failed", "gave no answer"),
    ):
        for site in _names(told, key):
            yield el("div", el("dt", site, el("small", "hospital")), el("dd", words))


def _names(told: Mapping[str, Any], key: str) -> list[str]:
    listed = told.get(key)
    return [str(site) for site in listed] if isinstance(listed, list) else []
