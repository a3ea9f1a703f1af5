"""A hospital whose data are unlike the others': who learns what, in whole runs, secure and in the open."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.comparison import CODE, UNLIKE
from client.config import find_sites
from client.ledger.file import LEDGER
from client.ledger.reading import read_bodies
from client.sessions import close_sessions
from common.associations import Associations
from common.errors import RunError
from common.plan import Plan
from experiments.simulate import simulate
from tests.messages import kind
from tests.secure import NAMES, Wire, build
from tests.server.unlike import ask_site, events, findings, silent, tables
from tests.wire import content_of

WORDS = "the label of death (column 'died') goes together with the other columns the opposite way round"


def compared_with(wire: Wire) -> np.ndarray:
    """The vector that went to every site."""
    sent = {m.content["arrays"]["vector"].numpy().tobytes() for _, m, _ in wire.sent if kind(m) == "query.compare"}
    (data,) = sent
    return np.frombuffer(data, dtype=np.float32)


@pytest.mark.parametrize("secure", [True, False], ids=["secure", "plain"])
def test_coordinator_gets_a_code_and_the_site_the_words(secure: bool, tmp_path: Path) -> None:
    federation, wire = build(tmp_path, 4, secure=secure, tables=tables()), Wire()
    result = federation.run(wire)
    assert result["unlike"] == {"sites": ["south"], "not_told": [], "failed": [], "asked": 4}
    assert events(federation, "site_unlike") == [{"event": "site_unlike", "site": "south", "code": CODE}]
    told = {site: content_of(reply) for site, message, reply in wire.sent if kind(message) == "query.compare"}
    assert told == {site: CODE.encode() if site == "south" else b"alike" for site in NAMES[:4]}
    for site in NAMES[:4]:
        said = findings(federation, site)
        assert (len(said) == 1 and said[0].startswith(WORDS)) if site == "south" else said == ()
        log = (federation.sites[site].parent / "site.log").read_text() if site == "south" else ""
        assert (WORDS in log) == (site == "south")


def test_nothing_of_what_a_site_finds_leaves_but_the_code(tmp_path: Path) -> None:
    """In every message of the run from that site, and in all that the coordinator keeps."""
    federation, wire = build(tmp_path, 4, tables=tables()), Wire()
    federation.run(wire)
    left = [repr(reply) for site, _, reply in wire.sent if site == "south"]
    kept = [path.read_text("latin-1") for path in federation.out.rglob("*") if path.is_file()]
    assert len(left) > 10 and len(kept) > 3
    for text in (*left, *kept):
        assert "opposite way" not in text and "goes together" not in text
    for text in left:
        assert "died" not in text and "reversed" not in text


def test_secure_and_plain_sums_are_the_same_bits(tmp_path: Path) -> None:
    vectors = []
    for secure in (True, False):
        federation, wire = build(tmp_path / str(secure), 4, secure=secure, tables=tables()), Wire()
        federation.run(wire)
        vectors.append(compared_with(wire))
    assert np.array_equal(*vectors) and np.count_nonzero(vectors[0]) > len(vectors[0]) / 2


def test_total_is_the_sum_of_the_sites_own_parts(tmp_path: Path) -> None:
    federation, wire = build(tmp_path, 3, secure=False, tables=tables(3, wrong=None)), Wire()
    federation.run(wire)
    layout, sent = Associations(federation.plan), compared_with(wire)
    own = [
        np.frombuffer(content_of(reply), dtype=np.float64)
        for _, message, reply in wire.sent
        if kind(message) == "query.survey" and message.content["header"]["stage"] == 3
    ]
    assert len(own) == 3 and np.array_equal(sent[layout.edges_size :], np.sum(own, axis=0))


def test_clean_hospitals_raise_nothing(tmp_path: Path) -> None:
    federation = build(tmp_path, 4, tables=tables(wrong=None))
    assert federation.run()["unlike"] == {"sites": [], "not_told": [], "failed": [], "asked": 4}
    assert events(federation, "site_unlike") == []
    for path in federation.sites.values():
        assert json.loads((path.parent / UNLIKE).read_text()) == {"plan_hash": federation.plan.hash, "findings": []}


def test_policy_keeps_even_the_code_at_the_site(tmp_path: Path) -> None:
    """Whatever was found: a clean hospital with the same rule answers the same."""
    federation, wire = build(tmp_path, 4, tables=tables()), Wire()
    for site in ("south", "east"):
        silent(federation, site)
    result = federation.run(wire)
    assert result["unlike"] == {"sites": [], "not_told": ["east", "south"], "failed": [], "asked": 4}
    told = {site: content_of(reply) for site, message, reply in wire.sent if kind(message) == "query.compare"}
    assert told["south"] == told["east"] == b"not_told"
    assert len(findings(federation, "south")) == 1 and findings(federation, "east") == ()
    for site, path in federation.sites.items():
        steps = [body["step"]["kind"] for body in read_bodies(path.parent / LEDGER) if body["record"] == "entry"]
        assert ("query.compare" in steps) == (site not in ("south", "east"))


def test_run_ends_before_round_1_where_the_plan_says_stop(tmp_path: Path) -> None:
    federation, wire = build(tmp_path, 4, tables=tables(), survey={"unlike": "stop"}), Wire()
    for _ in range(2):  # a run that is resumed with the same tables ends there as well
        with pytest.raises(RunError, match=r"^south: data_unlike_others; the plan says survey.unlike = 'stop'"):
            federation.run(wire)
    assert not any(kind(message) == "train" for _, message, _ in wire.sent)
    assert wire.asked["south", "query.survey"] == 3, "sums that were opened are not asked again"


def test_plan_that_stops_goes_on_where_nothing_is_unlike(tmp_path: Path) -> None:
    assert build(tmp_path, 4, tables=tables(wrong=None), survey={"unlike": "stop"}).run()["unlike"]["sites"] == []


def test_nothing_is_compared_where_the_plan_says_so(tmp_path: Path) -> None:
    federation, wire = build(tmp_path, 3, tables=tables(3), survey={"unlike": "off"}), Wire()
    assert "unlike" not in federation.run(wire)
    assert not any(kind(message) == "query.compare" for _, message, _ in wire.sent)
    assert {wire.asked[site, "query.survey"] for site in NAMES[:3]} == {2}
    layout = Associations(federation.plan)
    assert ask_site(federation, np.zeros(layout.edges_size + layout.size, "f4")) == "malformed_request"
    close_sessions()


def test_two_hospitals_compare_nothing(tmp_path: Path, write_sites: Callable[..., Path], plan: Plan) -> None:
    """With one other hospital, the sum of the others would be that hospital's own."""
    result = simulate(plan, find_sites(write_sites(**tables(2, wrong="north"))), tmp_path / "out")
    assert "unlike" not in result and not list(tmp_path.rglob(UNLIKE))
    written = tables(3, wrong="north")
    assert simulate(plan, find_sites(write_sites(**written)), tmp_path / "three")["unlike"]["asked"] == 3


@pytest.mark.parametrize("secure", [True, False], ids=["secure", "plain"])
def test_what_two_hospitals_hold_is_not_sent_back(secure: bool, tmp_path: Path) -> None:
    """Their own part is in the sum; what a third got would be the other's."""
    written = tables(wrong=None)
    for name in ("east", "north"):
        written[name] = written[name].drop(columns="level").assign(smoker=np.nan)
    federation, wire = build(tmp_path, 4, secure=secure, tables=written), Wire()
    federation.run(wire)
    layout = Associations(federation.plan)
    sent = compared_with(wire)[layout.edges_size :].astype(np.float64)
    _, counts, rows, both = layout.split(sent)
    held = [column.name not in ("triage", "smoker") for column in layout.columns]
    assert [bool(part.any()) for part in counts] == held
    for place, pair in enumerate(layout.pairs):
        assert bool(rows[place]) == all(held[column] for column in pair)
        assert all(held[column] for column in pair) or both[place] == 0.0
