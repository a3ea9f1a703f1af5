"""One question to many sites over a Flower Grid, with a deadline; every site answers, fails with a code, or is late."""

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

_FIRST_POLL_S, _LONGEST_POLL_S = 0.02, 0.5
_MOMENT_S = 2.0
LATE = "no_answer_in_time"
_FLOWERS = {5: "not_connected"}
"""What Flower's own errors are called: the node has not been heard of for a minute."""
_CLOCKS_S = 300.0
"""How far a site's clock may be off before Flower refuses its signatures: an answer must not look late for that."""
_ABOUT = re.compile(r" Site: ([a-z0-9][a-z0-9_-]{0,63})\Z")


@dataclass(frozen=True)
class Question:
    """kind: Flower message type. round: 0 outside training. vector: (n,) float32, or None for a header alone.

    protocol: a message of secure aggregation. Beside a vector it stands in the header; alone it may be long, and
    travels as an array, which Flower sends in pieces.
    """

    kind: str
    plan_hash: str
    round: int = 0
    stage: int = 0
    vector: NDArray[np.float32] | None = None
    protocol: bytes = b""

    def to(self, node: int, *, timeout_s: float = 600.0) -> Message:
        """The message for `node`; one that was away finds no question that nobody waits for any more."""
        header: dict[str, str | int | bytes]
        header = {"plan_hash": self.plan_hash, "round": self.round, "stage": self.stage}
        if self.protocol and self.vector is not None:
            header["protocol"] = self.protocol
        content = RecordDict({"header": ConfigRecord(header)})
        if self.vector is not None:
            content["arrays"] = ArrayRecord({"vector": Array(self.vector)})
        elif self.protocol:
            message = Array("uint8", (len(self.protocol),), "bytes", self.protocol)
            content["arrays"] = ArrayRecord({"protocol": message})
        return Message(content, node, self.kind, group_id=str(self.round), ttl=timeout_s + _CLOCKS_S)


@dataclass(frozen=True)
class Answers:
    """contents: node -> what it sent. failed: node -> code. Every node asked is in exactly one of them.

    blamed: node -> another site that it names as the cause; only a refusal of secure aggregation names one.
    """

    contents: dict[int, RecordDict]
    failed: dict[int, str]
    blamed: dict[int, str] = field(default_factory=dict)


def ask(grid: Grid, nodes: Iterable[int], question: Question, *, timeout_s: float) -> Answers:
    """Put `question` to `nodes` and wait for all answers, at most `timeout_s` seconds."""
    return ask_each(grid, dict.fromkeys(nodes, question), timeout_s=timeout_s)


def ask_each(grid: Grid, questions: Mapping[int, Question], *, timeout_s: float, enough: int | None = None) -> Answers:
    """Put its own question to every node and wait for all answers, at most `timeout_s` seconds.

    enough: once so many have answered well, the others have only a moment more.
    Flower's own `send_and_receive` polls every three seconds; this one starts at 20 ms.
    """
    asked = list(questions)
    identifiers = list(grid.push_messages([questions[node].to(node, timeout_s=timeout_s) for node in asked]))
    waiting = {identifier: node for identifier, node in zip(identifiers, asked, strict=True) if identifier}
    contents: dict[int, RecordDict] = {}
    failed = dict.fromkeys(set(asked) - set(waiting.values()), "not_delivered")
    blamed: dict[int, str] = {}
    started, pause = time.monotonic(), _FIRST_POLL_S
    deadline = started + timeout_s
    while waiting:
        for reply in grid.pull_messages(list(waiting)):
            node = waiting.pop(reply.metadata.reply_to_message_id, None)
            if node is None:
                continue
            # An error that Flower makes for a lost node has another sender: the message it answers tells whose it is.
            if reply.has_error():
                failed[node] = _code(reply)
                if about := _about(reply):
                    blamed[node] = about
            else:
                contents[node] = reply.content
            pause = _FIRST_POLL_S
        if not waiting:
            break
        if enough is not None and len(contents) >= enough:
            enough = None
            now = time.monotonic()
            deadline = min(deadline, now + _MOMENT_S + (now - started))
        if time.monotonic() >= deadline:
            failed |= dict.fromkeys(waiting.values(), LATE)
            break
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(2 * pause, _LONGEST_POLL_S)
    return Answers(contents, failed, blamed)


def _code(reply: Message) -> str:
    """Our sites put their code before a colon; anything else is Flower's own and is reduced to its number."""
    reason = (reply.error.reason or "").partition(":")[0]
    own = reason.isidentifier() and reason.islower() and len(reason) <= 40
    return reason if own else _FLOWERS.get(reply.error.code, f"flower_error_{reply.error.code}")


def _about(reply: Message) -> str:
    match = _ABOUT.search(reply.error.reason or "")
    return match[1] if match else ""
