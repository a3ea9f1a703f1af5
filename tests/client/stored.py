"""For tests of the site's store: one session in a store on disk, what is written there, and another process."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from client.at_rest.files import Vaulted, VaultKey
from client.secure.store import STORE, FileVault, Store
from common.errors import Refusal
from common.secagg.encoding import encode
from common.secagg.header import RoundState
from common.secagg.messages import OpenSession, SessionCard, SignedCard, Survivors
from common.secagg.session import SessionState

VAULTED = Vaulted(VaultKey(bytes(range(32))), "north")
SESSION, OTHER, KEY = b"s" * 32, b"o" * 32, b"\xa5exchange-key-of-this-session\x5a??"
SURVIVORS = encode(Survivors("north", b"h" * 32, ("north", "south"), (b"1" * 32, b"2" * 32)))
ROUND = RoundState(7, b"header of round 7")
SIGNED = RoundState(7, b"header of round 7", survivors=SURVIVORS, opened=1)
REPORT = b"the masked vector and its signed report " * 2000  # longer than a page of the file


def state(name: bytes = SESSION, key: bytes = KEY) -> SessionState:
    card = SignedCard(SessionCard(name, b"r" * 32, b"p" * 32, "north", b"k" * 32, (8, 4)), b"g" * 64)
    return SessionState(OpenSession(name, b"r" * 32, b"p" * 32), key, card)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / STORE


@pytest.fixture
def vault(path: Path) -> FileVault:
    vault = FileVault(path, VAULTED)
    with vault.open() as opened:
        opened.keep_session(state())
    return vault


def refused(vault: FileVault, code: str) -> None:
    with pytest.raises(Refusal) as refusal, vault.open() as opened:
        opened.session(SESSION)
    assert refusal.value.code == code


def kept(vault: FileVault) -> tuple[RoundState, bytes]:
    with vault.open() as opened:
        return opened.session(SESSION)[1], opened.report(SESSION)[0]


WRITES: dict[str, Callable[[Store], None]] = {
    "keep_session": lambda opened: opened.keep_session(state(OTHER)),
    "keep_round": lambda opened: opened.keep_round(SESSION, ROUND, REPORT),
    "keep_opened": lambda opened: opened.keep_opened(SESSION, SIGNED, b"question", b"subject"),
    "erase": lambda opened: opened.erase(SESSION),
}


@pytest.fixture
def elsewhere(path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """elsewhere(lines) runs them in another process that holds the store as `opened`, until its input ends."""
    begun: list[subprocess.Popen[str]] = []

    def start(lines: str, before: str = "") -> subprocess.Popen[str]:
        script = f"""
import os, resource, signal, sys
from pathlib import Path
from tests.client.stored import *
{before}
with FileVault(Path(sys.argv[1]), VAULTED).open() as opened:
    {lines}
    print("done", flush=True)
    sys.stdin.read()
"""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        begun.append(subprocess.Popen([sys.executable, "-c", script, str(path)], text=True, **pipes))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.communicate()
