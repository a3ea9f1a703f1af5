"""The plan: what a federation will compute, frozen, validated and hashed."""

from common.plan.data import DataRules, Feature, SplitRules, Task
from common.plan.later import all_shared
from common.plan.load import apply_overrides, load_plan, plan_from_canonical, plan_from_dict
from common.plan.model_rules import ModelRules
from common.plan.plan import Plan
from common.plan.privacy import Privacy
from common.plan.rules import Aggregation, Evaluation, Federation, Seeds, Training
from common.plan.sequence import Sequence
from common.plan.start import Start

__all__ = [
    "Aggregation",
    "DataRules",
    "Evaluation",
    "Feature",
    "Federation",
    "ModelRules",
    "Plan",
    "Privacy",
    "Seeds",
    "Sequence",
    "SplitRules",
    "Start",
    "Task",
    "Training",
    "all_shared",
    "apply_overrides",
    "load_plan",
    "plan_from_canonical",
    "plan_from_dict",
]
