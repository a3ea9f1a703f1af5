"""One question to many sites over a Flower Grid, with a deadline; every site answers, fails with a code, or is late."""

import re
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from numpy.typing import NDArray

_FIRST_POLL_S, _LONGEST_POLL_S, _POLL_PART = 0.02, 0.5, 4
_SHORT_BYTES = 2**18
MOMENT_S = 2.0
LATE = "no_answer_in_time"
_FLOWERS = {5: "not_connected"}
"""What Flower's own errors are called: the node has not been heard of for a minute."""
_CLOCKS_S = 300.0
"""How far a site's clock may be off before Flower refuses its signatures: an answer must not look late for that."""
_ABOUT = re.compile(r" Site: ([a-z0-9][a-z0-9_-]{0,63})\Z")


@dataclass(frozen=True)
class Question:
    """kind: Flower message type. round: 0 outside training. vector: (n,) float32, or None for a header alone.

    protocol: a message of secure aggregation. It stands in the header, which costs Flower half as many requests as an
    array; alone it may be long, and then travels as an array, which Flower sends in pieces.
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
        in_header = self.vector is not None or len(self.protocol) <= _SHORT_BYTES
        if self.protocol and in_header:
            header["protocol"] = self.protocol
        content = RecordDict({"header": ConfigRecord(header)})
        if self.vector is not None:
            content["arrays"] = ArrayRecord({"vector": Array(self.vector)})
        elif not in_header:
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


def ask(
    grid: Grid, nodes: Iterable[int], question: Question, *, timeout_s: float, needed: Collection[int] | None = None
) -> Answers:
    """Put `question` to `nodes` and wait for all answers, at most `timeout_s` seconds. needed: as in `ask_each`."""
    return ask_each(grid, dict.fromkeys(nodes, question), timeout_s=timeout_s, needed=needed)


def ask_each(
    grid: Grid,
    questions: Mapping[int, Question],
    *,
    timeout_s: float,
    enough: int | None = None,
    needed: Collection[int] | None = None,
) -> Answers:
    """Put its own question to every node and wait for all answers, at most `timeout_s` seconds.

    enough: once so many have answered well, the others have only a moment more. needed: the same, once none of these
    nodes is waited for any more.
    Flower's own `send_and_receive` polls every three seconds; this one starts at 20 ms, and then waits a quarter of the
    time that has passed since it last heard something.
    """
    asked = Asked(grid, questions, timeout_s=timeout_s)
    started = heard = time.monotonic()
    deadline = started + timeout_s
    while asked.waiting:
        if asked.look():
            heard = time.monotonic()
        if not asked.waiting:
            break
        now = time.monotonic()
        satisfied = enough is not None and len(asked.contents) >= enough
        if satisfied or (needed is not None and not set(needed) & set(asked.waiting.values())):
            enough = needed = None
            deadline = min(deadline, now + MOMENT_S + (now - started))
        if now >= deadline:
            break
        pause = min(_LONGEST_POLL_S, max(_FIRST_POLL_S, (now - heard) / _POLL_PART))
        time.sleep(min(pause, deadline - now))
    return asked.answers()


class Asked:
    """Questions that were put to nodes, of which not all are answered yet. waiting: message -> node."""

    def __init__(self, grid: Grid, questions: Mapping[int, Question], *, timeout_s: float) -> None:
        self._grid, asked = grid, list(questions)
        identifiers = _push(grid, [questions[node].to(node, timeout_s=timeout_s) for node in asked])
        self.waiting = {identifier: node for identifier, node in zip(identifiers, asked, strict=True) if identifier}
        self.contents: dict[int, RecordDict] = {}
        self._failed = dict.fromkeys(set(asked) - set(self.waiting.values()), "not_delivered")
        self._blamed: dict[int, str] = {}

    def look(self) -> bool:
        """Whether an answer has come since the last look."""
        before = len(self.waiting)
        for reply in self._grid.pull_messages(list(self.waiting)) if self.waiting else ():
            node = self.waiting.pop(reply.metadata.reply_to_message_id, None)
            if node is None:
                continue
            # An error that Flower makes for a lost node has another sender: the message it answers tells whose it is.
            if reply.has_error():
                self._failed[node] = _code(reply)
                if about := _about(reply):
                    self._blamed[node] = about
            else:
                self.contents[node] = reply.content
        return len(self.waiting) < before

    def answers(self) -> Answers:
        """What has come so far; who has not answered is late."""
        return Answers(self.contents, self._failed | dict.fromkeys(self.waiting.values(), LATE), self._blamed)


def _push(grid: Grid, messages: list[Message]) -> list[str]:
    """Identifiers of `messages`, which the SuperLink has taken.

    Where the connection breaks after it has stored a piece and before it says so, Flower sends the piece again, which
    is refused. The same messages are then pushed once more: what has arrived is known by its hash.
    """
    try:
        return list(grid.push_messages(messages))
    except ObjectPushError:
        return list(grid.push_messages(messages))


def _code(reply: Message) -> str:
    """Our sites put their code before a colon; anything else is Flower's own and is reduced to its number."""
    reason = (reply.error.reason or "").partition(":")[0]
    own = reason.isidentifier() and reason.islower() and len(reason) <= 40
    return reason if own else _FLOWERS.get(reply.error.code, f"flower_error_{reply.error.code}")


def _about(reply: Message) -> str:
    match = _ABOUT.search(reply.error.reason or "")
    return match[1] if match else ""
