"""A committee member: signs which reports are in a round's sum, once and for ever, then opens their masks.

It never holds both seeds of a site in the open: of each survivor only the self seed, of each pair that a missing site
would have cancelled only the pair seed. Which shares it will answer with is fixed when it signs.
"""

import hashlib
from dataclasses import replace
from functools import lru_cache

from common.secagg import checks
from common.secagg.encoding import decode, encode
from common.secagg.field import is_element
from common.secagg.header import (
    Companions,
    Opened,
    Question,
    RoundState,
    accept_header,
    fewest_contributors,
    header_of,
    within_limits,
)
from common.secagg.messages import CrossCheck, Report, Shares, SignedHeader, SignedShares, Survivors, Unmask
from common.secagg.primitives import digest, unseal, verify
from common.secagg.seeds import share_context, share_key
from common.secagg.session import Party, SessionState

_SHARE = 32
_MEMBERS = 64


def cross_check(
    party: Party, session: SessionState, before: RoundState, message: CrossCheck, question: Question, opened: Opened
) -> tuple[RoundState, bytes]:
    """The state to store, and then the signature of the survivors to send. Raises Refusal.

    question, opened: as for `header.begin`; a member outside the cohort makes the same checks on the header.
    """
    member = party.site in party.roster.committee
    checks.require(member, "not_in_committee", "this site holds no shares.")
    signed = SignedHeader(message.header, message.header_signature)
    state = accept_header(party, session, before, signed, question, opened)
    survivors = _check_survivors(party, session, state, message, question.companions)
    encoded = encode(survivors)
    checks.require(state.survivors in (b"", encoded), "second_survivor_set", "another set was signed in this round.")
    within_limits(party, replace(state, survivors=encoded), opened)
    signature = party.key.sign("crosscheck", survivors)
    if state.survivors:
        return state, signature
    shares = _shares(party, session, state, message, survivors)
    answer = encode(SignedShares(shares, party.key.sign("unmask", shares)))
    return replace(state, survivors=encoded, answer=answer), signature


def unmask(party: Party, state: RoundState, message: Unmask, opened: Opened) -> RoundState:
    """The state to store before its `answer` is sent. Raises Refusal.

    opened: as for `header.begin`, read in the transaction that stores the state: another session may have opened a sum
    of the same model since this one was signed.
    """
    checks.require(state.survivors != b"", "unmask_before_crosscheck", "no survivor set was signed in this round.")
    checks.require(message.header == state.header_hash, "unmask_of_another_round", "another round's header.")
    same = header_of(state).roster == party.roster_hash
    checks.require(same, "unmask_of_another_roster", "another roster was accepted since this round began.")
    roster, members = party.roster, message.members
    checks.require(checks.strictly_sorted(members), "signers_not_sorted", "the signers repeat or are not sorted.")
    inside = set(members) <= set(roster.committee)
    checks.require(inside, "signer_outside_committee", "a signer is not in the committee.")
    enough = len(members) >= roster.threshold and len(members) == len(message.signatures)
    checks.require(enough, "too_few_signers", f"{len(members)} signers; it takes {roster.threshold}.")
    own, keys = decode(Survivors, state.survivors), party.verify_keys
    for member, signature in zip(members, message.signatures, strict=False):
        signed = verify(keys.get(member, b""), "crosscheck", _encoded(replace(own, member=member)), signature)
        checks.require(signed, "crosscheck_not_signed", f"{member!r} did not sign the survivors signed here.")
    within_limits(party, state, opened)
    return replace(state, opened=1)


def _check_survivors(
    party: Party, session: SessionState, state: RoundState, message: CrossCheck, companions: Companions
) -> Survivors:
    header, reports = message.header, message.reports
    names = tuple(report.site for report in reports)
    checks.require(checks.strictly_sorted(names), "survivors_not_sorted", "survivors repeat or are not sorted.")
    inside = set(names) <= set(header.cohort)
    checks.require(inside, "survivor_outside_cohort", "a survivor is not in the cohort.")
    least = max(party.roster.min_cohort, party.policy.min_cohort)
    checks.require(len(names) >= least, "too_few_survivors", f"{len(names)} survivors; this site asks for {least}.")
    fewest = fewest_contributors(session.all_cards, header, names, companions)
    left = fewest >= party.roster.colluding + 2
    checks.require(left, "too_few_contributors_left", f"a block has {fewest} contributors among the survivors.")
    even = len(message.signatures) == len(message.ciphertexts) == len(names)
    checks.require(even, "reports_incomplete", "reports, signatures and ciphertexts differ in number.")
    asked, keys, digests = state.header_hash, party.verify_keys, []
    for report, signature in zip(reports, message.signatures, strict=False):
        name, data = report.site, encode(report)
        bound = report.header == asked
        checks.require(bound, "report_of_another_round", f"{name!r}: the report is of another round.")
        signed = verify(keys.get(name, b""), "report", data, signature)
        checks.require(signed, "report_not_signed", f"{name!r}: the report is not signed by that site.")
        digests.append(digest(data))
    own = [made for name, made in zip(names, digests, strict=True) if name == party.site]
    checks.require(own in ([], [state.report]), "own_report_changed", "the report in this site's name is not its own.")
    return Survivors(party.site, asked, names, tuple(digests))


def _shares(
    party: Party, session: SessionState, state: RoundState, message: CrossCheck, survivors: Survivors
) -> Shares:
    place = {name: index for index, name in enumerate(message.header.cohort)}
    missing = sorted(set(place) - set(survivors.sites))
    own, pairs = [], []
    for report, sealed in zip(message.reports, message.ciphertexts, strict=False):
        # The shares: that of the self seed, then of the pair seeds with the others in their order, itself left out.
        wanted = [0, *(1 + place[name] - (name > report.site) for name in missing)]
        shares = _open(party, session, state, report, sealed, wanted, count=len(place))
        own.append(shares[0])
        pairs += shares[1:]
    return Shares(state.header_hash, party.site, b"".join(own), b"".join(pairs))


def _open(
    party: Party,
    session: SessionState,
    state: RoundState,
    report: Report,
    sealed: bytes,
    wanted: list[int],
    *,
    count: int,
) -> list[bytes]:
    """The `wanted` ones of the `count` shares that one survivor made for this member: 0 is that of its self seed."""
    sender, context = report.site, (state.header_hash, report.site, party.site)
    bundle: bytes | None = state.own_shares
    if sender != party.site:
        at = 32 * party.roster.committee.index(party.site)
        whole = report.ciphertexts[at : at + 32] == hashlib.sha256(sealed).digest()
        checks.require(whole, "ciphertext_changed", f"{sender!r}: the ciphertext is not the one that its report names.")
        bundle = unseal(share_key(party.pair_keys(session)[sender], *context), sealed, share_context(*context))
    shares = [(bundle or b"")[_SHARE * k : _SHARE * (k + 1)] for k in wanted]
    readable = len(bundle or b"") == _SHARE * count and all(is_element(share) for share in shares)
    checks.require(readable, "ciphertext_unreadable", f"{sender!r}: its shares cannot be opened.", about=sender)
    return shares


@lru_cache(maxsize=_MEMBERS)
def _encoded(survivors: Survivors) -> bytes:
    """Public, and the same for every virtual member of one process."""
    return encode(survivors)
