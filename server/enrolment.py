"""Who takes part in a run: at its start, when it resumes, and when a site comes between two rounds."""

from collections.abc import Collection
from dataclasses import dataclass, field

from flwr.serverapp import Grid

from common.errors import RunError, TooFewSites
from common.model import Layout
from common.plan import Plan
from server.cohort import Cohort, wait_for_nodes
from server.declarations import cohort_of, enrol, question
from server.journal import Journal
from server.newcomers import Newcomers
from server.secure_session import Opening
from server.secure_state import CoordinatorKeys, SecureState
from server.secure_sum import SecureSum
from server.sums import PlainSum, Summation

Enrolled = tuple[Cohort, Summation, dict[str, str]]
"""The cohort, the sum over it, and the code of each node or site that declined or was left out."""


@dataclass
class Enrolment:
    """Asks the connected nodes who they are and what they can train, and makes the sum over them.

    wanted: sites to wait for, at most `wait_s` seconds. begin_with: so many are enough after that; None: all `wanted`.
    keys: for a plan with secure sums.
    """

    plan: Plan
    grid: Grid
    journal: Journal
    wanted: int
    wait_s: float = 120.0
    begin_with: int | None = None
    keys: CoordinatorKeys | None = None
    _newcomers: Newcomers = field(init=False)

    def __post_init__(self) -> None:
        self._newcomers = Newcomers(self.grid)

    def open(self) -> Enrolled:
        """All that are connected; one that is silent costs one deadline of the plan. Raises RunError, TooFewSites."""
        opening = self._opening() if self.plan.aggregation.secure else None
        if opening is not None:
            opening.check_roster()
        nodes = wait_for_nodes(self.grid, wanted=self.wanted, timeout_s=self.wait_s, least=self.begin_with)
        if opening is not None:
            cohort, failed, state = opening.open(nodes)
            sums = self._sums(cohort, state)
        else:
            timeout_s = self.plan.aggregation.round_timeout_s
            cohort, failed = enrol(self.grid, nodes, Layout(self.plan), timeout_s=timeout_s)
            sums = self._sums(cohort, None)
        self._newcomers.were_asked(set(nodes) - set(cohort.names))
        return cohort, sums, failed

    def returned(self, cohort: Cohort, sums: Summation) -> Enrolled:
        """`cohort`, as it is, or with nodes that have come since, or come back. Raises TooFewSites.

        They are asked alone, and nobody waits for one that is silent. The sites of a secure session are asked again
        only where a newcomer has no card in it: their keys are bound to the list of cards, which cannot grow.
        """
        there = set(self.grid.get_node_ids())
        taken = {site for node, site in cohort.names.items() if node in there}
        others, layout = there - set(cohort.names), Layout(self.plan)
        if not isinstance(sums, SecureSum):
            come, failed = cohort_of(self._newcomers.look(others, question(layout)), layout, taken=taken)
            return self._joined(cohort, cohort.plus(come) if come.names else cohort, sums, None, failed)
        opening = self._opening()
        answers = self._newcomers.look(others, opening.question(sums.state.session))
        prompt = {node for node, site in cohort.names.items() if node in there and site not in sums.late_sites}
        joined, failed, state = opening.join(cohort, sums.state, answers, taken=taken, prompt=prompt)
        if state.session != sums.state.session:
            self._newcomers.ask_anew()
            self._newcomers.were_asked(set(answers.contents) - set(joined.names))
        return self._joined(cohort, joined, sums, state, failed)

    def check_enough(self, cohort: Cohort, failed: dict[str, str]) -> None:
        """Raises TooFewSites, with every code, if the plan asks for more sites."""
        least = self.plan.aggregation.least_sites
        if len(cohort.names) < least:
            reasons = ", ".join(f"{site}: {code}" for site, code in failed.items()) or "no other answered"
            raise TooFewSites(f"{len(cohort.names)} site(s) enrolled, the plan asks for {least} ({reasons}).")

    def only(self, sites: Collection[str], cohort: Cohort, sums: Summation) -> tuple[Cohort, Summation]:
        """Without sites that are not in `sites`."""
        kept = cohort.without(set(cohort.levels) - set(sites))
        return kept, self._sums(kept, sums.state if isinstance(sums, SecureSum) else None)

    def _opening(self) -> Opening:
        if self.keys is None:
            raise RunError(
                "the plan asks for secure sums: the coordinator needs its key and a signed roster "
                "(run config 'key' and 'roster'; `consilium server roster` makes both)."
            )
        return Opening(self.plan, self.grid, self.journal, self.keys)

    def _joined(
        self, before: Cohort, now: Cohort, sums: Summation, state: SecureState | None, failed: dict[str, str]
    ) -> Enrolled:
        return now, sums if now is before else self._sums(now, state, sums.late_sites), failed

    def _sums(self, cohort: Cohort, state: SecureState | None, late: frozenset[str] = frozenset()) -> Summation:
        late &= frozenset(cohort.levels)
        if state is None:
            return PlainSum(self.grid, cohort, self.plan.aggregation.round_timeout_s, late_sites=late)
        return SecureSum(self.plan, self.grid, cohort, self.journal, state, late_sites=late)
