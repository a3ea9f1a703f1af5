"""Whose part in the model a plan's noise hides, how well, at what price, and what it does not hide; in plain words."""

from math import exp

from common.layouts import evaluation_of, survey_of
from common.plan.describe_sums import Described
from common.plan.plan import Plan
from common.privacy.accounting import epsilon
from common.privacy.bins import rows_of_patient
from common.privacy.evaluation import PrivateEvaluation
from common.privacy.honest import against_coordinator, honest_sites
from common.privacy.hospital import doubtful, hopeless
from common.privacy.mechanism import Mechanism, epsilon_of, mechanism, promised
from common.privacy.survey import PrivateSurvey

_STUDIES = "Other runs and studies with the same patients add to this; each hospital's ledger keeps the account."
_PAST = "What left in a round stays known: a patient who objects later is left out from then on, not before."


def describe_privacy(plan: Plan) -> Described:
    """Heading and sentences. Takes a second or two for a plan with noise: its multipliers are worked out."""
    if plan.privacy.unit == "none":
        return "What hides a patient: no noise", [
            "No noise is added (privacy.unit = 'none'): what a sum says about one patient stays in it, and no epsilon "
            "can be given.",
        ]
    return _hospital(plan) if plan.privacy.unit == "hospital" else _patient(plan)


def _patient(plan: Plan) -> Described:
    rules, local = plan.privacy, plan.privacy.noise == "local"
    patients = max(1, rules.expected_patients // plan.aggregation.least_sites)
    found = mechanism(plan, patients=patients if local else None)
    cost = epsilon_of(plan, found)
    rows = rows_of_patient(plan)
    counted = "its one row" if rows == 1 else f"all rows, of which the first {rows} take part"
    told = f"epsilon = {_number(rules.target_epsilon or cost)} at delta = {rules.delta:g}"
    whose = f" at a hospital with {patients:,} training patients" if local and rules.target_epsilon is None else ""
    return f"What hides a patient: noise, with {told}{whose}, in all but the declared weights", [
        f"A patient counts as a whole ({counted}). Of whatever is seen of this run, the probability with that "
        f"patient and the probability without differ little: {_factor(cost)}, but for a probability of delta.",
        _makers(plan),
        *_alone(plan, found),
        _steps(plan, found, patients),
        *_counts(plan),
        _sets(plan),
        "Not hidden: the declared weights (1/8 to 1) of tasks and features, made from counts without noise"
        + ("; the number of training patients, by which a hospital sets sample and noise." if local else "."),
        "A patient of two hospitals is in both: the two epsilons add up."
        if local
        else "A patient of two hospitals counts as two, for whom epsilon is more than twice as large.",
        _STUDIES,
        _PAST,
    ]


def _makers(plan: Plan) -> str:
    if plan.privacy.noise == "local":
        return "Each hospital makes all of its noise by itself, before anything leaves (noise = 'local')."
    sums = plan.aggregation
    helped = (
        f"if {sums.colluding_sites} of them tell the coordinator theirs"
        if sums.colluding_sites
        else "beside the one who looks, for each hospital knows its own share"
    )
    return (
        "Each hospital adds a share of the noise, which is enough only in the secure sum (noise = 'shared'): the "
        f"shares of {honest_sites(plan)} hospitals make all of it, and there are so many "
        f"{helped}. It protects no better than the masks do."
    )


def _alone(plan: Plan, found: Mechanism) -> list[str]:
    if plan.privacy.noise == "local":
        return []
    alone = epsilon_of(plan, against_coordinator(plan, found))
    return [
        f"Against the coordinator alone, who knows no share, all {plan.aggregation.least_sites} or more shares count: "
        f"epsilon = {_number(alone)} there."
    ]


def _steps(plan: Plan, found: Mechanism, patients: int) -> str:
    rules, training = plan.privacy, plan.training
    noise = (
        f"Training: each patient's gradient is cut to a norm of {rules.max_grad_norm:g}, and the sum in every step has "
        f"noise of {found.noise_multiplier:.4g} times that (standard deviation, in each parameter)"
    )
    drawn = f"steps, each over a random {found.sampling_probability:.3%} of the patients"
    steps = f"{found.steps_per_round * training.rounds:,} {drawn}"
    if rules.noise == "shared":
        return f"{noise}; {steps} of all hospitals."
    return f"{noise}. That is for a hospital with {patients:,} training patients: {steps}; others make their own."


def _counts(plan: Plan) -> list[str]:
    sites = plan.aggregation.least_sites
    lines = []
    for name, rows, layout in (
        ("Survey", "training", survey_of(plan)),
        ("Evaluation", "test", evaluation_of(plan, final=True)),
    ):
        if isinstance(layout, PrivateSurvey | PrivateEvaluation):
            lines.append(
                f"{name}: one pass over the {rows} rows. Noise of {layout.multiplier:.4g} times what one patient can "
                f"change is added; a count over {sites} hospitals is then off by {layout.noise(sites):.3g} rows "
                f"(standard deviation), and histograms have {layout.bins} bins."
            )
    return lines


def _sets(plan: Plan) -> str:
    rules = plan.privacy
    share = f" The survey costs {rules.survey_share:.0%} of it by itself." if rules.target_epsilon is not None else ""
    return (
        "No patient is in two sets, so survey and training (training patients) and the evaluation (test patients) each "
        f"may cost this epsilon.{share}"
    )


def _hospital(plan: Plan) -> Described:
    rules, sites = plan.privacy, plan.aggregation.least_sites
    found, rounds = mechanism(plan), plan.training.rounds
    own, patient = epsilon_of(plan, found), epsilon(promised(plan, found), delta=rules.delta)
    numbers = hopeless(plan, sites) or doubtful(plan, sites)
    told = f"epsilon = {_number(rules.target_epsilon or own)} at delta = {rules.delta:g}"
    return f"What hides a hospital's updates: noise, with {told}", [
        "All updates of one hospital count together. Of the models, the probability with that hospital and the "
        f"probability without differ little: {_factor(own)}, but for a probability of delta.",
        _makers(plan),
        *_alone(plan, found),
        f"Training: the sum of the updates has noise of {found.noise_multiplier:.4g} times clip_norm = "
        f"{plan.aggregation.clip_norm:g} (standard deviation, in each parameter) in each of {rounds:,} rounds.",
        *([numbers] if numbers else []),
        "There is no overall epsilon: survey and evaluation have no noise, nor have the declared weights.",
        f"One patient's part in the updates alone has epsilon = {_number(patient)}: another update instead of one "
        "moves the sum twice as far as leaving it out.",
        _STUDIES,
        _PAST,
    ]


def _number(value: float) -> str:
    return f"{value:.4g}"


def _factor(cost: float) -> str:
    """What an epsilon means; beyond 10 only that it means little."""
    return (
        f"one is at most {exp(cost):.3g} times the other"
        if cost <= 10.0
        else f"one is at most e^{cost:.0f} times the other, which promises next to nothing"
    )
