"""Several files of the coordinator's folder change together or not at all, also if the machine dies in between.

What is to be written is complete in one folder, `.change`, before the first file takes its place; whoever comes next
finishes what was begun. One command at a time changes a folder.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import ConsiliumError
from common.files import own_folder, read_bytes

_BEGUN, _COMPLETE, _LIST, _LOCK = ".change.new", ".change", "list.json", ".lock"


@dataclass
class Change:
    """What to write and to remove in `folder`; nothing happens before `commit`."""

    folder: Path
    files: dict[str, tuple[bytes, bool]] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)

    def write(self, path: Path, data: bytes, *, private: bool = False) -> bool:
        """Whether `path` will differ from what is there. private: readable by its owner only."""
        if path.is_file() and read_bytes(path) == data:
            return False
        self.files[self._name(path)] = (data, private)
        return True

    def remove(self, path: Path) -> None:
        if path.exists():
            self.gone.append(self._name(path))

    def commit(self) -> None:
        """Do it. Raises ConsiliumError, with nothing changed, if the disk is full or may not be written."""
        if not self.files and not self.gone:
            return
        begun = self.folder / _BEGUN
        try:
            shutil.rmtree(begun, ignore_errors=True)
            begun.mkdir(mode=0o700)
            for number, (data, private) in enumerate(self.files.values()):
                _write(begun / str(number), data, 0o600 if private else 0o644)
            _write(begun / _LIST, json.dumps({"files": list(self.files), "gone": self.gone}).encode(), 0o600)
            _sync(begun)
            os.rename(begun, self.folder / _COMPLETE)
            _sync(self.folder)
        except OSError as error:
            shutil.rmtree(begun, ignore_errors=True)
            text = f"cannot be written: {error.strerror or error}; nothing was changed."
            raise ConsiliumError(f"{self.folder}: {text}") from None
        _apply(self.folder)

    def _name(self, path: Path) -> str:
        return str(path.absolute().relative_to(self.folder.absolute()))


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other command changes `folder` meanwhile; what one that died had begun is finished first."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConsiliumError(f"{folder}: cannot be written: {error.strerror or error}.") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        shutil.rmtree(folder / _BEGUN, ignore_errors=True)
        if (folder / _COMPLETE).is_dir():
            _apply(folder)
        yield
    finally:
        os.close(descriptor)


def finish(folder: Path) -> None:
    """Finish what a command that died had begun to put in place, and forget what it had not completed."""
    if (folder / _COMPLETE).is_dir() or (folder / _BEGUN).is_dir():
        with alone(folder):
            pass


def is_empty(folder: Path) -> bool:
    """Whether `folder` is absent or holds nothing but what a change leaves there before it is complete."""
    return not folder.is_dir() or {path.name for path in folder.iterdir()} <= {_BEGUN, _LOCK, "lost+found"}


def _apply(folder: Path) -> None:
    complete = folder / _COMPLETE
    content = json.loads(read_bytes(complete / _LIST))
    try:
        for number, name in enumerate(content["files"]):
            own_folder((folder / name).parent)
            with contextlib.suppress(FileNotFoundError):  # it took its place before the crash
                os.replace(complete / str(number), folder / name)
        for name in content["gone"]:
            (folder / name).unlink(missing_ok=True)
        for parent in {(folder / name).parent for name in (*content["files"], *content["gone"])}:
            _sync(parent)
        os.rename(complete, folder / _BEGUN)
        shutil.rmtree(folder / _BEGUN)
    except OSError as error:
        text = f"cannot be finished: {error.strerror or error}; mend that and give any command again."
        raise ConsiliumError(f"{complete}: what was begun {text}") from None


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
