"""One question to many sites: each node answers, fails with a code, or is late, and the wait always ends."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Error, Message, RecordDict
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError

from server.exchange import Answers, Question, ask, ask_each
from server.identity import act_as_coordinator
from tests.server.clock import Clock
from tests.wire import protocol_of

NODES = (11, 12, 13)
SUPERLINK = 1  # the sender of errors that Flower makes itself
_MOST_POLLS = 10_000


class ScriptedGrid:
    """`script(poll, sent)` gives the replies that a poll finds; sent: node -> its message."""

    def __init__(self, script: Callable[[int, dict[int, Message]], list[Message]], lost: Iterable[int] = ()) -> None:
        act_as_coordinator()
        self._script, self._lost = script, set(lost)
        self.sent: dict[int, Message] = {}
        self.asked_for: list[list[str]] = []

    def push_messages(self, messages: Iterable[Message]) -> list[str | None]:
        identifiers: list[str | None] = []
        for message in messages:
            node = message.metadata.dst_node_id
            message.metadata.__dict__["_message_id"] = f"message-to-{node}"
            self.sent[node] = message
            identifiers.append(None if node in self._lost else f"message-to-{node}")
        return identifiers

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        self.asked_for.append(list(message_ids))
        assert len(self.asked_for) < _MOST_POLLS, "the wait does not end"
        return self._script(len(self.asked_for), self.sent)


def _ask(grid: Any, *, timeout_s: float = 60.0) -> Answers:
    return ask(grid, NODES, Question("train", "0" * 64, round=2, vector=np.ones(3, "f4")), timeout_s=timeout_s)


def _answer(message: Message) -> Message:
    return Message(RecordDict({"from": ConfigRecord({"node": message.metadata.dst_node_id})}), reply_to=message)


def _error(message: Message, code: int, reason: str | None, *, sender: int | None = None) -> Message:
    reply = Message(Error(code=code, reason=reason), reply_to=message)
    if sender is not None:
        reply.metadata.__dict__["_src_node_id"] = sender
    return reply


def _nodes(answers: Answers) -> dict[int, Any]:
    """node -> the node that its answer says it is from."""
    return {node: content["from"]["node"] for node, content in answers.contents.items()}


def test_each_answer_belongs_to_the_node_that_was_asked(clock: Clock) -> None:
    grid = ScriptedGrid(lambda poll, sent: [_answer(sent[NODES[-poll]])])  # one per poll, the last one first
    answers = _ask(grid)
    assert _nodes(answers) == {11: 11, 12: 12, 13: 13} and answers.failed == {}
    assert [len(identifiers) for identifiers in grid.asked_for] == [3, 2, 1]


@pytest.mark.parametrize("silent", [NODES, (12,), (11, 13)])
def test_silent_nodes_are_late_once_the_deadline_is_over(clock: Clock, silent: tuple[int, ...]) -> None:
    start = clock.now
    grid = ScriptedGrid(lambda poll, sent: [_answer(sent[n]) for n in NODES if n not in silent and poll == 1])
    answers = _ask(grid, timeout_s=7.0)
    assert answers.failed == dict.fromkeys(silent, "no_answer_in_time")
    assert _nodes(answers) == {node: node for node in NODES if node not in silent}
    assert clock.now == pytest.approx(start + 7.0) and max(clock.sleeps) <= 0.5


def test_nobody_waits_once_all_have_answered(clock: Clock) -> None:
    answers = _ask(ScriptedGrid(lambda _, sent: [_answer(message) for message in sent.values()]))
    assert len(answers.contents) == 3 and clock.sleeps == []


def test_replies_to_other_messages_and_second_replies_are_ignored(clock: Clock) -> None:
    def script(poll: int, sent: dict[int, Message]) -> list[Message]:
        stranger = _answer(sent[11])
        stranger.metadata.__dict__["_reply_to_message_id"] = "never-sent"
        if poll == 1:
            return [stranger, _answer(sent[11]), _error(sent[11], 199, "site_error: again")]
        return [stranger, _error(sent[11], 199, "site_error: again"), _answer(sent[12])]

    answers = _ask(ScriptedGrid(script), timeout_s=1.0)
    assert _nodes(answers) == {11: 11, 12: 12} and answers.failed == {13: "no_answer_in_time"}


def test_error_that_flower_makes_counts_for_the_node_that_was_asked(clock: Clock) -> None:
    grid = ScriptedGrid(lambda _, sent: [_error(sent[12], 3, "Node Unavailable", sender=SUPERLINK), _answer(sent[11])])
    answers = _ask(grid, timeout_s=1.0)
    assert answers.failed == {12: "flower_error_3", 13: "no_answer_in_time"} and _nodes(answers) == {11: 11}


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("too_few_patients: The site has too few.", "too_few_patients"),
        ("site_error", "site_error"),
        ("Traceback (most recent call last): line 7", "flower_error_199"),
        ("a\nb: c", "flower_error_199"),
        ("x" * 41, "flower_error_199"),
        ("", "flower_error_199"),
        (None, "flower_error_199"),
    ],
)
def test_only_a_code_is_taken_from_an_error(clock: Clock, reason: str | None, code: str) -> None:
    answers = _ask(ScriptedGrid(lambda _, sent: [_error(message, 199, reason) for message in sent.values()]))
    assert answers.failed == dict.fromkeys(NODES, code) and answers.contents == {}


def test_node_that_could_not_be_reached_is_not_waited_for(clock: Clock) -> None:
    grid = ScriptedGrid(lambda _, sent: [_answer(sent[11]), _answer(sent[13])], lost=[12])
    answers = _ask(grid)
    assert answers.failed == {12: "not_delivered"} and _nodes(answers) == {11: 11, 13: 13}
    assert grid.asked_for == [["message-to-11", "message-to-13"]] and clock.sleeps == []
    assert _ask(ScriptedGrid(lambda *_: [], lost=NODES)).failed == dict.fromkeys(NODES, "not_delivered")


def test_every_node_gets_its_own_question(clock: Clock) -> None:
    grid = ScriptedGrid(lambda _, sent: [_answer(message) for message in sent.values()])
    questions = {node: Question("query.crosscheck", "0" * 64, protocol=b"for %d" % node) for node in NODES}
    assert set(ask_each(grid, questions, timeout_s=1.0).contents) == set(NODES)
    said = {node: protocol_of(message) for node, message in grid.sent.items()}
    assert said == {node: b"for %d" % node for node in NODES}


class BreakingGrid(ScriptedGrid):
    """Says of the first `breaks` attempts that a piece was refused, which it had taken."""

    breaks = 1
    pushed: tuple[list[Message], ...] = ()

    def push_messages(self, messages: Iterable[Message]) -> list[str | None]:
        self.pushed = (*self.pushed, list(messages))
        identifiers = super().push_messages(messages)
        if len(self.pushed) <= self.breaks:
            raise ObjectPushError("0" * 64, 1, "session")
        return identifiers


def test_questions_of_which_a_piece_was_refused_are_pushed_once_more_as_they_are(clock: Clock) -> None:
    grid = BreakingGrid(lambda _, sent: [_answer(message) for message in sent.values()])
    assert set(_ask(grid).contents) == set(NODES)
    first, second = grid.pushed
    assert len(first) == len(NODES) and all(a is b for a, b in zip(first, second, strict=True))


def test_questions_that_are_refused_again_fail(clock: Clock) -> None:
    grid = BreakingGrid(lambda *_: [])
    grid.breaks = 2
    with pytest.raises(ObjectPushError):
        _ask(grid)


@pytest.mark.parametrize("late", [2, 10_000])
def test_once_enough_have_answered_the_others_have_a_moment(clock: Clock, late: int) -> None:
    """Not at once: who is a little later still counts. Not for ever: a member that is gone delays no round."""
    start = clock.now

    def script(poll: int, sent: dict[int, Message]) -> list[Message]:
        return [_answer(sent[n]) for n in NODES if poll == (late if n == 13 else 1)]

    answers = ask_each(ScriptedGrid(script), dict.fromkeys(NODES, Question("query.unmask", "0" * 64)), timeout_s=600.0,
                       enough=2)  # fmt: skip
    assert answers.failed == ({} if late == 2 else {13: "no_answer_in_time"})
    assert clock.now <= start + 3.0


@pytest.mark.parametrize("silent", [11, 13])
def test_those_that_are_needed_have_the_whole_time_and_the_others_a_moment_more(clock: Clock, silent: int) -> None:
    """A needed one that declines is waited for no longer either."""
    start = clock.now

    def script(poll: int, sent: dict[int, Message]) -> list[Message]:
        answers = [_error(sent[12], 199, "paused: no"), *(_answer(sent[n]) for n in (11, 13) if n != silent)]
        return answers if poll == 1 else []

    questions = dict.fromkeys(NODES, Question("query.declare", "0" * 64))
    answers = ask_each(ScriptedGrid(script), questions, timeout_s=60.0, needed=(11, 12))
    assert answers.failed == {12: "paused", silent: "no_answer_in_time"}
    assert clock.now - start == pytest.approx(60.0 if silent == 11 else 2.0, abs=0.5)


def test_answers_that_are_errors_are_not_among_the_enough(clock: Clock) -> None:
    def script(poll: int, sent: dict[int, Message]) -> list[Message]:
        first = [_error(sent[11], 199, "site_error"), _answer(sent[12])]
        return first if poll == 1 else [_answer(sent[13])] if clock.now >= 1030.0 else []

    asked = dict.fromkeys(NODES, Question("query.unmask", "0" * 64))
    answers = ask_each(ScriptedGrid(script), asked, timeout_s=60.0, enough=2)
    assert _nodes(answers) == {12: 12, 13: 13} and answers.failed == {11: "site_error"}


def test_a_moment_never_lasts_longer_than_the_deadline(clock: Clock) -> None:
    start = clock.now
    grid = ScriptedGrid(lambda poll, sent: [_answer(sent[11])] if poll == 1 else [])
    ask_each(grid, dict.fromkeys(NODES, Question("query.unmask", "0" * 64)), timeout_s=0.5, enough=1)
    assert clock.now == pytest.approx(start + 0.5)


@pytest.mark.parametrize(
    ("reason", "code", "about"),
    [
        ("ciphertext_unreadable: A site's shares cannot be opened. Site: south", "ciphertext_unreadable", "south"),
        ("ciphertext_unreadable: A site's shares cannot be opened. Site: South", "ciphertext_unreadable", None),
        ("ciphertext_unreadable: A site's shares cannot be opened. Site: a b", "ciphertext_unreadable", None),
        ("ciphertext_unreadable: A site's shares cannot be opened. Site: south\n", "ciphertext_unreadable", None),
        ("ciphertext_unreadable: A site's shares cannot be opened.", "ciphertext_unreadable", None),
        (f"ciphertext_unreadable: x Site: {'s' * 65}", "ciphertext_unreadable", None),
    ],
)
def test_only_a_well_formed_name_is_taken_from_a_refusal(clock: Clock, reason: str, code: str, about) -> None:
    answers = _ask(ScriptedGrid(lambda _, sent: [_error(sent[11], 271, reason), _answer(sent[12]), _answer(sent[13])]))
    assert answers.failed == {11: code} and answers.blamed == ({} if about is None else {11: about})


def test_protocol_message_travels_in_the_header_and_alone_as_an_array_where_it_is_long(clock: Clock) -> None:
    beside = Question("train", "0" * 64, 2, 0, np.ones(3, "f4"), b"header").to(11).content
    assert beside["header"]["protocol"] == b"header" and list(beside["arrays"]) == ["vector"]
    short = Question("query.unmask", "0" * 64, protocol=b"x" * 2**18).to(11).content
    assert short["header"]["protocol"] == b"x" * 2**18 and list(short) == ["header"]
    long = Question("query.unmask", "0" * 64, protocol=b"x" * (2**18 + 1)).to(11).content
    assert "protocol" not in long["header"] and isinstance(long["arrays"], ArrayRecord)
    assert long["arrays"]["protocol"].data == b"x" * (2**18 + 1)
    assert list(Question("query.declare", "0" * 64).to(11).content) == ["header"]
