"""`--run`: baselines in the federation's own result and report, or a refusal that changes nothing."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from client.config import find_sites
from common.errors import ConsiliumError, RunError
from common.plan import Plan
from experiments import cli
from experiments.baselines import run_baselines
from experiments.baselines.beside import check_run, put_beside
from experiments.simulate import simulate
from server.dashboard.joining import gains, verdict_words
from server.result import rounds_to_99_percent
from tests.server.test_report import Parsed

ONLY = ["local", "logistic_regression_pooled"]


@pytest.fixture
def both(plan: Plan, write_sites: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path]:
    """A finished run, and baselines on its splits."""
    sites = find_sites(write_sites())
    simulate(plan, sites, tmp_path / "run")
    run_baselines(plan, sites, tmp_path / "baselines", only=ONLY)
    return tmp_path / "run", tmp_path / "baselines"


def content(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def test_baselines_stand_in_the_result_and_in_the_report(plan: Plan, both: tuple[Path, Path]) -> None:
    run, baselines = both
    before = content(run / "result.json")
    assert before["rounds_to_99_percent"] == rounds_to_99_percent(before["history"]) <= before["rounds"]
    check_run(run, plan)
    assert put_beside(run, baselines) == content(run / "result.json")
    after = content(run / "result.json")
    found = after.pop("baselines")
    assert after == before and list(found) == ONLY
    for name, entry in found.items():
        own = content(baselines / name / "result.json")
        assert (entry["parameters"], entry["seconds"]) == (own["parameters"], own["seconds"])
        assert entry["description"] and entry["tasks"].keys() == own["tasks"].keys()
        for task, scores in entry["tasks"].items():
            assert scores == {key: own["tasks"][task][key] for key in ("per_site_mean", "per_site")}
    shown = "".join(Parsed((run / "report.html").read_text(encoding="utf-8")).text)
    for site, of in gains(content(run / "result.json")).items():
        assert of and f"{site}: {verdict_words(of)}" in shown
    assert not [path for path in run.iterdir() if path.suffix == ".tmp"]


def test_a_second_call_adds_to_the_first(both: tuple[Path, Path], plan: Plan, write_sites, tmp_path: Path) -> None:
    run, baselines = both
    put_beside(run, baselines)
    run_baselines(plan, find_sites(write_sites()), tmp_path / "more", only=["logistic_regression_local"])
    put_beside(run, tmp_path / "more")
    assert list(content(run / "result.json")["baselines"]) == [*ONLY, "logistic_regression_local"]


def test_what_does_not_belong_together_is_refused_and_nothing_changed(
    both: tuple[Path, Path], make_plan: Callable[..., Plan], tmp_path: Path
) -> None:
    run, baselines = both
    with pytest.raises(RunError, match=r"split seed is 0, that of the baselines 7"):
        check_run(run, make_plan(seeds={"split": 7}))
    with pytest.raises(RunError, match="task 'pressure' is in one"):
        check_run(run, make_plan(tasks=[{"name": "death", "label": "died"}]))
    with pytest.raises(RunError, match="finished run"):
        check_run(tmp_path / "nowhere", make_plan())
    with pytest.raises(RunError, match="is the baseline 'local'"):
        put_beside(baselines / "local", baselines)
    path = baselines / "local" / "result.json"
    whole = content(path)
    before = (run / "result.json").read_bytes(), (run / "report.html").read_bytes()
    for change, words in (
        (lambda each: each["tasks"]["death"]["per_site_mean"].update(n=1), "judged on"),
        (lambda each: each["tasks"].pop("death"), "task 'death' is in one of them only"),
        (lambda each: each["seeds"].update(split=3), "split seed"),
    ):
        changed = json.loads(json.dumps(whole))
        change(changed)
        path.write_text(json.dumps(changed))
        with pytest.raises(RunError, match=words):
            put_beside(run, baselines)
    assert before == ((run / "result.json").read_bytes(), (run / "report.html").read_bytes())
    (run / "result.json").write_text("{")
    with pytest.raises(ConsiliumError, match="cut off or damaged"):
        put_beside(run, baselines)


def test_the_command(both: tuple[Path, Path], plan: Plan, tmp_path: Path, monkeypatch, capsys) -> None:
    run, _ = both
    (tmp_path / "plan.json").write_bytes(plan.canonical)
    words = f"consilium baselines {tmp_path}/plan.json --sites {tmp_path}/hospitals --only logistic_regression_pooled"

    def call(*more: str) -> None:
        monkeypatch.setattr(sys, "argv", [*words.split(), "--run", str(run), *more])
        cli.main()

    with pytest.raises(SystemExit) as end:
        call("--out", str(tmp_path / "refused"), "--seed", "5")
    assert end.value.code == 2 and not (tmp_path / "refused").exists()
    assert "split seed is 0" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        call("--out", str(tmp_path / "new"))
    assert end.value.code == 0 and "report.html" in capsys.readouterr().out
    assert list(content(run / "result.json")["baselines"]) == ["logistic_regression_pooled"]
