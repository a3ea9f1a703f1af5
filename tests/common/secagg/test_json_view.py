"""Messages as JSON: nothing is lost, and nothing but what was written is read."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConsiliumError
from common.secagg.encoding import encode
from common.secagg.json_view import from_json, to_json
from common.secagg.messages import SiteCard


@dataclass(frozen=True)
class Everything:
    """A message with a field of every kind."""

    count: int
    size: float
    name: str
    key: bytes
    card: SiteCard
    cards: tuple[SiteCard, ...]
    parts: tuple[bytes, ...]
    names: tuple[str, ...]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CARD = st.builds(SiteCard, TEXT, st.binary(max_size=40))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
MESSAGE = st.builds(
    Everything,
    st.integers(0, 2**64 - 1),
    FINITE,
    TEXT,
    st.binary(max_size=40),
    CARD,
    st.lists(CARD, max_size=3).map(tuple),
    st.lists(st.binary(max_size=4), max_size=3).map(tuple),
    st.lists(TEXT, max_size=3).map(tuple),
)
SMALL = Everything(1, 0.5, "x", b"\x01", SiteCard("a", b"\x02"), (SiteCard("b", b""),), (b"",), ("n",))


@given(MESSAGE)
def test_what_is_written_is_read(message: Everything) -> None:
    data = to_json(message)
    assert data.endswith(b"\n") and data.isascii()
    again = from_json(Everything, data, source="x")
    assert again == message and encode(again) == encode(message)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("message", "SiteCard", "'message' is 'SiteCard', but this file has to hold a Everything."),
        ("count", -1, "'count' is -1, but it has to be a whole number"),
        ("count", 2**64, "'count' is 18446744073709551616, but"),
        ("count", True, "'count' is True, but"),
        ("count", 1.0, "'count' is 1.0, but"),
        ("count", "1", "'count' is '1', but"),
        ("size", 1, "'size' is 1, but it has to be a finite number"),
        ("size", float("inf"), "'size' is inf, but"),
        ("size", float("nan"), "'size' is nan, but"),
        ("name", None, "'name' is None, but it has to be text"),
        ("name", "\ud800", r"'name' is '\ud800', but it has to be text"),
        ("key", "0", "'key' is '0', but it has to be pairs of the digits"),
        ("key", "AB", "'key' is 'AB', but"),
        ("key", "0x", "'key' is '0x', but"),
        ("key", "00\n", r"'key' is '00\n', but"),
        ("key", [0], "'key' is [0], but"),
        ("card", "a", "'card' is 'a', but it has to be a SiteCard"),
        ("card.site", 3, "'card.site' is 3, but"),
        ("cards", {}, "'cards' is {}, but it has to be a list"),
        ("cards.0.verify_key", "x", "'cards[0].verify_key' is 'x', but"),
        ("parts.0", None, "'parts[0]' is None, but"),
        ("extra", 1, "unknown key 'extra' in a Everything"),
        ("cards.0.more\n", 1, r"unknown key 'cards[0].more\n' in a SiteCard"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_key(path: str, value: Any, sentence: str) -> None:
    content = json.loads(to_json(SMALL))
    place, *rest = path.split(".")
    inside = content
    for step in rest:
        inside, place = inside[int(place) if place.isdigit() else place], step
    inside[int(place) if isinstance(inside, list) else place] = value
    assert sentence in _refused(json.dumps(content).encode())


@pytest.mark.parametrize("key", ["message", "count", "parts", "card"])
def test_a_missing_key_is_named(key: str) -> None:
    content = json.loads(to_json(SMALL))
    del content[key]
    assert f"'{key}'" in _refused(json.dumps(content).encode())


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not JSON text"),
        (b"\xff", "not JSON text"),
        (to_json(SMALL)[:-5], "not JSON text"),
        (b"[" * 100_000, "not JSON text: nested too deeply"),
        (b'{"count": ' + b"1" * 5000 + b"}", "not JSON text"),
        (b"[]", "'message' is [], but this file has to hold a Everything"),
        (b"3", "'message' is 3, but"),
        (to_json(SMALL).replace(b'"count"', b'"name"', 1), "'name' is given twice"),
    ],
)
def test_damaged_text_is_one_sentence(data: bytes, sentence: str) -> None:
    assert sentence in _refused(data)


@given(st.binary(max_size=200))
def test_no_bytes_fail_otherwise_than_with_a_sentence(data: bytes) -> None:
    _refused(data)


@given(st.data())
def test_a_changed_byte_gives_another_message_or_a_sentence(data: st.DataObject) -> None:
    text = bytearray(to_json(SMALL))
    text[data.draw(st.integers(0, len(text) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        encode(from_json(Everything, bytes(text), source="x"))
    except ConsiliumError as error:
        assert str(error).startswith("x: ") and "\n" not in str(error)


def _refused(data: bytes) -> str:
    with pytest.raises(ConsiliumError) as caught:
        from_json(Everything, data, source="card.json")
    assert str(caught.value).startswith("card.json: ") and "\n" not in str(caught.value)
    return str(caught.value)
