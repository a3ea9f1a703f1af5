"""What a coordinator asks beyond the hospital's rules gets one code, before any patient's row was worked on."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from flwr.app import Context, RecordDict

from client.app import app
from client.approval import approval
from client.approval.approval import approval_path
from client.approval.code_hash import code_hash
from client.sessions import close_sessions
from common.plan import Plan
from common.privacy.accounting import epsilon
from common.privacy.events import UNNOISED_KINDS, Gaussian, Spent
from server.exchange import Question
from tests.conftest import small_plan, small_table
from tests.laws.one_site import PROTOCOL, VALUES, per_patient
from tests.secure import broadcast

SHARED = {"unit": "patient", "noise": "shared", "noise_multiplier": 1.0}
SECURE = {"aggregation": {"secure": True}}
FEATURES = ["age", "sbp", "smoker", "ward"]
COLUMNS = list(small_table(0).columns)

RULES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "more rounds": ("too_many_rounds", {}, {"limits": {"max_rounds": 2}}),
    "larger clip norm": ("clip_norm_too_large", {}, {"limits": {"max_clip_norm": 0.499}}),
    "larger gradients": (
        "grad_norm_too_large",
        {"privacy": SHARED | {"max_grad_norm": 1.5}, "aggregation": {"secure": True, "min_sites": 3}},
        {"limits": {"max_grad_norm": 1.0}},
    ),
    "plain sums": ("plain_sums_refused", {}, {"secure": {"required": True}}),
    "smaller cohorts": ("cohort_below_policy", SECURE, {"secure": {"min_cohort": 4}}),
    "fewer colluding sites": ("collusion_below_policy", SECURE, {"secure": {"colluding_sites": 1}}),
    "another task": ("task_not_allowed", {}, {"limits": {"tasks": ["death", "stay", "triage"]}}),
    "another feature": ("feature_not_allowed", {}, {"limits": {"features": FEATURES[:3]}}),
    "another column": ("column_not_allowed", {}, {"limits": {"columns": COLUMNS[1:]}}),
    "a plan that is not listed": ("plan_not_listed", {}, {"limits": {"approved_plans": ["0" * 16]}}),
    "code that is not listed": ("code_not_listed", {}, {"limits": {"approved_code": ["0" * 16]}}),
} | {
    f"{kind} without noise": (
        "unnoised_not_allowed",
        {},
        {"budget": {"allow_unnoised": [other for other in UNNOISED_KINDS if other != kind]}},
    )
    for kind in UNNOISED_KINDS
}


@pytest.mark.parametrize("rule", RULES)
def test_plan_beyond_the_policy_is_refused_whatever_is_asked(rule: str, site: Any, touched: list[str]) -> None:
    code, sections, changes = RULES[rule]
    plan = small_plan(**sections)
    one = site(plan)
    one.allow(**changes)
    for kind in (*VALUES, *PROTOCOL):
        one.assert_refused(one.ask(plan, kind), code)
    assert touched == [] and one.records("entry") == []


@pytest.mark.parametrize("kind", VALUES)
def test_no_table_is_read_for_a_plan_that_reads_a_column_too_many(kind: str, site: Any, touched: list[str]) -> None:
    """Under local noise the multiplier depends on the number of patients: it is not asked for before the policy."""
    plan = per_patient()
    one = site(plan)
    one.allow(limits={"columns": COLUMNS[1:]})
    one.assert_refused(one.ask(plan, kind), "column_not_allowed")
    assert touched == []


def test_a_round_of_training_has_one_question(site: Any, touched: list[str]) -> None:
    """Each would have a model of its own to be answered for."""
    plan = small_plan()
    one = site(plan)
    where = Context(1, 1, {"site-config": str(one.folder / "site.toml")}, RecordDict(), {})
    for stage in (1, 2, 17):
        question = Question("train", plan.hash, 1, stage, broadcast(plan), b"")
        one.assert_refused(app(question.to(1), where), "malformed_request")
    assert touched == []


def test_what_the_policy_allows_is_answered(site: Any, touched: list[str]) -> None:
    """The same questions with every rule at its limit: these laws refuse nothing that is allowed."""
    plan = small_plan()
    one = site(plan)
    limits = {
        "max_rounds": 3,
        "max_clip_norm": plan.aggregation.clip_norm,
        "tasks": [task.name for task in plan.tasks],
        "features": FEATURES,
        "columns": COLUMNS,
        "approved_plans": [plan.hash[:16]],
        "approved_code": [code_hash()[:16]],
        "hours": _hours(-1, 1),
    }
    one.allow(limits=limits)
    assert [one.ask(plan, kind).has_content() for kind in VALUES] == [True] * len(VALUES)
    assert {"load_table", "weight_level", "of", "train", "_scores"} <= set(touched)
    assert [body["step"]["kind"] for body in one.records("entry")] == list(VALUES[:-1])


def test_another_plan_is_refused(site: Any, touched: list[str]) -> None:
    """One that the site never saw, one whose approval is gone, and one that its operator put there unapproved."""
    plan, other = small_plan(), small_plan(training={"rounds": 4})
    one = site(plan)
    for kind in VALUES:
        one.assert_refused(one.ask(other, kind), "plan_not_approved")
    approval_path(one.config, plan.hash).unlink()
    for kind in VALUES:
        one.assert_refused(one.ask(plan, kind), "plan_not_approved")
    one.adopt(other, approved=False)
    for kind in VALUES:
        one.assert_refused(one.ask(other, kind), "plan_not_approved")
    one.adopt(other)
    assert touched == []
    assert one.ask(other, "train", 4).has_content()


def test_approval_that_the_site_did_not_sign_is_refused(site: Any, touched: list[str]) -> None:
    plan = small_plan()
    one = site(plan)
    path = approval_path(one.config, plan.hash)
    path.write_text(path.read_text().replace('"number": 1', '"number": 2'))
    for kind in VALUES:
        one.assert_refused(one.ask(plan, kind), "approval_damaged")
    assert touched == []


@pytest.mark.parametrize(
    ("name", "other"), [("code_hash", lambda: "ab" * 32), ("dependencies", lambda: (("torch", "0.1"),))]
)
def test_code_other_than_what_was_approved_is_refused(name: str, other: Any, site: Any, touched, monkeypatch) -> None:
    plan = small_plan()
    one = site(plan)
    with monkeypatch.context() as then:  # what was installed when the operator approved
        then.setattr(approval, name, other)
        one.adopt(plan)
    for kind in VALUES:
        one.assert_refused(one.ask(plan, kind), "code_changed")
    assert touched == []
    one.adopt(plan)
    assert one.ask(plan, "train").has_content()


def test_more_rounds_of_one_study_than_the_policy_allows_are_refused(site: Any, touched: list[str]) -> None:
    """All plans of a study together: a coordinator gains nothing with a second plan of the same name."""
    first, second, other = small_plan(), small_plan(seeds={"training": 9}), small_plan(federation={"name": "another"})
    one = site(first)
    one.allow(limits={"max_rounds": 4})
    assert all(one.ask(first, "train", number).has_content() for number in (1, 2, 3))
    one.adopt(second)
    assert one.ask(second, "train", 1).has_content()
    touched.clear()
    for number in (2, 3):
        one.assert_refused(one.ask(second, "train", number), "too_many_rounds")
    assert "train" not in touched and "of" not in touched
    one.assert_refused(one.ask(second, "train", 1, shift=0.1), "too_many_rounds")  # another model in the same round
    assert one.ask(second, "train", 1).has_content(), "a run that goes on asks its last round again"
    one.adopt(other)
    assert one.ask(other, "train", 1).has_content()


def _hours(first: int, last: int) -> str:
    """`limits.hours` from so many hours after now to so many."""
    now = datetime.now()
    return "-".join(f"{now + timedelta(hours=hours):%H:%M}" for hours in (first, last))


def test_outside_the_hours_nothing_begins(site: Any, touched: list[str]) -> None:
    plan = small_plan(**SECURE)
    one = site(plan)
    one.allow(limits={"hours": _hours(11, 13)})
    for kind in VALUES:
        one.assert_refused(one.ask(plan, kind), "outside_hours")
    assert touched == []
    for kind in PROTOCOL:  # what was begun inside the hours may end: it comes as far as the roster, which is not there
        one.assert_refused(one.ask(plan, kind), "site_not_ready")


def _cost(one: Any, plan: Plan, rounds: int) -> float:
    """Epsilon of so many rounds of training at this site, from the events of a ledger."""
    (entry,) = one.records("entry")
    event = entry["spent"]["event"]
    steps = Gaussian(event["noise_multiplier"], event["sampling_probability"], event["count"] * rounds)
    return epsilon([Spent(steps, "", "")], delta=1e-5)


def _budget(study: float, year: float) -> dict[str, Any]:
    return {"budget": {"epsilon_per_study": study, "epsilon_per_year": year}}


def test_nothing_noised_leaves_where_the_budget_is_too_small_for_it(site: Any, touched: list[str]) -> None:
    plan = per_patient()
    one = site(plan)
    one.allow(**_budget(1e-3, 1e-3))
    for kind in ("query.survey", "train", "evaluate"):
        one.assert_refused(one.ask(plan, kind), "budget_exceeded")
    assert set(touched) <= {"load_table"} and one.records("entry") == []


@pytest.mark.parametrize("account", ["study", "year", "year of another study"])
def test_round_after_the_budget_is_spent_is_refused(account: str, site: Any, touched: list[str]) -> None:
    plan = per_patient(training={"rounds": 6})
    one = site(plan)
    assert one.ask(plan, "train", 1).has_content()
    two = _cost(one, plan, 2) * 1.001
    one.allow(**_budget(two, 1e3 if account == "study" else two))
    assert one.ask(plan, "train", 2).has_content()
    if account == "year of another study":
        plan = per_patient(federation={"name": "another"})
        one.adopt(plan)
    touched.clear()
    for number in (3, 2):  # also what was answered before: it would be answered with fresh noise
        one.assert_refused(one.ask(plan, "train", number), "budget_exceeded")
    close_sessions()
    one.assert_refused(one.ask(plan, "train", 3), "budget_exceeded")
    assert set(touched) <= {"load_table"} and len(one.records("entry")) == 2
    if account == "study":  # there is room in the year
        other = per_patient(federation={"name": "another"})
        one.adopt(other)
        assert one.ask(other, "train", 1).has_content()
