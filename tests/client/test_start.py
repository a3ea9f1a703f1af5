"""A site's client does not start with a policy, key or list of objections that is wrong: one sentence says which."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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


def test_the_runner_ends_with_one_sentence_before_it_connects(site: Path) -> None:
    """A real process; no SuperNode is started and nothing listens."""
    (site.parent / "policy.toml").write_text("[budget]\n")
    told = f'site-config="{site}"'
    command = [sys.executable, "-m", "client.runner", "--app", str(APP), "--", "--node-config", told]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=APP.parents[1])
    assert done.returncode == 1
    assert done.stderr.startswith("This site does not start: ") and "allow_unnoised" in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
