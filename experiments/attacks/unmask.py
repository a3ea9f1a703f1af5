"""Attacks on the opening of masks: each member is told another survivor set, and its shares are put together.

With birch's shares in hand, alder, cedar and dogwood are each told another two of the sites cedar, dogwood and elm are
missing: were they to answer, three members would have opened alder's self seed and each of its pair seeds.
"""

from collections.abc import Callable
from dataclasses import replace

from client.secure.answers import SecureSite
from common.secagg import roster as rosters
from common.secagg.encoding import encode
from common.secagg.messages import Survivors, Unmask
from common.secagg.primitives import digest
from experiments.attacks.attacker import Attacker
from experiments.attacks.measure import Measured
from experiments.attacks.registry import attack
from experiments.attacks.stage import COLLUDER, VICTIM, Stage

TOLD = {
    "alder": ("alder", "birch", "elm"),
    "cedar": ("alder", "birch", "dogwood"),
    "dogwood": ("alder", "birch", "cedar"),
}
Ask = Callable[[Survivors, dict[str, bytes]], Unmask]


def _split(stage: Stage, ask: Ask) -> Measured:
    """Cross-check every member with its own set, then send it what `ask` makes of its set and all signatures."""
    signed = stage.signed()
    reports = stage.reports(signed)
    attacker = Attacker(stage, signed)
    attacker.ask_colluder(reports[VICTIM])
    signatures, sets = {}, {}
    for member, told in TOLD.items():
        message = stage.sum(signed, {name: reports[name] for name in told}).cross_check_for(member)
        signatures[member] = stage.cross_check(member, message)
        hashes = tuple(digest(report) for report in message.reports)
        sets[member] = Survivors(member, digest(signed.header), told, hashes)
    for member, told in TOLD.items():
        attacker.learn(member, told, stage.unmask(member, ask(sets[member], signatures)))
    return attacker.open(reports[VICTIM])


def _request(stage: Stage, own: Survivors, members: tuple[str, ...], signatures: tuple[bytes, ...]) -> Unmask:
    return Unmask(stage.session, own.header, members, signatures)


def _colluders(stage: Stage, own: Survivors) -> bytes:
    """birch signs whatever each member is shown."""
    shown = Survivors(COLLUDER, own.header, own.sites, own.reports)
    return stage.keys[COLLUDER].sign("crosscheck", shown)


@attack("a different survivor set to every member", guard="crosscheck_not_signed", where="committee")
def different_sets(stage: Stage) -> Measured:
    """All sets hold the victim; each member gets the three honest signatures, though they are of different sets."""

    def ask(own: Survivors, signatures: dict[str, bytes]) -> Unmask:
        return _request(stage, own, tuple(signatures), tuple(signatures.values()))

    return _split(stage, ask)


@attack("both secrets of one site", guard="too_few_signers", where="committee")
def both_secrets(stage: Stage) -> Measured:
    """The shares of the victim's self seed and of all its pair seeds, asked for with too few signatures."""

    def ask(own: Survivors, signatures: dict[str, bytes]) -> Unmask:
        pair = {own.member: signatures[own.member], COLLUDER: _colluders(stage, own)}
        return _request(stage, own, tuple(sorted(pair)), tuple(pair[name] for name in sorted(pair)))

    return _split(stage, ask)


@attack("one signature counted twice", guard="signers_not_sorted", where="committee")
def counted_twice(stage: Stage) -> Measured:
    """A colluding member's signature stands three times in the request."""
    return _split(stage, lambda own, _: _request(stage, own, (COLLUDER,) * 3, (_colluders(stage, own),) * 3))


@attack("signer outside the committee", guard="signer_outside_committee", where="committee")
def outside_signer(stage: Stage) -> Measured:
    """A second site that sides with the coordinator, and holds no shares, signs as if it did."""

    def ask(own: Survivors, signatures: dict[str, bytes]) -> Unmask:
        shown = Survivors("elm", own.header, own.sites, own.reports)
        pair = {
            own.member: signatures[own.member],
            COLLUDER: _colluders(stage, own),
            "elm": stage.keys["elm"].sign("crosscheck", shown),
        }
        return _request(stage, own, tuple(sorted(pair)), tuple(pair[name] for name in sorted(pair)))

    return _split(stage, ask)


@attack("a report's signature used as a cross-check", guard="crosscheck_not_signed", where="committee")
def kind_confusion(stage: Stage) -> Measured:
    """A member's signature over the same survivors, but of the kind `report`, is counted."""

    def ask(own: Survivors, signatures: dict[str, bytes]) -> Unmask:
        made = {}
        for name in TOLD:
            shown = Survivors(name, own.header, own.sites, own.reports)
            made[name] = stage.keys[name].sign("report", shown)
        return _request(stage, own, tuple(made), tuple(made.values()))

    return _split(stage, ask)


@attack("unmask before cross-check", guard="unmask_before_crosscheck", where="committee")
def before_crosscheck(stage: Stage) -> None:
    """A member is asked for shares of a round in which it has signed nothing."""
    signed = stage.signed()
    total = stage.sum(signed, stage.reports(signed))
    for member in ("alder", "birch", "dogwood"):
        total.take_crosscheck(member, stage.cross_check(member, total.cross_check_for(member)))
    stage.unmask("cedar", total.unmask_request())


@attack("unmask of another round", guard="unmask_of_another_round", where="committee")
def another_round(stage: Stage) -> None:
    """The signatures of an earlier round are used to open a later one."""
    first = stage.signed()
    old = stage.finish(stage.sum(first, stage.reports(first))).unmask_request()
    second = stage.signed()
    message = stage.sum(second, stage.reports(second)).cross_check_for("cedar")
    stage.cross_check("cedar", message)
    stage.unmask("cedar", old)


@attack("a weaker roster between cross-check and unmasking", guard="unmask_of_another_roster", where="committee")
def weaker_roster(stage: Stage) -> None:
    """A member that signed survivors accepts a roster with f = 0, under which fewer signatures would open them."""
    signed = stage.signed()
    total = stage.sum(signed, stage.reports(signed))
    for member in stage.roster.committee:
        total.take_crosscheck(member, stage.cross_check(member, total.cross_check_for(member)))
    cards = [rosters.enrol(name, key) for name, key in stage.keys.items()]
    weaker = rosters.propose(
        cards, federation="grove", coordinator=stage.coordinator.verify_key, colluding=0, previous=stage.roster
    )
    before = stage.sites["cedar"]
    after = SecureSite(before.plan, replace(before.party, roster=weaker.roster), before.vault, before.random)
    after.unmask(encode(total.unmask_request()))
