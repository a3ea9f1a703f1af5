"""Makes a federation of three synthetic hospitals with the commands that a real one uses; once.

In a real federation a person of each hospital gives its commands, on its own machine, after telephoning the others,
and nobody ever holds two folders. Here one process plays them all: a demonstration whose patients are nobody.
"""

import contextlib
import io
import os
import re
import shutil
import tempfile
import tomllib
from importlib.resources import files
from pathlib import Path

from client.data.synthetic import hospitals, write_hospitals
from client.policy.policy import POLICY_FILE, write_policy
from common.files import read_plan, write_atomic
from common.privacy.events import UNNOISED_KINDS
from experiments.cli import app

KITS = Path("/kits")
SITES, SEED = 3, 0
ROUNDS = int(os.environ.get("ROUNDS") or 8)
# Every `up` opens sums on the same first model of the same plan, which a site takes for a coordinator that looks for
# differences and refuses after its first retry. These hospitals' patients are nobody; a real one keeps the default, 1.
# Without noise no epsilon can be given, so that all four kinds of release have to be allowed.
POLICY = {
    "secure": {"retries": 100},
    "limits": {"max_rounds": 100_000},
    "budget": {"allow_unnoised": list(UNNOISED_KINDS)},
}
# Each machine of the coordinator's gets what it needs of the coordinator's folder, and nothing else.
PARTS = {
    "link": ("keys/link.key", "keys/superexec.secret", "certificates", "sites"),
    "gateway": ("keys/gateway.key", "certificates", "sites"),
    "coordinator": (
        "keys/coordinator.key",
        "keys/superexec.secret",
        "certificates",
        "sites",
        "plan.json",
        "roster.json",
    ),
    "authority": ("keys/authority.key",),
}
_DIGITS = re.compile(r"(?:\d{5} ){7}\d{5}")


def main(work: Path) -> None:
    """work: an empty folder, for the coordinator's own and for what people send each other."""
    done = KITS / "authority" / "complete"
    if done.exists():
        print("Keys, plan and hospitals are there from an earlier start; `docker compose down -v` removes them.")
        return
    home = work / "coordinator"
    consilium("server", "init", home, "--federation", "demo", "--address", "gateway:9443", "--listen", "0.0.0.0:9443")
    settings = home / "coordinator.toml"
    settings.write_text(settings.read_text() + '\nlink_host = "superlink"\n')
    sites = _hospitals()
    os.chdir(work)  # where people put what they send each other
    for site in sites.values():
        consilium("site", "init", site)
    requests = [site / f"{name}.request.json" for name, site in sites.items()]
    proposed = consilium("server", "enrol", home, *requests, "--plan", _plan(work))
    for name, site in sites.items():
        consilium("site", "join", site, home / "invitations" / f"{name}.invitation.json")
        consilium("site", "sign", site, site / "proposal.json", "--approve", _DIGITS.findall(proposed)[-1])
    consilium("server", "collect", home, *(f"{name}.signature.json" for name in sites))
    plan = read_plan(home / "plan.json")
    for site in sites.values():
        consilium("site", "accept", site, home / "roster.json")
        consilium("site", "approve", site, site / "plan.json", "--approve", plan.hash[:8])
    for part, names in PARTS.items():
        for name in ("coordinator.toml", *names):
            _copy(home / name, KITS / part / name)
    write_atomic(done, b"")
    print(f"Made keys, certificates, {SITES} synthetic hospitals and a plan of {ROUNDS} rounds ({plan.hash[:16]}).")
    print(f"All have signed the roster: {', '.join(sites)}. The coordinator sees their sums only.")


def consilium(*arguments: object) -> str:
    """What a command prints. Ends with the command's own words where it fails."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        app([str(word) for word in arguments], standalone_mode=False)
    return said.getvalue()


def _hospitals() -> dict[str, Path]:
    """name -> folder, each in the volume of its own machine, with a policy of its own."""
    sites = {}
    for folder in write_hospitals(KITS, hospitals(SITES, SEED), SEED, overwrite=True):
        write_policy(folder / POLICY_FILE, POLICY)
        sites[folder.name] = folder
    return sites


def _plan(work: Path) -> Path:
    """The demo's plan with this start's number of rounds."""
    text = (files("experiments") / "demo.toml").read_text()
    rounds = tomllib.loads(text)["training"]["rounds"]
    path = work / "federation.toml"
    path.write_text(re.sub(rf"^rounds = {rounds}$", f"rounds = {ROUNDS}", text, flags=re.MULTILINE))
    return path


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


if __name__ == "__main__":
    os.umask(0o077)
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
