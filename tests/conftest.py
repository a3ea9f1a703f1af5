"""Shared by all tests: where the public data are, and a small federation that trains in a second."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import settings

from common.plan import Plan, plan_from_dict

logging.getLogger("flwr").setLevel(logging.WARNING)
torch.set_num_threads(1)
# How long an example takes says nothing of the code on a machine that others work on too.
settings.register_profile("consilium", deadline=None)
settings.load_profile("consilium")


@pytest.fixture(scope="session")
def public_data() -> Path:
    """Folder with the public data sets, or one line and a skip; with CONSILIUM_REQUIRE_DATA=1 it must be there."""
    path = Path(os.environ.get("CONSILIUM_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if path.is_dir():
        return path
    if os.environ.get("CONSILIUM_REQUIRE_DATA") == "1":
        pytest.fail(f"the public data sets are required, but {path} is not there")
    pytest.skip("the public data sets are not beside this checkout (set CONSILIUM_DATA)")


def small_content() -> dict[str, Any]:
    """federation.toml of the small federation, as a dictionary that a test may change."""
    return {
        "federation": {"name": "small"},
        "data": {"patient": "patient"},
        "features": [
            {"name": "age", "range": [0, 120], "unit": "a"},
            {"name": "sbp", "range": [40, 280], "unit": "mm[Hg]"},
            {"name": "smoker", "kind": "binary"},
            {"name": "ward", "kind": "categorical", "categories": ["a", "b", "c"]},
        ],
        "tasks": [
            {"name": "death", "label": "died"},
            {"name": "stay", "kind": "regression", "label": "days", "range": [0, 60], "unit": "d"},
            {"name": "triage", "kind": "multiclass", "label": "level", "classes": [1, 2, 3]},
            {"name": "pressure", "label": "sbp_class", "positive_when": ">= 2", "exclude": ["sbp"]},
        ],
        "model": {"hidden": [8]},
        "training": {"rounds": 3, "batch_size": 16},
        "aggregation": {"secure": False},
        "evaluation": {"histogram_bins": 64, "round_bins": 16},
    }


def small_plan(**sections: Any) -> Plan:
    """The plan of the small federation, with other sections: small_plan(training={"rounds": 5})."""
    content = small_content()
    for name, changes in sections.items():
        content[name] = {**content.get(name, {}), **changes} if isinstance(changes, dict) else changes
    return plan_from_dict(content, source="small.toml")


@pytest.fixture
def plan() -> Plan:
    return small_plan()


@pytest.fixture
def make_plan() -> Callable[..., Plan]:
    return small_plan


def small_table(seed: int, rows: int = 90) -> pd.DataFrame:
    """One hospital's table for the small federation; labels follow the features."""
    random = np.random.default_rng(seed)
    age, sbp = random.uniform(20, 95, rows).round(), random.normal(130, 20, rows).round()
    risk = 1 / (1 + np.exp(-(age - 60) / 12))
    return pd.DataFrame(
        {
            "patient": [f"s{seed}-{i:03d}" for i in range(rows)],
            "age": age,
            "sbp": np.where(random.random(rows) < 0.15, np.nan, sbp),
            "smoker": random.integers(0, 2, rows),
            "ward": random.choice(["a", "b", "c"], rows),
            "died": (random.random(rows) < risk).astype(int),
            "days": (risk * 10 + random.exponential(2, rows)).round(1),
            "level": random.integers(1, 4, rows),
            "sbp_class": np.digitize(sbp, [120, 140]) + 1,
        }
    )


@pytest.fixture
def write_sites(tmp_path: Path) -> Callable[..., Path]:
    """write_sites(north=table, …) writes one CSV per hospital and gives the folder; without tables, three small."""

    def write(**tables: pd.DataFrame) -> Path:
        folder = tmp_path / "hospitals"
        folder.mkdir(exist_ok=True)
        for name, table in (tables or {n: small_table(i) for i, n in enumerate(("north", "south", "west"))}).items():
            table.to_csv(folder / f"{name}.csv", index=False)
        return folder

    return write
