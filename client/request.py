"""What a coordinator asks, read strictly from a Flower message."""

from dataclasses import dataclass

import numpy as np
from flwr.app import ConfigRecord, Message
from numpy.typing import NDArray

from common.errors import Refusal


@dataclass(frozen=True)
class Request:
    """plan_hash: hexadecimal. round: 0 outside training. stage: step within a phase. vector: (n,) float32 or empty."""

    plan_hash: str
    round: int
    stage: int
    vector: NDArray[np.float32]

    @staticmethod
    def of(message: Message) -> "Request":
        """Raises Refusal `malformed_request` for anything but a header and at most one float32 vector."""
        try:
            header = message.content["header"]
            if not isinstance(header, ConfigRecord):
                raise TypeError
            plan_hash, number, stage = header["plan_hash"], header["round"], header["stage"]
            vector = np.zeros(0, dtype=np.float32)
            if "arrays" in message.content:
                vector = message.content.array_records["arrays"]["vector"].numpy()
        except (KeyError, TypeError, ValueError):
            raise Refusal("malformed_request", "header or vector is missing or of the wrong type.") from None
        valid = isinstance(plan_hash, str) and isinstance(number, int) and isinstance(stage, int) and number >= 0
        if not valid or vector.dtype != np.float32 or vector.ndim != 1 or not np.isfinite(vector).all():
            raise Refusal("malformed_request", "header or vector has the wrong type, or values that are not finite.")
        return Request(plan_hash, number, stage, vector)
