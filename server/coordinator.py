"""The coordinator: enrol, survey, rounds, evaluation, finish, with the journal after every step that must survive."""

import time
from dataclasses import dataclass, replace

from flwr.serverapp import Grid

from common.errors import RunError
from common.plan import Plan
from common.privacy.hospital import doubtful, hopeless
from server.cohort import Cohort
from server.enrolment import Enrolment
from server.journal import Journal, RunState
from server.phases.context import Run
from server.phases.evaluation import evaluate, finish
from server.phases.rounds import train_round
from server.phases.stopping import remember_best, stops, take_best
from server.phases.survey import survey
from server.secure_session import close_session
from server.secure_state import CoordinatorKeys
from server.secure_sum import SecureSum
from server.strategy import ServerStep
from server.sums import Summation


@dataclass(frozen=True)
class Coordinator:
    """Runs one plan over one grid. `journal` is where it continues from, and where it leaves every round.

    wanted_sites: sites to wait for before the start, at most `wait_s` seconds. keys: for a plan with secure sums.
    begin_with: as many are enough after that wait, and the others join before a later round; None: all are needed, and
    nobody joins.
    """

    plan: Plan
    grid: Grid
    journal: Journal
    wanted_sites: int
    wait_s: float = 120.0
    keys: CoordinatorKeys | None = None
    begin_with: int | None = None

    def run(self) -> RunState:
        """All phases; returns the final state, whose facts hold what the result file needs."""
        started = time.monotonic()
        enrolment = Enrolment(
            self.plan, self.grid, self.journal, self.wanted_sites, self.wait_s, self.begin_with, self.keys
        )
        state = self.journal.last()
        cohort, sums = self._enrol(enrolment, state)
        run = Run(self.plan, cohort, sums, self.journal)
        if state is None:
            state = survey(run, self.grid)
            self.journal.commit(state)
        else:
            self.journal.event("resumed", round=state.round)
            self.journal.tell_round(state)  # the process before may have ended between its checkpoint and the event
        before = state.facts.get("seconds", 0.0)
        step = ServerStep(self.plan.aggregation)
        step.restore(state.arrays)
        while state.round < self.plan.training.rounds and not stops(self.plan, state):
            if self.begin_with is not None:
                run = self._with_returned(run, enrolment, state)
            state = remember_best(self.plan, state, train_round(run, state, step))
            state.facts["seconds"] = before + time.monotonic() - started
            self.journal.commit(state)
            self.journal.tell_round(state)
        if stops(self.plan, state):
            self.journal.event("stopped_early", round=state.round, best=state.facts["best"])
            state = take_best(state)
        edges = evaluate(run, state)
        finish(run, state, self.grid, edges)
        if isinstance(run.sums, SecureSum):
            close_session(run.sums.state, self.grid, run.cohort, self.plan)
        state.facts["seconds"] = before + time.monotonic() - started
        self.journal.event("finished", seconds=state.facts["seconds"])
        return state

    def _enrol(self, enrolment: Enrolment, state: RunState | None) -> tuple[Cohort, Summation]:
        """Those who take part from here on. state: where a run that resumes goes on from."""
        cohort, sums, failed = enrolment.open()
        self.journal.event(
            "run_started",
            federation=self.plan.federation.name,
            sites=sorted(cohort.levels),
            rounds=self.plan.training.rounds,
            tasks=[task.name for task in self.plan.tasks],
            plan_hash=self.plan.hash,
            secure=self.plan.aggregation.secure,
        )
        for site, code in failed.items():
            self.journal.event("site_failed", site=site, round=0, code=code)
        if state is not None:
            cohort, sums = self._known(cohort, sums, enrolment, state)
        enrolment.check_enough(cohort, failed)
        self._check_noise(len(cohort.names))
        return cohort, sums

    def _with_returned(self, run: Run, enrolment: Enrolment, state: RunState) -> Run:
        """The run with the sites that have come back, or join, if any."""
        cohort, sums, failed = enrolment.returned(run.cohort, run.sums)
        for site, code in failed.items():
            self.journal.event("site_failed", site=site, round=state.round + 1, code=code)
        if cohort is run.cohort:
            return run
        cohort, sums = self._known(cohort, sums, enrolment, state)
        enrolment.check_enough(cohort, failed)
        for site in sorted(set(cohort.levels) - set(run.cohort.levels)):
            self.journal.event("site_back", site=site, round=state.round + 1)
        return replace(run, cohort=cohort, sums=sums)

    def _known(
        self, cohort: Cohort, sums: Summation, enrolment: Enrolment, state: RunState
    ) -> tuple[Cohort, Summation]:
        """The sites that may go on with a run: those that were surveyed, and others where they may join.

        Nobody joins after the last round: the test rows are counted over one set of sites.
        """
        began = set(state.facts["sites"])
        new = sorted(set(cohort.levels) - began)
        if new and self.begin_with is None:
            first, names = ", ".join(sorted(began)), ", ".join(new)
            raise RunError(f"{self.journal.folder}: this run began with {first}; {names} cannot join when it resumes.")
        if new and state.round < self.plan.training.rounds:
            for site in new:
                self.journal.event("site_joined", site=site, round=state.round + 1)
            state.facts["sites"] = sorted(began | set(new))
        elif new:
            for site in new:
                self.journal.event("site_failed", site=site, round=state.round, code="came_after_the_last_round")
            cohort, sums = enrolment.only(began, cohort, sums)
        for site in sorted(began - set(cohort.levels)):
            self.journal.event("site_failed", site=site, round=state.round, code="absent_when_resumed")
        return cohort, sums

    def _check_noise(self, sites: int) -> None:
        """Hospital-level noise against what so many sites can say; raises RunError where it drowns them."""
        if (reason := hopeless(self.plan, sites)) is not None:
            raise RunError(reason)
        if (warning := doubtful(self.plan, sites)) is not None:
            self.journal.event("warning", text=warning)
