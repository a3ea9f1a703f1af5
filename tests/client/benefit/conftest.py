"""A federation of the small plan that has come to its end, once for all tests of a module."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from client.at_rest.files import MODEL
from client.benefit.cli import make
from client.benefit.outputs import OUTPUTS
from client.benefit.site import PAGE, REPORT
from client.config import SiteConfig, find_sites, load_site
from client.predict import predict_file
from client.sessions import close_sessions
from common.plan import Plan, plan_from_dict
from experiments.simulate import simulate
from tests.conftest import small_plan, small_table
from tests.hourly import hourly_content, hourly_tables, write_site

SITES = ("north", "south", "west")
ROWS = 300
STAYS = 400
Run = Callable[..., Path]


def run_small(folder: Path, plan: Plan, **tables: pd.DataFrame) -> Path:
    """The `sites` of a run over these tables, or over three small ones."""
    hospitals = folder / "hospitals"
    hospitals.mkdir(parents=True)
    for name, table in (tables or {n: small_table(i, rows=ROWS) for i, n in enumerate(SITES)}).items():
        table.to_csv(hospitals / f"{name}.csv", index=False)
    simulate(plan, find_sites(hospitals), folder / "out")
    close_sessions()
    return folder / "out" / "sites"


def stays_content(**model: Any) -> dict[str, Any]:
    """The small plan with hours, with every kind of task but several classes, and a sex."""
    content = hourly_content(**model)
    content["features"].append({"name": "sex_male", "kind": "binary"})
    grade = {"name": "severity", "kind": "ordinal", "label": "grade", "classes": [0, 1, 2, 3]}
    content["tasks"].insert(2, grade)
    return content


def stays_tables(seed: int, stays: int = STAYS) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One hospital of `stays_content`: 200 patients of two stays each."""
    rows, hours = hourly_tables(seed, stays)
    random = np.random.default_rng(1_000 + seed)
    ill = rows["days"] + random.normal(0, 1.5, len(rows))
    return rows.assign(grade=np.digitize(ill, [2, 5, 8]), sex_male=random.integers(0, 2, len(rows))), hours


def write_stays(folder: Path) -> Path:
    """The hospitals of `stays_content`."""
    for seed, name in enumerate(SITES):
        write_site(folder, name, *stays_tables(seed))
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`sites` of a finished run; what a test writes there, others of its module see."""
    return run_small(tmp_path_factory.mktemp("run"), small_plan())


@pytest.fixture
def north(finished: Path) -> SiteConfig:
    return load_site(finished / "north")


@pytest.fixture
def made(north: SiteConfig) -> Iterator[dict[str, object]]:
    yield make(north)
    for name in (REPORT, PAGE, OUTPUTS):
        (north.folder / name).unlink(missing_ok=True)


@pytest.fixture(scope="module")
def stays(tmp_path_factory: pytest.TempPathFactory) -> SiteConfig:
    """North after a run of `stays_content`, with its report; what a test writes there, others of its module see."""
    folder = tmp_path_factory.mktemp("stays")
    content = stays_content(dropout=0.0) | {"training": {"rounds": 8, "batch_size": 32, "learning_rate": 0.3}}
    simulate(plan_from_dict(content, source="stays"), find_sites(write_stays(folder / "hospitals")), folder / "out")
    close_sessions()
    config = load_site(folder / "out" / "sites" / "north")
    make(config)
    return config


def predictions(north: SiteConfig, table: Path, tmp_path: Path, **options: bool) -> pd.DataFrame:
    out = tmp_path / "predictions.csv"
    predict_file(north.folder / MODEL, table, out, probabilities=options.get("probabilities", False))
    return pd.read_csv(out, keep_default_na=False)
