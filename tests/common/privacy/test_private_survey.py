"""The survey under noise: one patient's part is bounded whatever the data, and what is read from it keeps its bound."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.model import Normaliser
from common.privacy.survey import PrivateSurvey
from tests.private import private_plan

ABSURD = st.one_of(st.floats(-200, 400), st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.5, 1.0]))
ROWS = 4
ALL = {"features": [True] * 4, "tasks": [True] * 4}


def _table(random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    columns = [random.normal(60, 15, rows).clip(0, 120), random.normal(130, 18, rows).clip(40, 280)]
    columns += [random.random(rows) < 0.3, random.integers(0, 3, rows)]
    features = np.stack(columns, axis=1).astype(np.float32)
    features[random.random(features.shape) < 0.1] = np.nan
    labels = np.full((rows, 4), np.nan, dtype=np.float32)
    labels[:, 1] = random.exponential(6, rows).clip(0, 60)
    return features, labels


@given(st.lists(ABSURD, min_size=8, max_size=8), st.integers(1, ROWS), st.integers(0, 10**6), st.booleans())
@settings(max_examples=60)
def test_leaving_out_a_patient_moves_the_vector_by_the_sensitivity_at_most(
    values: list[float], rows: int, seed: int, wild: bool
) -> None:
    survey = PrivateSurvey(private_plan(row="stay", rows_per_patient=ROWS))
    random = np.random.default_rng(seed)
    features, labels = _table(random, 30)
    own = np.tile(np.array(values, dtype=np.float32), (rows, 1)) * random.choice([1, -1, 0.5], (rows, 8))
    edges = survey.first_edges()
    if wild:  # whatever edges a coordinator sends
        edges = random.choice([np.nan, np.inf, -1.0, 0.2, 0.7], edges.shape).astype(np.float32)
    with_all = survey.of(np.r_[features, own[:, :4]].astype("f4"), np.r_[labels, own[:, 4:]].astype("f4"), edges)
    assert np.isfinite(with_all).all() and len(with_all) == survey.size
    moved = np.linalg.norm(with_all - survey.of(features, labels, edges))
    assert moved <= survey.sensitivity


def test_the_sensitivity_is_reached_by_equal_rows_without_gaps() -> None:
    survey = PrivateSurvey(private_plan(row="stay", rows_per_patient=ROWS))
    features, labels = np.tile([50, 120, 1, 2], (ROWS, 1)).astype("f4"), np.full((ROWS, 4), 1.0, dtype="f4")
    found = np.linalg.norm(survey.of(features, labels, survey.first_edges()))
    assert found == pytest.approx(survey.sensitivity, rel=1e-12)


def test_entries_describe_the_vector() -> None:
    survey = PrivateSurvey(private_plan())
    assert sum(each.size for each in survey.entries) == survey.size
    features, labels = np.full((1, 4), np.nan, dtype="f4"), np.full((1, 4), np.nan, dtype="f4")
    features[0, 2] = 1.0
    vector = survey.of(features, labels, survey.first_edges())
    blocks = np.repeat([each.block for each in survey.entries], [each.size for each in survey.entries])
    assert blocks[vector > 0].tolist() == ["shared", "input:smoker"]


def test_bins_follow_from_the_plan_alone_and_fall_as_the_noise_grows() -> None:
    found = [PrivateSurvey(private_plan(noise_multiplier=z)).bins for z in (0.1, 1.0, 4.0, 100.0)]
    assert found == [128, 64, 16, 4]


def _exact(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(3 + 1,) means and standard deviations of the numeric and binary features and of the regression label."""
    columns = [*features[:, :3].astype(np.float64).T, labels[:, 1].astype(np.float64)]
    return np.array([np.nanmean(each) for each in columns]), np.array([np.nanstd(each) for each in columns])


def _found(normaliser: Normaliser) -> tuple[np.ndarray, np.ndarray]:
    means, stds = [*normaliser.mean[:3], normaliser.label_mean[1]], [*normaliser.std[:3], normaliser.label_std[1]]
    return np.array(means, dtype=np.float64), np.array(stds, dtype=np.float64)


def test_with_hardly_any_noise_the_normaliser_is_that_of_the_rows_within_a_bin() -> None:
    plan = private_plan()
    plan = plan.model_copy(update={"privacy": plan.privacy.model_copy(update={"noise_multiplier": 1e-6})})
    survey = PrivateSurvey(plan)
    features, labels = _table(np.random.default_rng(3), 5000)
    total = survey.of(features, labels, survey.first_edges())
    normaliser = survey.normaliser(total, survey.first_edges(), **ALL, sites=3)
    (mean, std), (own_mean, own_std) = _exact(features, labels), _found(normaliser)
    width = np.array([120, 240, 0, 60]) / survey.bins
    assert survey.bins == 128 and normaliser.rows == 5000
    assert (np.abs(own_mean - mean) <= width / 2 + 1e-6).all()
    assert (np.abs(own_std - std) <= width + 1e-6).all()
    exact = np.nanquantile(features[:, 1], [0.25, 0.5, 0.75])
    assert np.abs(normaliser.edges[1, 1:4] - exact).max() <= width[1]
    assert survey.missing(total, sites=3)["age"] == pytest.approx(np.isnan(features[:, 0]).mean())
    assert set(survey.missing(total, sites=3)) == {"age", "sbp", "smoker"}


@pytest.mark.parametrize("noise", ["local", "shared"])
def test_under_noise_the_errors_keep_to_their_bound_in_nearly_all_of_200_surveys(noise: str) -> None:
    plan = private_plan(noise=noise, noise_multiplier=2.0)
    survey, random = PrivateSurvey(plan), np.random.default_rng(0)
    features, labels = _table(random, 1000)
    edges = survey.first_edges()
    exact, own = _exact(features, labels), survey.of(features, labels, edges)
    inside, fell_back = [], 0
    for _ in range(200):
        total = own + survey.noise(3) * random.standard_normal(survey.size)
        found = _found(survey.normaliser(total, edges, **ALL, sites=3))
        bounds = survey.errors(total, edges, sites=3)
        fell_back += 4 - len(bounds)
        for place, name in enumerate(("age", "sbp", "smoker", "stay")):
            if name in bounds:
                errors = [abs(f[place] - e[place]) for f, e in zip(found, exact, strict=True)]
                inside.append([errors[0] <= bounds[name]["mean"], errors[1] <= bounds[name]["std"]])
    assert np.mean(inside, axis=0).min() >= 0.95 and fell_back == 0
    assert all(bounds[name]["mean"] < 0.1 * span for name, span in (("age", 120), ("sbp", 240), ("stay", 60)))


@given(st.integers(0, 10**6), st.sampled_from([0.0, -1.0, 1.0, 30.0, 1e6]))
@settings(max_examples=40)
def test_any_sum_gives_a_normaliser_that_a_site_accepts(seed: int, size: float) -> None:
    plan = private_plan(noise_multiplier=2.0)
    survey = PrivateSurvey(plan)
    total = size * np.random.default_rng(seed).standard_normal(survey.size) if size >= 0 else -np.ones(survey.size)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        normaliser = survey.normaliser(total, survey.first_edges(), **ALL, sites=3)
        survey.errors(total, survey.first_edges(), sites=3)
        shares = survey.missing(total, sites=3)
    assert Normaliser.from_vector(normaliser.to_vector(), plan).rows >= 1
    assert (np.diff(normaliser.edges, axis=1) >= 0).all()
    assert all(0.0 <= share <= 1.0 for share in shares.values())


def test_what_noise_hides_falls_back_to_the_middle_of_the_range() -> None:
    survey = PrivateSurvey(private_plan(noise_multiplier=2.0))
    normaliser = survey.normaliser(np.zeros(survey.size), survey.first_edges(), **ALL, sites=3)
    mean, std = _found(normaliser)
    assert mean.tolist() == [60, 160, 0.5, 30] and std.tolist() == [30, 60, 0.5, 15]
    assert normaliser.rows == 1000 and survey.errors(np.zeros(survey.size), survey.first_edges(), sites=3) == {}


def test_plausible_allows_for_the_noise_and_for_no_more() -> None:
    survey = PrivateSurvey(private_plan())
    features, labels = _table(np.random.default_rng(3), 200)
    honest = survey.of(features, labels, survey.first_edges())
    assert survey.plausible(honest, sites=3, noise=0.0)
    for place, value in ((0, -11.0), (1, -11.0), (1, 221.0), (0, 3.1e9)):
        wrong = honest.copy()
        wrong[place] = value
        assert not survey.plausible(wrong, sites=3, noise=10.0)
    honest[1] = -9.0
    assert survey.plausible(honest, sites=3, noise=10.0) and not survey.plausible(honest, sites=3, noise=8.0)


def test_a_range_of_many_decades_has_bins_in_its_logarithm_and_keeps_its_bound() -> None:
    features = [{"name": "creatinine", "range": [0.05, 40]}, {"name": "rate", "range": [20, 250]}]
    survey = PrivateSurvey(private_plan(features=features, tasks=[{"name": "death", "label": "died"}]))
    wide, narrow = survey.first_edges().astype(np.float64)
    limits = np.concatenate([[0.0], wide, [1.0]]) * 39.95 + 0.05
    assert np.allclose(limits[1:] / limits[:-1], 800 ** (1 / survey.bins), rtol=1e-4)
    assert np.allclose(np.diff(narrow), 1 / survey.bins, atol=1e-6)
    random = np.random.default_rng(0)
    values = np.stack([random.lognormal(0, 0.5, 1000), random.normal(85, 17, 1000)], axis=1).astype(np.float32)
    edges, inside = survey.first_edges(), []
    own = survey.of(values, np.full((1000, 1), np.nan, dtype="f4"), edges)
    for _ in range(100):
        total = own + survey.noise(3) * random.standard_normal(survey.size)
        found = survey.normaliser(total, edges, features=[True] * 2, tasks=[True], sites=3)
        bounds = survey.errors(total, edges, sites=3)
        for index, name in enumerate(("creatinine", "rate")):
            off = abs(found.mean[index] - values[:, index].mean()), abs(found.std[index] - values[:, index].std())
            inside.append([off[0] <= bounds[name]["mean"], off[1] <= bounds[name]["std"]])
    assert np.mean(inside, axis=0).min() >= 0.95
