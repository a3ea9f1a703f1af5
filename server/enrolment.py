"""Who takes part in a run: at its start, when it resumes, and when a site comes back between two rounds."""

import time
from collections.abc import Collection
from dataclasses import dataclass, field

from flwr.serverapp import Grid

from common.errors import RunError, TooFewSites
from common.model import Layout
from common.plan import Plan
from server.cohort import Cohort, enrol
from server.journal import Journal
from server.secure_session import Opening
from server.secure_state import CoordinatorKeys, SecureState
from server.secure_sum import SecureSum
from server.sums import PlainSum, Summation

ASK_AGAIN_S = 60.0


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
    _asked_s: dict[int, float] = field(default_factory=dict)

    def open(self) -> tuple[Cohort, Summation, dict[str, str]]:
        """The cohort, the sum over it, and the code of each that declined. Raises RunError, TooFewSites."""
        return self._open(self.wanted, self.wait_s)

    def returned(self, cohort: Cohort) -> bool:
        """Whether a node is connected that is not in `cohort`, and was not asked within the last minute."""
        now = time.monotonic()
        others = set(self.grid.get_node_ids()) - set(cohort.names)
        due = {node for node in others if now - self._asked_s.get(node, -ASK_AGAIN_S) >= ASK_AGAIN_S}
        self._asked_s |= dict.fromkeys(due, now)
        return bool(due)

    def reopen(self) -> tuple[Cohort, Summation, dict[str, str]]:
        """As `open`, with those that are connected now."""
        return self._open(0, 0.0)

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

    def _open(self, wanted: int, wait_s: float) -> tuple[Cohort, Summation, dict[str, str]]:
        rules = self.plan.aggregation
        if rules.secure:
            if self.keys is None:
                raise RunError(
                    "the plan asks for secure sums: the coordinator needs its key and a signed roster "
                    "(run config 'key' and 'roster'; `consilium server roster` makes both)."
                )
            opening = Opening(self.plan, self.grid, self.journal, self.keys, wanted, wait_s, self.begin_with)
            cohort, failed, state = opening.open()
            return cohort, self._sums(cohort, state), failed
        cohort, failed = enrol(
            self.grid,
            Layout(self.plan),
            wanted=wanted,
            wait_s=wait_s,
            timeout_s=rules.round_timeout_s,
            least=self.begin_with,
        )
        return cohort, self._sums(cohort, None), failed

    def _sums(self, cohort: Cohort, state: SecureState | None) -> Summation:
        if state is None:
            return PlainSum(self.grid, cohort, self.plan.aggregation.round_timeout_s)
        return SecureSum(self.plan, self.grid, cohort, self.journal, state)
