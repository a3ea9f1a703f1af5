"""Ties a file to its place, so that an older copy put back is noticed."""

import os
from pathlib import Path


class Place:
    """With every write to a store, an empty file beside it is replaced by another.

    The store holds that file's name and the time at which the file system made it, which no program can set. One put
    back alone misses its file, which is gone; a folder put back holds it with a later time. An inode would not do: the
    next file often has the same. The image of a whole disk is not noticed.
    """

    def __init__(self, store: Path) -> None:
        self._folder, self._prefix = store.parent, f"{store.name}.place-"

    def next(self, number: int | None = None) -> str:
        """Make a file; its mark goes into the store with what is written. Raises OSError.

        number: of the write, where the store counts them; it can then be told how many there were.
        """
        counted = "" if number is None else f"{number}-"
        path = self._folder / f"{self._prefix}{counted}{os.urandom(8).hex()}"
        path.touch(mode=0o600, exist_ok=False)
        return f"{path.name} {path.stat().st_ctime_ns}"

    def holds(self, mark: str) -> bool:
        """Whether the file of `mark` is still there, untouched."""
        name, _, made = mark.partition(" ")
        path = self._folder / name
        return name.startswith(self._prefix) and path.exists() and made == str(path.stat().st_ctime_ns)

    def leave_only(self, mark: str) -> None:
        """Remove the files of earlier writes, and of one that was cut off."""
        for path in self._folder.glob(f"{self._prefix}*"):
            if path.name != mark.partition(" ")[0]:
                path.unlink()

    def names(self) -> frozenset[str]:
        """The files of the place: one, or two while a write is under way, or since one was cut off."""
        return frozenset(path.name for path in self._folder.glob(f"{self._prefix}*"))

    @property
    def last_number(self) -> int:
        """The largest number of a write whose file is there; 0 where nothing tells."""
        return max(map(number_of, self.names()), default=0)


def number_of(name: str) -> int:
    """Number of the write that made the file of this name; 0 for a store that does not count them."""
    number = name.rpartition(".place-")[2].partition("-")[0]
    return int(number) if number.isdigit() and "-" in name.rpartition(".place-")[2] else 0
