"""Processes and ports of this machine, as tests of whole federations need them."""

import contextlib
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listened on a moment ago."""
    with contextlib.ExitStack() as probes:
        found = [probes.enter_context(socket.socket()) for _ in range(count)]
        for probe in found:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in found]


def _processes() -> Iterator[tuple[int, int, int]]:
    """(process, parent, process group) of everything that runs."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = re.sub(r"^.*\) ", "", path.read_text(), flags=re.DOTALL).split()
            yield int(path.parent.name), int(fields[1]), int(fields[2])


def stop_groups(processes: Iterable[subprocess.Popen[bytes]], *, timeout_s: float) -> None:
    """End each, the last first, and what is left of its group after `timeout_s` seconds."""
    all_of_them = list(processes)
    for process in reversed(all_of_them):
        process.terminate()
    for process in all_of_them:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=timeout_s)
        with contextlib.suppress(ProcessLookupError):  # the processes that it has started for its messages
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def processes_below(pid: int) -> set[int]:
    """`pid` and everything that it started, as far as it runs."""
    found, all_of_them = {pid}, list(_processes())
    while more := {process for process, parent, _ in all_of_them if parent in found} - found:
        found |= more
    return found


def groups_below(pid: int) -> set[int]:
    """Process groups of `pid` and of everything that it started."""
    found = processes_below(pid)
    return {group for process, _, group in _processes() if process in found}


def child(pid: int, word: bytes) -> int | None:
    """The process that `pid` started with this word in its command."""
    for process, parent, _ in _processes():
        with contextlib.suppress(OSError):
            if parent == pid and word in Path(f"/proc/{process}/cmdline").read_bytes():
                return process
    return None
