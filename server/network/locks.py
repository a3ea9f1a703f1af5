"""Locks that end with the process that holds them, however it ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from common.errors import ConsiliumError


@contextlib.contextmanager
def only_one(path: Path, otherwise: str) -> Iterator[None]:
    """Held until the end, however it comes. Raises ConsiliumError, `otherwise`, where another process holds it."""
    with open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConsiliumError(otherwise) from None
        yield


def is_held(path: Path) -> bool:
    """Whether a process holds the lock in this file."""
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
