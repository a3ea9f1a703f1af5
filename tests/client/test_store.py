# ruff: noqa: F811  fixtures are imported
"""The site's store: whole transactions, on the disk before anything leaves, private, and erased for good."""

import os
from pathlib import Path

import pytest

from client import store
from client.store import KEEP_S, STORE, FileVault, MemoryVault
from common.errors import Refusal
from common.secagg.header import RoundState, names_hash
from tests.client.stored import (  # noqa: F401  fixtures
    KEY,
    OTHER,
    REPORT,
    ROUND,
    SESSION,
    SIGNED,
    SURVIVORS,
    WRITES,
    kept,
    path,
    refused,
    state,
    vault,
)


def test_what_was_kept_is_found_by_the_next_process(vault: FileVault) -> None:
    for number, report in ((7, REPORT), (8, None)):
        with vault.open() as opened:
            opened.keep_round(SESSION, RoundState(number, b"h", b"digest" if report else b""), report)
            signed = RoundState(number, b"h", b"digest", survivors=SURVIVORS, opened=1)
            opened.keep_opened(SESSION, signed, b"question", b"subject")
        assert kept(vault)[0].number == number
        assert kept(vault)[1] == (report or b""), "a new round's state does not keep the report of the one before"
    with vault.open() as opened:
        assert opened.session(SESSION)[0] == state()
        assert opened.opened(b"question", b"subject").survivors == (names_hash(("north", "south")),) * 2
        assert opened.opened(b"another", b"others").survivors == () and opened.open_sessions == 1


def test_opening_the_same_round_twice_counts_once(vault: FileVault) -> None:
    with vault.open() as opened:
        for _ in range(2):
            opened.keep_opened(SESSION, SIGNED, b"question", b"subject")
        assert opened.opened(b"question", b"subject").rounds == 1


@pytest.mark.parametrize("write", WRITES)
def test_every_write_is_one_transaction_on_the_disk(write: str, vault: FileVault) -> None:
    with vault.open() as opened:
        said: list[str] = []
        assert opened._database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        opened._database.set_trace_callback(lambda text: said.append(text.split()[0]))
        WRITES[write](opened)
        assert said.count("BEGIN") == said.count("COMMIT") == 1
        assert not opened._database.in_transaction


@pytest.mark.parametrize("write", WRITES)
def test_write_that_fails_half_way_changes_nothing(write: str, vault: FileVault) -> None:
    with vault.open() as opened:
        before = list(opened._database.iterdump())
        opened._database.execute("CREATE TEMP TRIGGER stop BEFORE UPDATE ON place BEGIN SELECT RAISE(FAIL, 'no'); END")
        with pytest.raises(Refusal) as refusal:
            WRITES[write](opened)
        assert refusal.value.code == "cannot_record"
        assert list(opened._database.iterdump()) == before


def test_only_the_sites_own_user_can_read_it(path: Path) -> None:
    before = os.umask(0)
    try:
        with FileVault(path).open() as opened:
            opened.keep_session(state())
            files = list(path.parent.iterdir())
            assert {f"{STORE}-wal", STORE} <= {file.name for file in files}
            assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    finally:
        os.umask(before)


def test_damaged_store_is_refused_in_one_sentence(path: Path, vault: FileVault) -> None:
    whole = path.read_bytes()
    places = range(0, len(whole), 512)
    codes = set()
    for at in places:
        path.write_bytes(whole[:at] + bytes(range(256)) * 2 + whole[at + 512 :])
        try:
            with vault.open() as opened:
                opened.session(SESSION)
        except Refusal as refusal:
            codes.add(refusal.code)
            assert "\n" not in str(refusal)
    assert "cannot_record" in codes and codes <= {"cannot_record", "session_erased", "session_unknown"}


def test_record_that_cannot_be_read_is_refused(vault: FileVault) -> None:
    with vault.open() as opened, opened._database:
        opened._database.execute("UPDATE session SET state = x'00'")
    refused(vault, "cannot_record")


def _raw(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_key_and_report_of_an_erased_session_are_in_no_file(path: Path, vault: FileVault) -> None:
    with vault.open() as opened:
        opened.keep_round(SESSION, RoundState(7, b"h", b"digest", own_shares=KEY[::-1]), REPORT)
        assert KEY in _raw(path) and KEY[::-1] in _raw(path) and REPORT[:40] in _raw(path)
        opened.erase(SESSION)
        for secret in (KEY, KEY[::-1], REPORT[:40]):
            assert secret not in _raw(path)
    assert KEY not in _raw(path) and REPORT[:40] not in _raw(path)
    refused(vault, "session_erased")


def test_session_of_thirty_days_is_erased_by_the_site_itself(path: Path, vault: FileVault, monkeypatch) -> None:
    now = store.time.time()
    monkeypatch.setattr(store.time, "time", lambda: now + KEEP_S - 1)
    assert kept(vault)[0] == RoundState()
    with vault.open() as opened:
        opened.keep_session(state())  # when the cards arrive, its age stays what it was
    monkeypatch.setattr(store.time, "time", lambda: now + KEEP_S + 60)
    refused(vault, "session_erased")
    assert KEY not in _raw(path)


def test_store_in_memory_keeps_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with MemoryVault().open() as opened:
        opened.keep_session(state())
        opened.keep_round(SESSION, ROUND, REPORT)
        assert opened.session(SESSION) == (state(), ROUND) and opened.report(SESSION) == REPORT


def test_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file where the folder should be")
    refused(FileVault(tmp_path / "keys" / STORE), "cannot_record")


def test_locking_is_exclusive_and_deleting_is_secure(vault: FileVault) -> None:
    with vault.open() as opened:
        for setting, value in (("locking_mode", "exclusive"), ("journal_mode", "wal"), ("secure_delete", 1)):
            assert opened._database.execute(f"PRAGMA {setting}").fetchone() == (value,)
