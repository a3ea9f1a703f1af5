"""What a site's own files say for its impact assessment: plan, policy, approvals, roster, objections, ledger."""

from client.approval.approval import check_approval
from client.approval.code_hash import code_hash
from client.approval.review import review
from client.assessment.document import Facts
from client.config import SiteConfig
from client.data.left_out import who_objects
from client.data.objections import read_list
from client.ledger.account import accounts, postings
from client.ledger.budget import Budget
from client.ledger.file import LEDGER
from client.ledger.receipts_page import summary
from client.ledger.text import rounds_words
from client.ledger.verify import verify_ledger
from client.policy.policy import load_policy
from client.policy.rules import Policy
from client.secure.keys import load_roster
from common.errors import ConsiliumError, Refusal
from common.files import exists
from common.plan import Plan
from common.plan.describe import describe
from common.secagg.roster.words import words


def gather(config: SiteConfig, plan: Plan) -> Facts:
    """Everything the document holds. Nothing is written. Raises ConsiliumError where a file cannot be read."""
    policy = load_policy(config.policy)
    refusals = review(config, plan).refusals
    roster = load_roster(config)
    spent, released = _books(config, policy)
    return Facts(
        site=config.name,
        federation=plan.federation.title or plan.federation.name,
        plan_hash=plan.hash,
        code_hash=code_hash(),
        approved=_approved(config, plan),
        plan=describe(plan),
        roster=() if roster is None else (f"Hospitals: {', '.join(roster.roster.sites)}.", *words(roster.roster)),
        verdict=[f"No: {refusal} ({refusal.code})" for refusal in refusals] or ["Nothing against this plan."],
        policy=_limits(policy),
        spent=spent,
        released=released,
        excluded=len(who_objects(read_list(config))) if config.exclude_patients else None,
    )


def _approved(config: SiteConfig, plan: Plan) -> bool:
    try:
        check_approval(config, plan)
    except Refusal:
        return False
    return True


def _limits(policy: Policy) -> list[str]:
    """Every key of policy.toml with its value and its meaning."""
    lines = []
    for name, section in (("secure", policy.secure), ("limits", policy.limits), ("budget", policy.budget)):
        for key, field in type(section).model_fields.items():
            value = getattr(section, key)
            told = "not set" if value in (None, ()) else ", ".join(value) if isinstance(value, tuple) else str(value)
            lines.append(f"{name}.{key} = {told}: {field.description}")
    return lines


def _books(config: SiteConfig, policy: Policy) -> tuple[list[str], str]:
    path, rules = config.folder / LEDGER, policy.budget
    if not exists(path):
        return [], ""
    report = verify_ledger(path, None)
    if report.broken is not None:
        raise ConsiliumError(f"{path}: {report.broken}; an assessment is not made of it (docs/ledger.md).")
    budget = Budget(rules.epsilon_per_study, rules.epsilon_per_year, rules.delta)
    studies, years = accounts(postings(report), budget)
    lines = [
        f"{title} {account.name}: {account.headline} at delta {budget.delta:g}; {rounds_words(account)}."
        for title, found in (("Study", studies), ("Year", years))
        for account in found
    ]
    return lines, summary([body for _, body in report.of("receipt")])
