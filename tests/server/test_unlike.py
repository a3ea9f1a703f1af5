"""A hospital whose data are unlike the others': who learns what, in whole runs, secure and in the open."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from client.app import app
from client.comparison import CODE, UNLIKE, read_findings
from client.config import find_sites, load_site
from client.ledger.file import LEDGER
from client.ledger.ledger import DIFFERENT_QUESTIONS
from client.ledger.reading import read_bodies
from client.policy.policy import POLICY_FILE, SIMULATED, write_policy
from client.sessions import close_sessions
from common.associations import Associations
from common.errors import RunError
from common.plan import Plan
from experiments.simulate import simulate
from server.dashboard.report import page
from server.exchange import Question
from server.journal import EVENTS
from server.phases import comparison
from server.terminal import Progress
from tests.conftest import small_table
from tests.messages import code_of, kind
from tests.secure import NAMES, Federation, Killed, Wire, build
from tests.wire import content_of

WORDS = "the label of death (column 'died') goes together with the other columns the opposite way round"


def tables(count: int = 4, *, wrong: str | None = "south") -> dict[str, pd.DataFrame]:
    """`count` hospitals of 240 patients; in one of them 'died' is the reversed code."""
    result = {name: small_table(i, rows=240) for i, name in enumerate(NAMES[:count])}
    if wrong is not None:
        result[wrong] = result[wrong].assign(died=1 - result[wrong]["died"])
    return result


def silent(federation: Federation, site: str) -> None:
    rules = SIMULATED | {"limits": SIMULATED["limits"] | {"tell_unlike": False}}
    write_policy(federation.sites[site].parent / POLICY_FILE, rules)


def events(federation: Federation, name: str) -> list[dict[str, Any]]:
    lines = (federation.out / EVENTS).read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == name]


def findings(federation: Federation, site: str) -> tuple[str, ...]:
    return read_findings(load_site(federation.sites[site]), federation.plan.hash)


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
    assert _ask(federation, np.zeros(layout.edges_size + layout.size, "f4")) == "malformed_request"
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


@pytest.mark.parametrize("after", [False, True], ids=["before it is asked", "after it is answered"])
def test_coordinator_killed_at_the_comparison_goes_on(after: bool, tmp_path: Path, monkeypatch) -> None:
    honest: Callable[..., Any] = comparison.ask

    def killed(*arguments: Any, **named: Any) -> None:
        if after:
            honest(*arguments, **named)
        raise Killed

    whole = build(tmp_path / "whole", 4, tables=tables())
    federation, wire = build(tmp_path / "killed", 4, tables=tables()), Wire()
    with monkeypatch.context() as patch:
        patch.setattr(comparison, "ask", killed)
        with pytest.raises(Killed):
            federation.run(wire)
    result = federation.run(wire)
    assert result["unlike"] == whole.run()["unlike"] and result["unlike"]["sites"] == ["south"]
    assert (federation.out / "model.safetensors").read_bytes() == (whole.out / "model.safetensors").read_bytes()
    assert wire.asked["south", "query.survey"] == 3 and wire.asked["south", "query.compare"] == 1 + after


def _ask(federation: Federation, vector: np.ndarray | None) -> str:
    question = Question("query.compare", federation.plan.hash, vector=vector)
    return code_of(app(question.to(1), federation.context("south")))


def test_a_site_refuses_other_lengths_and_more_than_three_questions(tmp_path: Path) -> None:
    """Each different question could draw one more bit of the rows: there are no more than three."""
    federation = build(tmp_path, 3, secure=False, tables=tables(3, wrong=None))
    layout = Associations(federation.plan)
    size = layout.edges_size + layout.size
    for wrong in (None, np.zeros(size - 1, "f4"), np.zeros(size + 1, "f4")):
        assert _ask(federation, wrong) == "malformed_request"
    codes = [_ask(federation, np.full(size, 0.1 * number, "f4")) for number in range(DIFFERENT_QUESTIONS + 2)]
    assert codes == [""] * DIFFERENT_QUESTIONS + ["asked_too_often"] * 2
    close_sessions()


def test_a_site_of_few_patients_and_one_under_noise_compare_nothing(tmp_path: Path) -> None:
    small = build(tmp_path / "few", 3, secure=False)
    rules = SIMULATED | {"limits": SIMULATED["limits"] | {"min_patients": 1000}}
    write_policy(small.sites["south"].parent / POLICY_FILE, rules)
    layout = Associations(small.plan)
    assert _ask(small, np.zeros(layout.edges_size + layout.size, "f4")) == "too_few_patients"
    privacy = {"unit": "patient", "noise": "local", "noise_multiplier": 1.0}
    noised = build(tmp_path / "noised", 3, secure=False, privacy=privacy)
    assert _ask(noised, np.zeros(layout.edges_size + layout.size, "f4")) == "malformed_request"
    close_sessions()


@pytest.mark.parametrize(
    "reply",
    [lambda m, r: r.content["opinion"].update({"code": "<b>"}), lambda m, r: r.content.pop("opinion")],
    ids=["another word", "nothing"],
)
def test_site_that_answers_with_something_else_is_named(reply: Any, tmp_path: Path) -> None:
    federation, wire = build(tmp_path, 4, secure=False, tables=tables(wrong=None)), Wire()
    wire.change("west", "query.compare", lambda message, honest: (reply(message, honest), honest)[1], time=0)
    assert federation.run(wire)["unlike"] == {"sites": [], "not_told": [], "failed": ["west"], "asked": 4}
    assert ("west", "wrong_shape") in [(each["site"], each["code"]) for each in events(federation, "site_failed")]


def test_terminal_and_page_name_the_site_and_the_code(tmp_path: Path) -> None:
    shown = StringIO()
    Progress(Console(file=shown, width=200))({"event": "site_unlike", "site": "south", "code": CODE})
    assert shown.getvalue().startswith(f"warning: south says that its data are unlike the others' ({CODE})")
    federation = build(tmp_path, 4, secure=False, tables=tables())
    silent(federation, "west")
    text = page(federation.run())
    section = text[text.index('id="unlike"') :]
    section = section[: section.index("</section>")]
    assert "south" in section and CODE in section and "west" in section and "does not tell" in section
    assert "east" not in section
