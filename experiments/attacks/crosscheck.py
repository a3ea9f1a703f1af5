"""Attacks with whose reports are said to have arrived: forged, changed, repeated, or too few of them."""

from collections.abc import Callable
from dataclasses import replace

from common.secagg.messages import CrossCheck
from common.secagg.primitives import digest, seal
from common.secagg.report import hashes_of
from common.secagg.seeds import share_context, share_key
from experiments.attacks.attacker import Attacker
from experiments.attacks.measure import Measured
from experiments.attacks.registry import attack
from experiments.attacks.stage import COLLUDER, OUTSIDER, SITES, VICTIM, Stage

MEMBER = "cedar"


def _ask(stage: Stage, change: Callable[[CrossCheck], CrossCheck], *, member: str = MEMBER) -> None:
    """An honest round of all five up to `member`'s cross-check, which is then changed."""
    signed = stage.signed()
    total = stage.sum(signed, stage.reports(signed))
    stage.cross_check(member, change(total.cross_check_for(member)))


def _only(message: CrossCheck, *names: str) -> CrossCheck:
    """The same cross-check over these sites, in this order."""
    order = [[report.site for report in message.reports].index(name) for name in names]
    return replace(
        message,
        reports=tuple(message.reports[at] for at in order),
        signatures=tuple(message.signatures[at] for at in order),
        ciphertexts=tuple(message.ciphertexts[at] for at in order),
    )


@attack("two survivor sets in one round", guard="second_survivor_set", where="committee")
def two_sets(stage: Stage) -> Measured:
    """The sum of all five is opened, then that of all but the victim: both its secrets."""
    return _two_sets(stage, SITES, SITES[1:])


@attack("a late report after unmasking", guard="second_survivor_set", where="committee")
def late_report(stage: Stage) -> Measured:
    """The sum without the victim is opened; then its report arrives, and the committee is asked once more."""
    return _two_sets(stage, SITES[1:], SITES)


def _two_sets(stage: Stage, *sets: tuple[str, ...]) -> Measured:
    """Three members cross-check and open one set after the other, in one round."""
    signed = stage.signed()
    reports = stage.reports(signed)
    attacker = Attacker(stage, signed)
    attacker.ask_colluder(reports[VICTIM])
    members = tuple(name for name in stage.roster.committee if name != COLLUDER)
    for told in sets:
        total = stage.sum(signed, {name: reports[name] for name in told})
        for member in members:
            total.take_crosscheck(member, stage.cross_check(member, total.cross_check_for(member)))
        for member in members:
            attacker.learn(member, told, stage.unmask(member, total.unmask_request()))
    return attacker.open(reports[VICTIM])


@attack("survivor set too small", guard="too_few_survivors", where="committee")
def too_few(stage: Stage) -> None:
    """Only the victim and a colluding site are said to have reported."""
    _ask(stage, lambda message: _only(message, VICTIM, COLLUDER))


@attack("dropping all partners of one site", guard="too_few_survivors", where="committee")
def all_partners(stage: Stage) -> None:
    """Only the victim is said to have reported: every pair seed of it would be opened."""
    _ask(stage, lambda message: _only(message, VICTIM))


@attack("a survivor twice", guard="survivors_not_sorted", where="committee")
def survivor_twice(stage: Stage) -> None:
    """The victim's report and a colluder's, three times, pass for a large set."""
    _ask(stage, lambda message: _only(message, VICTIM, COLLUDER, COLLUDER, COLLUDER))


@attack("a survivor outside the cohort", guard="survivor_outside_cohort", where="committee")
def outside(stage: Stage) -> None:
    """A colluding site that was not asked makes up a report, to fill the set."""
    signed = stage.signed(cohort=SITES[:-1])
    message = stage.sum(signed, stage.reports(signed)).cross_check_for(MEMBER)
    forged = replace(message.reports[0], site=OUTSIDER)
    stage.cross_check(
        MEMBER,
        replace(
            message,
            reports=(*message.reports, forged),
            signatures=(*message.signatures, stage.keys[OUTSIDER].sign("report", forged)),
            ciphertexts=(*message.ciphertexts, message.ciphertexts[0]),
        ),
    )


@attack("forged survivor", guard="report_not_signed", where="committee")
def forged_survivor(stage: Stage) -> None:
    """A site that did not report is said to have: its report is signed by a colluder."""

    def forge(message: CrossCheck) -> CrossCheck:
        forged = replace(message.reports[-1], masked=bytes(32))
        signature = stage.keys[COLLUDER].sign("report", forged)
        changed = (*message.reports[:-1], forged)
        return replace(message, reports=changed, signatures=(*message.signatures[:-1], signature))

    _ask(stage, forge)


@attack("a report of another round", guard="report_of_another_round", where="committee")
def old_report(stage: Stage) -> None:
    """The victim's report of an earlier round, signed and whole, is put into this one."""
    first = stage.signed()
    old = stage.sum(first, stage.reports(first)).cross_check_for(MEMBER)
    second = stage.signed()
    message = stage.sum(second, stage.reports(second)).cross_check_for(MEMBER)
    mixed = _only(message, *SITES[1:])
    stage.cross_check(
        MEMBER,
        replace(
            message,
            reports=(old.reports[0], *mixed.reports),
            signatures=(old.signatures[0], *mixed.signatures),
            ciphertexts=(old.ciphertexts[0], *mixed.ciphertexts),
        ),
    )


@attack("a report in the member's own name", guard="own_report_changed", where="committee")
def own_name(stage: Stage) -> None:
    """Whoever has a copy of the member's signing key makes a report in its name."""

    def change(message: CrossCheck) -> CrossCheck:
        at = SITES.index(MEMBER)
        forged = replace(message.reports[at], masked=bytes(32))
        reports, signatures = list(message.reports), list(message.signatures)
        reports[at], signatures[at] = forged, stage.keys[MEMBER].sign("report", forged)
        return replace(message, reports=tuple(reports), signatures=tuple(signatures))

    _ask(stage, change)


@attack("fewer signatures than reports", guard="reports_incomplete", where="committee")
def incomplete(stage: Stage) -> None:
    """The last report comes without a signature."""
    _ask(stage, lambda message: replace(message, signatures=message.signatures[:-1]))


@attack("a changed ciphertext", guard="ciphertext_changed", where="committee")
def changed_ciphertext(stage: Stage) -> None:
    """The victim's shares for another member are handed to this one."""
    signed = stage.signed()
    total = stage.sum(signed, stage.reports(signed))
    message, other = total.cross_check_for(MEMBER), total.cross_check_for("dogwood")
    stage.cross_check(MEMBER, replace(message, ciphertexts=(other.ciphertexts[0], *message.ciphertexts[1:])))


@attack("ciphertext reflected to its sender", guard="ciphertext_unreadable", where="committee")
def reflected(stage: Stage) -> None:
    """A colluder puts the member's own ciphertext for it into its report, to have it opened by its maker."""
    signed = stage.signed()
    reports = stage.reports(signed)
    total = stage.sum(signed, reports)
    theirs = total.cross_check_for(COLLUDER).ciphertexts[SITES.index(MEMBER)]
    stage.cross_check(MEMBER, _with_sealed(stage, total.cross_check_for(MEMBER), theirs))


@attack("undecryptable shares", guard="ciphertext_unreadable", where="committee")
def undecryptable(stage: Stage) -> None:
    """A colluder sends shares that cannot be opened; the refusal names it, and the next attempt leaves it out."""
    _ask(stage, lambda message: _with_sealed(stage, message, bytes(200)))


@attack("shares that are no elements of the field", guard="ciphertext_unreadable", where="committee")
def no_elements(stage: Stage) -> None:
    """A colluder encrypts, with the right key, numbers that are too large."""

    def change(message: CrossCheck) -> CrossCheck:
        context = (digest(message.header), COLLUDER, MEMBER)
        key = share_key(stage.pair_key(COLLUDER, MEMBER), *context)
        sealed = seal(key, b"\xff" * 32 * len(SITES), share_context(*context), stage.random)
        return _with_sealed(stage, message, sealed)

    _ask(stage, change)


def _with_sealed(stage: Stage, message: CrossCheck, sealed: bytes) -> CrossCheck:
    """birch's report with another ciphertext for MEMBER, signed anew."""
    at, slot = SITES.index(COLLUDER), stage.roster.committee.index(MEMBER)
    hashes = message.reports[at].ciphertexts
    hashes = hashes[: 32 * slot] + hashes_of([sealed]) + hashes[32 * (slot + 1) :]
    report = replace(message.reports[at], ciphertexts=hashes)
    reports, signatures, ciphertexts = list(message.reports), list(message.signatures), list(message.ciphertexts)
    reports[at], signatures[at] = report, stage.keys[COLLUDER].sign("report", report)
    ciphertexts[at] = sealed
    return replace(message, reports=tuple(reports), signatures=tuple(signatures), ciphertexts=tuple(ciphertexts))


@attack("cross-check of a site outside the committee", guard="not_in_committee", where="site")
def outsider(stage: Stage) -> None:
    """A site that holds no shares is asked to sign the survivors."""
    signed = stage.signed()
    message = stage.sum(signed, stage.reports(signed)).cross_check_for(MEMBER)
    stage.cross_check(OUTSIDER, message)


@attack("cross-check under another header", guard="second_header", where="committee")
def other_header(stage: Stage) -> None:
    """A member that reported under one header is cross-checked under another of the same round, without a site."""
    signed = stage.signed()
    message = stage.sum(signed, stage.reports(signed)).cross_check_for(MEMBER)
    header = replace(signed.header, cohort=SITES[:-1])
    signature = stage.coordinator.sign("header", header)
    stage.cross_check(MEMBER, replace(message, header=header, header_signature=signature))


@attack("forged cross-check", guard="header_not_signed", where="committee")
def forged_crosscheck(stage: Stage) -> None:
    """A hospital cross-checks a header that it signed itself."""
    header = stage.header()
    stage.cross_check(MEMBER, CrossCheck(header, stage.keys[COLLUDER].sign("header", header), (), (), ()))
