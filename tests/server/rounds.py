"""For tests of rounds: a wire that can be tampered with, small tables that lack labels, and the entries of a block."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Context, Message

from client.app import app
from common.model import Layout
from tests.conftest import small_table

Reply = Callable[[Message, Message], Message]


@dataclass
class Wire:
    """Between coordinator and sites: keeps what sites send in training, and has replies exchanged for others."""

    changes: dict[tuple[str, str, int], Reply] = field(default_factory=dict)
    updates: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)

    def change(self, site: str, kind: str, number: int, reply: Reply) -> None:
        """`site` answers messages of `kind` in round `number` with reply(message, honest reply)."""
        self.changes[site, kind, number] = reply

    def __call__(self, message: Message, context: Context) -> Message:
        site = Path(str(context.node_config["site-config"])).parent.name
        kind, number = message.metadata.message_type, int(message.content["header"]["round"])
        reply = app(message, context)
        if kind == "train":
            self.updates[site, number] = reply.content["arrays"]["vector"].numpy()
        change = self.changes.get((site, kind, number))
        return reply if change is None else change(message, reply)


def small_tables(**lacking: str | list[str]) -> dict[str, Any]:
    """Three small tables; lacking: site -> columns that it does not have."""
    names = ("north", "south", "west")
    return {name: small_table(seed).drop(columns=lacking.get(name, [])) for seed, name in enumerate(names)}


def own_entries(layout: Layout, block: str) -> np.ndarray:
    own = layout.block_of == layout.block_names.index(block)
    assert own.any()
    return own
