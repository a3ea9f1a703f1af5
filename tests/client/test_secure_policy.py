"""Which sums a site takes part in: the approved plan and the site's own rules, whichever asks for more."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client.config import load_site
from client.policy.policy import SIMULATED, write_policy
from client.secure.answers import SecureSite
from client.session import Session
from client.sessions import close_sessions
from common.contribution import Contribution
from common.errors import Refusal
from common.secagg.encoding import decode
from common.secagg.messages import SignedHeader
from tests.secure import Federation, Wire, build

# What a round is refused for -> a rule that is stricter than the plan of a federation of four.
STRICTER = {
    "cohort_too_small": {"min_cohort": 5},
    "collusion_not_tolerated": {"colluding_sites": 1},
    "blocked_peer": {"blocked": ["west"]},
}


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    yield build(tmp_path, 4)
    close_sessions()


@contextmanager
def _site(federation: Federation, **secure_rules: object) -> Iterator[SecureSite]:
    """`south` under these rules of its own, which stay."""
    config = load_site(federation.sites["south"])
    write_policy(config.policy, SIMULATED | {"secure": secure_rules})
    session = Session(config, federation.plan)
    yield session.secure
    session.close()


@pytest.mark.parametrize(("min_sites", "own", "least"), [(2, 3, 3), (4, 3, 4), (3, 4, 4)])
def test_a_site_demands_what_its_plan_and_its_own_rules_ask_for(
    min_sites: int, own: int, least: int, tmp_path: Path
) -> None:
    federation = build(tmp_path, 4, aggregation={"min_sites": min_sites})
    with _site(federation, min_cohort=own, blocked=["elsewhere"]) as site:
        assert (site.party.policy.min_cohort, site.party.policy.blocked) == (least, ("elsewhere",))


@pytest.mark.parametrize("code", STRICTER)
def test_the_sites_own_policy_counts_in_every_round(code: str, federation: Federation) -> None:
    """Even for the header of a round that was answered before the policy was made stricter."""
    wire = Wire()
    with federation.sums(wire) as sums:
        federation.collect(sums)
    (data,) = {m.content["header"]["protocol"] for _, m, _ in wire.sent if m.metadata.message_type == "train"}
    asked, header = Contribution(federation.plan, "train"), decode(SignedHeader, data).header
    with _site(federation) as site:
        assert site.begin(data, asked, training_round=1, model=header.model, subject=header.subject).stored
    with _site(federation, **STRICTER[code]) as site, pytest.raises(Refusal) as refused:
        site.begin(data, asked, training_round=1, model=header.model, subject=header.subject)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("rule", "who", "code"),
    [
        ("cohort_too_small", "south", "cohort_below_policy"),  # it tells no name: the roster does
        ("collusion_not_tolerated", "south", "collusion_below_policy"),
        ("blocked_peer", "south", "blocked_peer"),
    ],
)
def test_a_run_goes_on_without_a_site_whose_policy_refuses_it(rule, who, code, federation: Federation) -> None:
    with _site(federation, **STRICTER[rule]):
        pass
    federation.run()
    events = [json.loads(line) for line in (federation.out / "events.jsonl").read_text().splitlines()]
    failed = {(event["site"], event["code"]) for event in events if event["event"] == "site_failed"}
    assert failed == {(who, code)}
