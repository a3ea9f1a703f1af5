"""The phases of a run: enrol, survey, rounds, evaluation, finish. Every vector passes one summing seam."""

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from flwr.serverapp import Grid
from numpy.typing import NDArray

from common.broadcast import Broadcast
from common.errors import RunError
from common.evaluation import Evaluation, first_edges
from common.model import Layout, Normaliser, initial_parameters
from common.plan import Plan
from common.schedule import learning_rate
from common.survey import Survey
from server.cohort import Cohort, enrol
from server.exchange import Question, ask
from server.journal import Journal, RunState
from server.strategy import ServerStep
from server.sums import PlainSum, Summation

_NORMS = 4  # before clipping, after, whether it was clipped, one


@dataclass
class Coordinator:
    """Runs one plan over one grid. `journal` is where it continues from, and where it leaves every round."""

    plan: Plan
    grid: Grid
    journal: Journal
    wanted_sites: int
    wait_s: float = 120.0

    @cached_property
    def layout(self) -> Layout:
        return Layout(self.plan)

    def run(self) -> RunState:
        """All phases; returns the final state, whose facts hold what the result file needs."""
        started = time.monotonic()
        state = self.journal.last()
        cohort = self._enrol()
        sums = PlainSum(self.grid, cohort, self.plan.aggregation.round_timeout_s)
        if state is None:
            state = self._survey(cohort, sums)
            self.journal.commit(state)
        else:
            self.journal.event("resumed", round=state.round)
        before = state.facts.get("seconds", 0.0)
        step = ServerStep(self.plan.aggregation)
        step.restore(_strategy_arrays(state), state.arrays["parameters"])
        for number in range(state.round + 1, self.plan.training.rounds + 1):
            state = self._round(number, state, cohort, sums, step)
            state.facts["seconds"] = before + time.monotonic() - started
            self.journal.commit(state)
        self._evaluate(state, sums)
        self._finish(state, cohort)
        state.facts["seconds"] = before + time.monotonic() - started
        self.journal.event("finished", seconds=state.facts["seconds"])
        return state

    def _enrol(self) -> Cohort:
        rules = self.plan.aggregation
        cohort, failed = enrol(
            self.grid, self.layout, wanted=self.wanted_sites, wait_s=self.wait_s, timeout_s=rules.round_timeout_s
        )
        for site, code in failed.items():
            self.journal.event("site_failed", site=site, round=0, code=code)
        if len(cohort.names) < rules.min_sites:
            reasons = ", ".join(f"{site}: {code}" for site, code in failed.items()) or "no other answered"
            raise RunError(f"{len(cohort.names)} site(s) enrolled, the plan asks for {rules.min_sites} ({reasons}).")
        self.journal.event(
            "run_started",
            federation=self.plan.federation.name,
            sites=sorted(cohort.levels),
            rounds=self.plan.training.rounds,
            tasks=[task.name for task in self.plan.tasks],
            plan_hash=self.plan.hash,
        )
        return cohort

    def _survey(self, cohort: Cohort, sums: Summation) -> RunState:
        survey, rules = Survey(self.plan), self.plan.aggregation
        left_out = _left_out(self.plan, self.layout, cohort)
        tasks = [task.name not in left_out["tasks"] for task in self.plan.tasks]
        features = [feature.name not in left_out["features"] for feature in self.plan.features]
        self.journal.event("left_out", **left_out)
        if not any(tasks):
            raise RunError(
                f"no task can be trained: each has labels at fewer than {rules.min_task_sites} sites "
                "(aggregation.min_task_sites)."
            )
        edges = survey.first_edges()
        for stage in (1, 2):
            question = Question("query.survey", self.plan.hash, stage=stage, vector=edges.ravel())
            total = sums.collect(question, size=survey.size, min_sites=rules.min_sites)
            self._report_failures(total.failed, 0)
            if stage == 1:
                edges = survey.second_edges(total.total)
        normaliser = survey.normaliser(total.total, edges, features=features, tasks=tasks)
        if normaliser.rows < 1:
            raise RunError("the sites have no training rows; look at split and keep_rows in the plan.")
        self.journal.event("survey", rows=int(normaliser.rows), sites=list(total.sites))
        arrays = {
            "parameters": initial_parameters(self.layout, seed=self.plan.seeds.training),
            "normaliser": normaliser.to_vector(),
            "edges": first_edges(self.layout.outputs, bins=self.plan.evaluation.round_bins),
        }
        facts = {"history": [], "left_out": left_out, "missing": survey.missing(total.total)}
        return RunState(0, arrays, facts | {"sites": sorted(cohort.levels)})

    def _round(self, number: int, state: RunState, cohort: Cohort, sums: Summation, step: ServerStep) -> RunState:
        started = time.monotonic()
        judge = Evaluation(self.plan, self.plan.evaluation.round_bins, False)
        size = self.layout.parameters
        question = Question("train", self.plan.hash, round=number, vector=self._broadcast(state).to_vector())
        total = sums.collect(question, size=size + judge.size + _NORMS, min_sites=self.plan.aggregation.min_sites)
        update, tallies, norms = np.split(total.total, [size, size + judge.size])
        weight = self._weight(cohort, total.sites, state)
        moved = weight > 0
        divided = np.divide(update, weight, out=np.zeros_like(update), where=moved)
        each = self._own_steps(total.each, cohort, state) if step.robust else None
        parameters = step.apply(number, state.arrays["parameters"], divided, moved, each)
        if not np.isfinite(parameters).all():
            raise RunError(
                f"round {number}: the step of {self.plan.aggregation.strategy!r} is not finite; lower "
                "aggregation.server_learning_rate. The journal holds the round before."
            )
        entry = self._entry(number, total.sites, total.failed, tallies, judge) | _norms(norms)
        entry |= {"learning_rate": learning_rate(self.plan.training, number), "seconds": time.monotonic() - started}
        self._report_failures(total.failed, number)
        self.journal.event("round", rounds=self.plan.training.rounds, **entry)
        edges = judge.next_edges(state.arrays["edges"], tallies, bins=self.plan.evaluation.round_bins)
        arrays = {"parameters": parameters, "normaliser": state.arrays["normaliser"], "edges": edges}
        arrays |= {f"strategy.{name}": value for name, value in step.state().items()}
        facts = state.facts | {"history": [*state.facts["history"], entry]}
        facts["bytes_up"] = max(total.bytes_up, state.facts.get("bytes_up", 0))
        return RunState(number, arrays, facts)

    def _evaluate(self, state: RunState, sums: Summation) -> None:
        """Validation tallies of the final model, then two passes over the test rows: find edges, count between them."""
        rules = self.plan.evaluation
        self.journal.event("evaluation")
        judge = Evaluation(self.plan, rules.round_bins, False)
        total = self._collect_evaluation(state, sums, judge, state.arrays["edges"], stage=0)
        entry = self._entry(self.plan.training.rounds + 1, total.sites, total.failed, total.total, judge)
        state.facts["history"] = [*state.facts["history"], entry]
        final = Evaluation(self.plan, rules.histogram_bins, True)
        edges = first_edges(final.score_columns, bins=rules.histogram_bins)
        edges[: self.layout.outputs] = judge.next_edges(state.arrays["edges"], total.total, bins=rules.histogram_bins)
        for stage in (1, 2):
            total = self._collect_evaluation(state, sums, final, edges, stage=stage)
            if stage == 1:
                edges = final.next_edges(edges, total.total, bins=rules.histogram_bins)
        state.facts["tasks"] = final.pooled(total.total)
        state.facts["evaluated_sites"] = list(total.sites)
        state.facts["final_edges"] = edges.tolist()

    def _collect_evaluation(
        self, state: RunState, sums: Summation, judge: Evaluation, edges: NDArray[np.float32], *, stage: int
    ) -> Any:
        vector = self._broadcast(state, edges).to_vector()
        question = Question("evaluate", self.plan.hash, stage=stage, vector=vector)
        total = sums.collect(question, size=judge.size, min_sites=self.plan.aggregation.min_sites)
        self._report_failures(total.failed, self.plan.training.rounds + 1)
        return total

    def _finish(self, state: RunState, cohort: Cohort) -> None:
        """Leave model, normaliser and plan hash at every site."""
        edges = np.array(state.facts.pop("final_edges"), dtype=np.float32)
        question = Question("query.finish", self.plan.hash, vector=self._broadcast(state, edges).to_vector())
        answers = ask(self.grid, cohort.names, question, timeout_s=self.plan.aggregation.round_timeout_s)
        self._report_failures(
            {cohort.names[node]: code for node, code in answers.failed.items()}, self.plan.training.rounds + 1
        )

    def _broadcast(self, state: RunState, edges: NDArray[np.float32] | None = None) -> Broadcast:
        normaliser = Normaliser.from_vector(state.arrays["normaliser"], self.plan)
        return Broadcast(state.arrays["parameters"], normaliser, state.arrays["edges"] if edges is None else edges)

    def _taking_part(self, state: RunState) -> NDArray[np.float64]:
        """(blocks,) 1 for a block that is trained, 0 for one that was left out."""
        normaliser = Normaliser.from_vector(state.arrays["normaliser"], self.plan)
        return np.concatenate([[1.0], normaliser.task_available, normaliser.available])

    def _weight(self, cohort: Cohort, sites: tuple[str, ...], state: RunState) -> NDArray[np.float64]:
        """(D,) sum of the declared levels of the sites in this sum; 0 for blocks below `min_task_sites`."""
        levels = np.array([cohort.levels[site] for site in sites])
        enough = (levels > 0).sum(axis=0) >= self.plan.aggregation.min_task_sites
        enough[0] = True  # the encoder is shared by all; min_sites guards it
        return (levels.sum(axis=0) * enough * self._taking_part(state))[self.layout.block_of]

    def _own_steps(
        self, each: dict[str, NDArray[np.floating]], cohort: Cohort, state: RunState
    ) -> dict[str, NDArray[np.float64]]:
        steps = {}
        for site, vector in each.items():
            weight = (cohort.levels[site] * self._taking_part(state))[self.layout.block_of]
            update = vector[: self.layout.parameters].astype(np.float64)
            steps[site] = np.divide(update, weight, out=np.zeros_like(update), where=weight > 0)
        return steps

    def _entry(
        self,
        number: int,
        sites: tuple[str, ...],
        failed: dict[str, str],
        tallies: NDArray[np.float64],
        judge: Evaluation,
    ) -> dict[str, Any]:
        pooled = judge.pooled(tallies)
        tasks = {
            name: {key: value for key, value in entry["pooled"].items() if key in ("auroc", "mae", "accuracy", "loss")}
            for name, entry in pooled.items()
        }
        return {"round": number, "sites": len(sites), "failed": failed, "tasks": tasks}

    def _report_failures(self, failed: dict[str, str], number: int) -> None:
        for site, code in sorted(failed.items()):
            self.journal.event("site_failed", site=site, round=number, code=code)


def _left_out(plan: Plan, layout: Layout, cohort: Cohort) -> dict[str, dict[str, str]]:
    """Tasks and features that too few sites hold, each with the reason."""
    needed = plan.aggregation.min_task_sites
    result: dict[str, dict[str, str]] = {"tasks": {}, "features": {}}
    for block, name in enumerate(layout.block_names):
        kind, _, item = name.partition(":")
        holders = len(cohort.holders(block))
        if kind != "shared" and holders < needed:
            what = "has labels" if kind == "task" else "records it"
            plural = "sites have labels" if kind == "task" else "sites record it"
            found = f"1 site {what}" if holders == 1 else f"{holders or 'no'} {plural}"
            result["tasks" if kind == "task" else "features"][item] = f"{found}; the plan asks for {needed}"
    return result


def _norms(sums: NDArray[np.float64]) -> dict[str, float]:
    before, after, clipped, sites = (float(value) for value in sums)
    return {
        "norm_before_clip": before / sites,
        "norm_after_clip": after / sites,
        "clipped_fraction": clipped / sites,
    }


def _strategy_arrays(state: RunState) -> dict[str, NDArray[Any]]:
    prefix = "strategy."
    return {name.removeprefix(prefix): value for name, value in state.arrays.items() if name.startswith(prefix)}
