"""The coordinator: enrol, survey, rounds, evaluation, finish, with the journal after every step that must survive."""

import time
from dataclasses import dataclass

from flwr.serverapp import Grid

from common.errors import RunError
from common.model import Layout
from common.plan import Plan
from common.privacy.hospital import doubtful, hopeless
from server.cohort import Cohort, enrol
from server.journal import Journal, RunState
from server.phases.context import Run
from server.phases.evaluation import evaluate, finish
from server.phases.rounds import train_round
from server.phases.survey import survey
from server.secure_session import Opening, close_session
from server.secure_state import CoordinatorKeys
from server.secure_sum import SecureSum
from server.strategy import ServerStep
from server.sums import PlainSum, Summation


@dataclass(frozen=True)
class Coordinator:
    """Runs one plan over one grid. `journal` is where it continues from, and where it leaves every round.

    wanted_sites: sites to wait for before the start, at most `wait_s` seconds. keys: for a plan with secure sums.
    """

    plan: Plan
    grid: Grid
    journal: Journal
    wanted_sites: int
    wait_s: float = 120.0
    keys: CoordinatorKeys | None = None

    def run(self) -> RunState:
        """All phases; returns the final state, whose facts hold what the result file needs."""
        started = time.monotonic()
        cohort, sums = self._enrol()
        run = Run(self.plan, cohort, sums, self.journal)
        state = self.journal.last()
        if state is None:
            state = survey(run)
            self.journal.commit(state)
        else:
            self._check_same_sites(cohort, state)
            self.journal.event("resumed", round=state.round)
        before = state.facts.get("seconds", 0.0)
        step = ServerStep(self.plan.aggregation)
        step.restore(state.arrays)
        while state.round < self.plan.training.rounds:
            state = train_round(run, state, step)
            state.facts["seconds"] = before + time.monotonic() - started
            self.journal.commit(state)
        edges = evaluate(run, state)
        finish(run, state, self.grid, edges)
        if isinstance(sums, SecureSum):
            close_session(sums.state, self.grid, cohort, self.plan)
        state.facts["seconds"] = before + time.monotonic() - started
        self.journal.event("finished", seconds=state.facts["seconds"])
        return state

    def _check_same_sites(self, cohort: Cohort, state: RunState) -> None:
        """A run goes on with the sites that were surveyed; one may be missing, none may be new."""
        surveyed = set(state.facts["sites"])
        if new := sorted(set(cohort.levels) - surveyed):
            began, names = ", ".join(sorted(surveyed)), ", ".join(new)
            raise RunError(f"{self.journal.folder}: this run began with {began}; {names} cannot join when it resumes.")
        for site in sorted(surveyed - set(cohort.levels)):
            self.journal.event("site_failed", site=site, round=state.round, code="absent_when_resumed")

    def _enrol(self) -> tuple[Cohort, Summation]:
        rules = self.plan.aggregation
        sums: Summation
        if rules.secure:
            if self.keys is None:
                raise RunError(
                    "the plan asks for secure sums: the coordinator needs its key and a signed roster "
                    "(run config 'key' and 'roster'; `consilium server roster` makes both)."
                )
            opening = Opening(self.plan, self.grid, self.journal, self.keys, self.wanted_sites, self.wait_s)
            cohort, failed, state = opening.open()
            sums = SecureSum(self.plan, self.grid, cohort, self.journal, state)
        else:
            timeout_s = rules.round_timeout_s
            cohort, failed = enrol(
                self.grid, Layout(self.plan), wanted=self.wanted_sites, wait_s=self.wait_s, timeout_s=timeout_s
            )
            sums = PlainSum(self.grid, cohort, timeout_s)
        self.journal.event(
            "run_started",
            federation=self.plan.federation.name,
            sites=sorted(cohort.levels),
            rounds=self.plan.training.rounds,
            tasks=[task.name for task in self.plan.tasks],
            plan_hash=self.plan.hash,
            secure=rules.secure,
        )
        for site, code in failed.items():
            self.journal.event("site_failed", site=site, round=0, code=code)
        if len(cohort.names) < rules.least_sites:
            reasons = ", ".join(f"{site}: {code}" for site, code in failed.items()) or "no other answered"
            raise RunError(f"{len(cohort.names)} site(s) enrolled, the plan asks for {rules.least_sites} ({reasons}).")
        self._check_noise(len(cohort.names))
        return cohort, sums

    def _check_noise(self, sites: int) -> None:
        """Hospital-level noise against what so many sites can say; raises RunError where it drowns them."""
        if (reason := hopeless(self.plan, sites)) is not None:
            raise RunError(reason)
        if (warning := doubtful(self.plan, sites)) is not None:
            self.journal.event("warning", text=warning)
