"""Which code wrote a document, and made the runs that it keeps."""

import subprocess
from pathlib import Path

from common.errors import RunError
from common.files import exists, read_bytes, write_atomic

ROOT = Path(__file__).resolve().parents[1]
_MARK = "commit"


def commit() -> str:
    """The commit of this checkout, with `-dirty` for changes that are not in it; `unknown` without git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def claim(work: Path) -> str:
    """`commit`, written into `work` by the study that begins there. Raises RunError where another one made its runs.

    A plan's hash says nothing of the code that trains it: kept runs of two commits must not share a table.
    """
    mark, own = work / _MARK, commit()
    if exists(mark):
        former = read_bytes(mark).decode(errors="replace").strip()
        if former != own:
            raise RunError(f"{work}: its runs are of commit {former}, and this is {own}; name another folder.")
    elif work.is_dir() and any(work.iterdir()):
        raise RunError(f"{work}: holds runs of an unknown commit; name another folder.")
    else:
        write_atomic(mark, own.encode())
    return own
