"""What a label of the stay is learnt from where a model has hours: the state after the last, or plain summaries.

The last hour is that of the plan, not of the stay: from its state the network itself predicts a label of the stay. A
stay that ended before has its later hours missing.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.model.sequence import states
from common.model.sequence.summaries import summaries
from common.plan import ModelRules

Float64 = NDArray[np.float64]
_AT_ONCE = 4_096  # stays: each has a state at every hour until the last is taken


def last_states(tensors: Mapping[str, Float64], hours: Tensor, rules: ModelRules) -> Float64:
    """(n, width) the state at the last hour. tensors: the model's by name. hours: (n, H, 3 S) as `encode_hours` does.

    Worked out in float32, as the network does.
    """
    own = {name: torch.from_numpy(value).float() for name, value in tensors.items() if name.startswith("sequence.")}
    with torch.no_grad():
        last = torch.cat([states(own, part, rules)[:, -1] for part in hours.split(_AT_ONCE)])
    return np.asarray(last.double().numpy())


def last_summaries(hours: Tensor) -> Float64:
    """(n, 6 S) `summaries` up to the last hour. hours: (n, H, 3 S) as `encode_hours` makes them."""
    return np.asarray(torch.cat([summaries(part)[:, -1] for part in hours.split(_AT_ONCE)]).double().numpy())
