"""One table divided among virtual hospitals: everybody once, patients whole, and as unlike as was asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from common.errors import PlanError
from experiments.sweep.hospitals import Partition
from experiments.sweep.partition import Rule, divided


def table(patients: int, seed: int = 0) -> pd.DataFrame:
    """One to three rows of each patient, in no order."""
    random = np.random.default_rng(seed)
    rows = np.repeat(np.arange(patients), random.integers(1, 4, patients))
    frame = pd.DataFrame({"patient": [f"p{number}" for number in rows], "age": random.integers(20, 90, len(rows))})
    frame["died"] = (random.random(len(rows)) < 0.3).astype(int)
    frame["ward"] = [("A B", "c/1", "Ü")[number % 3] for number in rows]
    return frame.sample(frac=1.0, random_state=seed).reset_index(drop=True)


def parts(frame: pd.DataFrame, seed: int = 0, **rule: Any) -> list[pd.DataFrame]:
    found = divided(frame, frame["patient"].to_numpy(), Rule(**rule), seed)
    return [frame.iloc[rows] for rows in found.values()]


RULES = [
    {"by": "iid", "sites": 5},
    {"by": "labels", "sites": 5, "column": "died", "alpha": 0.5},
    {"by": "quantity", "sites": 5, "alpha": 1.0},
    {"by": "feature", "sites": 5, "column": "age", "mixed": 0.2},
    {"by": "column", "column": "ward"},
]


@given(st.sampled_from(RULES), st.integers(0, 10_000))
def test_everybody_is_somewhere_once_and_patients_stay_whole(rule: dict[str, Any], seed: int) -> None:
    frame = table(300)
    found = parts(frame, seed, **rule)
    assert sorted(np.concatenate([part.index for part in found])) == list(range(len(frame)))
    assert sum(part["patient"].nunique() for part in found) == frame["patient"].nunique()
    assert min(part["patient"].nunique() for part in found) >= 10
    again = parts(frame, seed, **rule)
    assert all(one.equals(other) for one, other in zip(found, again, strict=True))


def test_hospitals_are_as_unlike_as_was_asked_for() -> None:
    frame = table(4_000)

    def spread(of: str, **rule: Any) -> float:
        return float(np.std([part.drop_duplicates("patient")[of].mean() for part in parts(frame, 1, **rule)]))

    labels = {"by": "labels", "sites": 10, "column": "died"}
    assert spread("died", **labels, alpha=0.3) > 0.15 > 0.05 > spread("died", **labels, alpha=1_000.0)
    by_age = {"by": "feature", "sites": 10, "column": "age"}
    assert (
        spread("age", **by_age) > 19.0 > 12.0 > spread("age", **by_age, mixed=0.5) > spread("age", by="iid", sites=10)
    )
    sizes = [len(part) for part in parts(frame, 1, by="quantity", sites=10, alpha=0.7)]
    assert max(sizes) > 4 * min(sizes)
    equal = [part["patient"].nunique() for part in parts(frame, 1, by="iid", sites=10)]
    assert max(equal) - min(equal) <= 1


def test_values_of_a_column_name_the_hospitals() -> None:
    frame = table(90)
    found = divided(frame, frame["patient"].to_numpy(), Rule(by="column", column="ward"), 0)
    assert set(found) == {"a-b", "c-1", "unknown"}
    assert set(frame.iloc[found["c-1"]]["ward"]) == {"c/1"}
    frame["ward"] = frame["ward"].replace("Ü", "c 1")
    with pytest.raises(PlanError, match="two of its values give one name"):
        divided(frame, frame["patient"].to_numpy(), Rule(by="column", column="ward"), 0)


def test_more_hospitals_than_patients_for_them_is_one_sentence() -> None:
    with pytest.raises(PlanError, match=r"site-\d+ would have 3 patients; min_patients is 10"):
        parts(table(30), by="iid", sites=10)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"by": "iid"}, "with 'sites'"),
        ({"by": "column", "column": "a", "sites": 3}, "without 'sites'"),
        ({"by": "labels", "sites": 3}, "with 'column'"),
        ({"by": "iid", "sites": 3, "column": "a"}, "without 'column'"),
    ],
)
def test_rules_that_contradict_themselves(rule: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Rule(**rule)


def test_tables_are_written_and_read_as_sites(tmp_path: Path) -> None:
    frame = table(100)
    frame.to_csv(tmp_path / "all.csv", index=False)
    rule = Partition(table="all.csv", patient="patient", by="iid", sites=4)
    sites = rule.draw(tmp_path, tmp_path / "drawn", 3)
    assert [site.name for site in sites] == ["site-1", "site-2", "site-3", "site-4"]
    assert sum(len(pd.read_csv(site.files[0])) for site in sites) == len(frame)
    before = rule.digest(tmp_path)
    assert rule.model_copy(update={"sites": 5}).digest(tmp_path) != before
    (tmp_path / "all.csv").write_text((tmp_path / "all.csv").read_text() + "p1,30,0,c/1\n")
    assert rule.digest(tmp_path) != before
    with pytest.raises(PlanError, match="has no column 'nobody'"):
        rule.model_copy(update={"patient": "nobody"}).draw(tmp_path, tmp_path / "other", 0)
    with pytest.raises(PlanError, match="cannot be read"):
        rule.model_copy(update={"table": "none.csv"}).digest(tmp_path)
