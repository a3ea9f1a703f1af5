"""What an MLP gets of a sequence: of each feature six numbers, made of what was observed up to an hour.

An hour is a row of its own to it, without memory: whatever it knows of earlier hours stands in these numbers.
"""

import torch
from torch import Tensor

from common.model.code import CODES

SUMMARIES = 6


def summaries(hours: Tensor) -> Tensor:
    """(n, H, 6 S): [mean | least | greatest | last z-score so far, 0 where never yet | hours observed | hours since].

    The last two over H; the last one is 1 where never yet.

    hours: (n, H, 3 S) as `encode_hours` makes them.
    """
    z, missing, since = hours.chunk(CODES, dim=2)
    known = missing < 0.5
    hour = torch.arange(hours.shape[1], device=hours.device)[:, None].expand_as(z)
    count = known.to(z.dtype).cumsum(dim=1)
    never = count == 0
    least = z.masked_fill(~known, torch.inf).cummin(dim=1).values.masked_fill(never, 0.0)
    greatest = z.masked_fill(~known, -torch.inf).cummax(dim=1).values.masked_fill(never, 0.0)
    last = z.gather(1, hour.masked_fill(~known, 0).cummax(dim=1).values).masked_fill(never, 0.0)
    mean = z.cumsum(dim=1) / count.clamp(min=1.0)
    return torch.cat([mean, least, greatest, last, count / hours.shape[1], since], dim=2)
