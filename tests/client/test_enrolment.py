"""Enrolment from keys to an accepted roster; a successor, a rival, a lost and a renewed key."""

from dataclasses import replace
from pathlib import Path

import pytest

from client.secure import keys
from common.errors import ConsiliumError, Refusal
from common.secagg.json_view import to_json
from tests.client.conftest import SITES, Command, digits, found, propose, read, sign, site, tree


def test_three_sites_from_keys_to_an_accepted_roster(consilium: Command) -> None:
    told = {name: consilium("site", "init", name).splitlines()[-1].strip() for name in SITES}
    proposed = propose(consilium, *SITES)
    assert all(told[name] in proposed for name in SITES)  # the coordinator reads the digits that the site read
    assert "Two colluding hospitals always learn the third." in proposed
    seen = consilium("site", "sign", "north", "proposal.json", typed=digits("proposal.json") + "\n")
    assert all(told[name] in seen for name in SITES) and "all 3 hospitals are new" in seen
    first = consilium("server", "collect", "proposal.json", "north.signature.json", "--out", "one.json")
    assert "not enough yet. south, west have not signed." in first
    others = sign(consilium, "south", "west")
    assert "every site can accept it" in consilium("server", "collect", "one.json", *others, "--out", "one.json")
    for name in SITES:
        consilium("site", "accept", name, "one.json")
        assert keys.load_roster(site(name)) == read("one.json")
        assert digits("one.json") in consilium("site", "roster", name)
        assert keys.load_signing_key(site(name)).verify_key in read("one.json").roster.keys
    accepted = tree("north")
    consilium("site", "accept", "north", "one.json")
    assert tree("north") == accepted


def test_private_keys_are_in_their_own_files_only(consilium: Command) -> None:
    found(consilium, *SITES)
    homes = {Path("coordinator.key")} | {Path(name, "keys", "signing.key") for name in SITES}
    secrets = {path: path.read_bytes() for path in homes}
    raw = {keys.load_signing_key(site(name)).private_bytes for name in SITES}
    assert len(raw) == 3
    for path in (path for path in Path().rglob("*") if path.is_file() and path not in homes):
        content = path.read_bytes()
        for private in raw:
            assert private not in content and private.hex().encode() not in content, path
        for stored in secrets.values():
            assert stored[30:70] not in content, path
    assert {path.stat().st_mode & 0o777 for path in homes} == {0o600}


def test_init_again_keeps_the_key_and_make_keys_refuses(consilium: Command) -> None:
    consilium("site", "init", "north")
    before, card = tree("north"), Path("north.card.json").read_bytes()
    consilium("site", "init", "north", "--out", "again.json")
    assert tree("north") == before and Path("again.json").read_bytes() == card
    propose(consilium, *SITES)
    for _ in ("before", "after signing"):
        before = tree("north")
        with pytest.raises(ConsiliumError, match=r"signing\.key: exists already; a key is never overwritten"):
            keys.make_keys(site("north"), lambda size: bytes(size))
        assert tree("north") == before
        sign(consilium, "north")


def test_a_new_key_does_not_inherit_or_erase_what_a_lost_one_signed(consilium: Command) -> None:
    propose(consilium, *SITES)
    sign(consilium, "north")
    (site("north").keys / keys.KEY).unlink()
    memory = tree("north")
    with pytest.raises(ConsiliumError, match=r"keys: belongs to a key that is not there"):
        consilium("site", "init", "north")
    assert tree("north") == memory


def test_a_site_joins_with_a_second_roster_and_another_leaves(consilium: Command) -> None:
    found(consilium, *SITES, "east")
    told = propose(consilium, *SITES, "harbour", out="two.json", previous="one.json")
    assert "harbour joins." in told and "east leaves." in told
    signatures = sign(consilium, *SITES, roster="two.json")
    collect = ("server", "collect", "two.json", *signatures, "--out", "signed.json")
    with pytest.raises(ConsiliumError, match=r"two\.json: roster 2 needs the roster before it: --previous ROSTER"):
        consilium(*collect)
    assert "every site can accept it" in consilium(*collect, "--previous", "one.json")
    with pytest.raises(ConsiliumError, match="harbour has accepted no roster yet"):
        sign(consilium, "harbour", roster="two.json")
    with pytest.raises(ConsiliumError, match="harbour has accepted no roster yet"):
        consilium("site", "accept", "harbour", "signed.json")
    approve = ("--approve", digits("signed.json"))
    content = read("one.json")
    escapes = replace(content, roster=replace(content.roster, sites=("\x1b[2Jeast", *content.roster.sites[1:])))
    Path("escapes.json").write_bytes(to_json(escapes))
    with pytest.raises(Refusal, match=r"names are of lower-case letters"):
        consilium("site", "accept", "harbour", "signed.json", "--previous", "escapes.json", *approve)
    consilium("site", "accept", "harbour", "signed.json", "--previous", "one.json", *approve)
    for name in SITES:
        consilium("site", "accept", name, "signed.json")
    with pytest.raises(Refusal, match=r"signed\.json: .* \[roster_own_key\]"):
        consilium("site", "accept", "east", "signed.json", *approve)
    with pytest.raises(ConsiliumError, match="south has a roster; --previous is for a site that joins"):
        consilium("site", "accept", "south", "signed.json", "--previous", "one.json")
    Path("coordinator.key").unlink()
    with pytest.raises(ConsiliumError, match=r"coordinator\.key: cannot be read: No such file"):
        propose(consilium, *SITES, "harbour", out="three.json", previous="signed.json")
    with pytest.raises(Refusal, match=r"\[roster_number\]"):
        consilium("site", "accept", "north", "one.json", "--approve", digits("one.json"))


def test_a_key_is_renewed_and_its_owner_changes_over_when_it_accepts(
    consilium: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    found(consilium, *SITES)
    old = keys.load_signing_key(site("north")).verify_key
    consilium("site", "init", "north", "--renew")
    assert keys.load_signing_key(site("north")).verify_key == old
    told = propose(consilium, *SITES, out="two.json", previous="one.json")
    assert "north has a new key, signed with its old one." in told
    signatures = sign(consilium, *SITES, roster="two.json")
    consilium("server", "collect", "two.json", *signatures, "--previous", "one.json", "--out", "two.json")
    with monkeypatch.context() as power_cut:
        power_cut.setattr(keys, "replace_file", _stop)
        with pytest.raises(KeyboardInterrupt):
            keys.accept_roster(site("north"), read("two.json"))
    for name in SITES:
        consilium("site", "accept", name, "two.json")
    assert keys.load_signing_key(site("north")).verify_key == read("two.json").roster.keys[0] != old
    assert not (site("north").keys / keys.NEXT).exists()


def test_a_site_that_lost_its_key_cannot_come_back_under_its_name_at_once(consilium: Command) -> None:
    found(consilium, *SITES, "east")
    (site("north").keys / keys.KEY).unlink()
    with pytest.raises(ConsiliumError, match=r"signing\.key: no such file; `consilium site init` makes the key"):
        keys.load_signing_key(site("north"))
    with pytest.raises(ConsiliumError, match=r"keys: belongs to a key that is not there; put signing\.key back"):
        consilium("site", "init", "north")
    site("north").keys.rename("lost")
    with pytest.raises(ConsiliumError, match="The card of north has a new key that its old key has not signed"):
        propose(consilium, *SITES, "east", out="two.json", previous="one.json")
    assert "north leaves." in propose(consilium, "south", "west", "east", out="two.json", previous="one.json")


def test_a_rival_is_not_signed_not_even_after_a_restart(consilium: Command) -> None:
    found(consilium, *SITES)
    propose(consilium, *SITES, out="two.json", previous="one.json")
    propose(consilium, *SITES, "east", out="rival.json", previous="one.json")
    (first,) = sign(consilium, "north", roster="two.json")
    signature = Path(first).read_bytes()
    Path(first).unlink()
    with pytest.raises(Refusal) as caught:
        sign(consilium, "north", roster="rival.json")  # every command is a new start from the files
    assert caught.value.code == "roster_rival" and not Path(first).exists()
    sign(consilium, "north", roster="two.json")
    assert Path(first).read_bytes() == signature
    (site("north").keys / keys.APPROVED).unlink()
    with pytest.raises(ConsiliumError, match=r"approved\.json: missing, so nobody knows what this site has signed"):
        sign(consilium, "north", roster="rival.json")


def _stop(*_: object) -> None:
    raise KeyboardInterrupt
