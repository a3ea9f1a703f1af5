"""`consilium server doctor`: is everything in the coordinator's folder, whole, in date, and of one mind?

Each check says in one sentence what it found; nothing is changed. What belongs to the machine is in doctor_machine.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from cryptography import x509

from common.errors import ConsiliumError
from common.files import check_own, exists, read_bytes, read_plan, read_private
from common.network import certificates
from common.network.address import is_ip
from common.network.pem import one_certificate
from common.plan import Plan
from common.secagg import roster
from common.secagg.messages import SignedRoster
from server.network import gateway
from server.network.admission import check_keys, enrolled
from server.network.home import SERVERS, SETTINGS, Home
from server.network.issue import SOON, certificate_text, invitations
from server.network.succession import Rosters, read_rosters
from server.roster import load_coordinator_key

Level = Literal["ok", "warning", "error"]
AUTHORITY_SOON_DAYS = 180
"""To replace the authority, every hospital has to join again: that takes longer than a month."""


@dataclass(frozen=True)
class Finding:
    level: Level
    text: str


Check = Callable[[Home, datetime], Iterator[Finding]]


def examine(home: Home, checks: tuple[Check, ...], *, now: datetime) -> Iterator[Finding]:
    """What every check finds; one that cannot go on is an error in its own words, and the next is made."""
    for check in checks:
        try:
            yield from check(home, now)
        except ConsiliumError as error:
            yield Finding("error", str(error))


def files(home: Home, now: datetime) -> Iterator[Finding]:
    """Who may enter the folder, who may read the keys, and whether they are there."""
    settings = home.settings
    text = f"{settings.federation}, dialled at {settings.address}, gateway on {settings.listen}"
    yield Finding("ok", f"{SETTINGS}: {text}, SuperLink on 127.0.0.1:{settings.link_port}.")
    for path in (home.folder, home.keys):
        check_own(path)
    for path in sorted({*home.keys.iterdir(), home.coordinator_key, home.superexec_secret}):
        read_private(path)
    load_coordinator_key(home.coordinator_key)
    yield Finding("ok", "keys: all there, and nobody else may read them.")


def servers(home: Home, now: datetime) -> Iterator[Finding]:
    """The authority's certificate, the gateway's and the SuperLink's."""
    authority = read_bytes(home.certificate("authority"))
    mend = f"`consilium server renew {home.folder}`"
    for name in ("authority", *SERVERS):
        path = home.certificate(name)
        data, again = read_bytes(path), f"{mend[:-1]} --authority`" if name == "authority" else mend
        try:
            key = read_private(home.key(name))
            certificates.check_certificate(data, authority_pem=authority, key_pem=key, now=now, source=str(path))
        except ConsiliumError as error:
            yield Finding("error", f"{str(error).rstrip('.')}: {again}.")
            continue
        missing = [] if name == "authority" else _names_missing(data, home.server_names[name])
        if missing:
            text = f"does not hold the name {', '.join(missing)} that is dialled: {again}, and new invitations."
            yield Finding("error", f"{path}: {text}")
        else:
            days = AUTHORITY_SOON_DAYS if name == "authority" else SOON.days
            yield _ending(str(path), data, days, now, again)


def hospitals(home: Home, now: datetime) -> Iterator[Finding]:
    """Every enrolled hospital's request and certificate, and whether the gateway knows them all."""
    sites, authority = enrolled(home), read_bytes(home.certificate("authority"))
    check_keys(home, sites.values())
    mend = f"`consilium server enrol {home.folder}` makes a new one for its invitation"
    for name in sites:
        path = home.site_certificate(name)
        if not exists(path):
            yield Finding("error", f"{path}: missing: {mend}.")
            continue
        data = read_bytes(path)
        try:
            certificates.check_certificate(data, authority_pem=authority, now=now, site=name, source=str(path))
            yield _ending(str(path), data, SOON.days, now, mend)
        except ConsiliumError as error:
            yield Finding("error", f"{str(error).rstrip('.')}: {mend}.")
    if not sites:
        yield Finding("warning", f"No hospital is enrolled: `consilium server enrol {home.folder} *.request.json`.")
    listed = home.folder / "gateway" / gateway.SITES
    if not exists(listed) or read_bytes(listed) != gateway.site_map(gateway.enrolled(home)):
        text = "does not list the enrolled hospitals"
        yield Finding("error", f"{listed}: {text}: `consilium server enrol {home.folder}` writes it again.")


def plan(home: Home, now: datetime) -> Iterator[Finding]:
    """The plan in use, and a federation.toml beside it."""
    if not exists(home.plan):
        yield Finding("error", f"{home.plan}: no plan yet: `consilium server enrol {home.folder} --plan FILE`.")
        return
    found = read_plan(home.plan)
    yield Finding("ok", f"{home.plan}: {found.training.rounds} rounds, plan {found.hash[:16]}.")
    if not found.aggregation.secure:
        yield Finding(
            "warning", f"{home.plan}: sums are not secure: this coordinator sees every hospital's own update."
        )
    if exists(home.plan_text) and read_plan(home.plan_text).hash != found.hash:
        yield Finding(
            "warning",
            f"{home.plan_text}: differs from the plan in use: `consilium server enrol {home.folder} --plan "
            f"{home.plan_text}` puts it in use, and every hospital has to approve it.",
        )


def rosters(home: Home, now: datetime) -> Iterator[Finding]:
    """The roster in use, the one proposed, and what the plan and the hospitals have to do with them."""
    found, sites = read_rosters(home), set(home.site_names())
    if found.current is None:
        yield Finding("error", _not_yet(home, found))
    else:
        _check_signed(home, found.current, found.previous)
        yield from _check_use(home, found.current, sites)
    if found.current is not None and found.proposed is not None:
        yield Finding("warning", _not_yet(home, found))
    if found.latest is not None and (outside := sorted(sites - set(found.latest.roster.sites))):
        text = f"enrolled, but in no roster: `consilium server enrol {home.folder}` proposes one."
        yield Finding("warning", f"{', '.join(outside)}: {text}")
    if exists(home.plan):
        yield from _letters(home, read_plan(home.plan), found)


CHECKS: tuple[Check, ...] = (files, servers, hospitals, plan, rosters)


def _check_signed(home: Home, signed: SignedRoster, previous: SignedRoster | None) -> None:
    """Raises ConsiliumError unless the roster in use names this coordinator and enough hospitals signed it."""
    before = None if previous is None else previous.roster
    number = signed.roster.number
    if number > 1 and before is None:
        raise ConsiliumError(
            f"{home.roster_of(number - 1)}: the roster before is missing; a hospital that joins needs it."
        )
    again = replace(signed, signers=(), signatures=())
    for site, signature in zip(signed.signers, signed.signatures, strict=False):
        one = roster.RosterSignature(roster.roster_hash(signed.roster), site, signature)
        try:
            again = roster.add_signature(again, one, previous=before)
        except ConsiliumError as error:
            raise ConsiliumError(f"{home.roster}: {error}") from None
    missing, enough = roster.still_missing(again, previous=before)
    if not enough:
        raise ConsiliumError(f"{home.roster}: is not signed by enough hospitals; {', '.join(missing)} did not sign.")
    if load_coordinator_key(home.coordinator_key).verify_key != signed.roster.coordinator:
        raise ConsiliumError(f"{home.coordinator_key}: is not the key that {home.roster} names as the coordinator's.")


def _check_use(home: Home, signed: SignedRoster, sites: set[str]) -> Iterator[Finding]:
    agreed = signed.roster
    gone = [name for name in agreed.sites if name not in sites]
    if gone:
        left, least = len(agreed.sites) - len(gone), agreed.min_cohort
        few = left < least
        then = f"{left} are left, a sum takes {least}" if few else f"the other {left} are enough for a sum"
        text = f"in roster {agreed.number} but not enrolled any more; {then}"
        yield Finding("error" if few else "warning", f"{', '.join(gone)}: {text}.")
    if not exists(home.plan):
        return
    rules = read_plan(home.plan).aggregation
    if rules.secure and (agreed.colluding != rules.colluding_sites or agreed.min_cohort > rules.least_sites):
        yield Finding(
            "error",
            f"{home.roster}: is for colluding_sites = {agreed.colluding} and sums over {agreed.min_cohort} or more, "
            f"the plan for {rules.colluding_sites} and {rules.least_sites}: `consilium server enrol {home.folder}` "
            "proposes a roster that fits.",
        )
    else:
        yield Finding("ok", f"{home.roster}: roster {agreed.number}, {', '.join(agreed.sites)}, signed by enough.")


def _not_yet(home: Home, found: Rosters) -> str:
    if found.proposed is None:
        return f"{home.roster}: no roster yet: `consilium server enrol {home.folder} *.request.json --plan FILE`."
    before = None if found.current is None else found.current.roster
    missing, _ = roster.still_missing(found.proposed, previous=before)
    waiting = ", ".join(missing)
    mend = f"`consilium server collect {home.folder} NAME.signature.json`"
    return f"{home.proposal}: roster {found.proposed.roster.number} waits for signatures of {waiting}: {mend}."


def _letters(home: Home, plan: Plan, found: Rosters) -> Iterator[Finding]:
    """Invitations that are missing, say something else than what is in use, or cannot be written."""
    authority, stale, mend = read_bytes(home.certificate("authority")), [], f"`consilium server enrol {home.folder}`"
    certificate_text(authority, home.certificate("authority"))
    for name in home.site_names():
        certificate = home.site_certificate(name)
        if not exists(certificate):
            continue
        try:
            letters = invitations(home, {name: read_bytes(certificate)}, authority, plan, found)
        except ConsiliumError as error:
            yield Finding("error", f"invitation of {name}: {str(error).rstrip('.')}: {mend} makes a new one.")
            continue
        path = home.invitation(name)
        if name in letters and (not exists(path) or read_bytes(path) != letters[name]):
            stale.append(name)
    if stale:
        text = f"older than plan, roster or certificates: {mend} writes it again"
        yield Finding("warning", f"invitation of {', '.join(stale)}: {text}.")


def _names_missing(certificate: bytes, names: tuple[str, ...]) -> list[str]:
    extensions = one_certificate(certificate, source="").extensions
    try:
        held = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return list(names)
    addresses = {str(address) for address in held.get_values_for_type(x509.IPAddress)}
    return [n for n in names if n not in (addresses if is_ip(n) else held.get_values_for_type(x509.DNSName))]


def _ending(path: str, certificate: bytes, days: int, now: datetime, mend: str) -> Finding:
    end = certificates.expires(certificate, source=path)
    left = (end - now).days
    if left < days:
        return Finding("warning", f"{path}: ends on {end:%Y-%m-%d}, in {left} day(s): {mend}.")
    return Finding("ok", f"{path}: valid until {end:%Y-%m-%d}.")
