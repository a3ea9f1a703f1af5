"""The third sum of the survey: what a vector holds, and that the others' part is the sum less one's own, exactly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from common.associations import BINS, GRID, LEAST_ROWS, Associations, ranks
from common.contribution import Contribution
from common.model import Layout
from common.plan import Plan
from tests.conftest import small_plan


def rows_of(seed: int, rows: int = 60, *, missing: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of the small plan: age, sbp, smoker, ward; died, days, triage level, pressure."""
    random = np.random.default_rng(seed)
    age = random.uniform(20, 95, rows)
    features = np.stack([age, 90 + age / 2 + random.normal(0, 9, rows), random.integers(0, 2, rows),
                         random.integers(0, 3, rows)], axis=1)  # fmt: skip
    labels = np.stack([age > random.uniform(30, 90, rows), age / 4 + random.uniform(0, 9, rows),
                       random.integers(0, 3, rows), random.integers(0, 2, rows)], axis=1).astype(float)  # fmt: skip
    for table in (features, labels):
        table[random.random(table.shape) < missing] = np.nan
    return features.astype(np.float32), labels.astype(np.float32)


def edges_of(plan: Plan) -> np.ndarray:
    equal = np.arange(1, 128, dtype=np.float32) / 128
    return Associations(plan).edges_of(np.tile(equal, (2, 1)))


def test_a_vector_holds_the_rank_correlations_of_its_rows(plan: Plan) -> None:
    """scipy is the judge, over the rows that know both."""
    layout, (features, labels) = Associations(plan), rows_of(0)
    _, _, rows, both = layout.split(layout.of(features, labels, edges_of(plan)))
    values = np.concatenate([features, labels], axis=1).astype(np.float64)
    found_rows, found = layout.matrices(rows, both)
    own = ranks(values)
    for first, second in layout.pairs:
        known = ~np.isnan(values[:, first]) & ~np.isnan(values[:, second])
        assert found_rows[first, second] == known.sum()
        # Ranks are those of the whole column, so that the judge gets them.
        expected = np.corrcoef(own[known, first], own[known, second])[0, 1]
        assert found[first, second] == pytest.approx(expected, abs=1.0 / GRID / known.sum())
        assert expected == pytest.approx(spearmanr(values[known, first], values[known, second])[0], abs=0.1)
    complete = layout.of(*rows_of(1, missing=0.0), edges_of(plan))
    values = np.concatenate(rows_of(1, missing=0.0), axis=1)
    _, exact = layout.matrices(*layout.split(complete)[2:])
    assert exact[0, 1] == pytest.approx(spearmanr(values[:, 0], values[:, 1])[0], abs=1e-3)


def test_a_unit_changes_no_correlation(plan: Plan) -> None:
    layout, (features, labels) = Associations(plan), rows_of(2)
    changed = features * np.array([1.0, 0.5, 1.0, 1.0], dtype=np.float32) + np.float32(30.0)
    changed[:, 2:] = features[:, 2:]
    one, other = (layout.of(each, labels, edges_of(plan)) for each in (features, changed))
    assert np.array_equal(one[layout.paired[0]], other[layout.paired[0]]) and not np.array_equal(one, other)


@given(st.lists(st.integers(1, 120), min_size=2, max_size=6), st.integers(0, 2**32))
def test_the_others_are_the_total_less_ones_own_to_the_last_bit(sizes: list[int], seed: int) -> None:
    """Also where the total has passed through float32, in which it is sent back."""
    layout = Associations(small_plan())
    edges = edges_of(layout.plan)
    parts = [layout.of(*rows_of(seed + number, rows), edges) for number, rows in enumerate(sizes)]
    total = np.sum(parts, axis=0).astype(np.float32)
    for number, own in enumerate(parts):
        rest = np.sum([part for other, part in enumerate(parts) if other != number], axis=0)
        held = layout.without(total, own)
        assert np.array_equal(held, rest)
        assert layout.plausible(own) and layout.plausible(total)


def test_what_a_total_leaves_out_is_of_nobody(plan: Plan) -> None:
    layout = Associations(plan)
    own = layout.of(*rows_of(3), edges_of(plan))
    total = 3.0 * own
    cuts = np.cumsum([1, *layout.bins])
    total[cuts[1] : cuts[2]] = 0.0  # systolic pressure
    where = layout.paired[0]
    total[where.start] = total[where.start + len(layout.pairs)] = 0.0
    others = layout.without(total, own)
    assert not others[cuts[1] : cuts[2]].any() and others[where.start] == 0.0
    assert others[0] == 2.0 * own[0] and (others >= 0).sum() > len(others) / 2


def test_few_rows_and_columns_that_do_not_vary_say_nothing(plan: Plan) -> None:
    layout, (features, labels) = Associations(plan), rows_of(4, missing=0.0)
    features[:, 2] = 1.0
    labels[LEAST_ROWS - 1 :, 0] = np.nan
    rows, found = layout.correlations(np.concatenate([features, labels], axis=1).astype(np.float64))
    for column in (2, 4):
        assert not rows[column].any() and not found[column].any()
    assert rows[0, 1] == 60.0


@pytest.mark.parametrize(
    "change",
    [lambda v, a: (1, v[0] + 1), lambda v, a: (0, -1.0), lambda v, a: (a.size - 1, v[0] + 1), lambda v, a: (3, -1.0)],
)
def test_what_no_site_can_have_sent_is_seen(change, plan: Plan) -> None:
    layout = Associations(plan)
    vector = layout.of(*rows_of(5), edges_of(plan))
    assert layout.plausible(vector)
    place, value = change(vector, layout)
    vector[place] = value
    assert not layout.plausible(vector)


def test_an_entry_of_a_pair_needs_both_of_its_blocks(plan: Plan) -> None:
    layout, asked, names = Associations(plan), Contribution(plan, "query.survey", 3), Layout(plan).block_names
    (features, labels), edges = rows_of(6, missing=0.0), edges_of(plan)
    everything = layout.of(features, labels, edges)
    for column, about in enumerate(layout.columns):
        block = names.index(f"input:{about.name}" if column < 4 else f"task:{about.name}")
        one, other = features.copy(), labels.copy()
        (one if column < 4 else other)[:, column % 4] = np.nan
        gone = everything != layout.of(one, other, edges)
        blocks = [each for each in range(len(names)) if each != block]
        pairs = [pair for pair in asked.pairs if block not in divmod(pair, len(names))]
        left = asked.entries_of(blocks, pairs)
        assert gone.any() and not (gone & left).any(), "what depends on a column needs its block"
        assert (everything[~left] != 0).mean() > 0.5 or not everything[~left].any()


def test_edges_are_every_eighth_of_the_survey_and_equal_for_labels(plan: Plan) -> None:
    layout = Associations(plan)
    fine = np.sort(np.random.default_rng(0).random((2, 127)), axis=1).astype(np.float32)
    edges = layout.edges_of(fine)
    assert edges.shape == (3, BINS - 1) and edges.size == layout.edges_size
    assert np.array_equal(edges[:2], fine[:, 7::8]) and np.allclose(edges[2], np.arange(1, 16) / 16)
