"""What a site finds in its own columns beside the others' sums: one fault each, and nothing where there is none."""

from collections.abc import Callable

import numpy as np
import pytest

from common.associations import Associations
from common.plan import Plan, plan_from_dict
from common.survey import Survey
from common.unlike import Compared, Finding

Table = tuple[np.ndarray, np.ndarray]
Change = Callable[[np.ndarray, np.ndarray, np.random.Generator], None]
AGE, WEIGHT, TEMPERATURE, GLUCOSE, FEMALE, SCALE = range(6)


@pytest.fixture(scope="module")
def plan() -> Plan:
    content = {
        "federation": {"name": "wards"},
        "data": {"patient": "patient"},
        "features": [
            {"name": "age", "range": [0, 120], "unit": "a"},
            {"name": "weight", "range": [20, 350], "unit": "kg"},
            {"name": "temperature", "range": [25, 120], "unit": "Cel"},
            {"name": "glucose", "range": [1, 2000], "unit": "mg/dL", "analyte": "glucose"},
            {"name": "female", "kind": "binary"},
            {"name": "scale", "kind": "categorical", "categories": [1, 2, 3, 4]},
        ],
        "tasks": [{"name": "death", "label": "died"}, {"name": "stay", "label": "days", "kind": "regression",
                                                       "range": [0, 90], "unit": "d"}],
    }  # fmt: skip
    return plan_from_dict(content, source="wards.toml")


def hospital(seed: int, rows: int = 400) -> Table:
    """A ward whose columns all go together somewhat; hospitals differ in their mix of patients."""
    random = np.random.default_rng(seed)
    mix = random.normal(0, 0.4)
    ill = random.normal(mix, 1, rows)
    female = (random.random(rows) < 0.45).astype(float)
    features = np.stack([
        np.clip(60 + 12 * ill + random.normal(0, 8, rows), 18, 100),
        np.clip(85 - 14 * female - 3 * ill + random.normal(0, 10, rows), 35, 180),
        np.clip(37 + 0.4 * ill + random.normal(0, 0.4, rows), 34, 42),
        np.clip(120 + 30 * ill + random.normal(0, 20, rows), 40, 600),
        female,
        np.clip(np.round(1.5 + ill + random.normal(0, 0.7, rows)), 0, 3),
    ], axis=1)  # fmt: skip
    labels = np.stack([(ill + random.normal(0, 1, rows) > 1.0).astype(float),
                       np.clip(5 + 3 * ill + random.normal(0, 2, rows), 0, 90)], axis=1)  # fmt: skip
    features[random.random(features.shape) < 0.05] = np.nan
    return features.astype(np.float32), labels.astype(np.float32)


def found(plan: Plan, tables: list[Table]) -> list[tuple[Finding, ...]]:
    """What each hospital finds, after the survey's three sums."""
    survey, layout = Survey(plan), Associations(plan)
    edges = survey.first_edges()
    edges = survey.second_edges(np.sum([survey.of(*table, edges) for table in tables], axis=0))
    coarse = layout.edges_of(edges)
    own = [layout.of(*table, coarse) for table in tables]
    total = np.sum(own, axis=0).astype(np.float32)
    return [
        Compared(layout, np.concatenate(table, axis=1).astype(float), layout.without(total, part), coarse).findings()
        for table, part in zip(tables, own, strict=True)
    ]


def _scaled(column: int, scale: float, offset: float = 0.0) -> Change:
    def change(features: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> None:
        features[:, column] = features[:, column] * scale + offset

    return change


def _reversed_death(features: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> None:
    labels[:, 0] = 1 - labels[:, 0]


def _permuted_glucose(features: np.ndarray, labels: np.ndarray, random: np.random.Generator) -> None:
    features[:, GLUCOSE] = random.permutation(features[:, GLUCOSE])


FAULTS: dict[str, tuple[Change, str, str, str]] = {
    "pounds": (_scaled(WEIGHT, 1 / 0.45359237), "weight", "unit", "looks like [lb_av]"),
    "Fahrenheit": (_scaled(TEMPERATURE, 1.8, 32.0), "temperature", "unit", "looks like [degF]"),
    "mmol/L": (_scaled(GLUCOSE, 1 / 18.0156), "glucose", "unit", "looks like mmol/L"),
    "a shift": (_scaled(AGE, 1.0, -45.0), "age", "shift", "standard deviations below"),
    "a reversed code": (_scaled(FEMALE, -1.0, 1.0), "female", "reversed", "the opposite way round"),
    "a reversed scale": (_scaled(SCALE, -1.0, 3.0), "scale", "reversed", "the opposite way round"),
    "a reversed label": (_reversed_death, "death", "reversed", "the label of death (column 'died')"),
    "rows in another order": (_permuted_glucose, "glucose", "unrelated", "does not go together"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", range(3))
def test_a_fault_is_named_with_its_column_by_its_own_site_alone(fault: str, seed: int, plan: Plan) -> None:
    change, column, kind, words = FAULTS[fault]
    tables = [hospital(10 * seed + number) for number in range(5)]
    change(*tables[2], np.random.default_rng(seed))
    told = found(plan, tables)
    assert [(each.column, each.kind) for each in told[2]] == [(column, kind)]
    assert words in told[2][0].words and told[2][0].words.endswith(".")
    assert [told[other] for other in (0, 1, 3, 4)] == [()] * 4


@pytest.mark.parametrize("count", [3, 6])
def test_hospitals_without_a_fault_find_nothing(count: int, plan: Plan) -> None:
    for seed in range(20):
        tables = [hospital(1000 + 10 * seed + number, rows=60 + 40 * number) for number in range(count)]
        assert found(plan, tables) == [()] * count, seed


def test_two_faults_at_one_site_are_both_named(plan: Plan) -> None:
    tables = [hospital(number) for number in range(5)]
    _reversed_death(*tables[0], np.random.default_rng(0))
    _scaled(WEIGHT, 1 / 0.45359237)(*tables[0], np.random.default_rng(0))
    assert [(each.column, each.kind) for each in found(plan, tables)[0]] == [("weight", "unit"), ("death", "reversed")]


def test_nothing_is_said_of_few_rows(plan: Plan) -> None:
    """Of a column with 19 values at a site, or with none at the others, whatever they are."""
    tables = [hospital(number) for number in range(4)]
    features, _ = tables[1]
    features[19:, WEIGHT] = np.nan
    features[:, WEIGHT] *= 2.2
    for number in (0, 2, 3):
        tables[number][0][:, TEMPERATURE] = np.nan
    features[:, TEMPERATURE] = 40.0 + features[:, TEMPERATURE]
    assert found(plan, tables)[1] == ()


def test_words_hold_no_value_of_the_site(plan: Plan) -> None:
    """A median may be one patient's value: sentences speak of standard deviations."""
    tables = [hospital(number) for number in range(4)]
    _scaled(AGE, 0.0, 17.25)(*tables[0], np.random.default_rng(0))
    (finding,) = found(plan, tables)[0]
    assert finding.kind == "shift" and "17" not in finding.words
