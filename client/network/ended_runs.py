"""A message whose run ends while the SuperNode still fetches it is dropped, and with it the task that waits for it.

Flower drops the message alone. Its task stays, and whoever has claimed it waits for parts that will never come: more
than an hour, in which the hospital answers nobody.
"""

from collections.abc import Callable
from typing import Any

from flwr.supercore.run import RunNotRunningException
from flwr.supernode import start_client_internal


class RunEnded(Exception):
    """As `RunNotRunningException`, but one for which Flower gives the task up as well."""


def drop_tasks_of_ended_runs() -> None:
    """Once in the SuperNode's process, before it starts. Raises AttributeError where Flower has moved the function."""
    whole: Callable[..., int | None] = start_client_internal._pull_and_store_message

    def pull_and_store(**functions: Any) -> int | None:
        for name in ("pull_object", "confirm_message_received"):
            functions[name] = _giving_up(functions[name])
        return whole(**functions)

    start_client_internal._pull_and_store_message = pull_and_store


def _giving_up(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except RunNotRunningException:
            raise RunEnded("the run has ended") from None

    return call
