"""Two sums whose difference would be one site's part: a site opens one of them only. And who contributes."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from client.app import app
from client.sessions import close_sessions
from common.contribution import Contribution
from common.errors import TooFewSites
from common.model import Layout
from common.secagg.encoding import decode, encode
from common.secagg.messages import SignedHeader
from common.survey import Survey
from server.exchange import Question
from server.secure_sum import SecureSum
from server.sums import Sum
from tests.conftest import small_table
from tests.messages import code_of, kind, refuse
from tests.secure import NAMES, Federation, Wire, broadcast, build


@pytest.fixture
def five(tmp_path: Path) -> Iterator[Federation]:
    yield build(tmp_path, 5)
    close_sessions()


def _sum(federation: Federation, sums: SecureSum, name: str, stage: int, vector: np.ndarray) -> Sum:
    asked = Contribution(federation.plan, name, stage)
    question = Question(name, federation.plan.hash, int(name == "train"), stage, vector)
    return sums.collect(question, size=asked.narrow + asked.wide, min_sites=3, plausible=lambda *_: True)


def _other_edges(vector: np.ndarray) -> np.ndarray:
    """The same model and normaliser, with which the scores fall into other bins."""
    return np.concatenate([vector[:-1], vector[-1:] + np.float32(0.5)])


def _other_model(vector: np.ndarray) -> np.ndarray:
    return np.concatenate([vector[:1] + np.float32(0.5), vector[1:]])


Change = Callable[[np.ndarray], np.ndarray]
ASKED: dict[str, tuple[tuple[str, int], tuple[str, int], Change, bool]] = {
    "training, then validation of the same model": (("train", 0), ("evaluate", 0), lambda v: v, False),
    "the same with other edges": (("train", 0), ("evaluate", 0), _other_edges, False),
    "validation, then training": (("evaluate", 0), ("train", 0), lambda v: v, False),
    "another model": (("train", 0), ("evaluate", 0), _other_model, True),
    "both passes of the survey": (("query.survey", 1), ("query.survey", 2), lambda v: v * np.float32(0.5), False),
}


@pytest.mark.parametrize("what", ASKED)
@pytest.mark.parametrize("missing", [False, True])
def test_second_sum_of_a_subject_is_over_the_same_sites(what: str, missing: bool, five: Federation) -> None:
    first, second, change, allowed = ASKED[what]
    survey = Survey(five.plan).first_edges().ravel()
    vector = survey if first[0] == "query.survey" else broadcast(five.plan)
    wire = Wire()
    with five.sums(wire) as sums:
        assert _sum(five, sums, *first, vector).sites == NAMES
        wire.sent.clear()
        if missing:
            wire.instead["young", second[0]] = refuse
        if allowed or not missing:
            assert _sum(five, sums, *second, change(vector)).sites == NAMES[: 4 if missing else 5]
            return
        with pytest.raises(TooFewSites):
            _sum(five, sums, *second, change(vector))
    answers = [code_of(reply) for _, message, reply in wire.sent if kind(message) == "query.crosscheck"]
    assert answers and set(answers) == {"opened_with_others"}
    assert not any(kind(message) == "query.unmask" for _, message, _ in wire.sent)


def _tables(*, every: bool) -> dict[str, pd.DataFrame]:
    """Three sites measure the blood pressure, and hold each another task that sees it; two of these tasks have too few.

    'triage' is shared with south, which measures the blood pressure only if `every`; 'pressure', of all, excludes it.
    """
    lacking = {
        "east": ["died", "level"],
        "north": ["days", "level"],
        "south": ["died", "days"],
        "west": ["died", "days"],
    }
    tables = {name: small_table(i).drop(columns=lacking[name]) for i, name in enumerate(NAMES[:4])}
    if not every:
        tables["south"] = tables["south"].assign(sbp=np.nan)
    return tables


@pytest.mark.parametrize("every", [False, True], ids=["one fills it", "two fill it"])
def test_input_counts_where_a_task_that_sees_it_is_held(every: bool, tmp_path: Path) -> None:
    federation = build(tmp_path, 4, tables=_tables(every=every))
    names, wire = Layout(federation.plan).block_names, Wire()
    sbp = names.index("input:sbp")
    with federation.sums(wire) as sums:
        federation.collect(sums)
        sent = next(m for site, m, _ in wire.sent if (site, kind(m)) == ("south", "train"))
        honest = decode(SignedHeader, sent.content["header"]["protocol"]).header
        holders = [site for site in NAMES[:4] if federation.session(site).levels["input:sbp"] > 0]
        assert len(holders) == 3 + every and (sbp in honest.blocks) == every
        seeing = tuple(names.index(f"task:{task}") for task in ("death", "stay", "triage"))
        forged = {
            "as held": tuple(sorted({*honest.blocks, sbp})),
            "without the tasks that see it": tuple(b for b in sorted({*honest.blocks, sbp}) if b not in seeing),
        }
        for number, (what, blocks) in enumerate(forged.items(), start=1):
            pairs = tuple(pair for pair in honest.pairs if set(divmod(pair, len(names))) <= set(blocks))
            # Another model: of the same one a second sum is refused for its own reasons.
            vector = broadcast(federation.plan, shift=0.1 * number)
            question = Question("train", federation.plan.hash, 1, 0, vector)
            header = replace(
                honest,
                round=honest.round + number,
                blocks=blocks,
                pairs=pairs,
                model=_hash(vector),
                subject=Contribution(federation.plan, "train").subject(vector),
            )
            signed = SignedHeader(header, federation.keys.key.sign("header", header))
            reply = app(replace(question, protocol=encode(signed)).to(1), federation.context("west"))
            expected = "" if every and what == "as held" else "too_few_contributors"
            assert code_of(reply) == expected, what
    close_sessions()


def _hash(vector: np.ndarray) -> bytes:
    return hashlib.sha256(vector.tobytes()).digest()
