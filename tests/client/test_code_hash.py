"""The hash of the code that a site runs: of every byte of it, wherever it is installed, and of nothing else."""

import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

import client
import common
from client.approval import code_hash as module
from client.approval.code_hash import closure, code_hash, dependencies, hash_of

PACKAGES = [Path(package.__path__[0]) for package in (client, common)]


@pytest.fixture
def installed(tmp_path: Path) -> list[Path]:
    """The two packages, copied elsewhere."""
    return [Path(shutil.copytree(package, tmp_path / "elsewhere" / package.name)) for package in PACKAGES]


def test_it_does_not_matter_where_and_in_which_order(installed: list[Path]) -> None:
    assert hash_of(installed) == hash_of(reversed(installed)) == hash_of(PACKAGES)
    assert len(code_hash()) == 64


def test_what_python_leaves_behind_does_not_count(installed: list[Path]) -> None:
    before = hash_of(installed)
    for package in installed:
        for folder in package.rglob("__pycache__"):
            shutil.rmtree(folder)
        (package / "notes.txt").write_text("x")
    assert hash_of(installed) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.write_bytes(file.read_bytes() + b"#"),
        lambda file: file.unlink(),
        lambda file: file.rename(file.with_name("gate.py")),
        lambda file: file.with_name("more.py").write_bytes(b""),
    ],
    ids=["changed", "gone", "moved", "added"],
)
def test_every_change_of_the_code_changes_the_hash(change: Callable[[Path], object], installed: list[Path]) -> None:
    before = hash_of(installed)
    for package in installed:
        change(package / "__init__.py")
        assert hash_of(installed) != before
        before = hash_of(installed)


def test_bytes_cannot_move_from_one_file_to_the_next(tmp_path: Path) -> None:
    hashes = set()
    for number, (first, second) in enumerate(((b"ab", b""), (b"a", b"b"), (b"", b"ab"))):
        folder = tmp_path / str(number) / "p"
        folder.mkdir(parents=True)
        (folder / "a.py").write_bytes(first)
        (folder / "b.py").write_bytes(second)
        hashes.add(hash_of([folder]))
    assert len(hashes) == 3


def test_dependencies_name_what_ours_are_built_on() -> None:
    named = dict(dependencies())
    for name in ("torch", "numpy", "pydantic-core", "cryptography", "flwr"):
        assert named[name] == version(name)
    assert "pytest" not in named, "an extra for tests is not what a site runs"
    assert "python" in named and list(named) == sorted(named)


def test_an_extra_that_a_plan_may_ask_for_is_named_where_it_is_installed() -> None:
    class Ours:
        requires = ('torchjd>=0.18; extra == "balancing"', 'pytest>=9; extra == "test"', "numpy>=2")

    named = closure(Ours())
    assert named["torchjd"] == version("torchjd") and "pytest" not in named


def test_what_others_put_onto_the_path_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's workers bring packages of their own, and a folder that was built in holds metadata from then."""
    before = closure(module.installed("consilium"))
    for name in ("colorama", "numpy"):
        folder = tmp_path / f"{name}-0.0.1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.0.1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert version("numpy") == "0.0.1"
    assert closure(module.installed("consilium")) == before
