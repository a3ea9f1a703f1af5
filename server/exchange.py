"""One question to many sites over a Flower Grid, with a deadline; every site answers, fails with a code, or is late."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

_FIRST_POLL_S, _LONGEST_POLL_S = 0.02, 0.5


@dataclass(frozen=True)
class Question:
    """kind: Flower message type. round: 0 outside training. vector: (n,) float32, or None for a header alone."""

    kind: str
    plan_hash: str
    round: int = 0
    stage: int = 0
    vector: NDArray[np.float32] | None = None

    def to(self, node: int) -> Message:
        header = {"plan_hash": self.plan_hash, "round": self.round, "stage": self.stage}
        content = RecordDict({"header": ConfigRecord(header)})
        if self.vector is not None:
            content["arrays"] = ArrayRecord({"vector": Array(self.vector)})
        return Message(content, node, self.kind, group_id=str(self.round))


@dataclass(frozen=True)
class Answers:
    """contents: node -> what it sent. failed: node -> code. Every node asked is in exactly one of them."""

    contents: dict[int, RecordDict]
    failed: dict[int, str]


def ask(grid: Grid, nodes: Iterable[int], question: Question, *, timeout_s: float) -> Answers:
    """Put `question` to `nodes` and wait for all answers, at most `timeout_s` seconds.

    Flower's own `send_and_receive` polls every three seconds; this one starts at 20 ms.
    """
    asked = list(nodes)
    identifiers = list(grid.push_messages([question.to(node) for node in asked]))
    waiting = {identifier: node for identifier, node in zip(identifiers, asked, strict=True) if identifier}
    contents: dict[int, RecordDict] = {}
    failed = dict.fromkeys(set(asked) - set(waiting.values()), "not_delivered")
    deadline, pause = time.monotonic() + timeout_s, _FIRST_POLL_S
    while waiting:
        for reply in grid.pull_messages(list(waiting)):
            node = waiting.pop(reply.metadata.reply_to_message_id, None)
            if node is None:
                continue
            # An error that Flower makes for a lost node has another sender: the message it answers tells whose it is.
            if reply.has_error():
                failed[node] = _code(reply)
            else:
                contents[node] = reply.content
            pause = _FIRST_POLL_S
        if not waiting:
            break
        if time.monotonic() >= deadline:
            failed |= dict.fromkeys(waiting.values(), "no_answer_in_time")
            break
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(2 * pause, _LONGEST_POLL_S)
    return Answers(contents, failed)


def _code(reply: Message) -> str:
    """Our sites put their code before a colon; anything else is Flower's own and is reduced to its number."""
    reason = (reply.error.reason or "").partition(":")[0]
    return reason if reason.isidentifier() and len(reason) <= 40 else f"flower_error_{reply.error.code}"
