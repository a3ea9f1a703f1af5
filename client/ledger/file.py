"""The ledger's one SQLite file: records are added, whole and on the disk, and never changed or removed."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from client.ledger.chain import Record
from common.errors import Refusal

LEDGER, LOCK = "ledger.sqlite", "ledger.lock"
_BUSY_S, _POLL_S = 30.0, 0.002
TABLES = (
    "CREATE TABLE record (number INTEGER PRIMARY KEY, previous BLOB NOT NULL, place BLOB NOT NULL, body BLOB NOT NULL, "
    "signature BLOB NOT NULL)",
    "CREATE TRIGGER never_changed BEFORE UPDATE ON record BEGIN SELECT RAISE(ABORT, 'records stay as they are'); END",
    "CREATE TRIGGER never_removed BEFORE DELETE ON record BEGIN SELECT RAISE(ABORT, 'records stay as they are'); END",
)
_SELECT = "SELECT number, previous, place, body, signature FROM record WHERE number > ? ORDER BY number"
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")


class LedgerFile:
    """An open ledger file. alone: nobody else may write while it is open; otherwise processes take turns.

    durable: a record is on the disk when `writing` ends; otherwise a power cut may lose it, but not the process' end.
    Raises Refusal `ledger_locked`, `ledger_damaged` or `cannot_record`.
    """

    def __init__(self, path: Path, *, durable: bool, alone: bool) -> None:
        self.path, self._alone = path, alone
        self._lock = -1
        with self._translating():
            if path.exists() and not path.is_file():
                raise Refusal("cannot_record", f"{path}: is not an ordinary file, which a ledger is; move it away.")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path.with_name(LOCK), os.O_RDWR | os.O_CREAT, 0o600)
            try:
                with self._locked(wait_s=0.0 if alone else _BUSY_S, keep=alone):
                    path.touch(mode=0o600)
                    self._database = sqlite3.connect(
                        path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
                    )
                    self._prepare(durable)
                    self._inode = path.stat().st_ino
            except BaseException:
                self.close()
                raise

    def _prepare(self, durable: bool) -> None:
        self._database.text_factory = bytes
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        if not self._database.execute("SELECT 1 FROM sqlite_master").fetchone():
            self._database.execute("BEGIN IMMEDIATE")
            for statement in TABLES:
                self._database.execute(statement)
            self._database.execute("COMMIT")

    def read(self, after: int = 0) -> list[Record]:
        """The records with a larger number than `after`, in order."""
        with self._translating():
            return list(records_of(self._database, after))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: what `add` was given is written when it ends, or nothing is."""
        with self._translating(), self._locked(wait_s=_BUSY_S, keep=False):
            if not self._is_here():
                raise Refusal("ledger_replaced", f"{self.path}: was moved or replaced while it was in use.")
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # SQLite has rolled back by itself after some errors
                    self._database.execute("ROLLBACK")
                raise

    def add(self, record: Record) -> None:
        """Only inside `writing`."""
        values = (record.number, record.previous, record.place, record.body, record.signature)
        self._database.execute("INSERT INTO record VALUES (?, ?, ?, ?, ?)", values)

    def close(self) -> None:
        """Let go of the file and its lock."""
        if hasattr(self, "_database"):
            self._database.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _is_here(self) -> bool:
        try:
            return self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    @contextmanager
    def _locked(self, *, wait_s: float, keep: bool) -> Iterator[None]:
        """Holds the lock file: for the ledger's lifetime where it is alone (`keep`), else until the block ends."""
        if self._alone and not keep:
            yield
            return
        deadline = time.monotonic() + wait_s
        while not _try_lock(self._lock):
            if time.monotonic() >= deadline:
                raise Refusal(
                    "ledger_locked", f"{self.path}: another client is using this site's ledger; stop it first."
                )
            time.sleep(_POLL_S)
        try:
            yield
        finally:
            if not keep and self._lock >= 0:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise refusal_of(self.path, error) from None


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """The file for reading, also beside the client that writes it. Raises sqlite3.Error.

    Without a client there is no log beside the file, and SQLite is kept from making one.
    """
    quiet = not path.with_name(f"{path.name}-wal").exists()
    database = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro{'&immutable=1' if quiet else ''}", uri=True)
    try:
        database.text_factory = bytes
        yield database
    finally:
        database.close()


def records_of(database: sqlite3.Connection, after: int = 0) -> Iterator[Record]:
    """The records in an open file whose `text_factory` is bytes. Raises sqlite3.Error where it is damaged."""
    for number, *fields in database.execute(_SELECT, (after,)):
        yield Record(number, *(field if isinstance(field, bytes) else repr(field).encode() for field in fields))


def refusal_of(path: Path, error: Exception) -> Refusal:
    """The refusal for what the file system or SQLite has said."""
    name = getattr(error, "sqlite_errorname", "")
    if name in ("SQLITE_BUSY", "SQLITE_LOCKED"):
        return Refusal("ledger_locked", f"{path}: another process is using the ledger: {error}.")
    if isinstance(error, sqlite3.Error) and name.startswith(_DAMAGE):
        return Refusal("ledger_damaged", f"{path}: is damaged: {error}; see docs/ledger.md.")
    return Refusal("cannot_record", f"{path}: the ledger cannot be written: {error}; make room or give access.")


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
