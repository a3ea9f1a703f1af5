# ruff: noqa: F811  fixtures are imported
"""The site's store among processes that are killed, a second process, a full disk, and put back from a copy."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from client.secure import store
from client.secure.store import STORE, FileVault
from common.secagg.header import RoundState
from tests.client.stored import (  # noqa: F401  fixtures
    OTHER,
    ROUND,
    SESSION,
    SIGNED,
    VAULTED,
    elsewhere,
    kept,
    path,
    refused,
    state,
    vault,
)

KILL = "os.kill(os.getpid(), signal.SIGKILL)"


def test_kill_after_the_header_leaves_the_round_without_a_report(vault: FileVault, elsewhere) -> None:
    assert elsewhere(f"opened.keep_round(SESSION, ROUND); {KILL}").wait() == -signal.SIGKILL
    assert kept(vault) == (ROUND, b"")


def test_kill_inside_a_write_leaves_the_state_before_it(vault: FileVault, elsewhere) -> None:
    stop = f"opened._database.create_function('stop', 0, lambda: {KILL}); "
    stop += "opened._database.execute('CREATE TEMP TRIGGER t BEFORE UPDATE ON place BEGIN SELECT stop(); END'); "
    process = elsewhere(f"opened.keep_round(SESSION, ROUND); {stop}opened.keep_round(SESSION, ROUND, REPORT)")
    assert process.wait() == -signal.SIGKILL
    assert kept(vault) == (ROUND, b"")


def test_second_process_is_refused_while_the_first_has_it(vault: FileVault, elsewhere, monkeypatch) -> None:
    monkeypatch.setattr(store, "_BUSY_S", 0.01)
    process = elsewhere("opened.keep_round(SESSION, ROUND)")
    assert process.stdout.readline() == "done\n"
    refused(vault, "store_locked")
    process.communicate()
    assert kept(vault)[0] == ROUND


RESTORED: dict[str, Callable[[Path, Path], object]] = {
    "another file in its place": lambda path, backup: (backup / STORE).replace(path),
    "written over": lambda path, backup: path.write_bytes((backup / STORE).read_bytes()),
    "removed first": lambda path, backup: (path.unlink(), shutil.copy2(backup / STORE, path)),
    "the whole folder": lambda path, backup: (shutil.rmtree(path.parent), shutil.copytree(backup, path.parent)),
    "moved in": lambda path, backup: (shutil.rmtree(path.parent), backup.rename(path.parent)),
}


@pytest.mark.parametrize("how", RESTORED)
def test_store_that_was_put_back_has_lost_its_sessions(how: str, path: Path, vault: FileVault, tmp_path: Path) -> None:
    shutil.copytree(path.parent, tmp_path / "backup")
    with vault.open() as opened:
        opened.keep_opened(SESSION, SIGNED, b"question", b"subject")
    RESTORED[how](path, tmp_path / "backup")
    refused(vault, "session_erased")
    with vault.open() as opened:
        assert opened.open_sessions == 0 and opened.has(SESSION)
        opened.keep_session(state(OTHER))
    with vault.open() as opened:
        assert opened.session(OTHER)[0] == state(OTHER), "it takes part again from the next session on"


def test_store_that_nobody_touched_keeps_its_sessions(path: Path, vault: FileVault) -> None:
    shutil.copytree(path.parent, path.parent.parent / "backup")
    path.parent.rename(path.parent.with_name("moved"))  # the same disk, another folder
    moved = FileVault(path.parent.with_name("moved") / STORE, VAULTED)
    for number in range(1, 4):
        with moved.open() as opened:
            opened.keep_round(SESSION, RoundState(number, b"h"))
    assert kept(moved)[0].number == 3
    assert len(list(path.parent.with_name("moved").glob("*.place-*"))) == 1


@pytest.mark.parametrize("write", ["keep_session", "keep_round", "keep_opened"])
def test_full_disk_refuses_the_write(write: str, vault: FileVault, elsewhere) -> None:
    """The file may not grow: the system refuses as a full disk does."""
    grown = "opened.keep_round(SESSION, ROUND, REPORT)" if write == "keep_round" else f"WRITES[{write!r}](opened)"
    lines = f"""resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
    try: {grown}
    except Refusal as refusal: print(refusal.code, flush=True)"""
    process = elsewhere(lines, before="signal.signal(signal.SIGXFSZ, signal.SIG_IGN)")
    assert process.communicate()[0].splitlines()[0] == "cannot_record"
    assert kept(vault) == (RoundState(), b"")
