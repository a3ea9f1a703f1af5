"""A ledger that cannot be trusted, or not be written: nothing leaves, and the site's own log says what to do."""

import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from client.ledger.file import LEDGER
from client.ledger.ledger import Ledger
from client.ledger.receipts import Entry, spent_of, step_of
from client.policy.policy import POLICY_FILE
from client.secure.keys import load_signing_key
from client.sessions import close_sessions
from tests.conftest import small_plan
from tests.laws.asking import ROUNDS
from tests.laws.one_site import VALUES, OneSite, no_file_beyond

PROGRAM = Path(__file__).with_name("asking.py")
WAL = f"{LEDGER}-wal"


def _program(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "tests.laws.asking", *map(str, arguments)]


def _run(command: list[str]) -> str:
    done = subprocess.run(command, cwd=PROGRAM.parents[2], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _edit_policy(one: OneSite) -> None:
    path = one.folder / POLICY_FILE
    path.write_text(path.read_text() + "\n")


def _set_clock_back(one: OneSite) -> None:
    """As if the clock had been an hour ahead when the last record was written."""
    close_sessions()
    with Ledger(one.folder / LEDGER, load_signing_key(one.config), now=lambda: time.time() + 3600.0) as ledger:
        ledger.spend(_last_entry(one))


def _last_entry(one: OneSite) -> Entry:
    body = one.records("entry")[-1]
    return Entry(body["study"], step_of(body), spent_of(body), body["unit"], body["dataset"], body["policy"])


def _put_back_older(one: OneSite) -> None:
    """The file as it was one round ago."""
    close_sessions()
    older = (one.folder / LEDGER).read_bytes()
    assert one.ask(small_plan(), "train", 2).has_content()
    close_sessions()
    (one.folder / LEDGER).write_bytes(older)


def _swap_while_open(one: OneSite) -> None:
    """Another file with the same bytes in its place, under a running client."""
    copy = one.folder / "copy"
    shutil.copy(one.folder / LEDGER, copy)
    copy.rename(one.folder / LEDGER)


def _delete(one: OneSite) -> None:
    close_sessions()
    (one.folder / LEDGER).unlink()


def _cut_last_record(one: OneSite) -> None:
    """The disk of a machine without power that had told SQLite of writes which it had not made."""
    kept = {name: (one.folder / name).read_bytes() for name in (LEDGER, WAL)}
    close_sessions()
    (one.folder / LEDGER).write_bytes(kept[LEDGER])
    (one.folder / WAL).write_bytes(kept[WAL][:-4096])


def _change_record(one: OneSite) -> None:
    close_sessions()
    with closing(sqlite3.connect(one.folder / LEDGER)) as database:
        database.execute("DROP TRIGGER never_changed")
        database.execute("UPDATE record SET body = replace(body, '\"update\"', '\"levels\"') WHERE number = 2")
        database.commit()


def _overwrite(one: OneSite) -> None:
    close_sessions()
    (one.folder / LEDGER).write_bytes(b"not a database" * 1000)


FAULTS: dict[str, tuple[str, Callable[[OneSite], None], str]] = {
    "policy edited": ("policy_changed", _edit_policy, "start the site again."),
    "clock set back": ("clock_set_back", _set_clock_back, "Set it right; if it is right now, and was ahead before: "),
    "older copy": ("ledger_replaced", _put_back_older, "until `consilium site ledger SITE --accept-restored`"),
    "another file under a running client": ("ledger_replaced", _swap_while_open, "was moved or replaced"),
    "deleted": ("ledger_replaced", _delete, "until `consilium site ledger SITE --accept-restored`"),
    "last record cut off": (
        "ledger_replaced",
        _cut_last_record,
        "until `consilium site ledger SITE --accept-restored`",
    ),
    "record changed": ("ledger_damaged", _change_record, "see docs/ledger.md."),
    "overwritten": ("ledger_damaged", _overwrite, "see docs/ledger.md."),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_leaves(fault: str, site: Any) -> None:
    code, damage, advice = FAULTS[fault]
    plan = small_plan()
    one = site(plan)
    assert one.ask(plan, "train", 1).has_content()
    damage(one)
    for _ in range(2):
        for kind in VALUES:
            one.assert_refused(one.ask(plan, kind, 3), code, receipt=False)
            last = one.log.splitlines()[-1]
            assert f" refused {kind}: {code}: {one.folder}" in last and advice in last
        if code not in ("policy_changed", "ledger_replaced"):
            close_sessions()  # a restart mends nothing


def test_what_a_person_put_right_goes_on(site: Any) -> None:
    plan = small_plan()
    one = site(plan)
    assert one.ask(plan, "train", 1).has_content()
    _put_back_older(one)
    one.assert_refused(one.ask(plan, "train", 3), "ledger_replaced", receipt=False)
    close_sessions()
    Ledger(one.folder / LEDGER, load_signing_key(one.config), accept=True).close()
    assert one.ask(plan, "train", 3).has_content()
    assert [body["record"] for body in one.records("restored")] == ["restored"]


def test_one_client_at_a_time_has_the_ledger(site: Any) -> None:
    plan = small_plan()
    one = site(plan)
    assert one.ask(plan, "train", 1).has_content()
    before = len(one.records())
    assert _run(_program("once", one.out, 2)) == "ledger_locked\n"
    assert "ledger_locked: " in one.log.splitlines()[-1] and str(one.folder / LEDGER) in one.log.splitlines()[-1]
    assert len(one.records()) == before
    assert one.ask(plan, "train", 2).has_content()
    close_sessions()
    assert _run(_program("once", one.out, 3)) == "\n"
    assert [body["step"]["round"] for body in one.receipts] == [1, 2, 3]


@pytest.mark.parametrize("kind", VALUES)
def test_where_no_record_can_be_added_nothing_leaves(kind: str, site: Any) -> None:
    plan = small_plan()
    one = site(plan)
    assert one.ask(plan, "train", 1).has_content()
    before = one.records()
    with no_file_beyond((one.folder / WAL).stat().st_size):
        one.assert_refused(one.ask(plan, kind, 2), "cannot_record", receipt=False)
    assert f"{one.folder / LEDGER}: the ledger cannot be written: " in one.log.splitlines()[-1]
    assert one.records() == before
    assert one.ask(plan, kind, 2).has_content()


def test_full_disk_and_read_only_disk(site: Any, tmp_path: Path) -> None:
    """A real one, of one mebibyte; as soon as there is room, the site goes on where it was."""
    disk = tmp_path / "disk"
    disk.mkdir()
    private = ["unshare", "--mount", "--map-root-user"]
    trial = [*private, "mount", "-t", "tmpfs", "tmpfs", str(disk)]
    if shutil.which("unshare") is None or subprocess.run(trial, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a disk of his own")
    one = site(small_plan(training={"rounds": ROUNDS + 10}))
    lines = [line.split() for line in _run([*private, *_program("starved", one.out, disk)]).splitlines()]
    assert [state for state, *_ in lines] == ["room", "full", "room", "read-only", "room"]
    answered = 0
    for state, codes, receipts in lines:
        *earlier, last = codes.split(",")
        assert set(earlier) <= {"answered"} and last == ("answered" if state == "room" else "cannot_record")
        answered += codes.count("answered")
        assert int(receipts) == answered, state  # what left, and only that
    assert lines[3][1] == "cannot_record"
