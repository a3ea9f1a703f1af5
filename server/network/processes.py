"""A process that has to be there: started, started again after it ended, and ended with all that it started."""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from common.errors import ConsiliumError

FIRST_PAUSE_S, LONGEST_PAUSE_S, STEADY_S, STOP_S = 0.5, 30.0, 60.0, 15.0
MOST_LOG_BYTES = 16 * 2**20
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h
_prctl = ctypes.CDLL(None, use_errno=True).prctl


@dataclass
class Process:
    """`command` under `name`. log: what it says is appended to this file. stop_with: the signal that ends it in order.

    starts: how often it was started; each start after a failure waits longer, until one has lasted for a minute.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    stop_with: signal.Signals = signal.SIGTERM
    starts: int = 0
    last_status: int | None = None
    _process: subprocess.Popen[bytes] | None = None
    _started_s: float = 0.0
    _pause_s: float = 0.0
    _group: int = 0

    @property
    def pid(self) -> int | None:
        """Of the process that runs, or None."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def ended(self) -> bool:
        """Whether it was started and runs no more. True once for each end."""
        if self._process is None or self._process.poll() is None:
            return False
        self.last_status = self._process.returncode
        self._pause(steady=time.monotonic() - self._started_s >= STEADY_S)
        self._process = None
        return True

    def due(self) -> bool:
        """Whether it does not run and its pause is over."""
        return self._process is None and time.monotonic() - self._started_s >= self._pause_s

    def start(self) -> None:
        """Start it. Raises ConsiliumError where it or its log cannot be opened; then it is due again after a pause."""
        self._started_s = time.monotonic()
        self.starts += 1
        try:
            with _private(self.log, "ab") as log:
                self._process = subprocess.Popen(
                    list(self.command),
                    env=dict(self.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # so that what it starts can be ended with it
                    preexec_fn=_ends_with_me(),
                )
        except OSError as error:
            self._pause(steady=False)
            raise ConsiliumError(f"{self.name}: cannot be started: {error.strerror or error}.") from None
        self._group = self._process.pid

    def turn_log_over(self) -> None:
        """Set a log aside that has grown too long, also while it is written to; what no disk takes is dropped."""
        with contextlib.suppress(OSError):
            if self.log.stat().st_size <= MOST_LOG_BYTES:
                return
            try:
                with open(self.log, "rb") as now, _private(self.log.with_suffix(".log.before"), "wb") as before:
                    shutil.copyfileobj(now, before)
            finally:
                os.truncate(self.log, 0)  # it is open for appending: what comes next is its beginning

    def _pause(self, *, steady: bool) -> None:
        longer = min(LONGEST_PAUSE_S, max(FIRST_PAUSE_S, 2 * self._pause_s))
        self._pause_s = FIRST_PAUSE_S if steady else longer

    def stop(self) -> None:
        """End it in order, and after a while by force, with everything that it has started."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(self.stop_with)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=STOP_S)
        self.end_group()
        if self._process is not None:
            self._process.wait()
            self._process = None

    def end_group(self) -> None:
        """Kill what it has started and left behind."""
        if self._group:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._group, signal.SIGKILL)
        self._group = 0


def _private(path: Path, mode: str) -> IO[bytes]:
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


def _ends_with_me() -> Callable[[], None]:
    """The kernel sends the child SIGTERM when this process is gone, however it ended."""
    parent = os.getpid()

    def tie() -> None:
        _prctl(_SET_DEATH_SIGNAL, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:  # it ended before the line above
            os._exit(1)

    return tie
