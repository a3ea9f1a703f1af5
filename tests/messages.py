"""Answers as sites give them, spoilt or not, and what is in one."""

from collections.abc import Callable
from typing import Any

from flwr.app import Array as FlowerArray
from flwr.app import ArrayRecord, Error, Message, RecordDict

Reply = Callable[[Message, Message], Message | None]
"""Of a question and the honest answer: the answer that is given instead; None is none."""


def refuse(message: Message, _: Message | None = None) -> Message:
    """The answer of a site that fails."""
    return Message(Error(code=199, reason="site_error: The site failed."), reply_to=message)


def silent(*_: Message) -> None:
    """No answer."""


def data_of(reply: Message) -> bytes:
    """The bytes of a report or of a protocol answer."""
    (array,) = reply.content["arrays"].values()
    return bytes(array.data)


def code_of(reply: Message) -> str:
    """With which code a site refused; empty for an answer."""
    return reply.error.reason.partition(":")[0] if reply.has_error() else ""


def with_data(change: Callable[[bytes], bytes]) -> Reply:
    """The honest answer with other bytes."""

    def reply(message: Message, honest: Message) -> Message:
        (name,) = honest.content["arrays"]
        data = change(data_of(honest))
        record = ArrayRecord({name: FlowerArray("uint8", (len(data),), "bytes", data)})
        return Message(RecordDict({"arrays": record}), reply_to=message)

    return reply


def kind(message: Any) -> str:
    return str(message.metadata.message_type)
