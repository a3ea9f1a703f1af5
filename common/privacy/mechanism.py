"""How much noise a plan's releases have, and the events that they are in a ledger."""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache

from common.errors import PlanError
from common.plan import Plan
from common.privacy.accounting import epsilon
from common.privacy.events import UNNOISED_KINDS, Event, Gaussian, Spent, Unnoised
from common.privacy.search import first_above

_SMALLEST = -2  # decade of the smallest multiplier, 0.01
_START, _STRIDE, _LAST = 18_000, 2_500, 72_000  # numbers of multipliers: 1, about a quarter of a decade, 1e6


@dataclass(frozen=True)
class Mechanism:
    """Noise over sensitivity of each kind of release, and how often a patient is drawn in training.

    noise_multiplier: of a training step; 0 without noise, as the other two. sampling_probability: of a patient, per
    step. steps_per_round: noised steps behind one release of a round.
    """

    noise_multiplier: float
    sampling_probability: float
    steps_per_round: int
    survey_multiplier: float
    evaluation_multiplier: float


def mechanism(plan: Plan, *, patients: int | None = None) -> Mechanism:
    """The mechanism of `plan`. patients: training patients of this site, which noise 'local' needs.

    With noise 'shared' it follows from the plan alone, so that all sites and the coordinator have the same one.
    Raises PlanError where no noise up to a multiplier of 1e6 keeps to `target_epsilon`.
    """
    rules, training = plan.privacy, plan.training
    if rules.unit == "none":
        return Mechanism(0.0, 1.0, 1, 0.0, 0.0)
    if rules.unit == "hospital":
        z = rules.noise_multiplier or _calibrated(rules.target_epsilon, rules.delta, 1.0, training.rounds, 0.0)
        return Mechanism(z, 1.0, 1, 0.0, 0.0)
    if rules.noise == "shared":
        probability, steps = min(1.0, training.batch_size / rules.expected_patients), 1
    else:
        if patients is None or patients < 1:
            raise ValueError(f"noise 'local' is made for a site's own training patients, found {patients}")
        probability = min(1.0, training.batch_size / patients)
        steps = training.local_epochs * max(1, round(patients / training.batch_size))
    if rules.noise_multiplier is not None:
        z = rules.noise_multiplier
        return Mechanism(z, probability, steps, z, z)
    survey, evaluation = of_statistics(plan)
    z = _calibrated(rules.target_epsilon, rules.delta, probability, steps * training.rounds, survey)
    return Mechanism(z, probability, steps, survey, evaluation)


def of_statistics(plan: Plan) -> tuple[float, float]:
    """survey_multiplier and evaluation_multiplier, which every site and the coordinator know from the plan alone."""
    rules = plan.privacy
    if not rules.per_patient:
        return 0.0, 0.0
    if rules.noise_multiplier is not None:
        return rules.noise_multiplier, rules.noise_multiplier
    target = rules.target_epsilon or 0.0
    survey = _calibrated(target * rules.survey_share, rules.delta, 1.0, 1, 0.0)
    return survey, _calibrated(target, rules.delta, 1.0, 1, 0.0)


@lru_cache(maxsize=256)
def _calibrated(target: float | None, delta: float, probability: float, count: int, before: float) -> float:
    """The smallest multiplier of four digits with which `count` releases, after one with `before`, cost `target`."""
    wanted = target or 0.0

    def cost(index: int) -> float:
        """Of the multiplier number `-index`: rises with it."""
        events: list[Event] = [Gaussian(_four_digits(-index), probability, count)]
        events += [Gaussian(before)] if before else []
        return epsilon([Spent(event, "", "") for event in events], delta=delta)

    high = low = -_START
    while cost(low) > wanted:
        high, low = low, max(low - _STRIDE, -_LAST)
        if high == low:
            raise PlanError(f"privacy.target_epsilon {wanted:g} cannot be kept with any noise; a larger one is needed.")
    while high < 0 and cost(high) <= wanted:
        low, high = high, min(high + _STRIDE, 0)
    if cost(high) <= wanted:
        return _four_digits(0)
    return _four_digits(1 - first_above(cost, wanted, low=low, high=high))


def _four_digits(index: int) -> float:
    """The multipliers of four significant digits in order; read from decimal text, so the same float everywhere."""
    decade, digits = divmod(index, 9000)
    return float(f"{1000 + digits}e{decade + _SMALLEST - 3}")


def unnoised_kinds(plan: Plan) -> list[str]:
    """The kinds of release, of `UNNOISED_KINDS`, that a run of `plan` makes without noise; it asks no table."""
    noised = set()
    if plan.privacy.per_patient:
        noised = {"survey", "update", "evaluation"}
    elif plan.privacy.unit == "hospital":
        noised = {"update"}
    return [kind for kind in UNNOISED_KINDS if kind not in noised]


def split_name(plan: Plan) -> str:
    """SHA-256, in hexadecimal, of all that decides which set a patient is in: the name of the split in a ledger."""
    rules = plan.split.model_dump(mode="json") | {"seed": plan.seeds.split, "patient": plan.data.patient}
    return hashlib.sha256(json.dumps(rules, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def levels_event(plan: Plan) -> Spent:
    """The declared weight levels: never noised, and always in the books."""
    return Spent(Unnoised("levels"), split_name(plan), "train")


def survey_event(plan: Plan, m: Mechanism) -> Spent:
    """One survey pass over the training rows."""
    return Spent(_noised(m.survey_multiplier, "survey"), split_name(plan), "train")


def round_event(plan: Plan, m: Mechanism) -> Spent:
    """One round of training. For a hospital's noise: what one patient, who moves an update by 2 clip_norm, pays."""
    rows = split_name(plan), "train"
    if plan.privacy.unit == "none":
        return Spent(Unnoised("update"), *rows)
    if plan.privacy.unit == "hospital":
        return Spent(Gaussian(m.noise_multiplier / 2.0), *rows)
    return Spent(Gaussian(m.noise_multiplier, m.sampling_probability, m.steps_per_round), *rows)


def evaluation_event(plan: Plan, m: Mechanism) -> Spent:
    """One evaluation pass over the test rows."""
    return Spent(_noised(m.evaluation_multiplier, "evaluation"), split_name(plan), "test")


def promised(plan: Plan, m: Mechanism) -> list[Spent]:
    """All events of a whole run."""
    once = round_event(plan, m)
    if isinstance(once.event, Gaussian):
        event = once.event
        count = event.count * plan.training.rounds
        rounds = [Spent(Gaussian(event.noise_multiplier, event.sampling_probability, count), once.split, once.rows)]
    else:
        rounds = [once] * plan.training.rounds
    return [levels_event(plan), survey_event(plan, m), *rounds, evaluation_event(plan, m)]


def epsilon_of(plan: Plan, m: Mechanism) -> float:
    """What a whole run costs one patient, at the plan's delta; for unit 'hospital', all updates of one hospital."""
    spent = promised(plan, m)
    if plan.privacy.unit == "hospital":
        spent = [Spent(Gaussian(m.noise_multiplier, count=plan.training.rounds), "hospitals", "one")]
    return epsilon(spent, delta=plan.privacy.delta)


def _noised(multiplier: float, kind: str) -> Event:
    return Gaussian(multiplier) if multiplier else Unnoised(kind)
