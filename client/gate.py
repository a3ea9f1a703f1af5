"""What a request has to pass before any work is done for it: brake, plan, approval, policy, repeats, and the budget.

No table is read before the plan has passed the policy. Each rule is asked again for every request: the operator may
pause, a budget may be spent meanwhile, an hour may strike.
"""

from dataclasses import replace
from datetime import datetime

from client import brake
from client.approval.code_hash import code_hash
from client.data import objections
from client.ledger.budget import Budget
from client.ledger.receipts import Entry
from client.ledger.split import split_here
from client.policy.columns import columns_read
from client.policy.policy import check_hours, check_plan, check_unchanged
from client.request import PROTOCOL, Request
from client.session import Session
from common.balancing import require_extra
from common.errors import Refusal
from common.privacy import mechanism
from common.privacy.events import Spent, Unnoised


def check(session: Session, request: Request) -> None:
    """Raises Refusal with the code of the first rule that says no."""
    brake.check(session.config)
    _check_plan(session, request)
    check_still(session)
    columns = columns_read(session.config, session.plan)
    unnoised = mechanism.unnoised_kinds(session.plan)
    check_plan(session.policy, session.plan, columns=columns, unnoised=unnoised, code=code_hash())
    session.ledger.check_repeats(request.step, request.digest)
    if request.step.kind in PROTOCOL:
        return  # it only ends what was begun inside the hours
    if request.stage and request.step.kind in ("train", "query.compare"):
        # Else each stage would be a step of its own, and have its own three different questions.
        raise Refusal("malformed_request", f"stage {request.stage} of {request.step.kind}, which has one question.")
    check_hours(session.policy, datetime.now())
    session.ledger.check_question(request.step, request.digest)


def check_still(session: Session) -> None:
    """What a person may have changed while the site worked: brake, approval, policy, objections. Raises Refusal.

    Asked before the work, again before its result is entered in the ledger, and again before it leaves.
    """
    brake.check(session.config)
    session.check_approval()
    check_unchanged(session.config.policy, session.policy)
    for digest in session.lists_read:  # none where no table was read yet
        objections.check_unchanged(session.config, digest)


def _check_plan(session: Session, request: Request) -> None:
    if request.step.plan_hash != session.plan.hash:
        asked, approved = request.step.plan_hash[:16], session.plan.hash[:16]
        raise Refusal("plan_not_approved", f"the coordinator asked for plan {asked}, this site approved {approved}.")
    if request.protocol and not session.plan.aggregation.secure:
        raise Refusal("malformed_request", "a message of secure aggregation, in a plan with plain sums.")
    require_extra(session.plan)


def entry(session: Session, request: Request) -> Entry | None:
    """What the ledger has to hold before `request` is answered; None where the answer tells nothing about patients."""
    spent = _cost(session, request.step.kind)
    if spent is None:
        return None
    return Entry(
        session.plan.federation.name,
        request.step,
        replace(spent, split=split_here(session.config, session.plan, session.dataset)),
        session.plan.privacy.unit,
        session.dataset,
        session.policy.digest,
        request=request.digest,
    )


def afford(session: Session, wanted: Entry | None) -> None:
    """Raises Refusal `budget_exceeded` or `too_many_rounds` where this one more release would be too much.

    So that no work is done in vain. What counts is asked when it is paid for, for another process may spend meanwhile.
    """
    if wanted is not None:
        session.ledger.project(wanted, within=budget(session))


def budget(session: Session) -> Budget:
    """What the site's policy grants."""
    rules, limits = session.policy.budget, session.policy.limits
    return Budget(rules.epsilon_per_study, rules.epsilon_per_year, rules.delta, limits.max_rounds)


def in_words(spent: Spent) -> str:
    """The noise of a release, for its receipt."""
    event = spent.event
    if isinstance(event, Unnoised):
        return "none"
    part = f", each over a sample of {event.sampling_probability:.4g} of the patients"
    steps = f"{event.count} x Gaussian" if event.count > 1 else "Gaussian"
    return f"{steps}, {event.noise_multiplier:g} x sensitivity{part if event.sampling_probability < 1 else ''}"


def _cost(session: Session, kind: str) -> Spent | None:
    plan = session.plan
    match kind:
        case "query.declare":
            return mechanism.levels_event(plan)
        case "query.survey":
            return mechanism.survey_event(plan, session.mechanism)
        case "query.compare":
            tells = session.policy.limits.tell_unlike and not plan.privacy.per_patient
            return mechanism.survey_event(plan, session.mechanism) if tells else None
        case "train":
            return mechanism.round_event(plan, session.mechanism)
        case "evaluate":
            return mechanism.evaluation_event(plan, session.mechanism)
        case _:
            return None
