"""Requests and invitations: what was written is read, and anything else is one sentence."""

import datetime
import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConsiliumError
from common.network import certificates
from common.network.documents import MOST_BYTES, Document, Invitation, SiteRequest
from common.network.node_key import new_node_key

NOW = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)


@cache
def request() -> SiteRequest:
    csr = certificates.certificate_request("north", certificates.new_key()).decode()
    _, public = new_node_key()
    card = {"message": "EnrolCard", "card": {"site": "north"}, "signature": "00ff"}
    return SiteRequest(site="north", card=card, node_key=public.decode(), certificate_request=csr)


@cache
def invitation() -> Invitation:
    key, authority = certificates.new_authority("test", now=NOW)
    csr = request().certificate_request.encode()
    certificate = certificates.site_certificate(key, authority, csr, site="north", now=NOW)
    return Invitation(
        federation="test",
        site="north",
        address="federation.example.org:9443",
        authority=authority.decode(),
        certificate=certificate.decode(),
        plan={"training": {"rounds": 3, "rate": 0.1}, "names": ["ä", "b"]},
        roster={"number": 1},
        previous=None,
    )


def documents() -> list[Document]:
    return [request(), invitation()]


@pytest.mark.parametrize("document", documents(), ids=lambda each: type(each).__name__)
def test_what_was_written_is_read(document: Document) -> None:
    data = document.to_bytes()
    again = type(document).from_bytes(data, source="a.json")
    assert again == document and again.to_bytes() == data
    assert data.endswith(b"}\n") and b"PRIVATE KEY" not in data


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(plan=st.dictionaries(st.text("abc", max_size=3), JSON, max_size=3))
def test_what_is_inside_a_plan_is_kept_to_the_last_digit(plan: dict[str, Any]) -> None:
    document = invitation().model_copy(update={"plan": plan})
    again = Invitation.from_bytes(document.to_bytes(), source="a.json")
    assert json.dumps(again.plan) == json.dumps(plan)


@given(data=st.data())
@settings(max_examples=300)
def test_a_changed_file_is_read_or_refused_in_one_sentence(data: st.DataObject) -> None:
    document = data.draw(st.sampled_from(documents()))
    content = bytearray(document.to_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    _read_or_refused(type(document), bytes(content))


@given(content=JSON)
def test_any_json_is_refused_in_one_sentence(content: Any) -> None:
    with pytest.raises(ConsiliumError) as caught:
        SiteRequest.from_bytes(json.dumps(content).encode(), source="a.json")
    _one_sentence(caught.value)


REQUEST_CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"format": "consilium-invitation-1"}, "'format' is 'consilium-invitation-1', but it has to be 'consilium-site-re"),
    ({"site": "North"}, "'site' is 'North', but names are of lower-case letters"),
    ({"site": "north\n"}, r"'site' is 'north\n', but names"),
    ({"site": 'n" x; #'}, "but names are"),
    ({"site": "../north"}, "but names are"),
    ({"site": "-north"}, "but names are"),
    ({"site": "n" * 65}, "but names are"),
    ({"site": ""}, "but names are"),
    ({"site": 1}, "'site' is 1, but input should be a valid string"),
    ({"card": []}, "'card' is []"),
    (
        {"node_key": "ssh-ed25519 AAAA"},
        "'node_key' is 'ssh-ed25519 AAAA', but it has to be one line 'ecdsa-sha2-nistp384",
    ),
    ({"certificate_request": "x"}, "'certificate_request' is 'x', but it has to be one block in PEM form"),
    ({"certificate_request": "-----BEGIN CERTIFICATE REQUEST-----\n" + "A" * 20_000}, "'certificate_request'"),
    ({"more": 1}, "unknown key 'more'"),
]
INVITATION_CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"address": "example.org"}, "'address' is 'example.org', but it has to be HOST:PORT"),
    ({"address": "example.org:0"}, "port from 1 to 65535"),
    ({"address": "https://example.org:1"}, "its host has to be"),
    ({"address": "exa mple.org:1"}, "its host has to be"),
    ({"certificate": "x"}, "'certificate' is 'x', but it has to be one block in PEM form"),
    ({"previous": "x"}, "'previous' is 'x'"),
    ({"roster": None}, "'roster' is None"),
]


@pytest.mark.parametrize(
    ("document", "change", "words"),
    [(request(), *each) for each in REQUEST_CHANGES] + [(invitation(), *each) for each in INVITATION_CHANGES],
)
def test_what_is_wrong_is_named(document: Document, change: dict[str, Any], words: str) -> None:
    content = json.loads(document.to_bytes()) | change
    with pytest.raises(ConsiliumError) as caught:
        type(document).from_bytes(json.dumps(content).encode(), source="a.json")
    assert words in str(caught.value)
    _one_sentence(caught.value)


@pytest.mark.parametrize("document", documents(), ids=lambda each: type(each).__name__)
def test_every_key_has_to_be_there_and_once(document: Document) -> None:
    content = json.loads(document.to_bytes())
    for key in content:
        less = {name: value for name, value in content.items() if name != key}
        with pytest.raises(ConsiliumError, match=f"'{key}' is (missing|None, but it has to be)"):
            type(document).from_bytes(json.dumps(less).encode(), source="a.json")
        twice = json.dumps(content)[:-1] + f", {json.dumps(key)}: {json.dumps(content[key])}}}"
        with pytest.raises(ConsiliumError, match=f"'{key}' is given twice"):
            type(document).from_bytes(twice.encode(), source="a.json")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON text"),
        (b"\xff", "not JSON text"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"plan": NaN}', "NaN is no finite number"),
        (b'{"plan": -1e999}', "-1e999 is no finite number"),
        (b" " * (MOST_BYTES + 1), f"at most {MOST_BYTES}"),
        (b"[]", "has to be an object"),
        (b'{"n": ' + b"9" * 5000 + b"}", "not JSON text"),
    ],
)
def test_what_is_no_document_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ConsiliumError) as caught:
        Invitation.from_bytes(data, source="a.json")
    assert words in str(caught.value)
    _one_sentence(caught.value)


def test_an_infinite_number_does_not_hide_inside() -> None:
    data = invitation().to_bytes().replace(b'"rate": 0.1', b'"rate": 1e999')
    with pytest.raises(ConsiliumError, match="1e999"):
        Invitation.from_bytes(data, source="a.json")


def _read_or_refused(kind: type[Document], data: bytes) -> None:
    try:
        document = kind.from_bytes(data, source="a.json")
    except ConsiliumError as error:
        _one_sentence(error)
    else:
        assert kind.from_bytes(document.to_bytes(), source="a.json") == document


def _one_sentence(error: ConsiliumError) -> None:
    text = str(error)
    assert text.startswith("a.json: ") and text.endswith(".") and "\n" not in text and len(text) < 400
