"""The study of balancing: when another default is taken, what is timed, and that nothing is measured twice."""

from collections.abc import Callable
from pathlib import Path
from time import process_time

import pytest
import tomli_w

from client.config import find_sites
from common.plan import Plan
from experiments import balancing
from experiments.balancing import OTHERS, PLAIN, clock, measured, table, verdict
from experiments.defaults import Federation
from experiments.simulate import simulate
from tests.conftest import small_content


def _values(**better: float) -> dict[str, list[float]]:
    return {name: [0.7 + better.get(name, 0.0) * (1.0 + seed / 10) for seed in range(3)] for name in (PLAIN, *OTHERS)}


def test_another_default_has_to_be_better_everywhere() -> None:
    assert "plain** stays" in verdict([_values(), _values(upgrad=0.1)])
    assert "plain** stays" in verdict([_values(upgrad=-0.01), _values(upgrad=0.1)])
    both = [_values(upgrad=0.01, pcgrad=0.02), _values(upgrad=0.01, pcgrad=0.001)]
    assert verdict(both).endswith("By this rule **pcgrad** is the default.")
    assert "plain** stays" in verdict([{name: values[:1] for name, values in part.items()} for part in both])


def test_the_table_has_differences_and_ratios_to_plain() -> None:
    seconds = {name: [2.0, 4.0] if name == "mgda" else [1.0, 2.0] for name in (PLAIN, *OTHERS)}
    lines = table({"here": {n: [0.7, 0.8] for n in (PLAIN, *OTHERS)}}, {"here": seconds}).splitlines()
    assert lines[2] == "| **plain** | **0.750** | **1.5 s** |"
    assert "| mgda | +0.000 [+0.000, +0.000] | 2.00 [2.00, 2.00] |" in lines


def test_only_training_is_timed(
    make_plan: Callable[..., Plan], write_sites: Callable[..., Path], tmp_path: Path
) -> None:
    configs, began = find_sites(write_sites()), process_time()
    with clock() as spent:
        simulate(make_plan(training={"rounds": 2}), configs, tmp_path / "run")
    assert len(spent) == 2 * 3  # rounds x sites
    assert 0.0 < sum(spent) < process_time() - began


def test_what_was_measured_is_not_run_again(
    write_sites: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small.toml").write_text(tomli_w.dumps(small_content() | {"training": {"rounds": 1}}))
    federation = Federation("small", str(tmp_path / "small.toml"), write_sites().name)
    found = measured(federation, tmp_path, [3], tmp_path / "kept.json")
    assert {name: len(values) for name, values in found[0].items()} == dict.fromkeys((PLAIN, *OTHERS), 1)
    assert min(seconds for (seconds,) in found[1].values()) > 0.0
    monkeypatch.setattr("experiments.defaults.simulate", lambda *_: pytest.fail("run again"))
    assert balancing.measured(federation, tmp_path, [3], tmp_path / "kept.json") == found
