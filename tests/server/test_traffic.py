"""What a round costs on the wire: the model goes to a site once, and no question waits longer than somebody listens."""

import pytest
from flwr.app import Context, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.server.superlink.linkstate.utils import NODE_UNAVAILABLE_ERROR_REASON
from flwr.superlink.grid import http_grid

import server.app
from client.sessions import close_sessions
from server.exchange import Question, ask
from server.identity import act_as_coordinator
from server.inprocess import InProcessGrid
from tests.secure import STEPS, Wire
from tests.wire import protocol_of

LARGE = {"model": {"hidden": [256, 64]}, "training": {"rounds": 2}}


def _bytes(content: RecordDict) -> int:
    records = content.array_records.values()
    return sum(len(array.data) for record in records for array in record.values())


@pytest.fixture
def wire(federation) -> Wire:
    wire, three = Wire(), federation(3, **LARGE)
    three.run(wire)
    close_sessions()
    return wire


def test_the_model_goes_to_a_site_once_in_a_round(wire: Wire) -> None:
    asked = [(site, message) for site, message, _ in wire.sent]
    training = [_bytes(message.content) for _, message in asked if message.metadata.message_type == "train"]
    assert len(training) == 3 * 2 and len(set(training)) == 1
    others = [m for _, m in asked if m.metadata.message_type in STEPS[1:]]
    assert others and all(0 < len(protocol_of(message)) < training[0] / 10 for message in others)
    assert all(list(message.content) == ["header"] for message in others)


def test_a_question_is_kept_for_as_long_as_somebody_waits_for_its_answer() -> None:
    act_as_coordinator()
    message = Question("query.declare", "0" * 64).to(11, timeout_s=30.0)
    assert 30.0 < message.metadata.ttl <= 30.0 + 300.0  # and as far as clocks may be off


def test_a_node_that_flower_has_lost_is_called_not_connected() -> None:
    """Flower's own words begin with 'Error: ', which is no code of ours."""

    def app(message: Message, context: Context) -> Message:
        error = Error(code=ErrorCode.NODE_UNAVAILABLE, reason=NODE_UNAVAILABLE_ERROR_REASON)
        return Message(error, reply_to=message)

    question = Question("query.declare", "0" * 64)
    assert ask(InProcessGrid(app, [{}]), [1], question, timeout_s=1.0).failed == {1: "not_connected"}


def test_parts_of_an_answer_are_looked_for_soon() -> None:
    """Flower's own waits a second; where this fails, a release has moved what server/app.py changes."""
    assert server.app.app is not None
    assert http_grid.pull_objects.__kwdefaults__["initial_backoff"] == 0.02
