"""`consilium server enrol`: requests in; certificates, a proposed roster and an invitation for each hospital out.

Everything is worked out before the first file is written, and given twice the command changes nothing.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from common.errors import ConsiliumError
from common.files import exists, read_bytes, read_plan
from common.plan import Plan
from common.secagg.json_view import to_json
from common.secagg.messages import SignedRoster
from server.network import gateway
from server.network.admission import REVOKED, Applicant, change_of, check_keys, enrolled, read_applicants
from server.network.change import Change, alone
from server.network.home import Home
from server.network.issue import certificate_for, invitations, read_authority
from server.network.succession import Rosters, fewest_sites, read_rosters, wanted

COMMAND = "consilium server enrol"
LEFT, REPLACED = ".left.json", ".replaced.json"


@dataclass(frozen=True)
class Asked:
    """The command line. plan: None for the one in use. leaves: in peace; revoke: keys that are never accepted again.

    replace: hospitals whose network keys may change. new_proposal: one that was sent may be withdrawn.
    """

    requests: Sequence[Path] = ()
    plan: Path | None = None
    colluding: int | None = None
    min_sites: int | None = None
    leaves: Sequence[str] = ()
    revoke: Sequence[str] = ()
    replace: Sequence[str] = ()
    new_proposal: bool = False


@dataclass(frozen=True)
class Done:
    """What came of it. changes: site -> `new`, `renewed`, `replaced`, `left` or `revoked`.

    rosters: those in use and proposed from now on. least: hospitals that a roster takes. short: there are fewer.
    withdrawn: the number of a proposal that is void now. certified: sites with a new certificate.
    invited: sites whose invitation is another than before. reloaded: a gateway that was running knows all this.
    """

    plan: Plan
    sites: Mapping[str, Applicant]
    changes: Mapping[str, str]
    rosters: Rosters
    least: int
    withdrawn: int | None
    plan_changed: bool
    certified: Sequence[str]
    invited: Sequence[str]
    reloaded: bool = False

    @property
    def short(self) -> bool:
        return len(self.sites) < self.least


def enrol(home: Home, asked: Asked, *, now: datetime) -> Done:
    """Do it. Raises ConsiliumError; unless it is of the gateway's own files, which come last, nothing was changed."""
    with alone(home.folder):
        change = Change(home.folder)
        done = _work_out(home, asked, change, now=now)
        change.commit()
        gateway.write(home)
        reloaded = gateway.reload(home)
    return Done(**vars(done) | {"reloaded": reloaded})


def plan_in_use(home: Home, given: Path | None = None) -> Plan:
    """`given`, else the plan in use, else the federation.toml in the coordinator's folder. Raises ConsiliumError."""
    found = given or next((path for path in (home.plan, home.plan_text) if exists(path)), None)
    if found is None:
        raise ConsiliumError(f"{home.folder}: holds no plan yet; name one with --plan federation.toml.")
    return read_plan(found)


def _work_out(home: Home, asked: Asked, change: Change, *, now: datetime) -> Done:
    """Everything but the writing."""
    authority = read_authority(home, now=now)
    plan, known, requests = plan_in_use(home, asked.plan), enrolled(home), read_applicants(asked.requests)
    changes = _removals(home, asked, known) | _arrivals(asked, known, requests)
    kept = {name: each for name, each in known.items() if name not in changes}
    sites = dict(sorted((kept | {n: r for n, r in requests.items() if changes.get(n) in _IN}).items()))
    check_keys(home, sites.values())
    _check_revoked_now(asked, known, sites)
    before = read_rosters(home)
    f, least = fewest_sites(plan, before, asked.colluding, asked.min_sites, command=COMMAND)
    cards = [each.card for each in sites.values()]
    chosen = before.latest if len(sites) < least else wanted(home, cards, plan, before, colluding=f, min_sites=least)
    gone = {name for name, kind in changes.items() if kind in _OUT}
    rosters, withdrawn = _succeed(home, before, chosen, gone, asked)
    signed = {name: certificate_for(home, each, authority, now=now) for name, each in sites.items()}
    _move(home, change, changes, known, sites)
    written = [name for name, certificate in signed.items() if change.write(home.site_certificate(name), certificate)]
    plan_changed = exists(home.plan) and read_bytes(home.plan) != plan.canonical
    change.write(home.plan, plan.canonical)
    if rosters.proposed is not None:
        change.write(home.proposal, to_json(rosters.proposed))
    elif withdrawn is not None:
        change.remove(home.proposal)
    letters = invitations(home, signed, authority[1], plan, rosters)
    invited = [name for name, letter in letters.items() if change.write(home.invitation(name), letter)]
    for name in {*known, *sites} - set(letters):
        change.remove(home.invitation(name))
    certified = [name for name in written if name not in changes]
    return Done(plan, sites, changes, rosters, least, withdrawn, plan_changed, certified, invited)


_IN, _OUT = ("new", "renewed", "replaced"), ("left", "revoked")


def _removals(home: Home, asked: Asked, known: Collection[str]) -> dict[str, str]:
    """Hospitals that are to go; those that went before are no error, so that the command can be given twice."""
    found: dict[str, str] = {}
    for names, kind in ((asked.leaves, "left"), (asked.revoke, "revoked")):
        for name in names:
            if name in found and found[name] != kind:
                raise ConsiliumError(f"{COMMAND}: {name} either leaves or is revoked; choose one.")
            if name in known:
                found[name] = kind
            elif name not in _former(home, kind):
                have = ", ".join(sorted(known)) or "none yet"
                raise ConsiliumError(f"{COMMAND}: {name!a} is no hospital of this federation; enrolled are: {have}.")
    return found


def _former(home: Home, kind: str) -> set[str]:
    return {path.name.rpartition("-")[0] for path in home.former.glob(f"*.{kind}.json")}


def _arrivals(asked: Asked, known: Mapping[str, Applicant], requests: Mapping[str, Applicant]) -> dict[str, str]:
    found = {}
    for name, applicant in requests.items():
        if name in (*asked.leaves, *asked.revoke):
            raise ConsiliumError(f"{COMMAND}: {name} cannot be enrolled and removed by one command; give two.")
        kind = change_of(known.get(name), applicant)
        if kind == "other":
            if name not in asked.replace:
                digits, node = applicant.fingerprints
                raise ConsiliumError(
                    f"{applicant.source}: has other keys than the request of {name} that was accepted before; if "
                    f"{name} confirms them over the telephone (signing key {digits}, node key {node}), add "
                    f"--replace {name}."
                )
            kind = "replaced"
        if kind != "same":
            found[name] = kind
    return found


def _check_revoked_now(asked: Asked, known: Mapping[str, Applicant], sites: Mapping[str, Applicant]) -> None:
    """A key that this very command revokes does not come in under another name."""
    for name in asked.revoke:
        keys = set(known[name].keys.values()) if name in known else set()
        for applicant in sites.values():
            if keys & set(applicant.keys.values()):
                raise ConsiliumError(f"{applicant.source}: has a key of {name}, which this command revokes.")


def _succeed(
    home: Home, before: Rosters, chosen: SignedRoster | None, gone: Collection[str], asked: Asked
) -> tuple[Rosters, int | None]:
    """The rosters from now on, and the number of a proposal that is withdrawn. Raises ConsiliumError."""
    void = before.proposed is not None and (chosen is not before.proposed or _holds(before.proposed, gone))
    if chosen is before.proposed and void:
        chosen = before.current  # too few are left for another proposal
    if not void:
        proposed = None if chosen is before.current else chosen
        return Rosters(before.current, proposed, before.previous), None
    assert before.proposed is not None  # noqa: S101 -- for the type checker
    number, names = before.proposed.roster.number, ", ".join(before.proposed.roster.sites)
    if not gone and not asked.new_proposal:
        raise ConsiliumError(
            f"{home.proposal}: roster {number} was proposed to {names} and is not signed by enough yet; whoever has "
            f"signed it cannot sign another roster {number}. Collect the signatures first (`consilium server collect "
            f"{home.folder} *.signature.json`), or add --new-proposal if nobody has signed."
        )
    return Rosters(before.current, None if chosen is before.current else chosen, before.previous), number


def _holds(signed: SignedRoster, gone: Collection[str]) -> bool:
    return bool(set(signed.roster.sites) & set(gone))


def _move(
    home: Home,
    change: Change,
    changes: Mapping[str, str],
    known: Mapping[str, Applicant],
    sites: Mapping[str, Applicant],
) -> None:
    """Requests that are accepted into sites/, those that are not any more into former/."""
    endings = {"left": LEFT, "revoked": REVOKED, "replaced": REPLACED, "renewed": REPLACED}
    for name, kind in changes.items():
        if name in known:
            data = read_bytes(home.request(name))
            change.write(home.former / f"{name}-{hashlib.sha256(data).hexdigest()[:8]}{endings[kind]}", data)
        if name in sites:
            change.write(home.request(name), sites[name].request.to_bytes())
        else:
            change.remove(home.request(name))
            change.remove(home.site_certificate(name))
