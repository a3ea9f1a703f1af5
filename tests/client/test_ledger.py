"""The site's privacy ledger: what was spent and asked is known to the next process; nothing is charged too little."""

import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from client.ledger.chain import KEY as KEY_RECORD
from client.ledger.ledger import DIFFERENT_QUESTIONS, LEDGER, Ledger, accept_restored
from client.ledger.verify import verify_ledger
from tests.client.ledgers import KEY, NOISED, NOW, OPEN, OTHER_KEY, STEP, entry, receipt, refused, rounds, step, written


def test_what_was_written_is_known_to_the_next_process(tmp_path: Path) -> None:
    path = written(tmp_path, 5)
    with Ledger(path, KEY) as ledger:
        assert ledger.spent() == [replace(NOISED, event=replace(NOISED.event, count=100))]
        assert ledger.spend(entry(6)) == 12  # the key, then an entry and a receipt for each of five rounds
        assert ledger.rounds("heart") == 6 and ledger.rounds("lung") == 0
        assert ledger.rounds("heart", also=entry(6)) == 6 and ledger.rounds("heart", also=entry(7)) == 7
        assert ledger.rounds("heart", also=replace(entry(6), request="another question")) == 7
    report = verify_ledger(path, KEY.verify_key)
    assert report.ok and report.notes == ()
    assert [len(list(report.of(kind))) for kind in (KEY_RECORD, "entry", "receipt")] == [1, 6, 5]
    body = next(report.of("receipt"))[1]
    assert body["sha256"] == "01" and body["entry"] == 2 and body["recipient"] == "heart-federation"
    assert datetime.fromisoformat(body["time"]).tzinfo == UTC


def test_spending_is_told_apart_by_study_and_by_year(tmp_path: Path) -> None:
    clock = [datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()]
    with Ledger(tmp_path / LEDGER, KEY, now=lambda: clock[0]) as ledger:
        ledger.spend(entry(1, study="heart"))
        ledger.spend(entry(1, study="lung", spent=OPEN))
        clock[0] += 1.0
        ledger.spend(entry(2, study="heart"))
        assert ledger.spent(study="heart", year=2026) == ledger.spent(study="heart", year=2027) == [NOISED]
        assert ledger.spent(year=2026) == [NOISED, OPEN] and ledger.spent(study="lung") == [OPEN]
        assert ledger.spent(study="heart") == [replace(NOISED, event=replace(NOISED.event, count=40))]


def test_the_same_stored_bytes_are_charged_once_and_only_they(tmp_path: Path) -> None:
    with Ledger(tmp_path / LEDGER, KEY) as ledger:
        first = ledger.spend(entry(1), again=b"header")
        assert ledger.spend(entry(1), again=b"header") == first
        others = [
            ledger.spend(entry(1), again=b"another header"),
            ledger.spend(entry(2), again=b"header"),
            ledger.spend(entry(1, study="lung"), again=b"header"),
            ledger.spend(entry(1, spent=OPEN), again=b"header"),
            ledger.spend(entry(1)),
            ledger.spend(entry(1)),
        ]
        assert others == list(range(first + 1, first + 7))
    with Ledger(tmp_path / LEDGER, KEY) as ledger:
        assert ledger.spend(entry(1), again=b"header") == first


def test_an_entry_pays_for_one_release_of_its_own_step(tmp_path: Path) -> None:
    with Ledger(tmp_path / LEDGER, KEY) as ledger:
        paid = ledger.spend(entry(1))
        ledger.write_receipt(receipt(1, paid=paid, left=b"bytes"))
        ledger.write_receipt(receipt(1, paid=paid, left=b"bytes"))  # the same again
        for wrong in (receipt(1, paid=paid, left=b"others"), receipt(2, paid=paid), receipt(1, paid=1)):
            refused("entry_used", ledger.write_receipt, wrong)
        refused("entry_used", ledger.write_receipt, receipt(1, paid=99))
    assert len(list(verify_ledger(tmp_path / LEDGER, KEY.verify_key).of("receipt"))) == 2


def test_only_a_few_different_questions_about_a_step_are_answered(tmp_path: Path) -> None:
    with Ledger(tmp_path / LEDGER, KEY) as ledger:
        for number in range(DIFFERENT_QUESTIONS):
            ledger.check_question(STEP, f"{number}")
            ledger.write_receipt(replace(receipt(1), request=f"{number}"))
        ledger.write_refusal(replace(receipt(2), request="refused", code="asked_too_often"))
    with Ledger(tmp_path / LEDGER, KEY) as ledger:
        for number in range(DIFFERENT_QUESTIONS):
            ledger.check_question(STEP, f"{number}")  # the same one again, word for word
        refused("asked_too_often", ledger.check_question, STEP, "a new one")
        for number in range(DIFFERENT_QUESTIONS + 1):
            ledger.check_question(step(2), f"{number}")  # what was refused was not answered


def test_clock_set_back_is_refused(tmp_path: Path) -> None:
    clock = [NOW]
    with Ledger(tmp_path / LEDGER, KEY, now=lambda: clock[0]) as ledger:
        paid = ledger.spend(entry(1))
        clock[0] = NOW - 4.0  # corrected by its time server
        ledger.write_receipt(receipt(1, paid=paid))
        clock[0] = NOW - 6.0
        refused("clock_set_back", ledger.spend, entry(2))
        refused("clock_set_back", ledger.write_receipt, receipt(2))
        ledger.write_refusal(receipt(2, code="clock_set_back"))
        clock[0] = NOW
        assert ledger.spend(entry(2)) == 4
    bodies = [record.content["time"] for record in verify_ledger(tmp_path / LEDGER, KEY.verify_key).records]
    assert bodies == sorted(bodies), "small steps back do not add up"


def test_records_are_never_changed_or_removed(tmp_path: Path) -> None:
    database = sqlite3.connect(written(tmp_path))
    for statement in ("UPDATE record SET body = x'00'", "DELETE FROM record", "DELETE FROM record WHERE number = 11"):
        with pytest.raises(sqlite3.IntegrityError, match="records stay as they are"):
            database.execute(statement)
    database.close()


def test_a_renewed_key_goes_on_with_the_same_chain(tmp_path: Path) -> None:
    """Once the operator has said so: whoever can write here could have made a ledger under a key of their own."""
    path = written(tmp_path)
    assert "signed with another key than this site's" in refused("ledger_replaced", Ledger, path, OTHER_KEY)
    accept_restored(path, OTHER_KEY)
    with Ledger(path, OTHER_KEY) as ledger:
        rounds(ledger, range(6, 8))
    report = verify_ledger(path, OTHER_KEY.verify_key)
    assert report.ok and len(list(report.of("restored"))) == 1
    assert str(verify_ledger(path, KEY.verify_key).broken).endswith("is signed with another key than the one given.")


def test_a_ledger_that_is_gone_with_all_that_lay_beside_it_is_missed(tmp_path: Path) -> None:
    begun = tmp_path / "keys" / "ledger.begun"
    begun.parent.mkdir()
    path = tmp_path / "site" / LEDGER
    with Ledger(path, KEY, begun=begun) as ledger:
        rounds(ledger, range(1, 3))
    for file in path.parent.iterdir():
        file.unlink()
    assert "is not the ledger that was last written" in refused("ledger_replaced", Ledger, path, KEY, begun=begun)
    with Ledger(path, KEY, begun=begun, accept=True):
        pass
    with Ledger(path, KEY, begun=begun) as ledger:
        assert ledger.spent() == []


def test_what_the_ledger_needs_holds_no_training_code() -> None:
    script = (
        "import sys, client.ledger; print(*sorted({'torch', 'pandas', 'flwr', 'scipy'} & set(sys.modules)), 'none')"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).split() == ["none"]
