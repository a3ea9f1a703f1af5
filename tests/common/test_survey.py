"""Sums over sites give the statistics of the pooled rows; numpy on the pooled rows is the judge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.histogram import histogram, quantiles
from common.plan import Plan
from common.survey import Survey


def _sites(seed: int, sizes: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(seed)
    result = []
    for rows in sizes:
        columns = [random.gamma(9, 6, rows).clip(0, 120), random.normal(130, 18, rows).clip(40, 280)]
        columns += [random.integers(0, 2, rows), random.integers(0, 3, rows)]
        features = np.stack(columns, axis=1).astype(np.float32)
        features[random.random(features.shape) < 0.2] = np.nan
        labels = np.full((rows, 4), np.nan, dtype=np.float32)
        labels[:, 1] = random.exponential(6, rows).clip(0, 60)
        result.append((features, labels))
    return result


def _two_passes(plan: Plan, sites: list[tuple[np.ndarray, np.ndarray]]) -> tuple[Survey, np.ndarray, np.ndarray]:
    survey = Survey(plan)
    edges = survey.first_edges()
    edges = survey.second_edges(sum(survey.of(f, y, edges) for f, y in sites))
    return survey, sum(survey.of(f, y, edges) for f, y in sites), edges


@given(st.integers(0, 10**6), st.lists(st.integers(20, 400), min_size=1, max_size=4))
@settings(max_examples=25)
def test_normaliser_is_that_of_the_pooled_rows(seed: int, sizes: list[int]) -> None:
    from common.plan import plan_from_dict
    from tests.conftest import small_content

    plan = plan_from_dict(small_content(), source="x")
    sites = _sites(seed, sizes)
    survey, total, edges = _two_passes(plan, sites)
    found = survey.normaliser(total, edges, features=[True] * 4, tasks=[True] * 4)
    features = np.concatenate([f for f, _ in sites]).astype(np.float64)
    assert found.rows == len(features)
    assert np.allclose(found.mean[:3], np.nanmean(features, axis=0)[:3], rtol=1e-5)
    assert np.allclose(found.std[:2], np.nanstd(features, axis=0)[:2], rtol=1e-4)
    stay = np.concatenate([y[:, 1] for _, y in sites])
    assert found.label_mean[1] == pytest.approx(np.nanmean(stay), rel=1e-5)
    assert found.label_std[1] == pytest.approx(np.nanstd(stay), rel=1e-4)
    shares = survey.missing(total)
    assert shares["sbp"] == pytest.approx(np.isnan(features[:, 1]).mean(), abs=1e-9)


def test_two_passes_find_quantiles_that_one_pass_misses(make_plan) -> None:
    """A laboratory value whose plausible range is a hundred times as wide as where its values lie."""
    features = [{"name": "creatinine", "range": [0, 100]}]
    plan = make_plan(features=features, tasks=[{"name": "death", "label": "died"}])
    random = np.random.default_rng(0)
    values = random.lognormal(0, 0.4, (20_000, 1)).astype(np.float32)
    labels = np.zeros((20_000, 1), dtype=np.float32)
    survey = Survey(plan)
    at = np.array([0.25, 0.5, 0.75])
    exact = np.quantile(values, at)
    first = survey.normaliser(
        survey.of(values, labels, survey.first_edges()), survey.first_edges(), features=[True], tasks=[True]
    )
    second_edges = survey.second_edges(survey.of(values, labels, survey.first_edges()))
    second = survey.normaliser(survey.of(values, labels, second_edges), second_edges, features=[True], tasks=[True])
    errors = [np.abs(n.edges[0, 1:4] - exact).max() for n in (first, second)]
    assert errors[0] > 0.05 and errors[1] < errors[0] / 4


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=200), st.integers(2, 40))
def test_histogram_counts_every_value_once(values: list[float], bins: int) -> None:
    edges = np.linspace(-50, 50, bins - 1).astype(np.float32)
    counts = histogram(np.array(values, dtype=np.float32), edges)
    assert len(counts) == bins and counts.sum() == len(values)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40))
def test_quantiles_rise_and_stay_inside(counts: list[int]) -> None:
    edges = np.linspace(0.0, 1.0, len(counts) + 1)
    found = quantiles(edges, np.array(counts, dtype=np.float64), np.linspace(0, 1, 21))
    assert (np.diff(found) >= -1e-12).all() and found[0] >= 0.0 and found[-1] <= 1.0
