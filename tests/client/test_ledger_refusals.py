"""Refusals fill no disk: of each code so many a day are written, and what is only counted is said to be."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from client.ledger import memory
from client.ledger.daily import Daily
from client.ledger.ledger import DIFFERENT_QUESTIONS, LEDGER, Ledger
from client.ledger.receipts import refused as refused_count
from client.ledger.text import receipt_words
from client.ledger.verify import verify_ledger
from tests.client.ledgers import KEY, STEP, receipt, refused

MOST = 5
MORNING = datetime(2026, 11, 23, 8, tzinfo=UTC).timestamp()


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_A_DAY", MOST)


def _bodies(path: Path) -> list[dict[str, Any]]:
    report = verify_ledger(path, KEY.verify_key)
    assert report.ok
    return [body for _, body in report.of("receipt")]


def test_further_refusals_of_a_code_are_counted_until_the_day_is_over(tmp_path: Path) -> None:
    path, clock = tmp_path / LEDGER, [MORNING]
    with Ledger(path, KEY, now=lambda: clock[0]) as ledger:
        for _ in range(MOST + 7):
            ledger.write_refusal(receipt(1, code="paused"))
        assert len(_bodies(path)) == MOST
        ledger.write_refusal(receipt(1, code="outside_hours"))
        assert len(_bodies(path)) == MOST + 1, "each code has its own count"
        clock[0] += 86_400.0
        ledger.write_refusal(receipt(1, code="paused"))
        ledger.write_refusal(receipt(1, code="paused"))
    bodies = [body for body in _bodies(path) if body["code"] == "paused"]
    further, before = {"further_today": "only counted"}, {"not_written_before": 7}
    assert [body["details"] for body in bodies] == [{}] * (MOST - 1) + [further, before, {}]
    assert receipt_words(bodies[MOST - 1]).endswith("; further ones of this day are only counted")
    assert receipt_words(bodies[MOST]).endswith("refused (paused), nothing left; 7 before it were only counted")
    assert refused_count(bodies) == f"{MOST + 7 + 2} or more" and refused_count(bodies[:2]) == "2"


def test_a_restart_writes_no_more_of_them(tmp_path: Path) -> None:
    path = tmp_path / LEDGER
    for _ in range(3):
        with Ledger(path, KEY, now=lambda: MORNING) as ledger:
            for _ in range(MOST - 1):
                ledger.write_refusal(receipt(1, code="paused"))
    assert len(_bodies(path)) == MOST


def test_a_refusal_that_counts_as_an_answer_is_always_written_once(tmp_path: Path) -> None:
    """Otherwise more different questions than allowed would be answered with it."""
    path = tmp_path / LEDGER
    telling = [replace(receipt(1), request=f"{number}", code="site_error") for number in range(DIFFERENT_QUESTIONS)]
    with Ledger(path, KEY, now=lambda: MORNING) as ledger:
        for _ in range(MOST):
            ledger.write_refusal(replace(receipt(2), request="one", code="site_error"))
        for one in (*telling, *telling):
            ledger.write_refusal(one)
        refused("asked_too_often", ledger.check_question, STEP, "a new one")
    assert len(_bodies(path)) == MOST + DIFFERENT_QUESTIONS


def test_releases_are_written_however_many_were_refused(tmp_path: Path) -> None:
    with Ledger(tmp_path / LEDGER, KEY, now=lambda: MORNING) as ledger:
        for number in range(2 * MOST):
            ledger.write_refusal(receipt(1, code="paused"))
            ledger.write_receipt(receipt(number + 2))
    assert sum(not body["code"] for body in _bodies(tmp_path / LEDGER)) == 2 * MOST


def test_the_same_question_is_not_answered_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer is a record on the site's disk."""
    monkeypatch.setattr(memory, "MOST_REPEATS", 4)
    path, answered = tmp_path / LEDGER, receipt(1)
    for number in range(4):
        with Ledger(path, KEY, now=lambda: MORNING) as ledger:  # a restart forgets none of them
            ledger.check_repeats(STEP, answered.request)
            ledger.write_receipt(replace(answered, entry=None, sha256=f"{number}"))
    with Ledger(path, KEY, now=lambda: MORNING) as ledger:
        refused("asked_too_often", ledger.check_repeats, STEP, answered.request)
        ledger.check_repeats(STEP, "another")


def test_counts_are_of_one_day() -> None:
    daily = Daily()
    assert [daily.add("a", "2026-11-22") for _ in range(3)] == [1, 2, 3]
    assert daily.add("b", "2026-11-22") == 1
    assert (daily.count("a", "2026-11-22"), daily.count("a", "2026-11-23")) == (3, 0)
    assert daily.add("a", "2026-11-23") == 1
