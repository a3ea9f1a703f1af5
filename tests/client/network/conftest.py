"""One hospital and its coordinator's folder, made by the real commands in an empty working directory."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w
from typer.testing import CliRunner

from client.config import SiteConfig, load_site
from client.policy.policy import SIMULATED, write_policy
from common.plan import plan_from_dict
from experiments.cli import app
from tests.conftest import small_content, small_table

Command = Callable[..., str]
NAMES = ("north", "south", "west")


@pytest.fixture
def consilium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """consilium(*arguments, status=0, typed=""): what it prints; raises as it does."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, status: int = 0, typed: str = "") -> str:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments], input=typed)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, done.output
        return done.output

    return run


def make_site(name: str, seed: int = 0) -> Path:
    """A hospital's folder with site.toml, a table and a policy that allows what a simulation's does."""
    home = Path(name).absolute()
    home.mkdir()
    small_table(seed).to_csv(home / "rows.csv", index=False)
    (home / "site.toml").write_text(f'[site]\nname = "{name}"\n[data]\nfiles = ["rows.csv"]\n')
    write_policy(home / "policy.toml", SIMULATED)
    return home


def write_plan(path: str = "federation.toml", *, secure: bool = True, **sections: dict[str, object]) -> str:
    content = small_content() | {"aggregation": {"secure": secure}, **sections}
    Path(path).write_text(tomli_w.dumps(content))
    return plan_from_dict(content, source=path).hash


def invite(consilium: Command, *, home: str = "home", port: int = 19743) -> dict[str, Path]:
    """Three hospitals, asked for and invited: name -> its invitation. Called again, with another `home`, re-invites."""
    if not Path("federation.toml").exists():
        write_plan()
    for seed, name in enumerate(NAMES):
        if not Path(name).exists():
            make_site(name, seed)
        consilium("site", "init", name)
    address = ("--address", f"127.0.0.1:{port}", "--link-port", port + 1)
    consilium("server", "init", home, "--federation", "stroke", *address)
    requests = [Path(name, f"{name}.request.json") for name in NAMES]
    consilium("server", "enrol", home, *requests, "--plan", "federation.toml")
    return {name: Path(home, "invitations", f"{name}.invitation.json") for name in NAMES}


def site(name: str = "north") -> SiteConfig:
    return load_site(name)


def tree(folder: str) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}
