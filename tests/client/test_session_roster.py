"""A site whose operator accepts another roster goes on with it as it runs; an edited policy still waits for a start."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from client.config import load_site
from client.secure.keys import (
    KEY,
    NEXT,
    accept_roster,
    approve_roster,
    enrol_card,
    load_signing_key,
    renew_keys,
    sign_roster,
)
from client.sessions import close_sessions
from common.errors import TooFewSites
from common.files import replace_file
from common.secagg import roster
from server.secure_state import CoordinatorKeys
from tests.secure import Federation, build

LEAVES = "west"


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    """Four sites that have just made a sum."""
    federation = build(tmp_path, 4, aggregation={"min_sites": 3})
    with federation.sums() as sums:
        assert LEAVES in federation.collect(sums).sites
    yield federation
    close_sessions()


def _without_one(federation: Federation) -> Federation:
    """The others sign and accept a roster in which one is left out."""
    first, others = federation.keys.roster, {n: p for n, p in federation.sites.items() if n != LEAVES}
    configs = [load_site(path) for path in others.values()]
    rules = {"federation": first.federation, "coordinator": first.coordinator, "colluding": first.colluding}
    signed = roster.propose([enrol_card(config) for config in configs], **rules, previous=first)
    for config in configs:
        approve_roster(config, signed.roster)
        signed = roster.add_signature(signed, sign_roster(config, signed), previous=first)
    for config in configs:
        accept_roster(config, signed)
    return replace(federation, sites=others, keys=CoordinatorKeys(federation.keys.key, signed.roster))


def test_the_next_sum_is_made_under_the_roster_that_was_accepted(federation: Federation) -> None:
    others = _without_one(federation)
    with others.sums() as sums:
        assert set(others.collect(sums, shift=0.01).sites) == set(others.sites)


def test_nothing_begins_anew_while_the_roster_stays(federation: Federation) -> None:
    warm = federation.session("south")
    _ = warm.secure
    assert federation.session("south") is warm
    _without_one(federation)
    assert federation.session("south") is not warm and federation.session(LEAVES) is federation.session(LEAVES)


def test_an_edited_policy_is_not_taken_in_with_the_roster(federation: Federation) -> None:
    policy = load_site(federation.sites["south"]).policy
    policy.write_text(policy.read_text() + "\n")
    others = _without_one(federation)
    with pytest.raises(TooFewSites, match=r": policy_changed\)"), others.sums():
        pass


def test_an_edited_list_of_objections_is_not_taken_in_with_the_roster(federation: Federation, tmp_path: Path) -> None:
    listed = tmp_path / "objections.txt"
    listed.write_text("nobody")
    site = federation.sites["south"]
    site.write_text(site.read_text().replace("[data]\n", f'[data]\nexclude_patients = "{listed}"\n'))
    with federation.sums() as sums:
        federation.collect(sums, shift=0.01)
    listed.write_text("half a li")
    others = _without_one(federation)
    with pytest.raises(TooFewSites, match=r"south: policy_changed\)"), others.sums():
        pass


def test_an_edited_policy_is_not_taken_in_with_edited_settings(federation: Federation) -> None:
    site, others = federation.sites["south"], {name: path for name, path in federation.sites.items() if name != LEAVES}
    policy = load_site(site).policy
    policy.write_text(policy.read_text() + "\n")
    site.write_text(site.read_text().replace("[data]\n", '[data]\nencoding = "latin-1"\n'))
    with pytest.raises(TooFewSites, match=r": policy_changed\)"), replace(federation, sites=others).sums():
        pass


def test_a_key_that_is_renewed_after_its_roster_is_taken_in(federation: Federation) -> None:
    """As where the operator's `accept` is killed between the two, and typed again."""
    warm = federation.session("south")
    _ = warm.secure
    config = load_site(federation.sites["south"])
    renew_keys(config, os.urandom)
    replace_file(config.keys / NEXT, config.keys / KEY)
    again = federation.session("south")
    assert again is not warm and again.signing_key.verify_key == load_signing_key(config).verify_key
