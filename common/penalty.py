"""The L2 penalty of a plan: the same at every site and at a coordinator that takes the steps itself."""

import numpy as np
from numpy.typing import NDArray

from common.model.layout import Layout


def l2_penalty(layout: Layout, rows: float) -> NDArray[np.float32]:
    """(D,) L2 penalty of each parameter: none on biases, the plan's constants over `rows`, those of all sites.

    Its gradient is the penalty times the parameter.
    """
    rules = layout.plan.training
    penalty = np.zeros(layout.parameters, dtype=np.float32)
    for name, part in layout.split(penalty).items():
        if name.endswith("weight"):
            part[:] = (rules.l2_linear if name.startswith("linear.") else rules.l2_network) / rows
    return penalty
