"""What was released, apart from how it is judged: events, of which an accountant makes an epsilon when it is asked.

(The separation is that of Google's dp_accounting.) An event of a kind that is not here is an error, never a default.
"""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Gaussian:
    """`count` releases with Gaussian noise, each over a Poisson sample of the patients.

    noise_multiplier: standard deviation over L2 sensitivity. sampling_probability: of each patient, 1 for all of them.
    """

    noise_multiplier: float
    sampling_probability: float = 1.0
    count: int = 1


@dataclass(frozen=True)
class Unnoised:
    """A release without noise: no epsilon can be given for it. kind: one of `UNNOISED_KINDS`."""

    kind: str


Event = Gaussian | Unnoised
UNNOISED_KINDS = ("levels", "survey", "update", "evaluation")
"""What may leave without noise where the site's policy says so: the declared weight level of each block, sums over the
training rows, updates with the tallies that travel with them, and evaluations."""


@dataclass(frozen=True)
class Spent:
    """An event and whom it is about. split: names the division of patients into sets; rows: one of its sets.

    The sets of one split are disjoint, so that events about different ones do not add up for any patient.
    """

    event: Event
    split: str
    rows: str


def event_to_json(event: Event) -> dict[str, Any]:
    """A dictionary with the event's name and fields."""
    return {"event": type(event).__name__} | asdict(event)


def event_from_json(content: dict[str, Any]) -> Event:
    """Raises ValueError for an event that this version does not know."""
    fields = dict(content)
    name = fields.pop("event", None)
    for known in (Gaussian, Unnoised):
        if name == known.__name__:
            try:
                return known(**fields)
            except TypeError:
                break
    raise ValueError(f"an event {content!r}, which this version does not know")
