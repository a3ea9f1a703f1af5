"""What a contribution holds, entry by entry: brute force over what can change says to which block an entry belongs."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import contribution
from common.associations import Associations
from common.contribution import STAGES, Contribution
from common.evaluation import Evaluation, first_edges
from common.model import Layout
from common.plan import Plan, plan_from_dict
from common.privacy.shares import rounding_error
from common.scores import task_columns
from common.secagg.fixedpoint import FixedPoint
from common.survey import Survey
from tests.conftest import small_content

QUESTIONS = [(kind, stage) for kind, stages in STAGES.items() for stage in stages]
ROWS = 60


def _content() -> dict[str, Any]:
    """The small plan with a true risk for two of its four tasks."""
    content = small_content()
    content["tasks"][0]["oracle"] = ["risk"]
    content["tasks"][2]["oracle"] = ["one", "two", "three"]
    content["evaluation"] |= {"min_train_rows": 1, "min_test_rows": 1}
    return content


@pytest.fixture
def plan() -> Plan:
    return plan_from_dict(_content(), source="small.toml")


def _block(plan: Plan, name: str) -> int:
    return Layout(plan).block_names.index(name)


def _features(random: np.random.Generator) -> np.ndarray:
    columns = [random.uniform(20, 95, ROWS), random.uniform(80, 200, ROWS)]
    columns += [random.integers(0, 2, ROWS), random.integers(0, 3, ROWS)]
    return np.stack(columns, axis=1).astype(np.float32)


def _labels(random: np.random.Generator) -> np.ndarray:
    columns = [random.integers(0, 2, ROWS), random.uniform(0, 60, ROWS)]
    columns += [random.integers(0, 3, ROWS), random.integers(0, 2, ROWS)]
    return np.stack(columns, axis=1).astype(np.float32)


def _surveyed(plan: Plan, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    survey = Survey(plan)
    return survey.of(features, labels, survey.first_edges())


@pytest.mark.parametrize("feature", range(4))
@pytest.mark.parametrize("lose", [False, True])
def test_a_feature_moves_only_its_own_entries_of_the_survey(plan: Plan, feature: int, lose: bool) -> None:
    random = np.random.default_rng(feature)
    features, labels = _features(random), _labels(random)
    changed = features.copy()
    changed[:, feature] = np.nan if lose else _features(random)[:, feature]
    before, after = (_surveyed(plan, x, labels) for x in (features, changed))
    own = Contribution(plan, "query.survey", 1).block_of == _block(plan, f"input:{plan.features[feature].name}")
    assert np.array_equal(before[~own], after[~own])
    if lose:  # a site that does not record it has nothing but zeros there
        assert before[own].any() and not after[own].any()
    elif plan.features[feature].categories is None:  # of a category only the rows that have one are counted
        assert not np.array_equal(before[own], after[own])


@pytest.mark.parametrize("task", range(4))
def test_a_label_moves_only_its_own_entries_of_the_survey(plan: Plan, task: int) -> None:
    random = np.random.default_rng(task)
    features, labels = _features(random), _labels(random)
    changed = labels.copy()
    changed[:, task] = np.nan
    before, after = (_surveyed(plan, features, y) for y in (labels, changed))
    own = Contribution(plan, "query.survey", 2).block_of == _block(plan, f"task:{plan.tasks[task].name}")
    assert np.array_equal(before[~own], after[~own])
    assert own.sum() == 3 and not after[own].any()
    assert before[own].any() == (plan.tasks[task].kind == "regression")


def _judged(plan: Plan, stage: int, scores: np.ndarray, labels: np.ndarray, oracle: np.ndarray) -> np.ndarray:
    rules = plan.evaluation
    judge = Evaluation(plan, rules.histogram_bins if stage else rules.round_bins, stage > 0)
    edges = first_edges(judge.score_columns, bins=judge.bins)
    return judge.of(scores, labels, edges, oracle=oracle, train_rows=(~np.isnan(labels)).sum(axis=0))


@pytest.mark.parametrize("stage", [0, 1, 2])
@pytest.mark.parametrize("task", range(4))
@pytest.mark.parametrize("what", ["scores", "oracle", "labels", "no labels"])
def test_a_task_moves_only_its_own_entries_of_an_evaluation(plan: Plan, stage: int, task: int, what: str) -> None:
    random = np.random.default_rng([stage, task])
    columns = task_columns(plan)[task]
    scores, oracle, other = (random.normal(0, 3, (ROWS, Layout(plan).outputs)).astype(np.float32) for _ in range(3))
    labels = _labels(random)
    changed = {"scores": scores.copy(), "labels": labels.copy(), "oracle": oracle.copy()}
    if what in ("scores", "oracle"):
        changed[what][:, columns] = other[:, columns]
    else:
        changed["labels"][:, task] = np.nan if what == "no labels" else _labels(random)[:, task]
    before = _judged(plan, stage, scores, labels, oracle)
    after = _judged(plan, stage, **changed)
    name = plan.tasks[task].name
    blocks = [_block(plan, f"task:{name}"), _block(plan, f"mean:{name}")]
    own = np.isin(Contribution(plan, "evaluate", stage).block_of, blocks)
    assert np.array_equal(before[~own], after[~own])
    if what == "no labels":  # a site without labels of a task has nothing but zeros there
        assert before[own].any() and not after[own].any()
    else:
        moved = what != "oracle" or (stage > 0 and bool(plan.tasks[task].oracle))
        assert np.array_equal(before[own], after[own]) == (not moved)


@pytest.mark.parametrize(("kind", "stage"), QUESTIONS)
def test_sizes_are_those_of_the_parts(plan: Plan, kind: Any, stage: int) -> None:
    of, rules, parameters = Contribution(plan, kind, stage), plan.evaluation, Layout(plan).parameters
    curve = Evaluation(plan, rules.round_bins, False).size
    final = Evaluation(plan, rules.histogram_bins, True).size
    expected = {
        ("train", 0): (parameters, curve + 4),
        ("evaluate", 0): (0, curve),
        ("evaluate", 1): (0, final),
        ("evaluate", 2): (0, final),
        ("query.survey", 1): (0, Survey(plan).size),
        ("query.survey", 2): (0, Survey(plan).size),
        ("query.survey", 3): (0, Associations(plan).size),
    }
    assert (of.narrow, of.wide) == expected[kind, stage]
    assert of.block_of.shape == (of.narrow + of.wide,) and of.block_of.dtype == np.int64


def test_a_round_is_the_update_then_the_curve_then_the_norms(plan: Plan) -> None:
    of = Contribution(plan, "train")
    update, tallies, norms = np.split(of.block_of, [of.narrow, of.narrow + of.wide - 4])
    assert np.array_equal(update, Layout(plan).block_of)
    assert np.array_equal(tallies, Contribution(plan, "evaluate", 0).block_of)
    assert (norms == _block(plan, "shared")).all()


@pytest.mark.parametrize(("kind", "stage"), [("train", 1), ("evaluate", 3), ("query.survey", 0), ("query.finish", 0)])
def test_nothing_is_summed_for_other_questions(plan: Plan, kind: Any, stage: int) -> None:
    with pytest.raises(ValueError, match="nothing is summed"):
        Contribution(plan, kind, stage)


def test_hash_says_what_every_entry_means(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = {Contribution(plan, kind, stage).hash for kind, stage in QUESTIONS}
    other = plan_from_dict(_content() | {"seeds": {"training": 1}}, source="x")
    assert len(hashes) == len(QUESTIONS) and all(len(each) == 32 for each in hashes)
    assert Contribution(plan, "train").hash in hashes and Contribution(other, "train").hash not in hashes
    monkeypatch.setattr(contribution, "NORMS", contribution.NORMS[::-1])
    assert Contribution(plan, "train").hash not in hashes


@given(st.data())
def test_entries_of_are_exactly_those_whose_blocks_and_pairs_take_part(data: st.DataObject) -> None:
    of = Contribution(plan_from_dict(_content(), source="x"), *data.draw(st.sampled_from(QUESTIONS)))
    count = len(of.layout.block_names)
    blocks = data.draw(st.sets(st.integers(0, count - 1)))
    pairs = data.draw(st.sets(st.sampled_from(of.pairs))) if of.pairs else set()
    pair_of = np.full(of.narrow + of.wide, -1)
    if of.pairs:
        where, codes = of.layout.paired if of.narrow else Associations(of.plan).paired
        pair_of[where] = codes
    for entry, taken in enumerate(of.entries_of(blocks, pairs)):
        needed = pair_of[entry]
        assert taken == (of.block_of[entry] in blocks and (needed == -1 or needed in pairs))


def test_linear_path_from_a_feature_to_a_task_needs_both(plan: Plan) -> None:
    layout, of = Layout(plan), Contribution(plan, "train")
    where, codes = layout.paired
    pair = codes.reshape(len(layout.task_of_output), -1)
    task_of_output = [0, 1, 2, 2, 2, 3]
    for output, task in enumerate(task_of_output):
        for column, feature in enumerate(layout.columns.feature_of):
            names = [layout.block_names[block] for block in divmod(int(pair[output, column]), len(layout.block_names))]
            assert names == [f"task:{plan.tasks[task].name}", f"input:{plan.features[feature].name}"]
    linear = next(segment for segment in layout.segments if segment.name == "linear.weight")
    assert (where.start, where.stop) == (linear.start, linear.stop)
    assert len(of.pairs) == len(plan.tasks) * len(plan.features)
    assert Contribution(plan, "evaluate", 0).pairs == ()


@pytest.mark.parametrize("sites", [3, 10])
def test_rounding_error_bounds_what_rounding_does(plan: Plan, sites: int) -> None:
    random, clip = np.random.default_rng(sites), plan.aggregation.clip_norm
    fixed = FixedPoint.fit(clip_norm=clip, sites=sites)
    updates = random.normal(0, 1, (sites, Layout(plan).parameters))
    updates = (updates * 0.99 * clip / np.linalg.norm(updates, axis=1, keepdims=True)).astype(np.float32)
    nothing = np.empty(0)
    integers = [fixed.integers(each, nothing, random.bytes(32))[0].view(np.uint32) for each in updates]
    total = fixed.decode(sum(integers), nothing.astype(np.uint64))
    error = np.linalg.norm(total - updates.astype(np.float64).sum(axis=0))
    assert 0 < error <= rounding_error(plan, sites) < 1e-3 * clip
    assert rounding_error(plan, sites) < rounding_error(plan, 2 * sites)
