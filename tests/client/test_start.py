"""A site's client does not start with a policy, key or list of objections that is wrong: one sentence says which."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from client import start
from client.config import find_sites
from client.start import check_start, site_of
from common.errors import ConsiliumError, PlanError
from common.plan import Plan
from experiments.simulate import prepare_sites
from server.journal import PLAN

APP = Path(__file__).parents[2] / "deploy" / "flower_app"


@pytest.fixture
def site(plan: Plan, write_sites: Callable[..., Path], tmp_path: Path) -> Path:
    (tmp_path / PLAN).write_bytes(plan.canonical)
    return prepare_sites(plan, find_sites(write_sites()), tmp_path)["north"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--superlink", "x", "--node-config", 'site-config="/a b/site.toml"'],
        ['--node-config=site-config="/a b/site.toml" other=1'],
    ],
)
def test_the_site_is_the_one_that_the_supernode_is_told(arguments: list[str]) -> None:
    assert site_of(arguments) == Path("/a b/site.toml")


def test_arguments_without_a_site_are_refused() -> None:
    with pytest.raises(PlanError, match="names no site"):
        site_of(["--superlink", "x", "--node-config", "other=1"])


def test_a_complete_site_starts(site: Path) -> None:
    check_start(site)


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        ("policy.toml", "[budget]\n", "allow_unnoised"),
        ("policy.toml", "[budget]\nallow_unnoised = []\nallow_all = true\n", "line 3"),
        ("policy.toml", "[secure]\nrequired = 1\n[budget]\nallow_unnoised = []\n", "line 2"),
        ("policy.toml", "[budget]\nallow_unnoised = []\nepsilon_per_study = 9.0\nepsilon_per_year = 2.0\n", "line 3"),
        ("keys/signing.key", "no key", "signing.key"),
    ],
)
def test_what_is_wrong_is_named(site: Path, file: str, text: str, named: str) -> None:
    (site.parent / file).write_text(text)
    with pytest.raises(ConsiliumError, match=named):
        check_start(site)


@pytest.mark.parametrize("mode", [0o764, 0o746, 0o777])
@pytest.mark.parametrize("name", ["policy.toml", "keys"])
def test_what_others_may_write_is_refused(site: Path, name: str, mode: int) -> None:
    path = site.parent / name
    path.chmod(mode)
    with pytest.raises(ConsiliumError) as refused:
        check_start(site)
    found = f"{path}: has mode {mode:03o}, with which others may write it"
    assert str(refused.value) == f"{found}; allowed is only its owner: chmod go-w {path}"
    path.chmod(0o755)
    check_start(site)


@pytest.mark.parametrize(("owner", "allowed"), [(10001, True), (0, True), (4711, False)])
@pytest.mark.parametrize("name", ["policy.toml", "keys"])
def test_they_belong_to_the_sites_user_or_to_root(
    site: Path, name: str, owner: int, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container a policy is root's and read-only, and the client runs as user 10001."""
    path, honest = site.parent / name, os.stat

    def owned(asked: Path) -> os.stat_result:
        status = honest(asked)
        return os.stat_result((*status[:4], owner if asked == path else 10001, *status[5:]))

    monkeypatch.setattr(start, "os", SimpleNamespace(stat=owned, geteuid=lambda: 10001))
    if allowed:
        check_start(site)
        return
    with pytest.raises(ConsiliumError) as refused:
        check_start(site)
    found = f"{path}: belongs to user 4711; allowed is the user who runs the client (10001), or root"
    assert str(refused.value) == f"{found}: chown 10001 {path}"


def test_the_runner_ends_with_one_sentence_before_it_connects(site: Path) -> None:
    """A real process; no SuperNode is started and nothing listens."""
    (site.parent / "policy.toml").write_text("[budget]\n")
    told = f'site-config="{site}"'
    command = [sys.executable, "-m", "client.runner", "--app", str(APP), "--", "--node-config", told]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=APP.parents[1])
    assert done.returncode == 1
    assert done.stderr.startswith("This site does not start: ") and "allow_unnoised" in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
