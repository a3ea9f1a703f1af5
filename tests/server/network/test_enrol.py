"""`consilium server enrol` and `collect HOME`: from requests to a roster in use, with later hospitals and plans."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from common.network.certificates import check_certificate
from common.network.documents import Invitation
from common.plan import plan_from_canonical
from common.secagg.json_view import from_json
from common.secagg.messages import SignedRoster
from common.secagg.roster import card_fingerprint, roster_hash
from server.network.enrol import Asked
from server.network.enrol import enrol as enrol_one
from server.network.home import load_home
from tests.server.network.conftest import NAMES, Command, collect, enrol, found, hospitals, init, now, tree, write_plan


def _roster(path: str) -> SignedRoster:
    return from_json(SignedRoster, Path(path).read_bytes(), source=path)


def _invitation(site: str) -> Invitation:
    path = f"home/invitations/{site}.invitation.json"
    return Invitation.from_bytes(Path(path).read_bytes(), source=path)


def _in(content: dict[str, Any] | None) -> SignedRoster:
    return from_json(SignedRoster, json.dumps(content).encode(), source="invitation")


def _in_map() -> list[str]:
    return [line.split()[-1].rstrip(";") for line in Path("home/gateway/sites.map").read_text().splitlines()]


def test_the_gateway_admits_a_hospital_before_a_roster_holds_it_and_the_command_says_so(consilium: Command) -> None:
    init(consilium)
    said = enrol(consilium, *hospitals(*NAMES).values(), more=("--plan", write_plan()))
    assert _in_map() == list(NAMES) and not Path("home/roster.json").exists()
    assert said.count("Its invitation lets it connect at once; for secure sums a signed roster has to hold it.") == 3


def test_three_requests_become_invitations_that_hold_what_each_hospital_needs(consilium: Command) -> None:
    init(consilium)
    those, plan = hospitals(*NAMES), write_plan()
    said = enrol(consilium, *those.values(), more=("--plan", plan))
    authority = Path("home/certificates/authority.crt").read_bytes()
    proposal = json.loads(Path("home/proposal.json").read_text())
    for name, hospital in those.items():
        invitation = _invitation(name)
        assert (invitation.site, invitation.federation, invitation.address) == (name, "stroke", "127.0.0.1:19443")
        assert invitation.authority.encode() == authority and invitation.roster == proposal
        assert invitation.previous is None and json.dumps(invitation.plan, sort_keys=True, separators=(",", ":"))
        check_certificate(
            invitation.certificate.encode(), authority_pem=authority, key_pem=hospital.tls, site=name, now=now()
        )
        assert card_fingerprint(name, hospital.signing.verify_key) in said
        assert f"home/invitations/{name}.invitation.json" in said
    assert plan_from_canonical(Path("home/plan.json").read_bytes(), source="plan").training.rounds == 3
    assert _in_map() == list(NAMES) and "consilium server collect home" in said
    secret = [path.read_bytes()[40:90] for path in Path("home/keys").iterdir()]
    shared = [data for name, data in tree().items() if "/invitations/" in name]
    assert not any(part in data for part in secret if part for data in shared)


def test_the_command_given_again_changes_nothing(consilium: Command) -> None:
    init(consilium)
    those, plan = hospitals(*NAMES), write_plan()
    enrol(consilium, *those.values(), more=("--plan", plan))
    before = tree()
    for arguments in (["--plan", plan], [], [*(f"{n}.request.json" for n in NAMES)]):
        assert "No invitation has changed" in consilium("server", "enrol", "home", *arguments)
        assert tree() == before
    enrol(consilium, *those.values())  # the same keys, signed anew: another file, no other request
    assert tree() == before


def test_requests_that_come_one_by_one_are_kept(consilium: Command) -> None:
    init(consilium)
    those, plan = hospitals(*NAMES), write_plan()
    first = enrol(consilium, those["north"], more=("--plan", plan))
    assert "1 hospital(s) enrolled, a roster of this plan takes 3: no roster is proposed yet" in first
    enrol(consilium, those["south"])
    assert not Path("home/proposal.json").exists() and not Path("home/invitations").exists()
    enrol(consilium, those["west"])
    assert _roster("home/proposal.json").roster.sites == NAMES


def test_signatures_come_one_by_one_and_then_the_roster_is_in_use(consilium: Command) -> None:
    init(consilium)
    those = hospitals(*NAMES)
    enrol(consilium, *those.values(), more=("--plan", write_plan()))
    assert "not enough: south, west have not signed" in collect(consilium, those["north"])
    assert not Path("home/roster.json").exists()
    assert "not enough: west has not signed" in collect(consilium, those["south"])
    said = collect(consilium, those["west"])
    assert "Roster 1 is signed by north, south, west" in said and "consilium server serve home" in said
    assert _roster("home/roster.json").signers == NAMES
    before = tree()
    collect(consilium, those["west"])
    assert tree() == before
    said = consilium("server", "enrol", "home")
    assert "Roster 1 stays in use" in said and "No invitation has changed" in said and tree() == before


def test_a_hospital_joins_in_the_middle_of_a_study(consilium: Command) -> None:
    those = found(consilium, *NAMES)
    first = _roster("home/roster.json")
    those |= hospitals("east")
    said = enrol(consilium, those["east"])
    assert "east joins." in said and "north, south, west: `consilium site sign`" in said
    two = _roster("home/proposal.json").roster
    assert (two.number, two.previous, two.sites) == (2, roster_hash(first.roster), ("east", *NAMES))
    invitation = _invitation("east")
    assert _in(invitation.previous).roster == first.roster
    assert _roster("home/roster.json") == first  # in use until the second is signed
    said = collect(consilium, *(those[name] for name in NAMES))
    assert "site accept" in said and "east, new here, with --previous previous.json" in said
    assert _roster("home/roster.json").roster == two and _roster("home/rosters/roster-1.json") == first
    consilium("server", "enrol", "home")
    assert _invitation("east") == invitation
    collect(consilium, those["north"])  # again, when it is in use already
    assert _roster("home/roster.json").roster == two


def test_a_hospital_that_leaves_does_not_pass_at_once_and_the_others_sign(consilium: Command) -> None:
    those = found(consilium, *NAMES, "east")
    said = consilium("server", "enrol", "home", "--leaves", "east")
    assert "east leaves" in said and _in_map() == list(NAMES)
    assert not Path("home/sites/east.crt").exists() and not Path("home/invitations/east.invitation.json").exists()
    assert _roster("home/proposal.json").roster.sites == NAMES
    before = tree()
    consilium("server", "enrol", "home", "--leaves", "east")
    assert tree() == before
    collect(consilium, *(those[name] for name in NAMES))
    assert _roster("home/roster.json").roster.sites == NAMES
    said = enrol(consilium, those["east"])  # it left in peace, and may come back with the keys that it had
    assert "east joins." in said and "east" in _in_map()


def test_too_few_are_left_when_one_is_revoked(consilium: Command) -> None:
    those = found(consilium, *NAMES)
    said = consilium("server", "enrol", "home", "--revoke", "west")
    assert "west is revoked" in said and "2 hospital(s) enrolled, a roster of this plan takes 3" in said
    assert _in_map() == ["north", "south"] and _roster("home/proposal.json").roster.number == 1
    assert "error" in consilium("server", "doctor", "home", status=1)
    those |= hospitals("east")
    enrol(consilium, those["east"])
    assert _roster("home/proposal.json").roster.sites == ("east", "north", "south")


def test_one_is_revoked_before_the_first_roster_is_signed(consilium: Command) -> None:
    init(consilium)
    those = hospitals(*NAMES, "east")
    enrol(consilium, *those.values(), more=("--plan", write_plan()))
    collect(consilium, those["north"])
    said = consilium("server", "enrol", "home", "--revoke", "east")
    assert "Roster 1 that was proposed is void" in said and "roster_rival" in said
    fresh = _roster("home/proposal.json")
    assert fresh.roster.sites == NAMES and fresh.signers == ()
    said = consilium("server", "enrol", "home", "--revoke", "west")
    assert "2 hospital(s) enrolled" in said and not Path("home/proposal.json").exists()
    assert list(Path("home/invitations").iterdir()) == []


def test_another_plan_after_the_invitations(consilium: Command) -> None:
    found(consilium, *NAMES)
    roster, certificate = Path("home/roster.json").read_bytes(), Path("home/sites/north.crt").read_bytes()
    said = consilium("server", "enrol", "home", "--plan", write_plan(rounds=7))
    assert "The plan is another one now" in said and "cannot be resumed" in said and "site approve" in said
    assert _invitation("north").plan["training"]["rounds"] == 7
    assert Path("home/roster.json").read_bytes() == roster
    assert Path("home/sites/north.crt").read_bytes() == certificate
    assert "Roster 1 stays in use" in said and "consilium site join" in said


def test_a_plan_with_other_rules_needs_another_roster(consilium: Command) -> None:
    found(consilium, *NAMES, "east", "harbour")
    assert _roster("home/roster.json").roster.colluding == 0
    said = consilium("server", "enrol", "home", "--plan", write_plan(colluding_sites=1, min_sites=4, min_task_sites=3))
    proposal = _roster("home/proposal.json").roster
    assert (proposal.number, proposal.colluding, proposal.min_cohort) == (2, 1, 4)
    assert "f was 0 and is now 1" in said


def test_a_renewed_signing_key_needs_no_word_of_the_operator(consilium: Command) -> None:
    those = found(consilium, *NAMES)
    north = those["north"]
    north.old, north.signing = north.signing, hospitals("north")["north"].signing
    said = enrol(consilium, north)
    assert "north has a new signing key, which its old one has signed" in said
    assert _roster("home/proposal.json").renewed == ("north",)
    collect(consilium, *those.values())
    assert north.signing.verify_key in _roster("home/roster.json").roster.keys


def test_what_the_hospitals_agreed_on_stays_while_the_plan_allows_it(consilium: Command) -> None:
    init(consilium)
    those = hospitals(*NAMES, "east", "harbour")
    enrol(consilium, *those.values(), more=("--plan", write_plan(min_sites=4), "--min-sites", 3))
    collect(consilium, *those.values())
    assert _roster("home/roster.json").roster.min_cohort == 3
    for plan in (write_plan(min_sites=4), write_plan(min_sites=5)):
        assert "Roster 1 stays in use" in consilium("server", "enrol", "home", "--plan", plan)
    said = consilium("server", "enrol", "home", "--min-sites", 4)
    assert "m was 3 and is now 4" in said


def test_commands_given_at_once_wait_for_each_other(consilium: Command) -> None:
    init(consilium)
    those = hospitals(*NAMES, "east")
    enrol(consilium, those["north"], more=("--plan", write_plan(min_sites=4)))
    home, requests = load_home(Path("home")), [Path(each.request()) for each in those.values()]
    with ThreadPoolExecutor(4) as several:
        list(several.map(lambda path: enrol_one(home, Asked(requests=[path]), now=now()), requests))
    assert home.site_names() == tuple(sorted(those)) == _roster("home/proposal.json").roster.sites


@pytest.mark.parametrize("kept", [True, False], ids=["a valid certificate", "one that is damaged"])
def test_only_a_certificate_that_is_no_good_is_issued_again(kept: bool, consilium: Command) -> None:
    found(consilium, *NAMES)
    path = Path("home/sites/north.crt")
    before = path.read_bytes()
    if not kept:
        path.write_bytes(before[:200])
    said = consilium("server", "enrol", "home")
    assert (path.read_bytes() == before) == kept == ("New certificates" not in said)
    assert _invitation("north").certificate == path.read_text()
