"""A Grid without a network: calls a ClientApp directly. For the demo, the tests and small research.

Same messages, same apps, same strategies as over the wire; what it saves is processes, not steps.
"""

from collections.abc import Iterable
from typing import NoReturn

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from server.identity import act_as_coordinator


class InProcessGrid(Grid):
    """Node i + 1 is the i-th of `node_configs`: the node configuration that a SuperNode of that site would have."""

    def __init__(self, app: ClientApp, node_configs: Iterable[dict[str, str | int | float | bool]]) -> None:
        act_as_coordinator()
        self._app = app
        self._contexts = {
            number: Context(run_id=1, node_id=number, node_config=dict(config), state=RecordDict(), run_config={})
            for number, config in enumerate(node_configs, start=1)
        }
        self._waiting: dict[str, Message] = {}
        self._sent = 0

    def set_run(self, run: Run) -> None:
        """There is only one run in a process."""

    @property
    def run(self) -> NoReturn:
        raise RuntimeError("an in-process grid has no Flower run")

    def create_message(self, *args: object, **kwargs: object) -> NoReturn:
        raise RuntimeError("use flwr.app.Message")

    def get_node_ids(self) -> list[int]:
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        identifiers = []
        for message in messages:
            self._sent += 1
            identifier = f"message-{self._sent}"
            message.metadata.__dict__["_message_id"] = identifier
            self._waiting[identifier] = message
            identifiers.append(identifier)
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Runs the sites one after another; each message is answered exactly once."""
        ready = [self._waiting.pop(identifier) for identifier in message_ids if identifier in self._waiting]
        return [self._app(message, self._contexts[message.metadata.dst_node_id]) for message in ready]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        return self.pull_messages(self.push_messages(messages))
