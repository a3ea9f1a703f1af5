"""A model judged outside the federation has the figures that its hospitals found."""

from pathlib import Path

import pytest

from client.config import find_sites
from client.site_rows import TEST, VALIDATION
from experiments.baselines.tables import load_tables
from experiments.judge import judged, validation_auroc
from experiments.simulate import simulate
from server.result import MODEL
from tests.conftest import small_plan
from tests.hourly import hourly_plan, hourly_tables, write_site

HOURLY = hourly_plan()
PLAIN = small_plan(aggregation={"secure": False})


@pytest.fixture(params=[HOURLY, PLAIN], ids=["hours", "rows"])
def plan(request, write_sites, tmp_path: Path):
    """The plan; its hospitals stand in tmp_path / 'hospitals'."""
    if request.param is HOURLY:
        for seed, name in enumerate(("east", "north", "south")):
            write_site(tmp_path / "hospitals", name, *hourly_tables(seed))
    else:
        write_sites()
    return request.param


def test_the_figures_are_those_of_the_hospitals(plan, tmp_path: Path) -> None:
    sites = find_sites(tmp_path / "hospitals")
    result = simulate(plan, sites, tmp_path / "out")
    for table in load_tables(plan, sites):
        found = judged(tmp_path / "out" / MODEL, plan, table, TEST)
        assert set(found) == set(result["tasks"])
        for name, task in result["tasks"].items():
            own = task["per_site"][table.site]
            for measure in ("auroc", "mae"):
                assert found[name].get(measure) == pytest.approx(own.get(measure), abs=1e-6)


def test_the_mean_is_over_tasks_of_means_over_the_sites_that_count(monkeypatch, plan, tmp_path: Path) -> None:
    def of(auroc: float, counted: bool = True) -> dict[str, object]:
        return {"auroc": auroc, "counted": counted}

    found = iter(
        [{"a": of(0.9), "b": of(0.5)}, {"a": of(0.7), "b": of(0.1, False)}, {"a": {"mae": 3, "counted": True}}]
    )
    asked = []

    def judged(model: Path, plan: object, table: object, part: int) -> dict[str, object]:
        asked.append(part)
        return next(found)

    monkeypatch.setattr("experiments.judge.judged", judged)
    assert validation_auroc(tmp_path, plan, find_sites(tmp_path / "hospitals")) == pytest.approx((0.8 + 0.5) / 2)
    assert asked == [VALIDATION] * 3
