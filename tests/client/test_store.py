# ruff: noqa: F811  fixtures are imported
"""The site's store: whole transactions, on the disk before anything leaves, private, and erased for good."""

import os
from pathlib import Path

import pytest

from client.at_rest.files import Vaulted, VaultKey
from client.secure import store
from client.secure.store import KEEP_S, STORE, FileVault, MemoryVault
from common.errors import Refusal
from common.secagg.encoding import encode
from common.secagg.header import RoundState, names_hash
from tests.client.stored import (  # noqa: F401  fixtures
    KEY,
    OTHER,
    REPORT,
    ROUND,
    SESSION,
    SIGNED,
    SURVIVORS,
    VAULTED,
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
        with FileVault(path, VAULTED).open() as opened:
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
    allowed = {"cannot_record", "vault_unreadable", "session_erased", "session_unknown"}
    assert {"cannot_record", "vault_unreadable"} <= codes <= allowed


def test_record_that_cannot_be_read_is_refused(vault: FileVault) -> None:
    with vault.open() as opened, opened._database:
        opened._database.execute("UPDATE session SET state = x'00'")
    refused(vault, "vault_unreadable")


def test_values_of_one_session_do_not_open_in_another_or_in_another_column(vault: FileVault) -> None:
    with vault.open() as opened:
        opened.keep_session(state(OTHER))
        opened.keep_round(SESSION, ROUND, REPORT)
        own, rows = opened.session(SESSION)[0], opened._database.execute("SELECT name, state, round FROM session")
        stored = {name: (of_session, of_round) for name, of_session, of_round in rows.fetchall()}
        assert own == state()
        for column, value in (
            ("state", stored[OTHER][0]),
            ("state", stored[SESSION][1]),
            ("round", stored[OTHER][1]),
            ("round", stored[SESSION][0]),
        ):
            with opened._database:
                opened._database.execute(f"UPDATE session SET {column} = ? WHERE name = ?", (value, SESSION))
            with pytest.raises(Refusal) as refusal:
                opened.session(SESSION)
            assert refusal.value.code == "vault_unreadable" and "another place" in str(refusal.value)
            with opened._database:
                opened._database.execute(
                    "UPDATE session SET state = ?, round = ? WHERE name = ?", (*stored[SESSION], SESSION)
                )
        assert opened.session(SESSION) == (state(), ROUND)


def test_another_key_opens_nothing(path: Path, vault: FileVault) -> None:
    refused(FileVault(path, Vaulted(VaultKey(bytes(32)), "north")), "vault_unreadable")
    refused(FileVault(path, Vaulted(VaultKey(bytes(range(32))), "south")), "vault_unreadable")
    assert kept(vault)[0] == RoundState()


def test_sessions_of_a_version_that_did_not_encrypt_are_erased(path: Path, vault: FileVault) -> None:
    with vault.open() as opened, opened._database:
        opened._database.execute("ALTER TABLE session ADD COLUMN report BLOB")
        plain = (encode(state()), encode(ROUND), REPORT, SESSION)
        opened._database.execute("UPDATE session SET state = ?, round = ?, report = ? WHERE name = ?", plain)
        opened._database.execute("PRAGMA user_version = 0")
    assert KEY in _raw(path) and REPORT[:40] in _raw(path)
    refused(vault, "session_erased")
    assert KEY not in _raw(path) and REPORT[:40] not in _raw(path)
    with vault.open() as opened:
        opened.keep_session(state(OTHER))
    with vault.open() as opened:
        assert opened.session(OTHER)[0] == state(OTHER)


def test_sessions_of_a_version_whose_reports_named_no_rows_are_erased(path: Path, vault: FileVault) -> None:
    with vault.open() as opened, opened._database:
        opened._database.execute("DROP TABLE report")
        opened._database.execute("CREATE TABLE report (name BLOB PRIMARY KEY, sealed BLOB NOT NULL)")
        opened._database.execute("INSERT INTO report (name, sealed) VALUES (?, ?)", (SESSION, REPORT))
        opened._database.execute("PRAGMA user_version = 1")
    refused(vault, "session_erased")
    with vault.open() as opened:
        opened.keep_session(state(OTHER))
        opened.keep_round(OTHER, ROUND, REPORT, rows="fingerprint")
    with vault.open() as opened:
        assert opened.report(OTHER) == (REPORT, "fingerprint")
    assert b"fingerprint" not in _raw(path)


@pytest.mark.parametrize("closed", [lambda path: path.chmod(0o640), lambda path: path.chmod(0o602)])
def test_store_that_others_may_read_or_write_is_refused(closed, path: Path, vault: FileVault) -> None:
    closed(path)
    refused(vault, "cannot_record")


def _raw(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_no_key_seed_or_report_is_in_any_file_in_the_open(path: Path, vault: FileVault) -> None:
    secrets = (KEY, KEY[::-1], REPORT[:40])
    with vault.open() as opened:
        opened.keep_round(SESSION, RoundState(7, b"h", b"digest", own_shares=KEY[::-1]), REPORT)
        assert opened.report(SESSION) == (REPORT, "") and opened.session(SESSION)[1].own_shares == KEY[::-1]
        assert not any(secret in _raw(path) for secret in secrets)
    assert not any(secret in _raw(path) for secret in secrets)


def test_what_an_erased_session_kept_is_in_no_file(path: Path, vault: FileVault) -> None:
    with vault.open() as opened:
        opened.keep_round(SESSION, RoundState(7, b"h", b"digest", own_shares=KEY[::-1]), REPORT)
        both = "SELECT state, round, sealed FROM session JOIN report USING (name)"
        sealed = opened._database.execute(both).fetchone()
        assert all(value[-40:] in _raw(path) for value in sealed)
        opened.erase(SESSION)
        assert not any(value[-40:] in _raw(path) for value in sealed)
    assert not any(value[-40:] in _raw(path) for value in sealed)
    refused(vault, "session_erased")


def test_session_of_thirty_days_is_erased_by_the_site_itself(path: Path, vault: FileVault, monkeypatch) -> None:
    now = store.time.time()
    monkeypatch.setattr(store.time, "time", lambda: now + KEEP_S - 1)
    assert kept(vault)[0] == RoundState()
    with vault.open() as opened:
        opened.keep_session(state())  # when the cards arrive, its age stays what it was
    monkeypatch.setattr(store.time, "time", lambda: now + KEEP_S + 60)
    refused(vault, "session_erased")


def test_store_in_memory_keeps_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with MemoryVault().open() as opened:
        opened.keep_session(state())
        opened.keep_round(SESSION, ROUND, REPORT)
        assert opened.session(SESSION) == (state(), ROUND) and opened.report(SESSION) == (REPORT, "")


def test_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file where the folder should be")
    refused(FileVault(tmp_path / "keys" / STORE, VAULTED), "cannot_record")


def test_locking_is_exclusive_and_deleting_is_secure(vault: FileVault) -> None:
    with vault.open() as opened:
        for setting, value in (("locking_mode", "exclusive"), ("journal_mode", "wal"), ("secure_delete", 1)):
            assert opened._database.execute(f"PRAGMA {setting}").fetchone() == (value,)
