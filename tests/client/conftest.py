"""Enrolment as people do it: commands on real files, one folder for each site and one place where files meet."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.config import SiteConfig, load_site
from client.policy.policy import SIMULATED, write_policy
from common.secagg.json_view import from_json
from common.secagg.messages import SignedRoster
from common.secagg.roster import roster_fingerprint
from experiments.cli import app

SITES = ("north", "south", "west")
Command = Callable[..., str]


@pytest.fixture
def consilium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """consilium(*arguments, typed="") in an empty folder with three sites: what it prints; raises as it does."""
    monkeypatch.chdir(tmp_path)
    for name in (*SITES, "east", "harbour"):
        make_site(name)

    def run(*arguments: object, typed: str = "") -> str:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments], input=typed)
        if done.exception:
            raise done.exception
        return done.output

    return run


def make_site(name: str, **secure: int) -> None:
    """A site.toml, and a policy that allows everything but has these rules in its [secure]."""
    Path(name).mkdir(exist_ok=True)
    Path(name, "site.toml").write_text(f'[site]\nname = "{name}"\n[data]\nfiles = ["a.csv"]\n')
    write_policy(Path(name, "policy.toml"), SIMULATED | {"secure": SIMULATED["secure"] | secure})


def propose(consilium: Command, *names: str, out: str = "proposal.json", f: int = 0, previous: str = "") -> str:
    for name in names:
        consilium("site", "init", name)
    before = ("--previous", previous) if previous else ()
    cards = [f"{name}.card.json" for name in names]
    options = ("--federation", "stroke", "--colluding-sites", f, "--min-sites", 3, "--out", out)
    return consilium("server", "roster", *cards, *options, *before)


def read(path: str) -> SignedRoster:
    return from_json(SignedRoster, Path(path).read_bytes(), source=path)


def sign(consilium: Command, *names: str, roster: str = "proposal.json") -> list[str]:
    for name in names:
        consilium("site", "sign", name, roster, "--approve", roster_fingerprint(read(roster).roster))
    return [f"{name}.signature.json" for name in names]


def found(consilium: Command, *names: str) -> None:
    propose(consilium, *names)
    consilium("server", "collect", "proposal.json", *sign(consilium, *names), "--out", "one.json")
    for name in names:
        consilium("site", "accept", name, "one.json")


def site(name: str) -> SiteConfig:
    return load_site(name)


def tree(folder: str) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def digits(path: str) -> str:
    return roster_fingerprint(read(path).roster)
