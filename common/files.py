"""The one corner of `common` that touches files, because both sides need it: whole files or none.

Everything else in this package is pure; a test reads the imports and says so.
"""

import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from common.errors import ConsiliumError, PlanError
from common.plan import Plan, apply_overrides, load_plan, plan_from_canonical, plan_from_dict
from common.secagg.json_view import holds, in_words


def exists(path: Path) -> bool:
    """Whether something is at `path`; raises ConsiliumError where a folder on the way may not be entered."""
    return _mode(path) is not None


def read_bytes(path: Path) -> bytes:
    """Contents of `path`; raises ConsiliumError with one sentence if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConsiliumError(f"{path}: cannot be read: {error.strerror or error}.") from None


def read_plan(path: Path, *, overrides: tuple[str, ...] = ()) -> Plan:
    """The plan in a federation.toml, or in the canonical JSON that a run writes. Raises ConsiliumError."""
    data = read_bytes(path)
    if path.suffix == ".json":
        plan = plan_from_canonical(data, source=str(path))
        changed = apply_overrides(plan.model_dump(mode="json"), overrides)
        return plan_from_dict(changed, source=str(path)) if overrides else plan
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise PlanError(f"{path}: not UTF-8 text, as TOML has to be.") from None
    return load_plan(text, source=str(path), overrides=overrides)


def write_atomic(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write `data` to `path` so that after a crash at any instant the old or the new contents are there, never a part.

    private: readable by this user only, whatever the umask, in a folder that others cannot enter where it is new.
    Raises ConsiliumError, with the old file untouched and no temporary left, if the disk is full or read-only, or if
    a device, pipe or folder is at `path`: putting a file in its place would take it from everybody on the machine.
    """
    write_set({path: data}, private=private)


def write_set(files: Mapping[Path, bytes], *, private: bool = False) -> None:
    """Write files that belong together, each as `write_atomic` does: none takes its place before all are on the disk.

    They take their places in the order of `files`; after a crash in between, the last one tells that all are there.
    Raises ConsiliumError, with the old files untouched, where there is no room for all of them; where one cannot take
    its place after others did, those before it are new.
    """
    for path in files:
        _check_ordinary(path)
    path, temporaries = Path(), {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in files}
    try:
        for path, data in files.items():
            _write_new(temporaries[path], data, private=private)
        for path, temporary in temporaries.items():
            os.replace(temporary, path)
            _sync_folder(path.parent)
    except (OSError, ConsiliumError) as error:
        for temporary in temporaries.values():
            with contextlib.suppress(OSError):
                temporary.unlink()
        if isinstance(error, ConsiliumError):
            raise
        raise ConsiliumError(f"{path}: cannot be written: {error.strerror or error}.") from None


def _write_new(path: Path, data: bytes, *, private: bool) -> None:
    if private:
        own_folder(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # left by a crash, with the mode that it had
    mode = 0o600 if private else 0o666
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def check_writable(*paths: Path) -> None:
    """Raises ConsiliumError where a file could not be put at one of `paths`; asked before a long computation."""
    for path in paths:
        _check_ordinary(path)
        folder = path.absolute().parent
        while not exists(folder):
            folder = folder.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise ConsiliumError(f"{path}: cannot be written: {folder} is no folder in which this user may write.")


def check_target(path: Path, kind: type, *, keys: Path | None = None) -> None:
    """Raises ConsiliumError unless `path` is free, or holds a message of class `kind` that a new one may replace.

    keys: a folder of private keys, in which nothing may be written.
    """
    if keys is not None and path.resolve().is_relative_to(keys.resolve()):
        raise ConsiliumError(f"{path}: is inside {keys}, which is for this site's keys only; choose another --out.")
    _check_ordinary(path)
    if exists(path) and not holds(kind, read_bytes(path)):
        raise ConsiliumError(f"{path}: exists and holds something else than {in_words(kind)}; choose another --out.")


def own_folder(folder: Path) -> None:
    """Make `folder`, which only this user may enter, whatever the umask; one that exists is left as it is.

    Raises ConsiliumError if it cannot be made.
    """
    try:
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConsiliumError(f"{folder}: cannot be made: {error.strerror or error}.") from None


def own_file(path: Path) -> None:
    """Make an empty file with mode 0600 in a folder of this user's, where it is not there yet.

    Raises ConsiliumError if it cannot be made, or if what is there is another user's or open to others.
    """
    own_folder(path.parent)
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise ConsiliumError(f"{path}: cannot be made: {error.strerror or error}.") from None
    check_own(path)


def check_own(path: Path) -> None:
    """Raises ConsiliumError unless `path`, a file or folder of secrets, is this user's and closed to everybody else."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise ConsiliumError(f"{path}: cannot be read: {error.strerror or error}.") from None
    _check_status(path, status)


def write_private(path: Path, data: bytes) -> None:
    """Write a key to a new file that only this user can read.

    Raises ConsiliumError, and leaves what is there, if `path` exists already or cannot be written.
    """
    try:
        own_folder(path.parent)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConsiliumError(f"{path}: exists already; a key is never overwritten.") from None
    except OSError as error:
        raise ConsiliumError(f"{path}: cannot be written: {error.strerror or error}.") from None
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise ConsiliumError(f"{path}: cannot be written: {error.strerror or error}.") from None


def replace_file(new: Path, old: Path) -> None:
    """Put `new` in the place of `old`, in one step that outlasts a crash. Raises ConsiliumError."""
    try:
        os.replace(new, old)
        _sync_folder(old.parent)
    except OSError as error:
        raise ConsiliumError(f"{new}: cannot be moved to {old.name}: {error.strerror or error}.") from None


def read_private(path: Path) -> bytes:
    """Contents of a key file; raises ConsiliumError also where it is another user's, or others may read or write it."""
    try:
        with open(path, "rb") as file:
            _check_status(path, os.fstat(file.fileno()))
            return file.read()
    except OSError as error:
        raise ConsiliumError(f"{path}: cannot be read: {error.strerror or error}.") from None


def drop_torn_line(log: Path) -> None:
    """Cut off the last line of a log if a crash left it without its end."""
    if not log.exists():
        return
    try:
        with open(log, "rb+") as file:
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)
            os.fsync(file.fileno())
    except OSError as error:
        raise ConsiliumError(f"{log}: cannot be read or mended: {error.strerror or error}.") from None


def _check_status(path: Path, status: os.stat_result) -> None:
    mode, right = status.st_mode & 0o777, "700" if stat.S_ISDIR(status.st_mode) else "600"
    if mode & 0o077:
        raise ConsiliumError(f"{path}: has mode {mode:03o}, but only its owner may read it: chmod {right} {path}")
    if status.st_uid != os.geteuid():
        raise ConsiliumError(
            f"{path}: belongs to user {status.st_uid}, but this is user {os.geteuid()}, who must own it."
        )


def _check_ordinary(path: Path) -> None:
    mode = _mode(path)
    if mode is not None and not stat.S_ISREG(mode):
        raise ConsiliumError(f"{path}: cannot be written: it is not an ordinary file.")


def _mode(path: Path) -> int | None:
    """Type and permissions of what is at `path`, at the end of every link; None if nothing is."""
    try:
        return os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConsiliumError(f"{path}: cannot be reached: {error.strerror or error}.") from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
