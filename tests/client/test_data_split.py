"""The split: by patient, keyed, the same in every hospital and every order of the rows."""

import random
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from hypothesis import given
from hypothesis import strategies as st

from client.config import load_site
from client.data.split import divide_train, split_by_hash, uniform
from client.data.table import SiteTable, load_table
from common.errors import DataError
from common.plan import Plan, plan_from_dict

IDS = st.lists(st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=8), min_size=1, max_size=40)


def _plan(seed: int = 0, column: str | None = None, **split: object) -> Plan:
    if column is not None:
        split["split_column"] = column
    content = {
        "federation": {"name": "x"},
        "data": {"patient": "pid", "row": "stay"},
        "features": [{"name": "age", "range": [0, 120]}],
        "tasks": [{"name": "t", "label": "y"}],
        "split": split,
        "seeds": {"split": seed},
    }
    return plan_from_dict(content, source="test")


def _load(tmp_path: Path, text: str, plan: Plan, name: str = "rows") -> SiteTable:
    (tmp_path / f"{name}.csv").write_text(text)
    return load_table(load_site(tmp_path / f"{name}.csv"), plan)


@given(IDS, st.integers(0, 5))
def test_a_patient_is_in_one_set_whatever_the_hospital_and_the_order(patients: list[str], seed: int) -> None:
    plan = _plan(seed)
    here = np.array(patients * 2)
    there = np.array([*random.Random(seed).sample(patients, len(patients)), "stranger"])
    first = dict(zip(here.tolist(), split_by_hash(here, plan).tolist(), strict=True))
    second = dict(zip(there.tolist(), split_by_hash(there, plan).tolist(), strict=True))
    assert all(first[patient] == index for patient, index in zip(here.tolist(), split_by_hash(here, plan), strict=True))
    assert all(second[patient] == first[patient] for patient in patients)


@given(st.text(min_size=1, max_size=10), st.text(min_size=1, max_size=10).filter(lambda t: "\0" not in t))
def test_the_number_is_the_top_of_an_hmac(salt: str, patient: str) -> None:
    patient, salt = patient.encode("utf-8", "ignore").decode() or "p", salt.encode("utf-8", "ignore").decode() or "s"
    judge = HMAC(salt.encode(), hashes.SHA256())
    judge.update(f"7|{patient}".encode())
    expected = int.from_bytes(judge.finalize()[:8]) / 2**64
    found = uniform(np.array([patient]), salt=salt, seed=7)
    assert found[0] == pytest.approx(expected, abs=2**-52)
    assert 0.0 <= found[0] < 1.0


def test_shares_salt_and_seed() -> None:
    patients = np.array([f"p{index}" for index in range(20_000)])
    sets = split_by_hash(patients, _plan())
    assert np.bincount(sets) / len(sets) == pytest.approx([0.65, 0.10, 0.25], abs=0.012)
    assert (sets != split_by_hash(patients, _plan(seed=1))).mean() > 0.3
    assert (sets != split_by_hash(patients, _plan(salt="other"))).mean() > 0.3
    assert set(split_by_hash(patients, _plan(train=0.75, validation=0.0, test=0.25)).tolist()) == {0, 2}
    u = uniform(patients, salt="consilium", seed=0)
    assert ((u < 0.25) == (sets == 2)).all()
    assert (((u >= 0.25) & (u < 0.35)) == (sets == 1)).all()


def test_two_hospitals_and_several_stays(tmp_path: Path) -> None:
    rows = [f"{i % 60},{i // 60},{i % 2},40\n" for i in range(180)]
    here = _load(tmp_path, "pid,stay,y,age\n" + "".join(rows), _plan(), "here")
    random.Random(0).shuffle(rows)
    there = _load(tmp_path, "pid,stay,y,age\n" + "".join(rows[:90]), _plan(), "there")
    sets = dict(zip(here.patients.tolist(), here.split.tolist(), strict=True))
    assert [sets[patient] for patient in here.patients.tolist()] == here.split.tolist()
    assert [sets[patient] for patient in there.patients.tolist()] == there.split.tolist()
    assert set(here.split.tolist()) == {0, 1, 2}


NAMED = "pid,stay,y,age,set\n"


def test_a_split_column_decides_and_its_empty_rows_take_no_part(tmp_path: Path) -> None:
    text = NAMED + "a,1,1,40,train\nb,1,1,40, Validation \nc,1,0,40,TEST\nd,1,0,40,\n"
    table = _load(tmp_path, text, _plan(column="set"))
    assert dict(zip(table.patients.tolist(), table.split.tolist(), strict=True)) == {"a": 0, "b": 1, "c": 2}
    assert table.report.dropped == {"no set": 1}


def test_without_validation_rows_the_hash_divides_train(tmp_path: Path) -> None:
    text = NAMED + "".join(f"p{i},1,1,40,{'test' if i < 300 else 'train'}\n" for i in range(1300))
    plan = _plan(column="set", train=0.6, validation=0.2, test=0.2)
    table = _load(tmp_path, text, plan)
    counts = np.bincount(table.split)
    assert counts[2] == 300
    assert counts[1] / 1000 == pytest.approx(0.25, abs=0.04)
    u = uniform(table.patients, salt="consilium", seed=0)
    assert ((table.split == 1) == ((u < 0.25) & (table.split != 2))).all()
    none = _load(tmp_path, text, _plan(column="set", train=0.75, validation=0.0, test=0.25))
    assert np.bincount(none.split).tolist() == [1000, 0, 300]


def test_dividing_train_leaves_named_validation_rows_alone() -> None:
    sets = np.array([0, 0, 0, 1, 2], dtype=np.int8)
    patients = np.array(["a", "b", "c", "d", "e"])
    assert divide_train(sets, patients, _plan(column="set")).tolist() == sets.tolist()


def test_a_split_column_with_other_words_or_a_patient_in_two_sets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"split column 'set' has 1 row\(s\) with another value; allowed: train, val"):
        _load(tmp_path, NAMED + "a,1,1,40,train\nb,1,1,40,dev\n", _plan(column="set"))
    with pytest.raises(DataError, match=r"split column 'set' puts 1 patient\(s\) in more than one set"):
        _load(tmp_path, NAMED + "a,1,1,40,train\na,2,1,40,test\n", _plan(column="set"))
