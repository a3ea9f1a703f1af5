"""`consilium site join`: what is for this hospital is kept, everything else changes nothing; and what is left to do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.network.home import Home, load_connection
from client.network.progress import next_steps
from common.errors import ConsiliumError
from common.network.certificates import fingerprint
from common.secagg.json_view import from_json
from common.secagg.messages import SignedRoster
from common.secagg.roster import roster_fingerprint
from tests.client.network.conftest import NAMES, Command, invite, site, tree, write_plan

Change = Callable[[dict[str, Any]], None]


def altered(invitation: Path, change: Change) -> Path:
    content = json.loads(invitation.read_bytes())
    change(content)
    Path("altered.json").write_text(json.dumps(content))
    return Path("altered.json")


def test_an_invitation_is_kept_and_twice_is_harmless(consilium: Command) -> None:
    invitation = invite(consilium)["north"]
    said = consilium("site", "join", "north", invitation)
    home, content = Home.of(site()), json.loads(invitation.read_bytes())
    assert load_connection(home).address == "127.0.0.1:19743" and load_connection(home).federation == "stroke"
    assert home.authority.read_text() == content["authority"]
    assert home.plan.read_bytes() == Path("home/plan.json").read_bytes()
    assert home.proposal.read_bytes() == Path("home/proposal.json").read_bytes()
    assert site().plan == home.plan  # with no line in site.toml
    before = tree("north")
    again = consilium("site", "join", "north", invitation)
    assert tree("north") == before and "here already" in again and "Written: " in said


def test_every_command_names_the_next_until_nothing_is_left(consilium: Command) -> None:
    invitations = invite(consilium)
    assert "join" in next_steps(site())[-1]
    for name in NAMES:
        consilium("site", "join", name, invitations[name])
    assert [step.split()[2] for step in next_steps(site())] == ["sign", "accept", "review", "approve"]
    proposal = from_json(SignedRoster, Path("home/proposal.json").read_bytes(), source="proposal.json")
    for name in NAMES:
        consilium("site", "sign", name, f"{name}/proposal.json", "--approve", roster_fingerprint(proposal.roster))
    assert [step.split()[2] for step in next_steps(site())] == ["accept", "review", "approve"]
    consilium("server", "collect", "home", *(f"{name}.signature.json" for name in NAMES))
    consilium("site", "accept", "north", "home/roster.json")
    assert [step.split()[2] for step in next_steps(site())] == ["review", "approve"]
    consilium("site", "approve", "north", "north/plan.json", "--approve", write_plan()[:8])
    assert next_steps(site()) == []
    assert "Nothing is left to decide" in consilium("site", "join", "north", invitations["north"])


def _other_site(content: dict[str, Any]) -> None:
    content["site"] = "south"


def _other_certificate(content: dict[str, Any]) -> None:
    content["certificate"] = json.loads(Path("home/invitations/south.invitation.json").read_bytes())["certificate"]


def _unknown_plan(content: dict[str, Any]) -> None:
    content["plan"]["training"]["rounds"] = "many"


def _without_me(content: dict[str, Any]) -> None:
    content["roster"]["roster"]["sites"][0] = "aachen"


def _other_key(content: dict[str, Any]) -> None:
    content["roster"]["roster"]["keys"][0] = "00" * 32


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_other_site, r"altered\.json: is for 'south', but this is 'north'"),
        (_other_certificate, r"altered\.json, 'certificate': belongs to another key"),
        (_unknown_plan, r"altered\.json, 'plan': .*rounds"),
        (_without_me, r"altered\.json, 'roster': names aachen, south, west, but not this hospital"),
        (_other_key, r"altered\.json, 'roster': holds another signing key for north"),
    ],
)
def test_what_is_not_for_this_hospital_changes_nothing(consilium: Command, change: Change, words: str) -> None:
    invitation = altered(invite(consilium)["north"], change)
    before = tree("north")
    with pytest.raises(ConsiliumError, match=words):
        consilium("site", "join", "north", invitation)
    assert tree("north") == before


def test_another_authority_is_trusted_only_after_its_fingerprint_was_typed(consilium: Command) -> None:
    consilium("site", "join", "north", invite(consilium)["north"])
    before, second = tree("north"), invite(consilium, home="second", port=19753)["north"]
    with pytest.raises(ConsiliumError, match=r"authority\.crt: kept, nothing was changed: 'yes'"):
        consilium("site", "join", "north", second, typed="yes\n")
    with pytest.raises(ConsiliumError, match="Nothing was changed"):
        consilium("site", "join", "north", second)  # nobody types
    assert tree("north") == before
    digits = fingerprint(Path("second/certificates/authority.crt").read_bytes())
    consilium("site", "join", "north", second, "--approve", digits)
    assert load_connection(Home.of(site())).address == "127.0.0.1:19753"


def test_a_line_in_site_toml_wins_over_the_plan_beside_it(consilium: Command) -> None:
    invitation = invite(consilium)["north"]
    path = Path("north/site.toml")
    path.write_text(path.read_text().replace("[site]\n", '[site]\nplan = "mine.toml"\n'))
    said = consilium("site", "join", "north", invitation)
    assert site().plan == Path("north/mine.toml").absolute() and "take that line out" in said
