"""The input code of a sequence: per hour and feature a clipped z-score, a mask, and the time since it was last seen."""

import torch
from torch import Tensor

from common.model.code import Columns, Normaliser, encode
from common.plan import Plan


def encode_stays(features: Tensor, hours: Tensor, normaliser: Normaliser, plan: Plan) -> Tensor:
    """All inputs of n stays, (n, width) float32: those of the row, then those of its hours, one hour after another.

    features: (n, F) as `encode` takes them. hours: (n, H, S) float32 in plan units, NaN where not observed.
    """
    row = encode(features, normaliser, plan)
    return row if plan.sequence is None else torch.cat([row, encode_hours(hours, normaliser, plan).flatten(1)], dim=1)


def encode_hours(hours: Tensor, normaliser: Normaliser, plan: Plan) -> Tensor:
    """(n, H, 3 S) float32: [z-score, 0 where missing | 1 where missing | hours since, over H, 1 where never yet].

    What an hour holds depends on that hour and those before it alone.
    """
    columns, device = Columns.of(plan), hours.device
    moments = (normaliser.mean, normaliser.std, normaliser.available)
    mean, std, available = (torch.from_numpy(part[columns.features :]).to(device) for part in moments)
    missing = hours.isnan() | (available == 0)
    clip = plan.model.z_clip
    z = ((hours - mean) / std).clamp(-clip, clip).masked_fill(missing, 0.0)
    hour = torch.arange(plan.hours, device=device, dtype=torch.float32)[:, None].expand_as(hours)
    last = hour.masked_fill(missing, -torch.inf).cummax(dim=1).values
    since = ((hour - last) / plan.hours).clamp(max=1.0)
    return torch.cat([z, missing.float(), since], dim=2)
