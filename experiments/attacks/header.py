"""Attacks with a round's header: forged, of another place or time, or a second one for the same round."""

from dataclasses import replace
from typing import Any

import numpy as np

from common.secagg.header import Opened, accept_header
from common.secagg.messages import SignedHeader
from common.secagg.primitives import digest
from experiments.attacks.measure import Measured, recovered
from experiments.attacks.registry import attack
from experiments.attacks.stage import COLLUDER, VICTIM, Stage, blocks, layout, noisy_plan


def _other(stage: Stage, **changes: Any) -> None:
    """The victim is asked under an honest header but for `changes`."""
    stage.report(VICTIM, stage.signed(**changes))


@attack("forged header", guard="header_not_signed", where="site")
def forged_header(stage: Stage) -> None:
    """A hospital that sides with nobody's coordinator signs a header itself."""
    header = stage.header()
    stage.report(VICTIM, SignedHeader(header, stage.keys[COLLUDER].sign("header", header)))


@attack("signature of one kind used as another", guard="header_not_signed", where="site")
def kind_confusion(stage: Stage) -> None:
    """The coordinator's signature of a plan, over the same bytes, is sent as that of a header."""
    header = stage.header()
    stage.report(VICTIM, SignedHeader(header, stage.coordinator.sign("plan", header)))


@attack("header of another session", guard="header_of_another_session", where="committee")
def header_of_another_session(stage: Stage) -> None:
    """A member is shown, in one session, the header of another one with the same cards."""
    signed, site = stage.signed(session=bytes(32)), stage.sites["cedar"]
    with site.vault.open() as store:
        state, before = store.session(stage.session)
    accept_header(site.party, state, before, signed, site.question(layout(), 1, signed.header.model), Opened())


@attack("header of another roster", guard="header_of_another_roster", where="site")
def header_of_another_roster(stage: Stage) -> None:
    """The header names an old roster."""
    _other(stage, roster=bytes(32))


@attack("header of other cards", guard="header_of_other_cards", where="site")
def header_of_other_cards(stage: Stage) -> None:
    """The header names another list of cards than the one that this site holds."""
    _other(stage, cards=digest(stage.cards)[::-1])


@attack("header of another plan", guard="header_of_another_plan", where="site")
def header_of_another_plan(stage: Stage) -> None:
    """The header names a plan that this session was not opened for."""
    _other(stage, plan=bytes(32))


@attack("replay of an old round", guard="replayed_round", where="site")
def replay(stage: Stage) -> None:
    """An old header comes again after a newer round."""
    old = stage.signed()
    stage.report(VICTIM, old)
    stage.report(VICTIM, stage.signed(training_round=1))
    stage.report(VICTIM, old)


@attack("round far ahead", guard="round_too_far", where="site")
def far_ahead(stage: Stage) -> None:
    """A round number so high that no honest one would ever follow it."""
    _other(stage, round=2**63)


@attack("a second header for a round", guard="second_header", where="site")
def second_header(stage: Stage) -> None:
    """The victim has reported for all five sites, and is asked again in the same round for four of them."""
    first = stage.signed()
    stage.report(VICTIM, first)
    header = replace(first.header, cohort=first.header.cohort[:-1])
    stage.report(VICTIM, SignedHeader(header, stage.coordinator.sign("header", header)))


@attack("another model than the header's", guard="other_model", where="site")
def other_model(stage: Stage) -> None:
    """The model that is sent to the victim is not the one that the header names."""
    stage.report(VICTIM, stage.signed(), model=b"crafted for one site only".ljust(32))


@attack("another layout", guard="other_question", where="site")
def other_layout(stage: Stage) -> None:
    """The header gives the entries another meaning than the approved plan does."""
    _other(stage, layout=bytes(32))


@attack("another clip norm or scale", guard="other_fixed_point", where="site")
def other_fixed_point(stage: Stage) -> None:
    """The scale is finer than the ring has room for: the sum runs over, and single entries show through."""
    _other(stage, narrow_scale=2 * stage.header().narrow_scale)


@attack("less noise than the plan's", guard="other_fixed_point", where="site")
def no_noise(stage: Stage) -> Measured:
    """The header says that a sum has no noise, in a plan by which noise hides every hospital's part in it."""
    noisy = Stage(approved=noisy_plan())
    signed = noisy.signed(noise=0)
    total, narrow = noisy.finish(noisy.sum(signed, noisy.reports(signed))), signed.header.narrow
    return recovered(noisy.opened(total)[:narrow], noisy.true_sum(total)[:narrow], "the sum without its noise")


@attack("half of the plan's noise", guard="other_fixed_point", where="site")
def half_noise(stage: Stage) -> None:
    """The header asks every hospital for a smaller share of noise than the plan's epsilon was worked out for."""
    noisy = Stage(approved=noisy_plan())
    _other(noisy, noise=noisy.header().noise // 2)


@attack("noise in a plan without", guard="other_fixed_point", where="site")
def noise_unasked(stage: Stage) -> None:
    """The header asks for noise that the approved plan does not name, which spoils the model for all."""
    _other(stage, noise=2**20)


@attack("a block that is not in the plan", guard="unknown_block", where="site")
def unknown_block(stage: Stage) -> None:
    """The header names a block twice, to confuse who contributes to it."""
    _other(stage, blocks=(0, 0, *range(1, blocks())))


@attack("a pair of blocks that are left out", guard="unknown_pair", where="site")
def unknown_pair(stage: Stage) -> None:
    """The header asks for entries of two blocks while it leaves out one of them, whose contributors are few."""
    left_out = layout().pairs[0] % blocks()
    _other(stage, blocks=tuple(block for block in range(blocks()) if block != left_out))


@attack("same model again beyond the retries", guard="asked_again_too_often", where="site")
def too_often(stage: Stage) -> None:
    """After two opened sums of one model, the victim is asked for a third."""
    for _ in range(2):
        signed = stage.signed()
        stage.finish(stage.sum(signed, stage.reports(signed)))
    _other(stage)


@attack("same model again, with one site fewer", guard="opened_with_others", where="committee")
def one_site_fewer(stage: Stage) -> Measured:
    """After a sum of all five, the same model is asked of four, for the difference."""
    return difference(stage)


def difference(stage: Stage, **changes: Any) -> Measured:
    """The sum of all, less the sum of all but the victim. changes: of the second header."""
    first = stage.signed()
    second = stage.signed(cohort=tuple(name for name in first.header.cohort if name != VICTIM), **changes)
    sums = [stage.finish(stage.sum(signed, stage.reports(signed))).total() for signed in (first, second)]
    narrow, wide = sums[0][0] - sums[1][0], sums[0][1] - sums[1][1]
    guess = np.concatenate([narrow.view(np.int32), wide.view(np.int64)])
    return recovered(guess, stage.truth(VICTIM, first.header), f"{VICTIM}'s update")


@attack("label count from two survivor sets", guard="opened_with_others", where="committee")
def label_count(stage: Stage) -> Measured:
    """A sum of five, then another one that the victim is said to have dropped out of."""
    first, second = stage.signed(), stage.signed()
    whole = stage.opened(stage.finish(stage.sum(first, stage.reports(first))))
    reports = stage.reports(second)
    rest = stage.opened(stage.finish(stage.sum(second, {n: d for n, d in reports.items() if n != VICTIM})))
    tallies = slice(first.header.narrow, None)
    return recovered((whole - rest)[tallies], stage.truth(VICTIM, first.header)[tallies], f"{VICTIM}'s tallies")
