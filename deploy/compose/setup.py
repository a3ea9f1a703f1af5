"""Fills one volume per machine of the federation with what that machine needs, and nothing else; once.

A real federation has no such step: every site makes its own keys and only their public halves travel, every hospital's
operator approves the roster, and docs/deployment.md names the commands.
"""

import os
from importlib.resources import as_file, files
from pathlib import Path

from keys import node_key, server_certificate, shared_secret

from client.data.synthetic import hospitals, write_hospitals
from client.policy.policy import POLICY_FILE, write_policy
from common.files import read_plan, write_atomic
from common.privacy.events import UNNOISED_KINDS
from experiments.enrolment import approve_virtual, enrol_virtual

KITS = Path("/kits")
SUPERLINK, PORT = "superlink", 9443
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
CONNECTION = f"""[superlink]
default = "compose"

[superlink.compose]
address = "{SUPERLINK}:{PORT}"
root-certificates = "/operator/ca.crt"
"""


def main() -> None:
    done = KITS / "operator" / "complete"
    if done.exists():
        print("Keys, plan and hospitals are there from an earlier start; `docker compose down -v` removes them.")
        return
    with as_file(files("experiments") / "demo.toml") as path:
        plan = read_plan(path, overrides=(f"training.rounds={ROUNDS}", f"seeds.split={SEED}", f"seeds.training={SEED}"))
    authority, certificate, key = server_certificate((SUPERLINK, "localhost"))
    secret = shared_secret()
    _fill("link", {"ca.crt": authority, "server.crt": certificate, "server.key": key, "superexec.secret": secret})
    _fill("coordinator", {"ca.crt": authority, "superexec.secret": secret, "plan.json": plan.canonical})
    _fill("operator", {"ca.crt": authority, "config.toml": CONNECTION.encode()})
    sites = {}
    for folder in write_hospitals(KITS, hospitals(SITES, SEED), SEED, overwrite=True):
        private, public = node_key()
        _fill(folder.name, {"ca.crt": authority, "node.key": private, "plan.json": plan.canonical})
        _fill("operator", {f"{folder.name}.pub": public})
        # At the site this folder is /site, so the paths in site.toml stay relative to it.
        text = (folder / "site.toml").read_text().replace("[site]\n", '[site]\nplan = "plan.json"\n', 1)
        _fill(folder.name, {"site.toml": text.encode()})
        write_policy(folder / POLICY_FILE, POLICY)
        sites[folder.name] = folder / "site.toml"
    # At a real hospital a person reads `consilium site review` first.
    approve_virtual(plan, sites.values())
    # Each hospital's signing key into its own volume, the coordinator's and the roster that all signed into its.
    roster = enrol_virtual(plan, sites, KITS / "coordinator").roster
    _fill("operator", {"complete": b""})
    print(f"Made keys, certificates, {SITES} synthetic hospitals and a plan of {ROUNDS} rounds ({plan.hash[:16]}).")
    print(f"Roster {roster.number} is signed by all: {', '.join(roster.sites)}. The coordinator sees their sums only.")


def _fill(machine: str, contents: dict[str, bytes]) -> None:
    """Write files that only this user can read into the volume of `machine`."""
    for name, content in contents.items():
        write_atomic(KITS / machine / name, content)


if __name__ == "__main__":
    os.umask(0o077)
    main()
