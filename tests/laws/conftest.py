"""Fixtures of the laws of the door: one site, and what was done with its rows."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from client import site_rows, work
from client.config import find_sites
from client.sessions import close_sessions
from client.training.private_trainer import PrivateTrainer
from client.training.trainer import Trainer
from common.evaluation import Evaluation
from common.plan import Plan
from common.privacy.evaluation import PrivateEvaluation
from common.privacy.survey import PrivateSurvey
from common.survey import Survey
from experiments.simulate import prepare_sites
from server.identity import act_as_coordinator
from server.journal import PLAN
from tests.conftest import small_table
from tests.laws.one_site import OneSite


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[[Plan], OneSite]]:
    """site(plan) has prepared and approved; its policy allows everything. Its table has 90 patients."""
    act_as_coordinator()

    def make(plan: Plan) -> OneSite:
        hospitals, out = tmp_path / "hospitals", tmp_path / "out"
        hospitals.mkdir()
        out.mkdir()
        small_table(0).to_csv(hospitals / "north.csv", index=False)
        (out / PLAN).write_bytes(plan.canonical)
        prepare_sites(plan, find_sites(hospitals), out)
        return OneSite(out)

    close_sessions()
    yield make
    close_sessions()


@pytest.fixture
def closed() -> Iterator[None]:
    """After the test, no site is open."""
    yield
    close_sessions()


@pytest.fixture
def touched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done with the site's rows, in order: reading the table, sums over it, steps of training."""
    done: list[str] = []

    def count(owner: Any, name: str) -> None:
        honest: Callable[..., Any] = getattr(owner, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            done.append(name)
            return honest(*arguments, **named)

        monkeypatch.setattr(owner, name, counted)

    for owner, name in (
        (site_rows, "load_table"),
        (site_rows, "weight_level"),
        (work, "_scores"),
        (Trainer, "train"),
        (PrivateTrainer, "train"),
        (PrivateTrainer, "gradient"),
        *((each, "of") for each in (Survey, PrivateSurvey, Evaluation, PrivateEvaluation)),
    ):
        count(owner, name)
    return done
