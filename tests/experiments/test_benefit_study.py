"""The study behind docs/benefit-results.md, on a federation that trains in a second."""

from collections.abc import Callable
from pathlib import Path

from client.at_rest.files import MODEL
from experiments.benefit_study import study
from experiments.benefit_study.document import section
from experiments.benefit_study.shifts import SHIFTS
from tests.conftest import small_plan, small_table


def test_reports_and_shifts_become_tables_and_nothing_runs_twice(
    write_sites: Callable[..., Path], tmp_path: Path
) -> None:
    sites = write_sites(**{name: small_table(i, rows=200) for i, name in enumerate(("north", "south", "west"))})
    plan, out = small_plan(training={"rounds": 2}), tmp_path / "run"
    outcomes = study._run(plan, sites, out, 0)
    made = {path: path.stat().st_mtime_ns for path in out.rglob(MODEL)} | {
        path: path.stat().st_mtime_ns for path in out.rglob("benefit.json")
    }
    assert len(made) == 6 and study._run(plan, sites, out, 0) == outcomes
    assert all(path.stat().st_mtime_ns == when for path, when in made.items())
    for outcome in outcomes:
        assert set(outcome.shifts) == set(SHIFTS)
        assert outcome.shifts["as they are"][0] < 0.1 < outcome.shifts["all numbers +2 sd"][0]
    text = section("Three hospitals", outcomes)
    assert "3 hospitals, seeds 0: 3 reports." in text
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    death = next(row for row in rows if row[0] == "| death (AUROC)")
    assert sum(int(cell) for cell in death[1:5]) == 3
    assert [row[0].removeprefix("| ") for row in rows if row[0] in ("| north", "| south", "| west")] == [
        "north",
        "south",
        "west",
    ]
    north = next(row for row in rows if row[0] == "| north")
    assert [cell.endswith("%") for cell in north[7:10]] == [True] * 3  # covered before, after, cannot say
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")
