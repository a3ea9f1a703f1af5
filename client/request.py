"""What a coordinator asks, read strictly from a Flower message."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message
from numpy.typing import NDArray

from client.ledger.receipts import Step
from common.errors import Refusal
from common.wire import decode_vector

_HEADER = {"plan_hash": str, "round": int, "stage": int}
PROTOCOL = frozenset({"query.cards", "query.crosscheck", "query.unmask", "query.close"})
"""Kinds of message that hold nothing but a message of secure aggregation, whose own rules say what may be repeated."""
KINDS = PROTOCOL | {"query.declare", "query.survey", "query.compare", "train", "evaluate", "query.finish"}
"""All that this version answers, spelled exactly so: Flower itself also takes `train.default` for `train`."""
_LARGEST_ROUND, _LARGEST_STAGE = 10**6, 3


@dataclass(frozen=True)
class Request:
    """step: which plan, kind, round and stage. vector: (n,) float32, finite; empty where none came.

    protocol: a message of secure aggregation, encoded; empty where none came. blocks: those that take part in the
    secure round of the request; None outside one.
    """

    step: Step
    vector: NDArray[np.float32]
    protocol: bytes = b""
    blocks: tuple[int, ...] | None = None

    @property
    def round(self) -> int:
        return self.step.round

    @property
    def stage(self) -> int:
        return self.step.stage

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the step and the vector, in hexadecimal: equal for the same question only.

        The header of a secure sum is not in it: the same question in another round is the same question.
        """
        asked = self.protocol if self.step.kind in PROTOCOL else self.vector.tobytes()
        return hashlib.sha256(repr(self.step).encode() + b"\0" + asked).hexdigest()

    @cached_property
    def model(self) -> bytes:
        """SHA-256 of the vector: what a secure round's header must name."""
        return hashlib.sha256(self.vector.tobytes()).digest()

    @staticmethod
    def of(message: Message) -> "Request":
        """Raises Refusal `malformed_request` for anything but a header and at most one array.

        The array is a float32 vector, or bytes: a protocol message that is too long for the header.
        """
        record, vector, protocol = _parts(message)
        header = dict(record)
        protocol = header.pop("protocol", b"") or protocol
        if set(header) != set(_HEADER) or any(type(header[key]) is not kind for key, kind in _HEADER.items()):
            raise Refusal("malformed_request", "the header's keys or their types are not those of this version.")
        step = Step(str(header["plan_hash"]), message.metadata.message_type, int(header["round"]), int(header["stage"]))
        if step.kind not in KINDS:
            raise Refusal("malformed_request", f"no handler for {step.kind!r}.")
        largest = _LARGEST_ROUND if step.kind == "train" else 0
        if not (0 <= step.round <= largest and 0 <= step.stage <= _LARGEST_STAGE):
            raise Refusal("malformed_request", f"round {step.round} or stage {step.stage} is out of bounds.")
        if vector.dtype != np.float32 or not np.isfinite(vector).all():
            raise Refusal("malformed_request", "the vector is not one finite float32 vector.")
        if type(protocol) is not bytes:
            raise Refusal("malformed_request", "the protocol's message is not bytes.")
        return Request(step, vector, protocol)


def _parts(message: Message) -> tuple[ConfigRecord, NDArray[np.float32], bytes]:
    records = dict(message.content.items())
    header, arrays = records.pop("header", None), records.pop("arrays", None)
    if records or not isinstance(header, ConfigRecord):
        raise Refusal("malformed_request", "the message holds other records than a header and one array.")
    none = np.zeros(0, dtype=np.float32)
    if arrays is None:
        return header, none, b""
    if not isinstance(arrays, ArrayRecord) or list(arrays) not in (["vector"], ["protocol"]):
        raise Refusal("malformed_request", "the message's arrays are not the one vector.")
    if "protocol" in arrays:
        return header, none, arrays["protocol"].data
    try:
        return header, decode_vector(arrays["vector"].data), b""
    except ValueError as error:
        raise Refusal("malformed_request", f"the vector is {error}.") from None
