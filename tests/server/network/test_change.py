"""A command that dies at any instant leaves all of what it does or nothing, and the next one goes on from there."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConsiliumError
from server.network.home import load_home
from tests.server.network.conftest import NAMES, Command, enrol, found, hospitals, init, tree, write_plan

STEPS = ("mkdir", "fsync", "rename", "replace", "unlink", "rmdir")


class Died(BaseException):
    """As a kill would: nothing that handles errors sees it."""


class Fault:
    """Dies, or fails with `code`, at the `at`-th call that changes the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at, self.code, self.calls = 0, 0, 0
        for name in STEPS:
            monkeypatch.setattr(os, name, self._faulty(getattr(os, name)))

    def _faulty(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if self.at:
                self.calls += 1
                if self.calls == self.at and self.code:
                    raise OSError(self.code, os.strerror(self.code))
                if self.calls == self.at:
                    raise Died
            return step(*arguments, **options)

        return call

    def __call__(self, command: Callable[[], object], at: int, code: int = 0) -> bool:
        """Whether the command was cut short."""
        self.at, self.code, self.calls = at, code, 0
        try:
            command()
        except (Died, ConsiliumError):
            return True
        finally:
            self.at = 0
        return False


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> Fault:
    return Fault(monkeypatch)


def _names() -> set[str]:
    """What is kept; gateway/ and state/ can be made from it again, and are by the next command."""
    return {name for name in tree() if name.split("/")[1] not in ("gateway", "state")}


def _instants(limit: int = 400) -> Iterator[int]:
    yield from range(1, limit)
    pytest.fail("the command never came to its end")


def test_init_cut_short_anywhere_is_all_or_nothing(consilium: Command, fault: Fault) -> None:
    for at in _instants():
        cut = fault(lambda: init(consilium), at)
        if not cut:
            break
        init(consilium)
        assert len(_names()) == 9, at
        load_home(Path("home"))
        os.system("rm -r home")
    assert at > 20  # the loop did cut it short


@pytest.mark.slow
def test_enrol_cut_short_anywhere_is_all_or_nothing(consilium: Command, fault: Fault) -> None:
    init(consilium)
    os.system("cp -a home empty")
    before, those, plan = _names(), hospitals(*NAMES), write_plan()
    enrol(consilium, *those.values(), more=("--plan", plan))
    after, proposal = _names(), Path("home/proposal.json").read_bytes()
    for at in _instants():
        os.system("rm -r home && cp -a empty home")
        if not fault(lambda: enrol(consilium, *those.values(), more=("--plan", plan)), at):
            break
        load_home(Path("home"))  # as every command does first
        assert _names() in (before, after), at
        consilium("server", "enrol", "home", *(f"{n}.request.json" for n in NAMES), "--plan", plan)
        assert _names() == after and Path("home/proposal.json").read_bytes() == proposal, at
        for name in NAMES:
            invitation = json.loads(Path(f"home/invitations/{name}.invitation.json").read_text())
            assert invitation["certificate"] == Path(f"home/sites/{name}.crt").read_text()
    assert at > 40


def test_a_full_disk_changes_nothing(consilium: Command, fault: Fault) -> None:
    init(consilium)
    those, plan, before = hospitals(*NAMES), write_plan(), tree()
    for each in those.values():
        each.request()
    at = 3  # the second file that is written
    assert fault(lambda: enrol(consilium, *those.values(), more=("--plan", plan)), at, errno.ENOSPC)
    assert tree() == before


@pytest.mark.slow
def test_a_site_that_leaves_is_gone_from_every_list_or_from_none(consilium: Command, fault: Fault) -> None:
    found(consilium, *NAMES, "east")
    os.system("cp -a home whole")
    leaves = ("server", "enrol", "home", "--leaves", "east")
    for at in _instants():
        os.system("rm -r home && cp -a whole home")
        if not fault(lambda: consilium(*leaves), at):
            break
        home = load_home(Path("home"))
        present = {home.request("east").exists(), home.site_certificate("east").exists()}
        assert len(present | {home.invitation("east").exists()}) == 1, at
        consilium(*leaves)
        assert "east" not in home.site_names() and b"east" not in Path("home/gateway/sites.map").read_bytes(), at
