"""Secure sums and plain sums give the same federation: within the stated bound in each round, and to rounding after."""

from pathlib import Path

import numpy as np
import pytest

from client.sessions import close_sessions
from common.contribution import Contribution
from common.model import Layout
from common.privacy.shares import rounding_error
from server.declarations import enrol
from server.journal import RunState
from server.sums import PlainSum
from tests.conftest import small_table
from tests.secure import NAMES, Federation, Wire, build, collect

ROUNDS = 5


@pytest.fixture
def both(tmp_path: Path) -> tuple[Federation, Federation]:
    """The same hospitals under both plans: `young` has no deaths recorded, `west` alone has a triage level."""
    tables = {name: small_table(i) for i, name in enumerate(NAMES)}
    tables["young"] = tables["young"].drop(columns="died")
    for name in NAMES[:3] + NAMES[4:]:
        tables[name] = tables[name].drop(columns="level")
    rules = {"training": {"rounds": ROUNDS}}
    secure = build(tmp_path / "secure", 5, tables=tables, **rules)
    return secure, build(tmp_path / "plain", 5, tables=tables, secure=False, **rules)


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_sum_of_one_round_is_within_the_stated_bound(shift: float, both: tuple[Federation, Federation]) -> None:
    """The same model to the same sites: all that differs is rounding, and what too few sites hold."""
    secure, plain = both
    asked = Contribution(secure.plan, "train")
    with secure.sums() as sums:
        masked = secure.collect(sums, shift=shift)
    close_sessions()
    grid = plain.grid()
    cohort, _ = enrol(grid, grid.get_node_ids(), Layout(plain.plan), timeout_s=1.0)
    size = asked.narrow + asked.wide
    honest = PlainSum(plain.grid(), cohort, 1.0)
    opened = honest.collect(plain.question(shift=shift), size=size, min_sites=3, plausible=lambda *_: True)
    assert masked.sites == opened.sites == NAMES and masked.entries is not None
    error = np.where(masked.entries, masked.total - opened.total, 0.0)
    assert 0 < np.linalg.norm(error[: asked.narrow]) <= rounding_error(secure.plan, 5)
    assert np.abs(error[asked.narrow :]).max() <= 5 * 2.0**-20 + 1e-6 * np.abs(opened.total).max()  # plain: float32
    assert not masked.total[~masked.entries].any() and masked.entries[: asked.narrow].mean() > 0.5


def test_models_and_metrics_of_whole_runs_agree(both: tuple[Federation, Federation]) -> None:
    (secure, plain), states, results = both, [], []
    for federation in (secure, plain):
        results.append(federation.run())
        states.append(RunState.from_bytes((federation.out / "checkpoint.safetensors").read_bytes(), source=""))
    first, second = (state.arrays["parameters"].astype(np.float64) for state in states)
    assert np.allclose(*(state.arrays["normaliser"] for state in states), rtol=1e-5, atol=1e-5)
    moved = np.linalg.norm(second)
    assert 0 < np.linalg.norm(first - second) < 1e-4 * moved
    secure_tasks, plain_tasks = (result["tasks"] for result in results)
    assert set(secure_tasks) == set(plain_tasks) and "triage" not in secure_tasks
    for name, task in plain_tasks.items():
        for key, value in task["pooled"].items():
            if isinstance(value, float):
                assert secure_tasks[name]["pooled"][key] == pytest.approx(value, abs=1e-3, rel=1e-3), (name, key)


def test_result_of_a_secure_sum_says_nothing_of_a_single_site(both: tuple[Federation, Federation]) -> None:
    with both[0].sums() as sums:
        total = both[0].collect(sums)
    assert total.each == {}
    assert collect(both[0], Wire()).each == {}
