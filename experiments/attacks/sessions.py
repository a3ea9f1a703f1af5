"""Attacks with two sessions, or with a session of another plan: limits and declarations that belong together."""

from dataclasses import replace

from client.secure.answers import SecureSite
from common.contribution import Contribution
from common.plan import apply_overrides, plan_from_dict
from common.secagg.coordinator import Sum
from common.secagg.encoding import encode
from experiments.attacks.measure import Measured, recovered
from experiments.attacks.registry import attack
from experiments.attacks.stage import SITES, VICTIM, Stage, blocks, layout, plan


@attack("two sums of one model in two sessions", guard="opened_with_others", where="committee")
def parallel_sessions(stage: Stage) -> Measured:
    """Both sums are cross-checked, of all five and of all but the victim, before either is opened."""
    first = _cross_checked(stage, SITES)
    stage.another_session()
    second = _cross_checked(stage, tuple(name for name in SITES if name != VICTIM))
    for total in (first, second):
        for member in stage.roster.committee:
            total.take_shares(member, stage.sites[member].unmask(encode(total.unmask_request())))
    return recovered(
        stage.opened(first) - stage.opened(second), stage.truth(VICTIM, first.header), f"{VICTIM}'s update"
    )


@attack("a session of another plan", guard="header_of_another_plan", where="site")
def session_of_another_plan(stage: Stage) -> None:
    """A session stays open from a plan in which all sites hold every block, and serves the plan approved after it."""
    signed = stage.signed()
    content = apply_overrides(plan().model_dump(mode="json"), ("seeds.training=99",))
    newer = plan_from_dict(content, source="newer")
    update = Contribution(newer, "train", 0)
    old, header = stage.sites[VICTIM], replace(signed.header, layout=update.hash)
    signed = replace(signed, header=header, signature=stage.coordinator.sign("header", header))
    site = SecureSite(newer, old.party, old.vault, old.random)
    site.begin(encode(signed), update, training_round=1, model=header.model)


@attack("other data than were declared", guard="data_changed", where="site")
def other_data(stage: Stage) -> None:
    """A site declared a task, and has lost its labels since: it would send zeros where others count on it."""
    signed = stage.signed()
    begun = stage.sites[VICTIM].begin(encode(signed), layout(), training_round=1, model=signed.header.model)
    begun.check_declared([0.0, *[1.0] * (blocks() - 1)])


def _cross_checked(stage: Stage, cohort: tuple[str, ...]) -> Sum:
    signed = stage.signed(cohort=cohort)
    total = stage.sum(signed, stage.reports(signed))
    for member in stage.roster.committee:
        total.take_crosscheck(member, stage.cross_check(member, total.cross_check_for(member)))
    return total
