"""What a ledger's entries add up to, for people: epsilon by study and year, what is left, and what has no epsilon."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from client.ledger.budget import Budget, Limit, merged, rounds_left
from client.ledger.receipts import spent_of
from client.ledger.verify import Report
from common.privacy.accounting import epsilon
from common.privacy.events import Gaussian, Spent, Unnoised

MOST_ROUNDS = 10_000
_MOST_POINTS = 24  # of the plot: each is an answer of the accountant
_HARMLESS = "levels"  # in eighths, of every site that takes part: recorded, but not in the way of an epsilon


@dataclass(frozen=True)
class Posting:
    """One entry. time: UTC, ISO 8601."""

    number: int
    time: str
    study: str
    kind: str
    round: int
    spent: Spent


@dataclass(frozen=True)
class Account:
    """One study's or one year's releases.

    epsilon: of the noised ones, at the budget's delta. limit: the budget's, None where it sets none. unnoised: how many
    releases without noise there are, by kind. left: how many more rounds like the last noised one fit, up to 10,000;
    None where there is no limit or no such round.
    """

    name: str
    epsilon: float
    limit: float | None
    unnoised: dict[str, int]
    noised: int
    left: int | None

    @property
    def overall(self) -> bool:
        """Whether epsilon speaks for all that left, the declared levels apart."""
        return not set(self.unnoised) - {_HARMLESS}

    @property
    def headline(self) -> str:
        if self.overall:
            return f"epsilon {self.epsilon:.3g}"
        kinds = ", ".join(sorted(set(self.unnoised) - {_HARMLESS}))
        return f"no overall epsilon: {kinds} left without noise"


def postings(report: Report) -> list[Posting]:
    """The entries of a ledger, in order."""
    return [
        Posting(
            record.number,
            body["time"],
            body["study"],
            body["step"]["kind"],
            body["step"]["round"],
            spent_of(body),
        )
        for record, body in report.of("entry")
    ]


def accounts(entries: list[Posting], budget: Budget) -> tuple[list[Account], list[Account]]:
    """One account for each study, and one for each calendar year (UTC), in the order in which they began."""
    studies = list(dict.fromkeys(one.study for one in entries))
    years = list(dict.fromkeys(one.time[:4] for one in entries))
    return (
        [_account(s, [e for e in entries if e.study == s], budget, budget.epsilon_per_study) for s in studies],
        [_account(y, [e for e in entries if e.time[:4] == y], budget, budget.epsilon_per_year) for y in years],
    )


def course(entries: Iterable[Posting], *, delta: float) -> list[tuple[str, float]]:
    """Epsilon after some of the noised entries, the first and the last among them: (time, epsilon)."""
    noised = [one for one in entries if isinstance(one.spent.event, Gaussian)]
    many = min(len(noised), _MOST_POINTS)
    at = sorted({round(step * (len(noised) - 1) / max(many - 1, 1)) for step in range(many)})
    return [(noised[last].time, epsilon(merged(one.spent for one in noised[: last + 1]), delta=delta)) for last in at]


def to_json(account: Account) -> dict[str, Any]:
    return vars(account) | {"overall": account.overall}


def _account(name: str, entries: list[Posting], budget: Budget, limit: float | None) -> Account:
    spent = merged(one.spent for one in entries)
    noised = [one.spent for one in entries if isinstance(one.spent.event, Gaussian)]
    trained = [one.spent for one in entries if one.kind == "train" and isinstance(one.spent.event, Gaussian)]
    kinds = Counter(one.spent.event.kind for one in entries if isinstance(one.spent.event, Unnoised))
    left = None
    if noised and limit is not None:
        like = (trained or noised)[-1]
        left = rounds_left(Limit(name, limit, tuple(spent)), like, delta=budget.delta, most=MOST_ROUNDS)
    return Account(name, epsilon(spent, delta=budget.delta), limit, dict(sorted(kinds.items())), len(noised), left)
