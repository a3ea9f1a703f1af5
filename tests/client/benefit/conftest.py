"""A federation of the small plan that has come to its end, once for all tests of a module."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from client.at_rest.files import MODEL
from client.benefit.cli import make
from client.benefit.outputs import OUTPUTS
from client.benefit.site import PAGE, REPORT
from client.config import SiteConfig, find_sites, load_site
from client.predict import predict_file
from client.sessions import close_sessions
from common.plan import Plan
from experiments.simulate import simulate
from tests.conftest import small_plan, small_table

SITES = ("north", "south", "west")
ROWS = 300
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


def predictions(north: SiteConfig, table: Path, tmp_path: Path, **options: bool) -> pd.DataFrame:
    out = tmp_path / "predictions.csv"
    predict_file(north.folder / MODEL, table, out, probabilities=options.get("probabilities", False))
    return pd.read_csv(out, keep_default_na=False)
