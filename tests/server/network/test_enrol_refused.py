"""What `consilium server enrol` refuses, in one sentence, and with nothing changed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConsiliumError
from common.network.certificates import certificate_request
from common.secagg.json_view import to_json
from common.secagg.roster import enrol as card_of
from tests.server.network.conftest import NAMES, Command, collect, enrol, found, hospitals, init, tree, write_plan
from tests.server.network.hospitals import Hospital


@pytest.fixture
def refuses(consilium: Command) -> Callable[..., None]:
    """refuses(words, *arguments of `server enrol home`): it says so in one sentence, and changes nothing."""

    def check(words: str, *arguments: object) -> None:
        before = tree()
        with pytest.raises(ConsiliumError, match=words) as caught:
            consilium("server", "enrol", "home", *arguments)
        assert "\n" not in str(caught.value) and tree() == before

    return check


def _started(consilium: Command) -> dict[str, Hospital]:
    init(consilium)
    those = hospitals(*NAMES)
    for each in those.values():
        each.request()
    write_plan()
    return those


def _card(name: str, by: Hospital) -> dict[str, Any]:
    return dict(json.loads(to_json(card_of(name, by.signing))))


REQUESTS = [f"{name}.request.json" for name in NAMES]


def test_requests_whose_parts_are_of_several_hospitals(consilium: Command, refuses: Callable[..., None]) -> None:
    those = _started(consilium)
    north, south = those["north"], those["south"]
    more = ("--plan", "federation.toml")
    north.request("bad.json", card=_card("south", south))
    refuses(r"bad\.json: is of 'north', but the card in it is of 'south'; ask north", "bad.json", *more)
    stolen = _card("north", south) | {"signature": _card("north", north)["signature"]}
    north.request("bad.json", card=stolen)
    refuses(r"bad\.json: the card in it is not signed with its own key", "bad.json", *more)
    north.request("bad.json", certificate_request=certificate_request("south", north.tls).decode())
    refuses(r"bad\.json: is of 'north', but asks for a certificate of 'CN=south'", "bad.json", *more)


def test_damaged_requests(consilium: Command, refuses: Callable[..., None]) -> None:
    _started(consilium)
    whole = Path("north.request.json").read_text()
    content = json.loads(whole)
    damaged = {
        "not JSON text": whole[:300],
        "'format' is": whole.replace("site-request-1", "site-request-9"),
        "required key 'node_key' is missing": json.dumps({k: v for k, v in content.items() if k != "node_key"}),
        "unknown key": json.dumps(content | {"private_key": "x"}),
        "'site' is": json.dumps(content | {"site": "../north"}),
        "'node_key' is": json.dumps(content | {"node_key": "ssh-ed25519 AAAA"}),
        "card: ": json.dumps(content | {"card": {"message": "Roster"}}),
        "certificate request": json.dumps(
            content | {"certificate_request": content["certificate_request"].replace("M", "N", 3)}
        ),
    }
    for words, text in damaged.items():
        Path("bad.json").write_text(text)
        refuses(rf"bad\.json.*{words}", "bad.json", "--plan", "federation.toml")
    refuses(r"missing\.json: cannot be read", "missing.json", "--plan", "federation.toml")


def test_two_requests_with_one_name(consilium: Command, refuses: Callable[..., None]) -> None:
    _started(consilium)
    Hospital("north").request("other.json")
    words = r"north\.request\.json and other\.json are both requests of 'north'"
    refuses(words, *REQUESTS, "other.json", "--plan", "federation.toml")
    consilium("server", "enrol", "home", *REQUESTS, REQUESTS[0], "--plan", "federation.toml")  # the same one twice


@pytest.mark.parametrize("what", ["signing", "node", "tls"])
def test_a_key_is_one_hospitals_only(what: str, consilium: Command, refuses: Callable[..., None]) -> None:
    those = _started(consilium)
    setattr(those["south"], what, getattr(those["north"], what))
    those["south"].request()
    words = r"south has the .* key of north|two of the sites and the coordinator share a key"
    refuses(words, *REQUESTS, "--plan", "federation.toml")


def test_keys_of_an_enrolled_hospital_change_only_by_the_operators_word(
    consilium: Command, refuses: Callable[..., None]
) -> None:
    those = found(consilium, *NAMES)
    fraud = Hospital("north", signing=those["north"].signing)  # its card is public: anybody may have seen it
    fraud.request()
    words = r"has other keys than the request of north that was accepted before; if north confirms them over the tel"
    refuses(words, "north.request.json")
    refuses(words, "north.request.json", "--replace", "south")
    said = consilium("server", "enrol", "home", "north.request.json", "--replace", "north")
    assert "north has new keys, as you said" in said and "Roster 1 stays in use" in said
    assert len(list(Path("home/former").glob("north-*.replaced.json"))) == 1
    Hospital("north").request()  # another signing key, too: that is for the hospitals to decide, not for the operator
    refuses("has a new key that its old key has not signed", "north.request.json", "--replace", "north")


def test_a_revoked_key_never_comes_back(consilium: Command, refuses: Callable[..., None]) -> None:
    those = found(consilium, *NAMES, "east")
    east = those["east"]
    consilium("server", "enrol", "home", "--revoke", "east")
    for kept in ("signing", "node", "tls"):
        again = Hospital("east", **{kept: getattr(east, kept)})
        again.request()
        refuses(r"east\.request\.json: its .* key was revoked", "east.request.json")
        Hospital("harbour", **{kept: getattr(east, kept)}).request()
        refuses(r"harbour\.request\.json: its .* key was revoked", "harbour.request.json")
    collect(consilium, *(those[name] for name in NAMES))
    assert "east joins." in enrol(consilium, Hospital("east"))


def test_a_key_that_this_command_revokes_does_not_come_in_with_it(
    consilium: Command, refuses: Callable[..., None]
) -> None:
    those = found(consilium, *NAMES, "east")
    Hospital("harbour", node=those["east"].node).request()
    refuses("has a key of east, which this command revokes", "harbour.request.json", "--revoke", "east")


def test_a_proposal_that_was_sent_is_not_changed_by_the_way(consilium: Command, refuses: Callable[..., None]) -> None:
    those = _started(consilium)
    enrol(consilium, *those.values(), more=("--plan", "federation.toml"))
    Hospital("east").request()
    refuses(r"roster 1 was proposed to north, south, west and is not signed by enough yet", "east.request.json")
    said = consilium("server", "enrol", "home", "east.request.json", "--new-proposal")
    assert "Roster 1 that was proposed is void" in said and "east" in said


def test_words_that_contradict_each_other(consilium: Command, refuses: Callable[..., None]) -> None:
    _started(consilium)
    refuses(r"holds no plan yet; name one with --plan", *REQUESTS)
    plan = ("--plan", "federation.toml")
    refuses(
        r"--colluding-sites 1, but the plan says aggregation\.colluding_sites = 0",
        *REQUESTS,
        *plan,
        "--colluding-sites",
        1,
    )
    refuses(r"--min-sites 4, but the plan makes sums of 3", *REQUESTS, *plan, "--min-sites", 4)
    refuses(r"'\*' is no hospital of this federation; enrolled are: none yet", *plan, "--leaves", "*")
    consilium("server", "enrol", "home", *REQUESTS, *plan)
    refuses(r"'est' is no hospital of this federation; enrolled are: north, south, west", "--revoke", "est")
    refuses(r"west either leaves or is revoked", "--revoke", "west", "--leaves", "west")
    refuses(r"north cannot be enrolled and removed by one command", REQUESTS[0], "--revoke", "north")
    Path("bad.toml").write_text("[federation]\n")
    refuses(r"bad\.toml: ", "--plan", "bad.toml")


def test_files_that_belong_to_the_coordinator_and_are_damaged(consilium: Command, refuses: Callable[..., None]) -> None:
    those = found(consilium, *NAMES)
    for name in ("home/sites/north.request.json", "home/roster.json", "home/proposal.json", "home/keys/authority.key"):
        path, whole = Path(name), Path(name).read_bytes()
        path.write_bytes(b"damaged")
        refuses(name.replace(".", r"\."))
        path.write_bytes(whole)
    Path("home/sites/south.request.json").write_bytes(Path("home/sites/north.request.json").read_bytes())
    refuses(r"south\.request\.json: is the request of 'north', but its name says 'south'")
    those["south"].request("home/sites/south.request.json")
    Path("home/keys/authority.key").chmod(0o644)
    refuses(r"authority\.key: has mode 644, but only its owner may read it")


def test_what_collect_refuses(consilium: Command) -> None:
    init(consilium)
    with pytest.raises(ConsiliumError, match=r"home/proposal\.json: no such file; `consilium server enrol"):
        consilium("server", "collect", "home", "north.signature.json")
    those = hospitals(*NAMES)
    enrol(consilium, *those.values(), more=("--plan", write_plan()))
    those["north"].sign("home/proposal.json")
    with pytest.raises(ConsiliumError, match="leave --out and --previous out"):
        consilium("server", "collect", "home", "north.signature.json", "--out", "x.json")
    with pytest.raises(ConsiliumError, match="is no folder of a coordinator, so --out has to say where to write"):
        consilium("server", "collect", "home/proposal.json", "north.signature.json")
    before = tree()
    Hospital("north").sign("home/proposal.json")
    with pytest.raises(ConsiliumError, match="was not made with the key of north"):
        consilium("server", "collect", "home", "north.signature.json")
    assert tree() == before
