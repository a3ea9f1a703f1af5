"""What a person looks at before approving a plan: it in words, what changed, the code, and what the policy says."""

from dataclasses import dataclass

from client.approval.approval import approvals, approved_plan, changes_of_code, last_approved
from client.approval.before import Before, already_spent, here, too_much
from client.approval.code_hash import code_hash, dependencies
from client.approval.difference import difference
from client.config import SiteConfig
from client.policy.columns import columns_read
from client.policy.policy import Policy, load_policy, objections
from common.errors import PlanError, Refusal
from common.plan import Plan
from common.plan.describe import describe
from common.privacy.accounting import epsilon
from common.privacy.events import Spent, Unnoised
from common.privacy.mechanism import Mechanism, mechanism, promised


@dataclass(frozen=True)
class Review:
    """lines: all that has to be read. refusals: why this site would not run the plan, empty where it would."""

    lines: tuple[str, ...]
    refusals: tuple[Refusal, ...]


def review(config: SiteConfig, plan: Plan) -> Review:
    """Hold `plan` against this site's policy, its last approval, its code and, where it makes noise alone, its tables.

    Raises ConsiliumError where one of these cannot be read.
    """
    policy = load_policy(config.policy)
    spent = here(config, plan, promised(plan, _mechanism(config, plan)))
    kinds = sorted({each.event.kind for each in spent if isinstance(each.event, Unnoised)})
    cost = epsilon(spent, delta=policy.budget.delta)
    columns = columns_read(config, plan)
    refusals = list(objections(policy, plan, columns=columns, unnoised=kinds, code=code_hash()))
    before = already_spent(config, plan)
    refusals += [*too_much(before, spent, policy.budget), *_missing(plan)]
    versions = ", ".join(f"{name} {version}" for name, version in dependencies())
    parts = [
        *describe(plan),
        (f"{len(columns)} column(s) of this site's tables are read", _columns(columns)),
        ("What the whole run costs a patient's privacy here", _cost(policy, plan, spent, cost, kinds, before)),
        ("What differs from the plan approved last", _changed(config, plan)),
        ("With which code", [f"Code hash: {code_hash()}", f"Packages: {versions}"]),
        ("What this site's policy says", _verdict(refusals)),
    ]
    lines = [line for heading, text in parts for line in (heading, *(f"  {each}" for each in text))]
    return Review(tuple(map(_visible, lines)), tuple(refusals))


def _visible(line: str) -> str:
    """A plan's own words cannot move the cursor, hide a line or begin one: what is not printable is shown escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def _mechanism(config: SiteConfig, plan: Plan) -> Mechanism:
    if not plan.privacy.per_patient or plan.privacy.noise == "shared":
        return mechanism(plan)
    from client.session import Session  # with PyTorch, which nothing else here needs

    return Session(config, plan).mechanism


def _missing(plan: Plan) -> list[Refusal]:
    if not plan.training.combines_gradients:
        return []
    from common.balancing import require_extra  # with PyTorch, which nothing else here needs

    try:
        require_extra(plan)
    except Refusal as refusal:
        return [refusal]
    return []


def _columns(columns: dict[str, list[str]]) -> list[str]:
    return [f"{column}: {', '.join(roles)}" for column, roles in columns.items()]


def _cost(policy: Policy, plan: Plan, spent: list[Spent], cost: float, kinds: list[str], before: Before) -> list[str]:
    lines, own = [], policy.budget
    if len(kinds) < len({_name(each) for each in spent}):
        lines.append(f"Releases with noise: epsilon = {cost:.3f} at delta = {own.delta:g}, all together.")
        lines.append(
            f"Budget: {own.epsilon_per_study:g} for the study {plan.federation.name!r}, a name that the coordinator "
            f"chooses, so that what holds is {own.epsilon_per_year:g} for all studies of a year."
        )
        study, year = (epsilon(of, delta=own.delta) for of in (before.study, before.year))
        lines.append(f"Spent by other plans until now: {study:.3f} in this study, {year:.3f} in this year.")
    if kinds:
        lines.append(f"Releases without noise, of which no epsilon can be given: {', '.join(kinds)}.")
    if before.exact and set(kinds) - {"levels"}:
        lines.append(
            "Other plans were answered without noise before. Where patients came or went since, what two such plans "
            "release differs by exactly these patients."
        )
    return lines


def _name(spent: Spent) -> str:
    return spent.event.kind if isinstance(spent.event, Unnoised) else "noised"


def _changed(config: SiteConfig, plan: Plan) -> list[str]:
    last, (_, others) = last_approved(config), approvals(config)
    if last is None:
        return ["No plan was approved here before.", *others]
    code = [f"Since then {line}." for line in changes_of_code(last)]
    about = f"Approval {last.number}, {last.time}, was of plan {last.plan_hash[:16]}."
    try:
        return [about, *(difference(approved_plan(last), plan) or ["The plan is the same."]), *code, *others]
    except PlanError as error:
        return [about, f"This version does not read it any more: {error}", *code, *others]


def _verdict(refusals: list[Refusal]) -> list[str]:
    return [f"No: {refusal} [{refusal.code}]" for refusal in refusals] or ["Nothing against this plan."]
