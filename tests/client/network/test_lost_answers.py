"""What Flower does with a piece that arrives twice, and that an answer is not dropped for it."""

import inspect

import pytest
from flwr.app import ConfigRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supernode import start_client_internal
from flwr.supernode.nodestate.in_memory_nodestate import InMemoryNodeState

from client.network.lost_answers import go_on_after_refused_pieces


def test_flower_refuses_a_piece_that_it_has() -> None:
    """The reason for this module: where a release takes it, the module can go."""
    state = InMemoryNodeState(ObjectStoreFactory().store())
    content = RecordDict({"header": ConfigRecord({"round": 1})})
    session = state.start_session(7)
    missing = state.preregister_object_tree(get_object_tree(content), session)
    pieces = {name: each.deflate() for name, each in get_all_nested_objects(content).items()}
    assert set(missing) == set(pieces) and len(pieces) == 2
    first, last = missing
    assert state.store_object(7, session, first, pieces[first])
    assert not state.store_object(7, session, first, pieces[first])
    assert state.store_object(7, session, last, pieces[last])
    assert not state.store_object(7, session, last, pieces[last])


def test_the_pieces_after_one_that_was_refused_are_sent_too(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    def push_object(run: int, session: str, name: str, content: bytes) -> None:
        sent.append(name)
        if name == "broken":
            raise OSError("the connection is gone for good")
        if name == "twice":
            raise ObjectPushError(name, run, session)

    def push_messages(*, names: tuple[str, ...], push_object: object) -> None:
        for name in names:
            push_object(1, "session", name, b"")

    monkeypatch.setattr(start_client_internal, "_push_messages", push_messages)
    go_on_after_refused_pieces()
    start_client_internal._push_messages(names=("one", "twice", "three"), push_object=push_object)
    assert sent == ["one", "twice", "three"]
    with pytest.raises(OSError, match="for good"):
        start_client_internal._push_messages(names=("broken", "four"), push_object=push_object)


def test_flower_calls_what_this_replaces_and_by_these_names() -> None:
    called = inspect.getsource(start_client_internal.start_client_internal)
    assert "_push_messages(\n" in called and "push_object=push_object" in called
