"""Which device a site trains on."""

import torch

from common.errors import PlanError


def pick_device(wanted: str) -> torch.device:
    """`auto` (the first GPU, else the CPU), `cpu` or `cuda:N`; raises PlanError if that GPU is not there."""
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return torch.device("cuda:0" if available else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda" and (device.index or 0) >= available:
        raise PlanError(
            f"site.toml: 'site.device' is {wanted!r}, but this machine shows {available} GPU(s); "
            "allowed are 'auto', 'cpu' and 'cuda:N' with an existing N."
        )
    return device
