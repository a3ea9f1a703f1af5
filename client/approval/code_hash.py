"""Which code a site runs: a hash over its own packages, and the versions of all that they are built on."""

import hashlib
import platform
import re
import sysconfig
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path

import client
import common
from common.errors import ConsiliumError

DISTRIBUTION = "consilium"
_EXTRAS = ("balancing",)  # ours that a plan may ask a site to run
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")


@lru_cache(maxsize=1)
def code_hash() -> str:
    """SHA-256, hexadecimal, of what this process answers with: the packages `client` and `common`, read once."""
    return hash_of(Path(package.__path__[0]) for package in (client, common))


def hash_of(folders: Iterable[Path]) -> str:
    """SHA-256, hexadecimal, over name, length and bytes of every .py file in `folders`, sorted by name.

    A name is the path from the folder that holds the package, so that it does not matter where that is.
    Raises ConsiliumError if a file cannot be read.
    """
    files = {path.relative_to(folder.parent).as_posix(): path for folder in folders for path in folder.rglob("*.py")}
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ConsiliumError(f"{path}: cannot be read: {error.strerror or error}.") from None
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


@lru_cache(maxsize=1)
def dependencies() -> tuple[tuple[str, str], ...]:
    """(name, version) of Python and of every installed package that ours needs, directly or not, sorted by name.

    Raises ConsiliumError where our own package is not installed: then nobody knows what it needs.
    """
    try:
        found = closure(installed(DISTRIBUTION))
    except PackageNotFoundError:
        raise ConsiliumError(
            f"The package {DISTRIBUTION!r} is not installed, so nobody knows what it needs; install it with pip."
        ) from None
    return tuple(sorted({**found, "python": platform.python_version()}.items()))


def installed(name: str) -> Distribution:
    """The package `name` where pip installs, and nowhere else: Ray and build folders put further ones onto the path.

    Raises PackageNotFoundError.
    """
    places = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    found = next(iter(Distribution.discover(name=name, path=sorted(places))), None)
    if found is None:
        raise PackageNotFoundError(name)
    return found


def closure(root: Distribution) -> dict[str, str]:
    """Name -> version of every installed package that `root` needs, and those of `_EXTRAS`."""
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [each for extra in ("", *_EXTRAS) for each in _needed(root, extra)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            package = installed(name)
        except PackageNotFoundError:
            continue  # for another system or version of Python
        versions[name] = package.version
        waiting += _needed(package, extra)
    return versions


def _needed(package: Distribution, extra: str) -> list[tuple[str, str]]:
    """(name, extra) of what `package` needs: for extra "" in any case, otherwise only for this extra of it."""
    result = []
    for line in package.requires or ():
        requirement, _, marker = line.partition(";")
        wanted = _EXTRA.search(marker)
        found = _REQUIREMENT.match(requirement)
        if found is None or (wanted.group(1) if wanted else "") != extra:
            continue
        name = re.sub(r"[-_.]+", "-", found.group(1)).lower()
        result.append((name, ""))
        result += [(name, each.strip()) for each in (found.group(2) or "").split(",") if each.strip()]
    return result
