"""What a finished run says of its differential privacy: the `privacy` of result.json, from the plan alone."""

from typing import Any

from common.plan import Plan
from common.privacy.events import Unnoised
from common.privacy.honest import against_coordinator
from common.privacy.mechanism import epsilon_of, mechanism, promised


def privacy_of(plan: Plan) -> dict[str, Any]:
    """Unit, noise, delta, epsilon, multipliers and what left without noise, as in docs/result.md.

    With noise 'local' each site has its own multiplier and, where the plan sets no target, its own epsilon: these are
    then absent. For unit 'hospital' epsilon is that of all updates of one hospital.
    """
    rules = plan.privacy
    if rules.unit == "none":
        return {"unit": "none"}
    found = mechanism(plan, patients=1)
    spent = promised(plan, found)
    kinds = [one.event.kind for one in spent if isinstance(one.event, Unnoised)]
    facts = {"unit": rules.unit, "noise": rules.noise, "delta": rules.delta, "without_noise": kinds}
    if rules.target_epsilon is not None:
        facts["target_epsilon"] = rules.target_epsilon
    if rules.noise == "shared":
        facts["noise_multiplier"] = found.noise_multiplier
        facts["epsilon"] = epsilon_of(plan, found)
        facts["epsilon_against_coordinator"] = epsilon_of(plan, against_coordinator(plan, found))
    elif rules.noise_multiplier is not None:
        facts["noise_multiplier"] = rules.noise_multiplier
    if rules.per_patient:
        facts |= {"survey_multiplier": found.survey_multiplier, "evaluation_multiplier": found.evaluation_multiplier}
    return facts
