"""Who trains, who validates, who tests: each set touches its own results and nothing else. Judged by poisoning rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from client.config import find_sites, load_site
from client.data.split import TEST, TRAIN, VALIDATION, split_by_hash
from client.ledger.receipts import spent_of
from client.session import Session
from client.sessions import close_sessions
from common.plan import Plan
from common.privacy.accounting import epsilon
from common.privacy.events import Spent
from experiments.simulate import simulate
from tests.conftest import small_table
from tests.laws.asserts import assert_same_model
from tests.laws.one_site import per_patient

SITES = ("a", "b", "c")
NO_VALIDATION = {"train": 0.75, "validation": 0.0, "test": 0.25}


def _poison(table: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """Every feature and every label of `rows` turned into another value, gaps into values and values into gaps."""
    turned = table.copy()
    turned["age"] = 120 - table["age"]
    turned["sbp"] = np.where(table["sbp"].isna(), 270.0, np.nan)
    turned["smoker"] = 1 - table["smoker"]
    turned["ward"] = table["ward"].map({"a": "b", "b": "c", "c": "a"})
    turned["died"] = 1 - table["died"]
    turned["days"] = 60 - table["days"]
    turned["level"] = 4 - table["level"]
    turned["sbp_class"] = np.where(table["sbp_class"] >= 2, 1, 3)
    return table.where(pd.Series(~rows, index=table.index), turned)


@pytest.fixture
def run(write_sites: Callable[..., Path], tmp_path: Path) -> Callable[..., tuple[dict[str, Any], Path]]:
    """run(plan) and run(plan, poison=TEST) give a result and its model; the second after poisoning that set."""

    def train(plan: Plan, *, poison: int | None = None) -> tuple[dict[str, Any], Path]:
        tables = {name: small_table(seed) for seed, name in enumerate(SITES)}
        if poison is not None:
            chosen = {name: split_by_hash(t["patient"].to_numpy(), plan) == poison for name, t in tables.items()}
            assert all(rows.any() for rows in chosen.values())
            tables = {name: _poison(table, chosen[name]) for name, table in tables.items()}
        out = tmp_path / f"poison-{poison}"
        return simulate(plan, find_sites(write_sites(**tables)), out), out / "model.safetensors"

    return train


def _curve(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key != "seconds"} for entry in result["history"]]


@pytest.mark.parametrize("split", [{}, NO_VALIDATION], ids=["three sets", "no validation rows"])
def test_test_rows_touch_nothing_but_the_final_evaluation(make_plan, run, split: dict[str, float]) -> None:
    plan = make_plan(split=split)
    (clean, model), (poisoned, poisoned_model) = run(plan), run(plan, poison=TEST)
    assert_same_model(model, poisoned_model)  # parameters and normaliser
    assert _curve(clean) == _curve(poisoned) and all(set(e["tasks"]) == set(clean["tasks"]) for e in _curve(clean))
    assert clean["missing"] == poisoned["missing"]
    for task in clean["tasks"]:
        assert clean["tasks"][task]["pooled"] != poisoned["tasks"][task]["pooled"]


def test_validation_rows_touch_nothing_but_the_learning_curve(plan: Plan, run) -> None:
    (clean, model), (poisoned, poisoned_model) = run(plan), run(plan, poison=VALIDATION)
    assert_same_model(model, poisoned_model)
    assert clean["missing"] == poisoned["missing"]
    for before, after in zip(_curve(clean), _curve(poisoned), strict=True):
        assert all(before["tasks"][task] != after["tasks"][task] for task in clean["tasks"])
    for task in clean["tasks"]:
        assert clean["tasks"][task]["per_site"] == poisoned["tasks"][task]["per_site"]


def test_training_rows_stand_in_where_no_validation_rows_are_kept(make_plan, write_sites) -> None:
    site = load_site(write_sites() / "north.csv")
    apart, together = Session(site, make_plan()), Session(site, make_plan(split=NO_VALIDATION))
    for session in (apart, together):
        for part in (TRAIN, TEST):
            assert np.array_equal(session.rows(part), np.flatnonzero(session.table.split == part))
    assert np.array_equal(apart.rows(VALIDATION), np.flatnonzero(apart.table.split == VALIDATION))
    assert np.array_equal(together.rows(VALIDATION), together.rows(TRAIN))


def _divided(seed: int, *, train: int, validation: int, test: int, unlabelled: int = 0) -> pd.DataFrame:
    """A table whose sets have these sizes; the first `unlabelled` training rows have no length of stay."""
    parts = ["train"] * train + ["validation"] * validation + ["test"] * test
    table = small_table(seed, rows=len(parts)).assign(part=parts)
    table.loc[: unlabelled - 1, "days"] = np.nan
    return table


def test_site_is_counted_by_its_labelled_training_rows_and_test_rows(make_plan, write_sites, tmp_path: Path) -> None:
    rules = {"min_train_rows": 20, "min_test_rows": 5}
    plan = make_plan(split={"split_column": "part"}, evaluation=rules, training={"rounds": 1})
    tables = {
        "just-enough": _divided(0, train=20, validation=9, test=5),
        "few-trained": _divided(1, train=25, validation=40, test=40, unlabelled=6),
        "few-tested": _divided(2, train=40, validation=40, test=4),
        "plenty": _divided(3, train=40, validation=9, test=21, unlabelled=3),
    }
    task = simulate(plan, find_sites(write_sites(**tables)), tmp_path / "out")["tasks"]["stay"]
    sites = {name: (site["counted"], site["train_n"], site["n"]) for name, site in task["per_site"].items()}
    assert sites == {
        "just-enough": (True, 20, 5),
        "few-trained": (False, 19, 40),
        "few-tested": (False, 40, 4),
        "plenty": (True, 37, 21),
    }
    counted = [site["mae"] for site in task["per_site"].values() if site["counted"]]
    assert task["per_site_mean"] == {"mae": pytest.approx(np.mean(counted)), "sites": 2, "n": 26}
    assert task["pooled"]["n"] == 70


def test_new_pseudonyms_are_another_division_of_which_a_patient_may_pay_for_both_sets(site: Any) -> None:
    """Whoever was trained on under the old one may be tested on under the new one."""
    plan = per_patient()
    one = site(plan)
    assert one.ask(plan, "train").has_content()
    (file,) = one.config.files
    table = pd.read_csv(file, dtype=str)
    table.assign(**{plan.data.patient: "new-" + table[plan.data.patient]}).to_csv(file, index=False)
    close_sessions()
    assert one.ask(plan, "evaluate").has_content()
    spent = [spent_of(entry) for entry in one.records("entry")]
    assert [each.rows for each in spent] == ["train", "test"]
    of_one_patient = [Spent(each.event, "one", "one") for each in spent]
    assert epsilon(spent, delta=1e-5) == pytest.approx(epsilon(of_one_patient, delta=1e-5))
