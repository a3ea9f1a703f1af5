"""Every baseline by name, in the order in which they are fitted and shown."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from common.errors import ConsiliumError
from experiments.baselines.learners import (
    Learner,
    gradient_boosting,
    logistic_regression,
    logistic_regression_tuned,
    svm,
)
from experiments.baselines.methods import (
    Method,
    learner_local,
    learner_pooled,
    network_local,
    network_multi_label,
    network_pooled,
    single_task,
    single_task_federated,
)


@dataclass(frozen=True)
class Baseline:
    """words: one line for people. library: whether it needs scikit-learn."""

    method: Method
    words: str
    library: bool = False


def _pair(name: str, learner: Learner, words: str) -> dict[str, Baseline]:
    pooled, local = partial(learner_pooled, learner=learner), partial(learner_local, learner=learner)
    return {
        f"{name}_pooled": Baseline(pooled, f"{words}, all sites' rows together", library=True),
        f"{name}_local": Baseline(local, f"{words}, each site alone", library=True),
    }


BASELINES: dict[str, Baseline] = {
    "local": Baseline(network_local, "the same network, each site alone"),
    "pooled": Baseline(network_pooled, "the same network, all sites' rows together"),
    "single_task": Baseline(single_task, "one network per task, all sites' rows together"),
    "multi_label": Baseline(network_multi_label, "one plain multi-label network, all sites' rows together"),
    "single_task_federated": Baseline(single_task_federated, "one federation per task"),
    **_pair("logistic_regression", logistic_regression, "L2 logistic regression (ridge for a quantity)"),
    **_pair("logistic_regression_tuned", logistic_regression_tuned, "the same, penalty by cross-validation"),
    **_pair("gradient_boosting", gradient_boosting, "histogram gradient boosting, untuned"),
    **_pair("svm", svm, "support vectors with a radial kernel"),
}


def choose(only: Iterable[str]) -> dict[str, Baseline]:
    """The baselines named in `only`, in the catalogue's order; all of them if it is empty. Raises ConsiliumError."""
    wanted = list(only)
    unknown = [name for name in wanted if name not in BASELINES]
    if unknown:
        raise ConsiliumError(f"--only {unknown[0]}: no such baseline; allowed: {', '.join(BASELINES)}.")
    return {name: baseline for name, baseline in BASELINES.items() if not wanted or name in wanted}
