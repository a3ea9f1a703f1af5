"""When a site accepts a roster: one check per rule, each with a code of its own.

Why a quorum: two rosters with one number would each need more than (n + f)/2 of the n sites before, so more than f of
them would have signed both, and a site that keeps the rules signs one (client/secure/keys.py).
"""

import re

from common.secagg import checks
from common.secagg.messages import Roster, SignedRoster, SiteCard
from common.secagg.primitives import digest, verify

LEAST_COHORT = 3
FIXED_POINT = (32, 64, 20)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_KEY_BYTES = 32


def roster_hash(roster: Roster) -> bytes:
    """SHA-256 of the canonical bytes, 32 bytes: what operators approve and every message of a session names."""
    return digest(roster)


def check_roster(
    new: SignedRoster,
    *,
    previous: Roster | None,
    site: str,
    verify_key: bytes,
    approved: bytes,
    least_cohort: int,
    least_colluding: int,
) -> None:
    """Raises Refusal, with the code of the rule, unless `site` may accept `new` after `previous` (None: the first).

    verify_key: this site's own, 32 bytes. approved: hash of the roster that this site's operator approved, or b"".
    least_cohort, least_colluding: the site's own policy for m and f.
    """
    check_proposal(
        new,
        previous=previous,
        site=site,
        verify_key=verify_key,
        least_cohort=least_cohort,
        least_colluding=least_colluding,
    )
    check_approved(new.roster, approved)
    _check_signers(new, previous)


def check_proposal(
    new: SignedRoster,
    *,
    previous: Roster | None,
    site: str,
    verify_key: bytes,
    least_cohort: int,
    least_colluding: int,
) -> None:
    """All of `check_roster` that does not depend on who has approved and signed: what a site checks before it signs."""
    roster = new.roster
    _check_form(roster)
    _check_numbers(roster, least_cohort=least_cohort, least_colluding=least_colluding)
    number = 1 if previous is None else previous.number + 1
    older = ", so it is older than the one accepted here" if roster.number < number - 1 else ""
    text = f"the roster has number {roster.number}, not {number}{older}."
    checks.require(roster.number == number, "roster_number", text)
    before = b"" if previous is None else roster_hash(previous)
    checks.require(roster.previous == before, "roster_previous", "the roster does not follow the one accepted here.")
    own = keys_of(roster).get(site) == verify_key
    checks.require(own, "roster_own_key", f"the roster does not hold the site {site!r} with the key of this site.")
    _check_newcomers(new, previous)


def check_form(roster: Roster) -> None:
    """Raises Refusal for a roster that no site would accept, whatever came before it."""
    _check_form(roster)
    _check_numbers(roster, least_cohort=0, least_colluding=0)


def check_approved(roster: Roster, approved: bytes) -> None:
    """Raises Refusal unless the operator of this site approved exactly this roster."""
    checks.require(approved == roster_hash(roster), "roster_not_approved", "no operator of this site approved it.")


def keys_of(roster: Roster) -> dict[str, bytes]:
    """Site -> its Ed25519 key."""
    return dict(zip(roster.sites, roster.keys, strict=False))


def enough_signers(signers: int, previous: Roster) -> bool:
    """More than max(2n/3, (n + f)/2) of the previous n sites, f as they agreed on it; in whole numbers."""
    sites = len(previous.sites)
    return 3 * signers > 2 * sites and 2 * signers > sites + previous.colluding


def newcomers_of(roster: Roster, previous: Roster | None) -> tuple[str, ...]:
    """Sites that the previous roster does not hold: for the first roster all."""
    before = () if previous is None else previous.sites
    return tuple(name for name in roster.sites if name not in before)


def renewed_of(roster: Roster, previous: Roster | None) -> tuple[str, ...]:
    """Sites that both rosters hold, with different keys."""
    before = {} if previous is None else keys_of(previous)
    return tuple(name for name, key in keys_of(roster).items() if before.get(name, key) != key)


def _check_form(roster: Roster) -> None:
    # Names reach the operator's screen: no control characters, no look-alike letters.
    wrong = [ascii(name) for name in (roster.federation, *roster.sites) if not _NAME.fullmatch(name)]
    text = f"{', '.join(wrong)}: names are of lower-case letters, digits, '_' and '-', at most 64."
    checks.require(not wrong, "roster_name", text)
    ordered = checks.strictly_sorted(roster.sites)
    checks.require(ordered, "roster_sites_not_sorted", "the sites are not sorted, or one is listed twice.")
    one_each = len(roster.keys) == len(roster.sites)
    checks.require(one_each, "roster_key_count", f"{len(roster.keys)} keys for {len(roster.sites)} sites.")
    keys = (roster.coordinator, *roster.keys)
    checks.require({len(key) for key in keys} == {_KEY_BYTES}, "roster_key_size", "a key does not have 32 bytes.")
    checks.require(len(set(keys)) == len(keys), "roster_key_twice", "two of the sites and the coordinator share a key.")
    ordered = checks.strictly_sorted(roster.committee)
    checks.require(ordered, "roster_committee_not_sorted", "the committee is not sorted, or one is listed twice.")
    inside = set(roster.committee) <= set(roster.sites)
    checks.require(inside, "roster_committee_of_strangers", "the committee holds a name that is no site.")
    fixed = (roster.narrow_bits, roster.wide_bits, roster.wide_fraction_bits)
    checks.require(fixed == FIXED_POINT, "roster_fixed_point", f"fixed point {fixed}; this version has {FIXED_POINT}.")


def _check_numbers(roster: Roster, *, least_cohort: int, least_colluding: int) -> None:
    members, t, f, m = len(roster.committee), roster.threshold, roster.colluding, roster.min_cohort
    checks.require(t <= members, "roster_threshold_too_high", f"t = {t}, but the committee has {members} members.")
    # The rules above and below imply this one (t <= f and 2t > C + f give t > C); it is here for its clear words.
    checks.require(t > f, "roster_threshold_too_low", f"t = {t}: f = {f} hospitals could open a mask.")
    single = 2 * t > members + f
    checks.require(single, "roster_threshold_splits", f"t = {t}, C = {members}, f = {f}: two survivor sets could open.")
    least = max(LEAST_COHORT, f + 2)
    checks.require(m >= least, "roster_cohort_too_small", f"m = {m}, at least {least} is needed.")
    checks.require(m >= least_cohort, "roster_cohort_policy", f"m = {m}, this site asks for at least {least_cohort}.")
    enough = f >= least_colluding
    checks.require(enough, "roster_colluding_policy", f"f = {f}, this site asks for at least {least_colluding}.")


def _check_newcomers(new: SignedRoster, previous: Roster | None) -> None:
    keys, expected = keys_of(new.roster), newcomers_of(new.roster, previous)
    checks.require(new.newcomers == expected, "roster_newcomers", "the newcomers listed are not those of the roster.")
    self_signed = len(new.cards) == len(new.newcomers) and all(
        verify(keys.get(name, b""), "enrol", SiteCard(name, keys.get(name, b"")), signature)
        for name, signature in zip(new.newcomers, new.cards, strict=False)
    )
    checks.require(self_signed, "roster_card_not_signed", "a newcomer's card is not signed with its own key.")
    changed = new.renewed == renewed_of(new.roster, previous)
    checks.require(changed, "roster_renewed", "the sites listed with a new key are not those of the roster.")
    before = {} if previous is None else keys_of(previous)
    by_old_key = len(new.renewals) == len(new.renewed) and all(
        verify(before.get(name, b""), "enrol", SiteCard(name, keys.get(name, b"")), signature)
        for name, signature in zip(new.renewed, new.renewals, strict=False)
    )
    checks.require(by_old_key, "roster_renewal_not_signed", "a new key is not signed with the site's old key.")


def _check_signers(new: SignedRoster, previous: Roster | None) -> None:
    """Signers are sites of the previous roster with the keys they had there; of the first, its own."""
    ordered = checks.strictly_sorted(new.signers)
    checks.require(ordered, "roster_signers_not_sorted", "the signers are not sorted, or one is listed twice.")
    keys = keys_of(new.roster if previous is None else previous)
    signed = len(new.signatures) == len(new.signers) and all(
        verify(keys.get(name, b""), "roster", new.roster, signature)
        for name, signature in zip(new.signers, new.signatures, strict=False)
    )
    checks.require(signed, "roster_signature", "a signature is not that of an enrolled site over this roster.")
    absent = ", ".join(name for name in new.roster.sites if name not in new.signers)
    founded = previous is not None or not absent
    checks.require(founded, "roster_founder_missing", f"every founding site has to sign; {absent} did not.")
    quorum = previous is None or enough_signers(len(new.signers), previous)
    checks.require(quorum, "roster_quorum", f"{len(new.signers)} sites of the previous roster have signed: too few.")
