"""All cells of an experiment, over the cores of this machine; killed at any instant it goes on where it was."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import IO

from common.errors import RunError
from common.files import exists, read_bytes, write_atomic
from experiments.sweep.cells import Cell, provenance
from experiments.sweep.figures import finished, work

EXPERIMENT, PROVENANCE, _LOCK, _WORKERS = "experiment.toml", "provenance.json", "lock", "workers"
_PATIENCE_S = 20.0  # for the workers of a sweep that was killed to notice it


@dataclass(frozen=True)
class Sweep:
    """folder: where cells are kept. cells: of the experiment, in order. source: its file."""

    folder: Path
    cells: tuple[Cell, ...]
    source: Path

    @property
    def missing(self) -> list[Cell]:
        """Cells that were not finished, each address once."""
        found = {cell.address: cell for cell in self.cells if finished(self.folder, cell) is None}
        return list(found.values())

    def claim(self, *, resume: bool) -> None:
        """Raises RunError where the folder holds cells and is not to be gone on with, or cannot be written."""
        if exists(self.folder / EXPERIMENT) and not resume:
            raise RunError(f"{self.folder}: holds an experiment; `consilium experiment resume`, or another --out.")
        if resume and not exists(self.folder / EXPERIMENT):
            raise RunError(f"{self.folder}: holds no experiment; `consilium experiment run` begins one.")
        if not resume and self.folder.is_dir() and any(self.folder.iterdir()):
            raise RunError(f"{self.folder}: this folder is not empty; choose another --out.")
        write_atomic(self.folder / PROVENANCE, json.dumps(provenance(list(self.cells)), indent=1).encode())
        write_atomic(self.folder / EXPERIMENT, read_bytes(self.source))

    def run(self, processes: int, told: Callable[[Cell], None] = lambda cell: None) -> None:
        """Finish what is missing, each cell in a process of its own kind; `told` of each that is done.

        Raises what a cell raises, after the cells that had begun, and RunError where a worker was killed.
        """
        with _alone(self.folder):
            missing = self.missing
            context = get_context("spawn")  # torch and locks do not survive a fork
            arguments = (str(self.folder / _WORKERS),)
            with ProcessPoolExecutor(processes, context, initializer=_begin, initargs=arguments) as pool:
                waiting = {pool.submit(work, self.folder, cell): cell for cell in missing}
                try:
                    for done in as_completed(waiting):
                        done.result()
                        told(waiting[done])
                except BrokenProcessPool:
                    raise RunError(
                        "A worker was killed, perhaps for want of memory; `consilium experiment resume` with fewer "
                        "--processes goes on."
                    ) from None
                finally:
                    pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The only sweep in this folder, once the workers of one that was killed have ended. Raises RunError."""
    with open(folder / _LOCK, "ab") as own, open(folder / _WORKERS, "ab") as theirs:
        until = monotonic() + _PATIENCE_S
        for file in (own, theirs):
            while not _locked(file):
                if monotonic() > until:
                    raise RunError(f"{folder}: another process is running this experiment.")
                sleep(0.1)
        fcntl.flock(theirs, fcntl.LOCK_UN)  # only the holder of the other one starts workers
        yield


def _locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _begin(lock: str) -> None:
    """In each worker: one thread, a share of the lock, and an end when the sweep ends, however that does."""
    import torch

    torch.set_num_threads(1)
    file = open(lock, "ab")  # noqa: SIM115  held until the process ends
    fcntl.flock(file, fcntl.LOCK_SH)
    globals()["_held"] = file
    parent = parent_process()
    if parent is not None:
        Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
