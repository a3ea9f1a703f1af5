"""A site's own scaling: the same inputs from an affine map of the same values, and caution where there are few."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.errors import PlanError
from common.model import Layout, Normaliser, SiteScaling, encode, encode_stays
from common.plan import Plan, all_shared, plan_from_dict
from common.plan.describe import describe
from common.survey import Survey
from tests.conftest import small_content, small_plan
from tests.hourly import hourly_plan

PLAN = small_plan(model={"hidden": [8], "scaling": "site"})
FAR = 1e15  # rows at which nothing is shrunk
PATIENT = {"unit": "patient", "noise": "local", "noise_multiplier": 1.0}
HOSPITAL = {"unit": "hospital", "noise": "shared", "noise_multiplier": 1.0}


def _features(rows: int = 400) -> np.ndarray:
    """(rows, 4) of the small plan: age, sbp with gaps, smoker, ward."""
    random = np.random.default_rng(0)
    sbp = np.where(random.random(rows) < 0.2, np.nan, random.normal(120, 12, rows).clip(70, 170))
    parts = (random.uniform(30, 70, rows), sbp, random.integers(0, 2, rows), random.integers(0, 3, rows))
    return np.stack(parts, axis=1).astype(np.float32)


def _survey(plan: Plan, features: np.ndarray, hours: np.ndarray | None = None) -> tuple[Normaliser, SiteScaling]:
    """The pooled normaliser of a federation of these rows alone, and their own moments."""
    survey, edges = Survey(plan), Survey(plan).first_edges()
    labels = np.full((len(features), len(plan.tasks)), np.nan, dtype=np.float32)
    total = survey.of(features, labels, edges, hours=hours)
    every = [True] * len(plan.inputs), [True] * len(plan.tasks)
    pooled = survey.normaliser(total, edges, features=every[0], tasks=every[1])
    return pooled, SiteScaling(*survey.moments(total))


def _certain(scaling: SiteScaling) -> SiteScaling:
    return replace(scaling, count=np.full_like(scaling.count, FAR))


@given(st.floats(0.5, 1.6), st.floats(-20.0, 20.0))
def test_affine_map_of_the_values_gives_the_same_inputs(scale: float, shift: float) -> None:
    features = _features()
    pooled, _ = _survey(PLAN, features)
    moved = features.copy()
    moved[:, :2] = features[:, :2] * np.float32(scale) + np.float32(shift)
    _, own = _survey(PLAN, moved)
    expected = encode(torch.from_numpy(features), pooled, PLAN).numpy()
    found = encode(torch.from_numpy(moved), _certain(own).of(pooled, PLAN), PLAN).numpy()
    assert np.abs(found - expected).max() < 2e-3
    if abs(scale - 1.0) > 0.1:
        assert np.abs(encode(torch.from_numpy(moved), pooled, PLAN).numpy() - expected).max() > 0.1


def test_affine_map_of_hourly_values_gives_the_same_inputs() -> None:
    plan, random = hourly_plan(scaling="site"), np.random.default_rng(1)
    features = np.stack([random.uniform(30, 80, 300), random.integers(0, 2, 300)], axis=1).astype(np.float32)
    hours = random.normal([85, 37, 8], [8, 0.5, 1.5], (300, plan.hours, 3)).astype(np.float32)
    hours[random.random(hours.shape) < 0.4] = np.nan
    moved = hours * np.array([1.6, 0.9, 2.0], dtype=np.float32)
    pooled, _ = _survey(plan, features, hours)
    _, own = _survey(plan, features, moved)
    row = torch.from_numpy(features)
    expected = encode_stays(row, torch.from_numpy(hours), pooled, plan).numpy()
    found = encode_stays(row, torch.from_numpy(moved), _certain(own).of(pooled, plan), plan).numpy()
    assert np.abs(found - expected).max() < 2e-3
    assert np.abs(encode_stays(row, torch.from_numpy(moved), pooled, plan).numpy() - expected).max() > 0.5


def _pooled() -> Normaliser:
    pooled, _ = _survey(PLAN, _features())
    return replace(
        pooled,
        mean=np.array([60, 130, 0.5, 0], dtype=np.float32),
        std=np.array([10, 20, 0.5, 1], dtype=np.float32),
        edges=np.tile(np.array([0, 50, 100, 150, 200], dtype=np.float32), (4, 1)),
    )


def test_ten_rows_count_as_much_as_the_federation() -> None:
    own = SiteScaling(np.array([10.0, 10, 10, 10]), np.array([80.0, 160, 0.9, 2]), np.array([40.0, 5, 0.3, 0.5]))
    found = own.of(_pooled(), PLAN)
    assert found.mean.tolist() == pytest.approx([70, 145, 0.5, 0])
    assert found.std.tolist() == pytest.approx([20, 10, 0.5, 1])
    assert found.edges[1].tolist() == pytest.approx([80, 105, 130, 155, 180])
    assert found.edges[2:].tobytes() == _pooled().edges[2:].tobytes()  # codes have no scale


def test_the_more_rows_the_less_is_shrunk() -> None:
    features = _features()
    pooled, own = _survey(PLAN, features * np.float32(1.5))[0], _survey(PLAN, features)[1]
    expected = encode(torch.from_numpy(features), _certain(own).of(pooled, PLAN), PLAN)
    counts = (3.0, 30.0, 300.0, 3000.0)
    each = [replace(own, count=np.full_like(own.count, count)).of(pooled, PLAN) for count in counts]
    errors = [float((encode(torch.from_numpy(features), one, PLAN) - expected).abs().max()) for one in each]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.03 < 0.3 < errors[0]


@pytest.mark.parametrize(("count", "std"), [(0.0, 0.0), (200.0, 0.0)], ids=["never measured", "always the same"])
def test_what_has_no_spread_here_is_scaled_as_pooled(count: float, std: float) -> None:
    own = SiteScaling(np.full(4, count), np.full(4, 7.0), np.full(4, std))
    assert own.of(_pooled(), PLAN).to_vector().tobytes() == _pooled().to_vector().tobytes()


def test_a_constant_column_has_no_spread() -> None:
    features = _features()
    features[:, 0] = 55.0
    features[:, 1] = np.nan
    _, own = _survey(PLAN, features)
    assert own.std[:2].tolist() == [0.0, 0.0] and own.count[:2].tolist() == [400.0, 0.0] and own.std[2] > 0.4


def test_a_plan_that_says_what_is_so_anyway_has_the_hash_of_one_that_does_not() -> None:
    said = small_plan(model={"hidden": [8], "scaling": "pooled", "local": []})
    assert said.hash == small_plan().hash and b"scaling" not in said.canonical and b'"local":' not in said.canonical
    assert len({said.hash, PLAN.hash, small_plan(model={"hidden": [8], "local": ["heads"]}).hash}) == 3
    content = small_content() | {"model": {"hidden": [8], "scaling": "site", "local": ["heads"]}}
    assert plan_from_dict(all_shared(content), source="x").hash == said.hash
    assert not Layout(said).local.any() and not said.model.keeps_parts


REFUSED: list[tuple[str, dict[str, Any]]] = [
    (r"model\.scaling = 'site' contradicts", {"model": {"scaling": "site"}, "privacy": PATIENT}),
    (r"model\.local contradicts privacy\.unit = 'patient'", {"model": {"local": ["heads"]}, "privacy": PATIENT}),
    (
        r"model\.local contradicts privacy\.unit = 'hospital'",
        {"model": {"local": ["linear"]}, "privacy": HOSPITAL, "aggregation": {"secure": True}},
    ),
    (r"training\.patience goes back", {"model": {"local": ["heads"]}, "training": {"patience": 2}}),
    (r"model\.local contradicts start", {"model": {"local": ["heads"]}, "start": {"vector": "0" * 64}}),
    (r"each part is named once", {"model": {"local": ["heads", "heads"]}}),
    (r"there is none to keep", {"model": {"local": ["linear"], "linear_path": False}}),
    (r"model\.scaling' is 'own'", {"model": {"scaling": "own"}}),
    (r"'model\.local\.0' is 'encoder'", {"model": {"local": ["encoder"]}}),
]


@pytest.mark.parametrize(("words", "sections"), REFUSED, ids=[words for words, _ in REFUSED])
def test_what_does_not_go_together_is_refused_in_one_sentence(words: str, sections: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=words) as caught:
        small_plan(**sections)
    assert "\n" not in str(caught.value)


def test_a_plan_says_what_stays_at_each_site() -> None:
    plan = small_plan(model={"scaling": "site", "local": ["heads", "linear"]})
    told = {heading: " ".join(lines) for heading, lines in describe(plan)}
    assert "own heads and linear path" in told["What runs"] and "own training rows' moments" in told["What runs"]
    assert "the moments by which it scales features, its heads, its linear path" in told["What never leaves"]
    assert "own heads" not in str(describe(small_plan()))
