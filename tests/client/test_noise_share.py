"""A site's share of the noise: on every entry that takes part, also where the site has nothing, and never twice."""

import numpy as np
import pytest

from client.secure.answers import Round, SecureSite
from client.secure.store import MemoryVault
from common.contribution import Contribution
from common.plan import Plan
from common.privacy.shares import fixed_point, noise_steps
from common.secagg.header import RoundState
from common.secagg.messages import Header, SignedHeader
from common.secagg.primitives import SigningKey
from common.secagg.roster import found
from common.secagg.session import Party

NAMES = ("east", "north", "south")


def _site(plan: Plan, seed: int = 0) -> SecureSite:
    random = np.random.default_rng(seed)
    keys = {name: SigningKey.new(random.bytes) for name in NAMES}
    roster = found(keys, federation="small", coordinator=SigningKey.new(random.bytes)).roster
    return SecureSite(plan, Party("east", keys["east"], roster), MemoryVault(), random.bytes)


def _begun(contribution: Contribution, *, left_out: tuple[str, ...] = (), noise: int | None = None) -> Round:
    """A round over all blocks but `left_out`, as `SecureSite.begin` returns it. noise: other than the plan's."""
    names, fixed = contribution.layout.block_names, fixed_point(contribution, sites=3)
    blocks = tuple(index for index, name in enumerate(names) if name not in left_out)
    pairs = tuple(pair for pair in contribution.pairs if set(divmod(pair, len(names))) <= set(blocks))
    empty, scales = bytes(32), (fixed.clip_norm, fixed.narrow_scale, fixed.wide_scale)
    header = Header(
        empty, 1, empty, empty, empty, contribution.kind, 1, contribution.stage, NAMES, blocks, pairs, empty, empty,
        contribution.narrow, contribution.wide, *scales,
        noise_steps(contribution, fixed) if noise is None else noise,
    )  # fmt: skip
    return Round(SignedHeader(header, b""), RoundState(), b"")


@pytest.fixture
def private(make_plan) -> Plan:
    rules = {"unit": "patient", "noise": "shared", "noise_multiplier": 1.0}
    return make_plan(aggregation={"secure": True, "min_sites": 3}, privacy=rules)


def test_noise_is_on_every_entry_that_takes_part_and_on_no_other(private: Plan) -> None:
    asked = Contribution(private, "train")
    begun = _begun(asked, left_out=("task:death", "input:smoker"))
    drawn = _site(private).noise(begun)
    assert drawn is not None and drawn.dtype == np.int32 and drawn.shape == (asked.narrow,)
    header = begun.signed.header
    part = asked.entries_of(header.blocks, header.pairs)[: asked.narrow]
    assert 0 < part.sum() < asked.narrow
    assert not drawn[~part].any() and (drawn[part] != 0).all()  # at this sigma a zero is a one-in-a-million event
    assert drawn[part].std() == pytest.approx(header.noise, rel=6 / np.sqrt(2 * part.sum()))


@pytest.mark.parametrize(("kind", "stage"), [("query.survey", 1), ("evaluate", 2)])
def test_noise_of_a_survey_and_an_evaluation_is_in_the_wide_ring(private: Plan, kind: str, stage: int) -> None:
    asked = Contribution(private, kind, stage)  # type: ignore[arg-type]
    drawn = _site(private).noise(_begun(asked))
    assert drawn is not None and drawn.dtype == np.int64 and drawn.shape == (asked.wide,)
    assert (drawn != 0).all()


def test_noise_is_drawn_anew_for_every_report(private: Plan) -> None:
    begun, site = _begun(Contribution(private, "train")), _site(private)
    first, second = site.noise(begun), site.noise(begun)
    other = _site(private, seed=1).noise(begun)
    assert first is not None and second is not None and other is not None
    for one, two in ((first, second), (first, other)):
        assert abs(np.corrcoef(one, two)[0, 1]) < 6 / np.sqrt(len(one))


def test_there_is_none_where_the_plan_has_none(make_plan) -> None:
    plan = make_plan(aggregation={"secure": True})
    assert _site(plan).noise(_begun(Contribution(plan, "train"))) is None


def test_noise_wider_than_the_ring_wraps_around(private: Plan) -> None:
    """A share is added modulo 2^32, whatever its size."""
    drawn = _site(private).noise(_begun(Contribution(private, "train"), noise=2**36))
    assert drawn is not None and drawn.std() == pytest.approx(2**32 / np.sqrt(12), rel=0.2)


def test_the_question_names_the_noise_of_the_plan(private: Plan) -> None:
    asked, site = Contribution(private, "train"), _site(private)
    question = site.question(asked, 1, b"")
    fixed = fixed_point(asked, sites=3)
    assert question.noise == noise_steps(asked, fixed) > 0
    assert (question.clip_norm, question.narrow_scale) == (fixed.clip_norm, fixed.narrow_scale)
