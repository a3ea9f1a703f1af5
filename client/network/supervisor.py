"""Keeps one hospital connected: starts its worker, and again when it ends, and leaves nothing behind when it stops.

    python -m client.network.supervisor [--stay] STATE -- COMMAND ...     (`consilium site start` becomes this process)
    python -m client.network.supervisor --stay                            (what is left of it: it waits for a person)

It imports nothing but Python's own library: it is to live for months beside a worker that holds PyTorch. One for each
STATE folder. SIGTERM, SIGINT and the file STOP in that folder, which another container's processes can write as well,
end the worker in order, so that the coordinator hears of it; after STOP_S seconds all of it is killed. If this process
is killed itself, the kernel ends the worker, whose end is that of the SuperNode.
"""

import contextlib
import fcntl
import json
import math
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from client.network.parent import adopt_orphans, ends_with_me

LOCK, STATUS, STOP = "supervisor.lock", "status.json", "stop-requested"
FIRST_S, MOST_S, STEADY_S, STOP_S, POLL_S, LOCK_S, LOOK_S = 1.0, 60.0, 60.0, 25.0, 0.1, 1.0, 0.5
NOT_READY = 78
ENVIRONMENT = {  # Flower: no call to telemetry, update or package hosts
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class Supervisor:
    """state: folder for the lock and the status. command: the worker's. HEARD is blocked: signals are waited for.

    signalled: whether it was a signal that asked to stop.
    """

    def __init__(self, state: Path, command: list[str]) -> None:
        self._state, self._restarts, self._last_end, self._stopping = state, 0, "", False
        self.signalled = False
        own = [f"{name}={value}" for name, value in (ENVIRONMENT | {"FLWR_HOME": str(state / "flwr")}).items()]
        self._command = ["env", *own, *command]
        self._since = _now()

    def run(self) -> int:
        """Until a stop is asked for: 0. NOT_READY where the first start shows that a person has to mend something."""
        wait_s = FIRST_S
        (self._state / STOP).unlink(missing_ok=True)  # it was for one before this
        while not self._stopping:
            began = time.monotonic()
            status = self._once()
            if self._stopping:
                break
            steady = time.monotonic() - began >= STEADY_S
            if status == NOT_READY and not self._restarts and not steady:
                self._say("stopped", "it does not start; the reason stands above")
                return NOT_READY
            self._restarts += 1
            wait_s = FIRST_S if steady else wait_s
            self._last_end = f"{_now()}: {_ended(status)}"
            self._say("waiting", f"the worker {_ended(status)}; it is started again in {wait_s:g} s")
            self._hear(wait_s)
            wait_s = min(MOST_S, 2 * wait_s)
        self._say("stopped", "asked to stop")
        return 0

    def _once(self) -> int:
        """Run the worker until it ends or a stop is asked for; nothing that it started is left after that."""
        worker = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=ends_with_me()
        )
        self._say("running", f"the worker is process {worker.pid}", worker=worker.pid)
        while worker.poll() is None and not self._stopping:
            self._hear(None)
        if self._stopping:
            self._say("stopping", "asked to stop", worker=worker.pid)
            worker.terminate()  # it ends its SuperNode in order; a second signal to that one would cut it short
        deadline = time.monotonic() + STOP_S
        while (worker.poll() is None or _alive(worker.pid)) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        while worker.poll() is None or _alive(worker.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(worker.pid, signal.SIGKILL)
            time.sleep(POLL_S)
        return worker.returncode

    def _hear(self, timeout_s: float | None) -> None:
        """Wait until the worker ends or a stop is asked for; with a time, for the stop only."""
        deadline = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
        while not self._stopping and (left_s := deadline - time.monotonic()) > 0:
            heard = signal.sigtimedwait(HEARD, min(left_s, LOOK_S))
            # Where this process was itself stopped for longer (SIGSTOP, a machine that slept), CPython 3.11 gives what
            # happened to lie in memory: only what is asked for by name is a request to stop.
            self.signalled = heard is not None and heard.si_signo in (signal.SIGTERM, signal.SIGINT)
            self._stopping = self.signalled or (self._state / STOP).exists()
            if heard is not None and timeout_s is None:
                return

    def _say(self, what: str, words: str, *, worker: int | None = None) -> None:
        print(f"{_now()} {what}: {words}", flush=True)
        content = {
            "state": what,
            "since": self._since,
            "changed": _now(),
            "supervisor": os.getpid(),
            "worker": worker,
            "restarts": self._restarts,
            "last_end": self._last_end,
        }
        try:
            partial = self._state / f".{STATUS}.partial"
            partial.write_text(json.dumps(content) + "\n")
            partial.replace(self._state / STATUS)
        except OSError as error:  # a full disk must not end the connection
            print(f"{self._state / STATUS}: cannot be written: {error.strerror or error}.", file=sys.stderr, flush=True)


def _alive(group: int) -> bool:
    """Whether a process of `group` runs; those that have ended are reaped, orphans too."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _ended(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def lock(state: Path) -> int:
    """The lock of `state`, as long as the descriptor is open. Raises BlockingIOError where another process has it."""
    descriptor = os.open(state / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise
            time.sleep(POLL_S)  # `consilium site status` holds it for an instant
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def stay() -> None:
    """Returns upon SIGTERM or SIGINT: for a container, whose engine starts again what ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    print(f"{_now()} Nothing runs here until a person starts this container again.", flush=True)
    signal.sigwait((signal.SIGTERM, signal.SIGINT))


def main() -> int:
    stays = sys.argv[1:2] == ["--stay"]
    if stays and not sys.argv[2:]:
        stay()
        return 0
    state, separator, *command = sys.argv[1 + stays :]
    if separator != "--" or not command:
        print("usage: python -m client.network.supervisor [--stay] STATE -- COMMAND ...", file=sys.stderr)
        return 2
    try:
        held = lock(Path(state))
    except BlockingIOError:
        print(f"{state}: this hospital is running already; `consilium site status` says how it is.", file=sys.stderr)
        return 1
    signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    adopt_orphans()
    supervisor = Supervisor(Path(state), command)
    try:
        status = supervisor.run()
    finally:
        os.close(held)
    if stays and not supervisor.signalled:
        stay()
        return 0
    return status


if __name__ == "__main__":
    sys.exit(main())
