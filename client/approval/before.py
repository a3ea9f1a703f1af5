"""What other plans have spent of this site's budgets before a plan is approved, and whether that leaves room for it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from client.config import SiteConfig
from client.ledger.budget import merged
from client.ledger.file import LEDGER
from client.ledger.memory import tells_exactly
from client.ledger.opening import BEGUN, check_begun
from client.ledger.receipts import spent_of, step_of
from client.ledger.split import split_here
from client.ledger.verify import Report, verify_ledger
from client.policy.rules import Budget
from common.errors import Refusal
from common.files import exists
from common.plan import Plan
from common.privacy.accounting import epsilon
from common.privacy.events import Spent


@dataclass(frozen=True)
class Before:
    """Releases of other plans: in the plan's study, and in all studies of this calendar year (UTC).

    exact: whether there ever were some without noise, beside declared levels.
    """

    study: tuple[Spent, ...] = ()
    year: tuple[Spent, ...] = ()
    exact: bool = False


def already_spent(config: SiteConfig, plan: Plan) -> Before:
    """From the site's ledger, if it has one. Raises Refusal `ledger_damaged` for one that was changed."""
    path = config.folder / LEDGER
    report = verify_ledger(path, None) if exists(path) else Report((), None)
    if report.broken is not None:
        raise Refusal("ledger_damaged", f"{path}: {str(report.broken).rstrip('.')}.")
    if not report.records:
        check_begun(path, config.keys / BEGUN)
    others = [body for _, body in report.of("entry") if body["step"]["plan_hash"] != plan.hash]
    study = [spent_of(body) for body in others if body["study"] == plan.federation.name]
    year = [spent_of(body) for body in others if body["time"][:4] == f"{datetime.now(UTC).year}"]
    exact = any(tells_exactly(step_of(body), spent_of(body)) for body in others)
    return Before(tuple(merged(study)), tuple(merged(year)), exact)


def here(config: SiteConfig, plan: Plan, spent: Iterable[Spent]) -> list[Spent]:
    """`spent` of a plan under one name of a division of patients, which is none in this site's ledger.

    That name depends on the tables, which nobody has read yet: what was spent before counts for every patient, which
    is an upper bound.
    """
    name = split_here(config, plan, "")
    return [replace(one, split=name) for one in spent]


def too_much(before: Before, spent: list[Spent], budget: Budget) -> list[Refusal]:
    """Whether the whole run, after what was spent before, is more than the study's or the year's budget."""
    found = []
    for key, limit, of in (
        ("epsilon_per_study", budget.epsilon_per_study, before.study),
        ("epsilon_per_year", budget.epsilon_per_year, before.year),
    ):
        cost, alone = (epsilon(all_of, delta=budget.delta) for all_of in ([*of, *spent], spent))
        if cost > limit:
            after = f", with what was spent before {cost:.3f}" if of else ""
            words = f"the whole run costs epsilon = {alone:.3f}{after}; budget.{key} is {limit:g}."
            found.append(Refusal("budget_exceeded", words))
    return found
