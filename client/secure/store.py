"""The site's store of secure aggregation: one locked SQLite file that must never go back in time.

Leave it out of backups. A copy, or a file or folder that was put back, is noticed (see `Place`): its sessions are then
erased, and the site takes part again from the next session on. What was answered before stays on the books of the other
sites; what this one would send twice would be noise.
"""

import fcntl
import math
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from client.at_rest.files import KEY_SIZE, OVERHEAD, Data, Vaulted, VaultKey
from client.ledger.place import Place
from common.errors import ConsiliumError, Refusal
from common.files import own_file
from common.secagg.encoding import decode, encode
from common.secagg.header import Opened, RoundState
from common.secagg.session import SessionState

STORE = "secure.sqlite"
FORMAT = 2  # 1: state, round and report are encrypted; 2: a report names its rows
KEEP_S = 30 * 24 * 3600.0
_BUSY_S, _POLL_S = 30.0, 0.01
_TABLES = """
CREATE TABLE IF NOT EXISTS place (mark TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS session (
    name BLOB PRIMARY KEY, opened_s REAL NOT NULL, state BLOB NOT NULL, round BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS report (name BLOB PRIMARY KEY, rows BLOB NOT NULL, sealed BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS erased (name BLOB PRIMARY KEY);
CREATE TABLE IF NOT EXISTS opened (
    question BLOB NOT NULL, session BLOB NOT NULL, round INTEGER NOT NULL, subject BLOB NOT NULL,
    survivors BLOB NOT NULL,
    PRIMARY KEY (question, session, round));
"""


class Store:
    """An open store. Every method that writes is one transaction that is on the disk when it returns.

    vaulted: encrypts a session's state, round and report, so that a copy of the file tells no key, seed or mask.
    place: None for a store in memory.
    """

    def __init__(self, connection: sqlite3.Connection, vaulted: Vaulted, place: Place | None = None) -> None:
        self._database, self._vaulted, self._place = connection, vaulted, place

    def session(self, name: bytes) -> tuple[SessionState, RoundState]:
        """Raises Refusal `session_unknown` for one that was never opened here, `session_erased` for one that ended."""
        row = self._database.execute("SELECT state, round FROM session WHERE name = ?", (name,)).fetchone()
        if row is None:
            erased = self._database.execute("SELECT 1 FROM erased WHERE name = ?", (name,)).fetchone()
            raise Refusal("session_erased" if erased else "session_unknown", "this session is not open here.")
        state, after = self._open(row[0], "state", name), self._open(row[1], "round", name)
        try:
            return decode(SessionState, state), decode(RoundState, after)
        except Refusal as damage:
            raise Refusal("cannot_record", f"the store of secure aggregation is damaged: {damage}") from None

    @property
    def open_sessions(self) -> int:
        return int(self._database.execute("SELECT COUNT(*) FROM session").fetchone()[0])

    def has(self, name: bytes) -> bool:
        """Whether a session of this name is open, or was: a name is used once."""
        query = "SELECT 1 FROM session WHERE name = ?1 UNION SELECT 1 FROM erased WHERE name = ?1"
        return self._database.execute(query, (name,)).fetchone() is not None

    def report(self, name: bytes) -> tuple[bytes, str]:
        """The stored report of the session's last round and the fingerprint of its rows; empty where there is none."""
        row = self._database.execute("SELECT sealed, rows FROM report WHERE name = ?", (name,)).fetchone()
        return (self._open(row[0], "report", name), self._open(row[1], "rows", name).decode()) if row else (b"", "")

    def opened(self, question: bytes, subject: bytes) -> Opened:
        """The rounds of any session in which this site has answered Unmask for a question, and for its subject."""
        count = self._database.execute("SELECT COUNT(*) FROM opened WHERE question = ?", (question,)).fetchone()
        rows = self._database.execute("SELECT survivors FROM opened WHERE subject = ?", (subject,)).fetchall()
        return Opened(int(count[0]), tuple(bytes(row[0]) for row in rows))

    def keep_session(self, state: SessionState) -> None:
        """Store a session, or its cards when they have arrived."""
        with self._writing():
            name = state.request.session
            values = (name, time.time(), self._seal(state, "state", name), self._seal(RoundState(), "round", name))
            self._database.execute(
                "INSERT INTO session (name, opened_s, state, round) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET state = excluded.state",
                values,
            )

    def keep_round(self, name: bytes, state: RoundState, report: Data | None = None, *, rows: str = "") -> None:
        """Store a round's state. report: the complete bytes about to leave, where there are new ones. rows: of which.

        A state without a report belongs to a new round; the report of the one before is erased with it.
        """
        with self._writing():
            self._keep_round(name, state)
            if report is not None or not state.report:
                self._database.execute("DELETE FROM report WHERE name = ?", (name,))
            if report is not None:
                self._keep_report(name, report, rows)

    def keep_opened(self, name: bytes, state: RoundState, question: bytes, subject: bytes) -> None:
        """Store, before the shares leave, that a sum of `question` is being opened."""
        with self._writing():
            values = (question, name, state.number, subject, state.survivors_hash)
            self._database.execute("INSERT OR IGNORE INTO opened VALUES (?, ?, ?, ?, ?)", values)
            self._keep_round(name, state)

    def erase(self, name: bytes) -> None:
        """End a session: its keys and its report are gone, its name stays taken."""
        with self._writing():
            self._database.execute("DELETE FROM session WHERE name = ?", (name,))
            self._database.execute("DELETE FROM report WHERE name = ?", (name,))
            self._database.execute("INSERT OR IGNORE INTO erased (name) VALUES (?)", (name,))
        with suppress(sqlite3.Error):
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def erase_old(self, *, older_than_s: float) -> None:
        """Erase every session that was opened longer ago."""
        before = (time.time() - older_than_s,)
        for (name,) in self._database.execute("SELECT name FROM session WHERE opened_s < ?", before).fetchall():
            self.erase(name)

    def settle(self) -> None:
        """Make the tables; erase every session if the store is not where it was when they were opened."""
        self._database.executescript(_TABLES)
        row = self._database.execute("SELECT mark FROM place").fetchone()
        if row is None:
            with self._writing():
                self._database.execute("INSERT INTO place (mark) VALUES ('')")
        elif self._place is not None and not self._place.holds(row[0]):
            self.erase_old(older_than_s=-math.inf)
        if self._database.execute("PRAGMA user_version").fetchone() != (FORMAT,):
            self.erase_old(older_than_s=-math.inf)  # of an older version
            self._database.executescript(f"DROP TABLE report; {_TABLES} PRAGMA user_version = {FORMAT};")

    def _keep_round(self, name: bytes, state: RoundState) -> None:
        self._database.execute("UPDATE session SET round = ? WHERE name = ?", (self._seal(state, "round", name), name))

    def _keep_report(self, name: bytes, report: Data, rows: str) -> None:
        """A piece at a time, in a table of its own: at 10 M parameters a copy, or a row written again, is 40 MB."""
        sealed = self._vaulted.seal(rows.encode(), STORE, f"rows {name.hex()}")
        insert = "INSERT INTO report (name, rows, sealed) VALUES (?, ?, zeroblob(?))"
        row = self._database.execute(insert, (name, sealed, len(report) + OVERHEAD)).lastrowid
        with self._database.blobopen("report", "sealed", row or 0) as blob:
            for piece in self._vaulted.pieces(report, STORE, f"report {name.hex()}"):
                blob.write(piece)

    def _seal(self, state: SessionState | RoundState, column: str, name: bytes) -> bytes:
        return self._vaulted.seal(encode(state), STORE, f"{column} {name.hex()}")

    def _open(self, sealed: bytes, column: str, name: bytes) -> bytes:
        try:
            return self._vaulted.open(sealed, STORE, f"{column} {name.hex()}", source=f"{STORE}, {column} of a session")
        except ConsiliumError as error:
            raise Refusal("vault_unreadable", str(error)) from None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._database:
                mark = self._place.next() if self._place else ""
                yield
                self._database.execute("UPDATE place SET mark = ?", (mark,))
            if self._place:
                self._place.leave_only(mark)
        except (OSError, sqlite3.Error) as error:
            raise Refusal("cannot_record", f"the store of secure aggregation cannot be written: {error}.") from None


class MemoryVault:
    """A virtual site's store, which lives as long as its process: a simulation that resumes opens a new session."""

    def __init__(self) -> None:
        key = Vaulted(VaultKey(os.urandom(KEY_SIZE)), "memory")  # gone with the process, as the store is
        self._store = Store(_prepared(sqlite3.connect(":memory:", check_same_thread=False)), key)
        self._store.settle()

    @contextmanager
    def open(self) -> Iterator[Store]:
        yield self._store


class FileVault:
    """A site's store on its own disk. One message at a time has it; another process has to wait, or is refused."""

    def __init__(self, path: Path, vaulted: Vaulted) -> None:
        self._path, self._vaulted = path, vaulted

    @contextmanager
    def open(self) -> Iterator[Store]:
        """Raises Refusal `store_locked` or `cannot_record`."""
        try:
            own_file(self._path)
        except ConsiliumError as error:
            raise Refusal("cannot_record", str(error)) from None
        try:
            with _alone(self._path.parent):
                connection = sqlite3.connect(self._path, timeout=_BUSY_S)
                try:  # whatever happens, the connection is closed: it holds the lock
                    store = Store(_prepared(connection), self._vaulted, Place(self._path))
                    store.settle()
                    store.erase_old(older_than_s=KEEP_S)
                    yield store
                finally:
                    connection.close()
        except (OSError, sqlite3.Error) as error:
            raise _unusable(self._path, error) from None


Vault = MemoryVault | FileVault


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    for setting in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
        connection.execute(f"PRAGMA {setting}")
    return connection


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Locks the folder: two connections would each wait for the share of SQLite's lock that the other holds."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        deadline = time.monotonic() + _BUSY_S
        while not _locked(descriptor):
            if time.monotonic() >= deadline:
                raise Refusal("store_locked", f"{folder}: another process has held the store for {_BUSY_S:g} s.")
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unusable(path: Path, error: Exception) -> Refusal:
    locked = isinstance(error, sqlite3.OperationalError) and "locked" in str(error)
    return Refusal("store_locked" if locked else "cannot_record", f"{path}: cannot be used: {error}.")
