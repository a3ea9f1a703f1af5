"""Heads (and linear paths) that a site trains for itself and never sends; over rounds and restarts they are kept here.

FedPer (Arivazhagan et al. 2019, "Federated learning with personalization layers"): all parameters are trained together,
and those of `model.local` stay. What is sent of them is zero, so that the shared ones remain where the plan's seed put
them. The file has them before and after the last round: one that is asked again begins where it began.
"""

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from client.at_rest.files import Vaulted
from client.config import SiteConfig
from common.errors import ConsiliumError
from common.files import exists
from common.model import Layout

HEADS = "heads.safetensors.enc"
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class LocalParts:
    """The parameters of one site that stay there. vaulted: how they are kept."""

    config: SiteConfig
    layout: Layout
    vaulted: Vaulted

    def put_into(self, parameters: Float32, *, before: int | None = None) -> Float32:
        """`parameters`, (D,), with this site's own in their place; untouched where it has none of this plan.

        before: round that is about to be trained, None after the last. A round that the site has gone beyond is of a
        run that begins anew: then they begin anew as well. Raises ConsiliumError where the file cannot be read.
        """
        own = self._read(before)
        if own is None:
            return parameters
        result = parameters.copy()
        result[self.layout.local] = own
        return result

    def keep(self, number: int, *, started: Float32, trained: Float32) -> None:
        """Those of two vectors, (D,), before and after round `number`."""
        arrays = {"before": started[self.layout.local], "after": trained[self.layout.local]}
        facts = json.dumps({"plan_hash": self.layout.plan.hash, "round": number}, sort_keys=True)
        self.vaulted.write(self.config.folder / HEADS, save(arrays, metadata={"consilium": facts}))

    def _read(self, before: int | None) -> Float32 | None:
        path = self.config.folder / HEADS
        if not exists(path):
            return None
        data = self.vaulted.read(path)
        try:
            arrays, length = load(data), int.from_bytes(data[:8], "little")
            facts = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["consilium"])
            number, own = int(facts["round"]), {name: arrays[name] for name in ("before", "after")}
            if facts["plan_hash"] != self.layout.plan.hash:
                return None
        except (SafetensorError, ValueError, KeyError, TypeError):
            raise ConsiliumError(f"{path}: is damaged; put back what was there, or remove it to begin anew.") from None
        if before is None or before > number:
            return own["after"]
        return own["before"] if before == number else None
