"""Which survey and which evaluation a plan has: exact sums, or sums that are bounded and readable under noise."""

from common.evaluation import Evaluation
from common.plan import Plan
from common.privacy.evaluation import PrivateEvaluation
from common.privacy.survey import PrivateSurvey
from common.survey import Survey


def survey_of(plan: Plan) -> Survey | PrivateSurvey:
    """The layout of the plan's survey."""
    return PrivateSurvey(plan) if plan.privacy.per_patient else Survey(plan)


def evaluation_of(plan: Plan, *, final: bool) -> Evaluation | PrivateEvaluation:
    """The layout of the plan's evaluation. final: of the test rows; otherwise of a round's rows."""
    if plan.privacy.per_patient:
        return PrivateEvaluation(plan)
    rules = plan.evaluation
    return Evaluation(plan, rules.histogram_bins if final else rules.round_bins, final)
