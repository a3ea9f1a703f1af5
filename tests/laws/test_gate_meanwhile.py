"""What a hospital changes, or spends, while its site runs holds from the next request on."""

from typing import Any

import pytest

from client import brake, door, gate, work
from client.approval.approval import approval_path
from client.ledger.ledger import Ledger
from client.policy.policy import POLICY_FILE
from client.sessions import close_sessions
from common.privacy.accounting import epsilon
from common.privacy.events import Spent, event_from_json
from tests.conftest import small_plan
from tests.laws.one_site import PROTOCOL, VALUES, per_patient


def test_paused_site_answers_nothing_until_it_is_resumed(site: Any, touched: list[str]) -> None:
    plan = small_plan()
    one = site(plan)
    assert one.ask(plan, "train").has_content()
    touched.clear()
    brake.pause(one.config)
    for _ in range(2):
        for kind in (*VALUES, *PROTOCOL):
            one.assert_refused(one.ask(plan, kind, 2), "paused")
        close_sessions()  # a restart changes nothing
    assert touched == []
    brake.resume(one.config)
    assert one.ask(plan, "train", 2).has_content()


def test_policy_edited_during_a_run_stops_it_until_the_site_is_started_again(site: Any, touched: list[str]) -> None:
    plan = small_plan()
    one = site(plan)
    assert one.ask(plan, "train").has_content()
    policy = one.folder / POLICY_FILE
    policy.write_text(policy.read_text() + "\n# looser from tomorrow on\n")
    touched.clear()
    for kind in VALUES:
        one.assert_refused(one.ask(plan, kind, 2), "policy_changed")
    policy.rename(policy.with_suffix(".old"))
    one.assert_refused(one.ask(plan, "train", 2), "policy_changed")
    assert touched == []
    policy.with_suffix(".old").rename(policy)
    close_sessions()
    assert one.ask(plan, "train", 2).has_content()


CHANGES = {
    "paused": lambda one: brake.pause(one.config),
    "policy_changed": lambda one: (one.folder / POLICY_FILE).write_text((one.folder / POLICY_FILE).read_text() + "\n"),
    "plan_not_approved": lambda one: approval_path(one.config, small_plan().hash).unlink(),
}


@pytest.mark.parametrize("code", CHANGES)
@pytest.mark.parametrize(("kind", "during"), [("train", "train"), ("evaluate", "evaluate"), ("query.survey", "survey")])
def test_what_changes_during_the_work_stops_its_result(
    kind: str, during: str, code: str, site: Any, monkeypatch
) -> None:
    plan = small_plan()
    one, honest = site(plan), getattr(work, during)

    def meanwhile(*arguments: Any) -> Any:
        release = honest(*arguments)
        CHANGES[code](one)
        return release

    monkeypatch.setattr(work, during, meanwhile)
    one.assert_refused(one.ask(plan, kind), code)
    assert one.records("entry") == one.receipts == []


def test_what_changes_while_the_result_is_entered_stops_it(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The budget is spent then, and nothing has left."""
    plan, honest = small_plan(), Ledger.spend
    one = site(plan)

    def meanwhile(*arguments: Any, **named: Any) -> int:
        number = honest(*arguments, **named)
        brake.pause(one.config)
        return number

    monkeypatch.setattr(Ledger, "spend", meanwhile)
    one.assert_refused(one.ask(plan, "train"), "paused")
    assert len(one.records("entry")) == 1 and one.receipts == []


@pytest.mark.parametrize("limit", ["budget", "rounds"])
def test_what_another_process_spent_during_the_work_is_not_spent_again(
    limit: str, site: Any, touched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There was room before the work; when the release is to be paid, there is none."""
    plan = per_patient(training={"rounds": 1})
    one = site(plan)
    assert one.ask(plan, "train", 1).has_content()
    (entry,) = one.records("entry")
    cost = epsilon([Spent(event_from_json(entry["spent"]["event"]), "", "")], delta=1e-5) * 1.001
    small = {"budget": {"epsilon_per_study": cost, "epsilon_per_year": cost}}
    one.allow(**(small if limit == "budget" else {"limits": {"max_rounds": 1}}))
    monkeypatch.setattr(gate, "afford", lambda session, wanted: None)
    touched.clear()
    refusal = "budget_exceeded" if limit == "budget" else "too_many_rounds"
    one.assert_refused(one.ask(plan, "train", 1, shift=0.1), refusal)
    assert "train" in touched and one.records("entry") == [entry]


def test_refusals_without_end_do_not_fill_the_sites_log(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MOST_A_DAY", 3)
    plan = small_plan()
    one = site(plan)
    brake.pause(one.config)
    for number in range(8):
        one.ask(plan, "train", number)
    brake.resume(one.config)
    one.assert_refused(one.ask(small_plan(training={"rounds": 4}), "train"), "plan_not_approved")
    lines = [line for line in one.log.splitlines() if " refused " in line]
    assert [": paused: " in line for line in lines] == [True, True, True, False]
    assert lines[2].endswith(" No more of this code are written today.")
