"""Several processes of one site at once, as Flower's simulation engine has them: each gets the store in its turn."""

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

from client.at_rest.files import Vaulted, VaultKey
from client.secure.store import STORE, FileVault

VAULTED = Vaulted(VaultKey(bytes(range(32))), "north")
PROCESSES, TIMES, HELD, WAIT_S = 4, 100, 10, 120.0


def _end_sessions(path: Path, names: list[bytes], together: Barrier) -> None:
    for first in range(0, len(names), HELD):
        together.wait(WAIT_S)  # all open at the same moment; one has it, and the others wait together
        with FileVault(path, VAULTED).open() as store:
            for name in names[first : first + HELD]:
                store.erase(name)


def test_processes_take_turns_at_the_store(tmp_path: Path) -> None:
    path = tmp_path / "keys" / STORE
    names = [[bytes([process, number]) for number in range(TIMES)] for process in range(PROCESSES)]
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(PROCESSES)
    processes = [context.Process(target=_end_sessions, args=(path, own, together)) for own in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(WAIT_S)
    # A process that was refused has ended with status 1.
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    with FileVault(path, VAULTED).open() as store:
        assert all(store.has(name) for own in names for name in own)
