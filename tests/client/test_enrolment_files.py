"""What a slip of the hand at enrolment must not cost: private keys, an earlier approval, a roster that is needed."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from client.secure import keys
from common.errors import ConsiliumError, Refusal
from tests.client.conftest import SITES, Command, digits, found, propose, sign, site, tree

PRECIOUS = [
    "coordinator.key",
    "south/keys/signing.key",
    "north/keys/signing.key",
    "north/site.toml",
    "north/keys/roster.json",
]


def _commands(out: str) -> dict[str, list[str]]:
    return {
        "init": ["site", "init", "north", "--out", out],
        "sign": ["site", "sign", "north", "proposal.json", "--approve", digits("proposal.json"), "--out", out],
        "roster": ["server", "roster", *(f"{n}.card.json" for n in SITES), "--federation", "stroke", "--out", out],
        "collect": ["server", "collect", "proposal.json", "north.signature.json", "--out", out],
    }


@pytest.mark.parametrize("out", [*PRECIOUS, "south.card.json", "south.signature.json", "proposal.json"])
@pytest.mark.parametrize("command", ["init", "sign", "roster", "collect"])
def test_out_replaces_only_a_file_of_the_same_kind(command: str, out: str, consilium: Command) -> None:
    propose(consilium, *SITES)
    sign(consilium, *SITES)
    same = {"init": "south.card.json", "sign": "south.signature.json"}.get(command, "proposal.json") == out
    before = tree(".")
    if same:
        consilium(*_commands(out)[command])
        return
    with pytest.raises(
        ConsiliumError, match=r"exists and holds something else than|keys only|private key belongs|folder of keys"
    ):
        consilium(*_commands(out)[command])
    assert tree(".") == before


@pytest.mark.parametrize("command", ["init", "sign"])
def test_nothing_is_written_among_the_keys(command: str, consilium: Command) -> None:
    propose(consilium, *SITES)
    before = tree(".")
    with pytest.raises(ConsiliumError, match=r"north/\.\./north/keys/next\.key: is inside .*, choose|keys only"):
        consilium(*_commands("north/../north/keys/next.key")[command])
    assert tree(".") == before
    with pytest.raises(ConsiliumError, match="keys only"):
        consilium("site", "init", "east", "--out", "east/keys/signing.key")
    assert not Path("east/keys").exists()


def test_the_place_of_the_key_and_the_roster_before_are_not_for_a_proposal(consilium: Command) -> None:
    found(consilium, *SITES)
    before = tree(".")
    cards = [f"{name}.card.json" for name in SITES]
    options = ("server", "roster", *cards, "--federation", "stroke")
    with pytest.raises(ConsiliumError, match=r"new\.key: is where the coordinator's private key belongs"):
        consilium(*options, "--key", "new.key", "--out", "./new.key")
    with pytest.raises(ConsiliumError, match=r"one\.json: is the roster before, which is still needed"):
        consilium(*options, "--previous", "one.json", "--out", "one.json")
    assert tree(".") == before


def test_two_cards_of_one_site_are_named(consilium: Command) -> None:
    propose(consilium, *SITES)
    Path("copy.json").write_bytes(Path("north.card.json").read_bytes())
    cards = ["north.card.json", "south.card.json", "west.card.json", "copy.json"]
    with pytest.raises(ConsiliumError, match=r"north\.card\.json and copy\.json are both cards of 'north'"):
        consilium("server", "roster", *cards, "--federation", "stroke", "--out", "two.json")
    with pytest.raises(
        ConsiliumError, match=r"proposal\.json: 'message' is .*, but this file has to hold a site's card"
    ):
        consilium("server", "roster", *cards[:2], "proposal.json", "--federation", "stroke", "--out", "two.json")


@pytest.mark.parametrize("command", ["init", "sign", "accept", "roster"])
def test_a_folder_of_keys_that_may_not_be_entered(
    command: str, consilium: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    propose(consilium, *SITES)
    look = os.stat

    def closed(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if "keys/" in os.fspath(path):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return look(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", closed)
    more = ["proposal.json"] if command in {"sign", "accept"} else []
    with pytest.raises(ConsiliumError, match=r"keys/\w+\.\w+: cannot be reached: Permission denied"):
        consilium("site", command, "north", *more)


def test_an_earlier_approval_survives_a_roster_that_cannot_be_signed(consilium: Command) -> None:
    found(consilium, *SITES)
    propose(consilium, *SITES, out="two.json", previous="one.json")
    propose(consilium, *SITES, "east", out="rival.json", previous="one.json")
    sign(consilium, "north", roster="two.json")
    before = tree("north")
    with pytest.raises(Refusal) as caught:
        sign(consilium, "north", roster="rival.json")
    assert caught.value.code == "roster_rival" and tree("north") == before
    with pytest.raises(Refusal) as caught:
        consilium("site", "accept", "north", "rival.json", "--approve", digits("rival.json"))
    assert caught.value.code == "roster_quorum" and tree("north") == before
    (site("north").keys / keys.APPROVED).write_bytes(b"damaged")
    before = tree("north")
    with pytest.raises(ConsiliumError, match=r"approved\.json: not JSON text"):
        consilium("site", "sign", "north", "two.json", typed="")  # before anybody is asked
    assert tree("north") == before


def test_a_refusal_says_what_to_do(consilium: Command) -> None:
    found(consilium, *SITES)
    propose(consilium, *SITES, "east", out="two.json", previous="one.json")
    signatures = sign(consilium, *SITES, roster="two.json")
    consilium("server", "collect", "two.json", *signatures, "--previous", "one.json", "--out", "two.json")
    with pytest.raises(ConsiliumError, match="east has accepted no roster yet: to join with number 2, add --previous"):
        consilium("site", "accept", "east", "two.json")
    with pytest.raises(ConsiliumError, match="Not approved, not accepted"):
        consilium("site", "accept", "east", "two.json", "--previous", "one.json", typed="123\n")
    for name in SITES:
        consilium("site", "accept", name, "two.json")
    propose(consilium, *SITES, "east", out="three.json", previous="two.json")
    with pytest.raises(Refusal, match="number 1, not 3, so it is older than the one accepted here"):
        consilium("site", "accept", "north", "one.json", "--approve", digits("one.json"))
