"""A piece of an answer that the coordinator has already taken is not lost when it is sent again.

Where the connection breaks after a piece was stored and before that is said, Flower sends the piece again; the
SuperLink refuses what it has, and Flower then drops the whole answer: the coordinator would wait until its deadline.
"""

import logging
from collections.abc import Callable
from typing import Any

from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from flwr.supernode import start_client_internal

_log = logging.getLogger("flwr")


def go_on_after_refused_pieces() -> None:
    """Once in the SuperNode's process, before it starts. Raises AttributeError where Flower has moved the function.

    A piece that was refused for another reason is missing at the coordinator, which then says so of this hospital.
    """
    whole: Callable[..., None] = start_client_internal._push_messages

    def push_messages(**functions: Any) -> None:
        functions["push_object"] = _going_on(functions["push_object"])
        whole(**functions)

    start_client_internal._push_messages = push_messages


def _going_on(push_object: Callable[..., None]) -> Callable[..., None]:
    def push(*arguments: Any) -> None:
        try:
            push_object(*arguments)
        except ObjectPushError as error:
            _log.warning("A piece of an answer was refused, as one is that has arrived before: %s", error)

    return push
