"""What enrolment refuses: wrong digits, a stricter policy, open permissions, damaged files."""

import json
from pathlib import Path

import pytest

from client.secure import keys
from common.errors import ConsiliumError, Refusal
from tests.client.conftest import SITES, Command, digits, make_site, propose, read, sign, site, tree


def _damage(path: str, key: str, value: object) -> None:
    content = json.loads(Path(path).read_bytes())
    inside = content["roster"] if key in content.get("roster", ()) else content
    inside[key] = value
    Path(path).write_text(json.dumps(content))


def test_a_site_accepts_only_what_its_operator_approved(consilium: Command) -> None:
    propose(consilium, *SITES)
    signatures = sign(consilium, *SITES)
    consilium("server", "collect", "proposal.json", *signatures, "--out", "one.json")
    propose(consilium, *SITES, f=1, out="other.json")
    keys.approve_roster(site("north"), read("other.json").roster)
    with pytest.raises(Refusal) as caught:
        keys.accept_roster(site("north"), read("one.json"))
    assert caught.value.code == "roster_not_approved"
    with pytest.raises(Refusal) as caught:
        keys.sign_roster(site("north"), read("proposal.json"))
    assert caught.value.code == "roster_not_approved"
    with pytest.raises(ConsiliumError, match="Not approved"):
        consilium("site", "accept", "north", "one.json")
    assert keys.load_roster(site("north")) is None


@pytest.mark.parametrize("wrong", ["", "12345", "00000 00000", "short"])
@pytest.mark.parametrize("way", ["typed", "option"])
def test_wrong_digits_sign_nothing(wrong: str, way: str, consilium: Command) -> None:
    propose(consilium, *SITES)
    right, memory = digits("proposal.json"), tree("north")
    given = {"short": right[:-1]}.get(wrong, wrong)
    arguments = ("site", "sign", "north", "proposal.json", *(["--approve", given] if way == "option" else []))
    with pytest.raises(ConsiliumError, match="Not approved"):
        consilium(*arguments, typed=f"{given}\n")
    assert tree("north") == memory and not Path("north.signature.json").exists()


def test_the_sites_own_policy_counts(consilium: Command) -> None:
    propose(consilium, *SITES)
    make_site("north", colluding_sites=1)
    with pytest.raises(
        Refusal, match=r"proposal\.json: f = 0, this site asks for at least 1\. \[roster_colluding_policy\]"
    ):
        sign(consilium, "north")
    make_site("south", min_cohort=4)
    with pytest.raises(Refusal, match=r"m = 3, this site asks for at least 4\. \[roster_cohort_policy\]"):
        sign(consilium, "south")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660])
def test_a_key_that_others_can_read_is_refused_with_what_mends_it(mode: int, consilium: Command) -> None:
    propose(consilium, *SITES)
    for path in (site("north").keys / keys.KEY, Path("coordinator.key")):
        path.chmod(mode)
    with pytest.raises(ConsiliumError, match=rf"has mode {mode:o}, but only its owner may read it: chmod 600 .*\.key"):
        sign(consilium, "north")
    with pytest.raises(ConsiliumError, match=r"chmod 600 coordinator\.key"):
        propose(consilium, "south", "west", "east")
    (site("north").keys / keys.KEY).chmod(0o600)
    sign(consilium, "north")


@pytest.mark.parametrize(
    ("path", "key", "value", "words"),
    [
        ("proposal.json", "threshold", "2", r"proposal\.json: 'roster\.threshold' is '2', but"),
        ("proposal.json", "threshold", 3, r"north\.signature\.json: the signature of north is for another roster"),
        ("north.signature.json", "site", "south", "the signature was not made with the key of south"),
        ("north.signature.json", "site", "east", "east was not in the roster before"),
        ("north.signature.json", "signature", "00", "the signature was not made with the key of north"),
        ("north.signature.json", "message", "EnrolCard", "this file has to hold a site's signature"),
    ],
)
def test_damaged_files_are_named(path: str, key: str, value: object, words: str, consilium: Command) -> None:
    propose(consilium, *SITES)
    sign(consilium, *SITES)
    _damage(path, key, value)
    collect = ("server", "collect", "proposal.json", *(f"{name}.signature.json" for name in SITES), "--out", "one.json")
    with pytest.raises(ConsiliumError, match=words):
        consilium(*collect)
    assert not Path("one.json").exists()


@pytest.mark.parametrize("signatures", [[], ["00"], ["00" * 64, "00" * 64]])
def test_signatures_collected_before_are_checked_again(signatures: list[str], consilium: Command) -> None:
    propose(consilium, *SITES)
    north, south, west = sign(consilium, *SITES)
    consilium("server", "collect", "proposal.json", north, "--out", "one.json")
    _damage("one.json", "signatures", signatures)
    collect = ("server", "collect", "one.json", south, west, "--out", "two.json")
    if signatures:
        with pytest.raises(ConsiliumError, match=r"one\.json: the signature was not made with the key of north"):
            consilium(*collect)
    else:
        assert "not enough yet. north has not signed." in consilium(*collect)


def test_damaged_keys_and_bare_tables_are_one_sentence(consilium: Command) -> None:
    propose(consilium, *SITES)
    (site("north").keys / keys.KEY).write_bytes(b"-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(ConsiliumError, match=r"signing\.key: not a private key in PEM form"):
        sign(consilium, "north")
    (site("south").keys / keys.APPROVED).write_bytes(b"{}")
    with pytest.raises(ConsiliumError, match=r"approved\.json: 'message' is None"):
        sign(consilium, "south")
    with pytest.raises(ConsiliumError, match="keys: no roster has been accepted yet"):
        consilium("site", "roster", "west")
    Path("north.csv").write_text("a\n1\n")
    with pytest.raises(ConsiliumError, match=r"north\.csv: a bare table cannot be enrolled"):
        consilium("site", "init", "north.csv")
    assert not list(Path().rglob("*.tmp"))
