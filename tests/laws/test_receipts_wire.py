"""The receipts in a site's ledger are, one to one, what left it: held against the bodies that a grid carried."""

from pathlib import Path
from typing import Any

import pytest

from client.app import app
from client.ledger.file import LEDGER
from client.policy.policy import POLICY_FILE, SIMULATED, write_policy
from client.request import Request
from server.exchange import Question, ask
from tests.messages import refuse
from tests.secure import Federation, Wire, broadcast, build
from tests.wire import PAID, Passed, Recorder, assert_receipts_are_what_passed

pytestmark = pytest.mark.usefixtures("closed")
PATIENT = {"unit": "patient", "noise_multiplier": 1.0}
PLANS: dict[str, dict[str, Any]] = {
    "plain": {"secure": False},
    "secure": {},
    "patients, noise local": {"secure": False, "privacy": PATIENT | {"noise": "local"}},
    "patients, noise shared": {"privacy": PATIENT | {"noise": "shared", "expected_patients": 300}},
}
AGAIN = 3


def _grid(federation: Federation, answering: Any = app) -> Recorder:
    grid = Recorder(answering, [{"site-config": str(path)} for path in federation.sites.values()])
    grid.passed = {}
    return grid


def _hold(federation: Federation, grid: Recorder) -> dict[str, list[dict[str, Any]]]:
    """The receipts of each site, once they are what passed."""
    result = {}
    for site, path in federation.sites.items():
        passed = grid.passed[site]
        receipts = assert_receipts_are_what_passed(path.parent / LEDGER, [Passed.of(reply) for _, reply in passed])
        for (question, _), receipt in zip(passed, receipts, strict=True):
            asked = Request.of(question)
            assert (receipt["step"], receipt["request"]) == (vars(asked.step), asked.digest)
            assert receipt["recipient"] == federation.plan.federation.name
            assert receipt["secure"] == federation.plan.aggregation.secure
        result[site] = receipts
    return result


@pytest.mark.parametrize("name", PLANS)
def test_receipts_are_what_the_grid_carried(name: str, tmp_path: Path) -> None:
    """A whole run of two rounds, in which one site refuses the survey, and questions that every site refuses."""
    federation = build(tmp_path, 4, training={"rounds": 2}, aggregation={"min_sites": 3}, **PLANS[name])
    strict = SIMULATED | {"limits": SIMULATED["limits"] | {"min_patients": 1000}}
    write_policy(federation.sites["west"].parent / POLICY_FILE, strict)
    grid = _grid(federation)
    federation.run(grid=grid)
    plan = federation.plan
    for question in (
        Question("train", "0" * 64, round=3, vector=broadcast(plan)),
        Question("train", plan.hash, round=3, vector=broadcast(plan)),
        Question("query.unmask", plan.hash, protocol=b"junk"),
    ):
        assert len(ask(grid, grid.get_node_ids(), question, timeout_s=60.0).failed) == 4
    held = _hold(federation, grid)
    codes = {site: [receipt["code"] for receipt in receipts if receipt["code"]] for site, receipts in held.items()}
    assert all(len(codes[site]) == 3 for site in ("east", "north", "south"))
    assert ("too_few_patients" in codes["west"]) == (plan.privacy.unit == "none")  # noise hides a small site as well
    assert codes["west"][-3:] == codes["east"]
    for site in ("east", "north", "south"):
        left = {receipt["step"]["kind"] for receipt in held[site] if not receipt["code"]}
        not_asked = {"query.compare"} if plan.privacy.per_patient else set()
        assert left >= {*PAID, "query.finish"} - not_asked and not left & not_asked
        assert ("query.unmask" in left) == plan.aggregation.secure
        noised = {receipt["step"]["kind"] for receipt in held[site] if receipt["noise"] != "none"}
        assert noised == ({"query.survey", "train", "evaluate"} if plan.privacy.per_patient else set())


def test_report_that_is_sent_again_has_a_receipt_and_is_paid_once(tmp_path: Path) -> None:
    """The coordinator asks once more for a round that a site has answered."""
    federation = build(tmp_path, 3)
    grid = _grid(federation)
    with federation.sums(grid=grid) as sums:
        federation.collect(sums)
    train = next(question for question, _ in grid.passed["south"] if question.metadata.message_type == "train")
    grid.passed["south"] += [(train, app(train, federation.context("south"))) for _ in range(AGAIN)]
    reports = [Passed.of(reply).sha256 for question, reply in grid.passed["south"] if question is train]
    assert len(reports) == 1 + AGAIN and len(set(reports)) == 1
    receipts = [receipt for receipt in _hold(federation, grid)["south"] if receipt["step"]["kind"] == "train"]
    assert len({receipt["entry"] for receipt in receipts}) == 1
    assert [receipt["release"] for receipt in receipts[1:]] == ["report_again"] * AGAIN


def test_site_that_never_hears_a_question_has_no_receipt_of_it(tmp_path: Path) -> None:
    """What is made up in a site's name is in no ledger of its own: the two can be told apart."""
    federation = build(tmp_path, 4, aggregation={"min_sites": 3})
    grid = _grid(federation, Wire(instead={("west", "train"): refuse}))
    federation.run(grid=grid)
    heard = [pair for pair in grid.passed["west"] if pair[0].metadata.message_type != "train"]
    assert len(heard) < len(grid.passed["west"])
    grid.passed["west"] = heard
    _hold(federation, grid)
