"""A budget is never overspent: not by one release, and not by two processes that both found room for it."""

import threading
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from client.ledger.ledger import LEDGER, Budget, Ledger
from client.ledger.verify import verify_ledger
from common.privacy import composition
from common.privacy.accounting import affordable
from common.privacy.accounting import epsilon as epsilon_of
from common.privacy.events import Gaussian, Spent
from tests.client.ledgers import KEY, NOISED, OPEN, entry, receipt, refused, rounds

ONE = Spent(Gaussian(8.0, 1.0), "split-1", "train")
SHARED: dict[str, Any] = {"alone": False, "durable": False}


def _budget_for(many: int) -> Budget:
    """With room for exactly `many` releases of NOISED in a study."""
    fits, too_much = (
        epsilon_of([Spent(Gaussian(1.0, 0.01, 20 * times), "", "")], delta=1e-5) for times in (many, many + 1)
    )
    return Budget((fits + too_much) / 2, None, 1e-5)


@pytest.mark.parametrize("limits", [(1.0, None), (None, 1.0), (1.0, 5.0), (5.0, 1.0)])
def test_a_release_beyond_the_budget_is_refused_before_it_is_made(limits, tmp_path: Path) -> None:
    budget = Budget(*limits, delta=1e-5)
    fits = affordable([], ONE, epsilon=1.0, delta=1e-5, most=100)
    assert 0 < fits < 100
    with Ledger(tmp_path / LEDGER, KEY) as ledger:
        said = refused("budget_exceeded", ledger.project, entry(spent=ONE), within=budget, times=fits + 1)
        assert f"has {fits} such" in said and ("study 'heart'" in said) == (limits[0] == 1.0)
        for number in range(fits):
            ledger.project(entry(number, spent=ONE), within=budget)
            ledger.project(entry(number, spent=ONE), within=budget, times=fits - number)
            ledger.spend(entry(number, spent=ONE), within=budget)
        assert epsilon_of(ledger.spent(), delta=1e-5) <= 1.0
        for ask in (ledger.project, ledger.spend):
            refused("budget_exceeded", ask, entry(fits, spent=ONE), within=budget)
        ledger.spend(entry(fits, spent=OPEN), within=budget)
        other = entry(fits, spent=ONE, study="lung")
        if limits[1] == 1.0:
            assert "the year 20" in refused("budget_exceeded", ledger.spend, other, within=budget)
        else:
            ledger.spend(other, within=budget)


def test_a_new_year_has_a_new_budget_and_a_study_does_not(tmp_path: Path) -> None:
    clock, one = [datetime(2026, 12, 31, tzinfo=UTC).timestamp()], Spent(Gaussian(4.0, 1.0), "split-1", "train")
    year, study = Budget(None, 1.2, 1e-5), Budget(1.2, None, 1e-5)
    with Ledger(tmp_path / LEDGER, KEY, now=lambda: clock[0]) as ledger:
        ledger.spend(entry(1, spent=one))
        refused("budget_exceeded", ledger.project, entry(2, spent=one), within=year)
        clock[0] += 86_400.0
        ledger.project(entry(2, spent=one), within=year)
        refused("budget_exceeded", ledger.project, entry(2, spent=one), within=study)


def test_two_processes_that_both_found_room_do_not_both_spend(tmp_path: Path) -> None:
    path, budget = tmp_path / LEDGER, _budget_for(3)
    with Ledger(path, KEY, **SHARED) as first, Ledger(path, KEY, **SHARED) as second:
        rounds(first, range(1, 3))
        for ledger in (first, second):
            ledger.project(entry(3), within=budget)
        paid = second.spend(entry(3), within=budget)
        before = first.spent()
        assert "has 0 such releases left" in refused("budget_exceeded", first.spend, entry(4), within=budget)
        assert before == first.spent() == second.spent() == [replace(NOISED, event=Gaussian(1.0, 0.01, 60))]
        second.write_receipt(receipt(3, paid=paid))
    report = verify_ledger(path, KEY.verify_key)
    assert report.ok and [len(list(report.of(kind))) for kind in ("entry", "receipt")] == [3, 3]


@pytest.mark.parametrize("many", [1, 8], ids=["threads of one ledger", "a ledger each"])
def test_of_many_at_once_exactly_as_many_as_fit_are_paid(many: int, tmp_path: Path) -> None:
    path, budget, told, start = tmp_path / LEDGER, _budget_for(3), list[str](), threading.Barrier(8)
    with ExitStack() as opened:
        ledgers = [opened.enter_context(Ledger(path, KEY, **SHARED)) for _ in range(many)]

        def spend(number: int) -> None:
            ledger = ledgers[number % many]
            ledger.project(entry(number), within=budget)
            start.wait()
            try:
                ledger.spend(entry(number), within=budget)
                told.append("")
            except Exception as error:  # noqa: BLE001  a thread's own error would be lost
                told.append(getattr(error, "code", repr(error)))

        threads = [threading.Thread(target=spend, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(told) == [""] * 3 + ["budget_exceeded"] * 5
    assert len(list(verify_ledger(path, KEY.verify_key).of("entry"))) == 3


def test_stored_bytes_that_are_paid_for_are_free_also_when_nothing_is_left(tmp_path: Path) -> None:
    budget = _budget_for(1)
    with Ledger(tmp_path / LEDGER, KEY) as ledger:
        paid = ledger.spend(entry(1), again=b"header", within=budget)
        assert ledger.spend(entry(1), again=b"header", within=budget) == paid
        refused("budget_exceeded", ledger.spend, entry(1), again=b"another header", within=budget)
        refused("budget_exceeded", ledger.spend, entry(1), within=budget)
    assert len(list(verify_ledger(tmp_path / LEDGER, KEY.verify_key).of("entry"))) == 1


def test_a_question_beyond_the_rounds_of_a_study_is_not_entered(tmp_path: Path) -> None:
    """Nor by another process; the same question again is the same round."""
    path, budget = tmp_path / LEDGER, Budget(None, None, 1e-5, rounds_per_study=3)
    asked = [replace(entry(1 + number // 2, spent=OPEN), request=f"{number}") for number in range(4)]
    with Ledger(path, KEY, **SHARED) as first, Ledger(path, KEY, **SHARED) as second:
        first.project(asked[3], within=budget)
        for one in asked[:3]:
            second.spend(one, within=budget)
        said = refused("too_many_rounds", first.spend, asked[3], within=budget)
        assert said == "round 4 of this study; limits.max_rounds allows 3."
        first.spend(asked[0], within=budget)
        first.spend(replace(asked[3], study="lung"), within=budget)
        first.spend(replace(asked[3], step=replace(asked[3].step, kind="evaluate")), within=budget)
        assert first.rounds("heart") == 3


def test_what_was_asked_before_the_work_costs_no_accounting_afterwards(tmp_path: Path, monkeypatch) -> None:
    computed, honest = list[object](), composition._composed
    monkeypatch.setattr(composition, "_composed", lambda *given: computed.append(given) or honest(*given))
    spent, budget = Spent(Gaussian(1.37, 0.013, 20), "split-1", "train"), Budget(3.01, 6.01, 1e-5)
    with Ledger(tmp_path / LEDGER, KEY) as ledger:
        for number in range(1, 6):
            ledger.project(entry(number, spent=spent), within=budget)
            asked = len(computed)
            ledger.spend(entry(number, spent=spent), within=budget)
            assert len(computed) == asked > 0
