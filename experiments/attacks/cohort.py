"""Attacks with who is asked: too few, strangers, repeated names, and blocks with one honest contributor."""

from common.secagg.encoding import encode
from common.secagg.messages import SessionCards
from common.secagg.primitives import digest
from common.secagg.session import Policy
from experiments.attacks.attacker import Attacker
from experiments.attacks.measure import Measured, recovered
from experiments.attacks.registry import attack
from experiments.attacks.stage import COLLUDER, OUTSIDER, SITES, VICTIM, Stage, blocks, layout

BLOCK = 1  # the first task's head


def _few(*contributors: str) -> dict[str, list[int]]:
    """Levels under which only these sites contribute to BLOCK."""
    return {name: [8 if block != BLOCK or name in contributors else 0 for block in range(blocks())] for name in SITES}


def _block_of_victim(stage: Stage, survivors: tuple[str, ...]) -> Measured:
    """Run a round to the end; the colluder takes its own values off the sum and reads BLOCK."""
    signed = stage.signed()
    reports = {name: stage.report(name, signed) for name in signed.header.cohort}
    narrow, _ = stage.finish(stage.sum(signed, {name: reports[name] for name in survivors})).total()
    header = signed.header
    mine = stage.truth(COLLUDER, header)[: header.narrow].astype("i4").view("u4")
    inside = layout().block_of[: header.narrow] == BLOCK
    guess = (narrow - mine).view("i4")[inside].astype("i8")
    return recovered(guess, stage.truth(VICTIM, header)[: header.narrow][inside], f"{VICTIM}'s update of one block")


@attack("cohort too small", guard="cohort_too_small", where="site")
def cohort_too_small(stage: Stage) -> Measured:
    """The victim is asked for a sum with one other site, which sides with the coordinator."""
    signed = stage.signed(cohort=(VICTIM, COLLUDER))
    data, attacker = stage.report(VICTIM, signed), Attacker(stage, signed)
    attacker.ask_colluder(data)
    return attacker.open(data)


@attack("a cohort with a site twice", guard="cohort_not_sorted", where="site")
def repeated_cohort(stage: Stage) -> None:
    """One colluding site fills the cohort under its name three times."""
    stage.report(VICTIM, stage.signed(cohort=(VICTIM, COLLUDER, COLLUDER, COLLUDER)))


@attack("unknown site in the cohort", guard="cohort_of_strangers", where="site")
def stranger(stage: Stage) -> None:
    """The cohort is filled with sites that are in no roster."""
    stage.report(VICTIM, stage.signed(cohort=(VICTIM, COLLUDER, "zelkova")))


@attack("a cohort without the site asked", guard="not_in_cohort", where="site")
def without_itself(stage: Stage) -> None:
    """The victim is asked for a vector of a sum that it is not in."""
    stage.report(VICTIM, stage.signed(cohort=tuple(name for name in SITES if name != VICTIM)))


@attack("fewer than f + 2 contributors, by cohort", guard="too_few_contributors", where="site")
def lonely_block(stage: Stage) -> Measured:
    """One task is trained by the victim and a colluding site alone."""
    return _block_of_victim(Stage(levels=_few(VICTIM, COLLUDER)), SITES)


@attack("fewer than f + 2 contributors, by survivors", guard="too_few_contributors_left", where="committee")
def lonely_survivor(stage: Stage) -> Measured:
    """Of a task's three contributors the third, honest one is said to have dropped out."""
    stage = Stage(levels=_few(VICTIM, COLLUDER, OUTSIDER))
    return _block_of_victim(stage, tuple(name for name in SITES if name != OUTSIDER))


@attack("more collusion than this site accepts", guard="collusion_not_tolerated", where="site")
def careless_roster(stage: Stage) -> None:
    """The site's own policy is to withstand two colluding sites; the roster withstands one."""
    strict = Stage(policy=Policy(colluding_sites=2))
    strict.report(VICTIM, strict.signed())


@attack("a peer that this site has blocked", guard="blocked_peer", where="site")
def blocked(stage: Stage) -> None:
    """The cohort holds a site whose key was stolen, and which the victim has blocked."""
    strict = Stage(policy=Policy(blocked=(OUTSIDER,)))
    strict.report(VICTIM, strict.signed())


@attack("a session without a committee", guard="committee_absent", where="site")
def absent_committee(stage: Stage) -> Measured:
    """The session holds two of the four committee members: nobody could ever undo the masks, or agree on them."""
    names = (VICTIM, COLLUDER, OUTSIDER)
    cards = stage.open_session()
    kept = [at for at, card in enumerate(cards.cards) if card.site in names]
    cards = SessionCards(tuple(cards.cards[at] for at in kept), tuple(cards.signatures[at] for at in kept))
    for name in names:
        stage.sites[name].take_cards(encode(cards))
    signed = stage.signed(cards=digest(cards), cohort=names)
    data, attacker = stage.report(VICTIM, signed), Attacker(stage, signed)
    attacker.ask_colluder(data)
    return attacker.open(data)
