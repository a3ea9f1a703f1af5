"""The step size over rounds, the same at every site and in the coordinator's report."""

import math

from common.plan import Training


def learning_rate(rules: Training, round_number: int) -> float:
    """Step size of round 1, 2, …: constant, or a half cosine from the plan's rate towards 0 after the last round."""
    if rules.schedule == "constant":
        return rules.learning_rate
    return rules.learning_rate * 0.5 * (1.0 + math.cos(math.pi * (round_number - 1) / rules.rounds))
