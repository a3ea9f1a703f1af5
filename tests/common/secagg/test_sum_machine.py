"""Rounds in which anything happens that may: sites vanish and come back, restart between any two steps, messages are
lost, late or repeated, the coordinator restarts. A sum that is opened is that of its survivors, bit for bit.
"""

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.common.secagg.rounds import IDLE, REPORTS, SHARES, SIGNATURES, Rounds
from tests.common.secagg.stage import Stage

FATES = ("well", "well", "well", "answer lost", "dies before storing", "goes on training")


def in_phase(*phases: str):
    return precondition(lambda self: self.phase in phases)


class Sums(Rounds, RuleBasedStateMachine):
    """The coordinator is honest, and says what it must get; nature is not."""

    @initialize(data=st.data(), seed=st.integers(0, 2**32))
    def enrol(self, data, seed):
        sites = data.draw(st.integers(3, 10), label="sites")
        colluding = data.draw(st.sampled_from([0, 1, 0, sites - 2, 0, sites // 3]), label="f")
        missing = data.draw(st.none() | st.integers(0, (sites - colluding - 1) // 2), label="d")
        self.stage = Stage(sites, colluding=colluding, missing=missing, seed=seed)
        self.down: set[str] = set()
        self.models = 0
        self.open_session(data)

    @in_phase(IDLE)
    @rule(data=st.data())
    def open_session(self, data):
        """Some sites may be absent, as many as a session bears."""
        roster, names = self.stage.roster, sorted(self.sites)
        spare = min(len(roster.committee) - roster.threshold, len(names) - roster.min_cohort)
        absent = data.draw(st.sets(st.sampled_from(names), max_size=spare), label="absent")
        level = st.sampled_from([8, 4, 2, 1, 8, 8, 0])
        declared = st.tuples(st.just(8), level, level)
        self.stage.open({name: data.draw(declared) for name in names if name not in absent})
        self.number, self.given, self.model = 0, {}, b""

    @in_phase(IDLE)
    @rule(data=st.data(), gap=st.sampled_from([1, 1, 7]), again=st.booleans())
    def begin(self, data, gap, again):
        names, least = list(self.stage.levels), self.stage.roster.min_cohort
        out = data.draw(st.sets(st.sampled_from(names), max_size=len(names) - least), label="not asked")
        self._begin([name for name in names if name not in out], gap=gap, again=again)
        gone = st.dictionaries(st.sampled_from(names), st.sampled_from([REPORTS, SIGNATURES, SHARES]), max_size=3)
        self.gone = data.draw(gone, label="gone for this round, from which step on")

    @in_phase(REPORTS, SIGNATURES, SHARES)
    @rule()
    def all_take_the_next_step(self):
        self.next_step()

    @in_phase(REPORTS)
    @rule(data=st.data())
    def some_report(self, data):
        cohort = self.sum.header.cohort
        for name in data.draw(st.lists(st.sampled_from(cohort), max_size=2 * len(cohort)), label="asked"):
            self._ask(name, data.draw(st.sampled_from(FATES), label=name))

    @rule(name=st.integers(0, 9), fate=st.sampled_from(FATES))
    def training_ends(self, name, fate):
        """In any phase: the report may be late, or of a round that was given up."""
        chosen = sorted(self.sites)[name % len(self.sites)]
        if not self._absent(chosen) and self.sites[chosen].training is not None:
            self._finish(chosen, fate)

    @in_phase(REPORTS, SIGNATURES, SHARES)
    @rule(hasty=st.sampled_from([False, False, False, True]))
    def the_coordinator_goes_on(self, hasty):
        if self.phase == SIGNATURES:
            self.ask_for_shares()
        elif self.phase == SHARES:
            self.add_up()
        elif self.arrived and (hasty or 2 * len(self.arrived) >= len(self.sum.header.cohort)):
            self.close()

    @in_phase(SIGNATURES, SHARES)
    @rule(data=st.data(), lost=st.booleans())
    def some_answer(self, data, lost):
        """Some members, some of them repeatedly; while shares are asked for, a late signature too."""
        answer = self._open if self.phase == SHARES and data.draw(st.booleans(), label="shares") else self._sign
        for name in self._chosen(data):
            answer(name, lost=lost)

    def _chosen(self, data):
        asked = data.draw(st.lists(st.sampled_from(self.sum.members), max_size=12), label="asked")
        return [name for name in asked if not self._absent(name)]

    @in_phase(SIGNATURES, SHARES)
    @rule(data=st.data())
    def other_survivors_are_shown(self, data):
        """To a member that has signed: it refuses, whoever is missing now."""
        signed = (self.number, self.sum.survivors)
        for name in self.sum.members:
            if not self._absent(name) and self.sites[name].signed == signed:
                self._show_without(name, data.draw(st.integers(0, len(self.sum.survivors) - 1), label="without"))

    @in_phase(SIGNATURES, SHARES)
    @rule()
    def give_up(self):
        self.abandon()

    @in_phase(REPORTS, SIGNATURES, SHARES)
    @rule()
    def coordinator_restarts(self):
        self.restart_coordinator()

    @rule(name=st.integers(0, 9))
    def site_restarts(self, name):
        self.sites[sorted(self.sites)[name % len(self.sites)]].restart()

    @rule(data=st.data())
    def sites_come_and_go(self, data):
        self.down = data.draw(st.sets(st.sampled_from(sorted(self.sites)), max_size=2), label="down")

    @invariant()
    def nobody_says_two_things_in_one_round(self):
        if hasattr(self, "stage"):
            assert all(len(said) == 1 for site in self.sites.values() for said in site.said.values())

    def teardown(self):
        """Whatever has happened: a round with a late report opens or is given up, and the next one opens."""
        if not hasattr(self, "stage"):
            return
        self.down = set()
        names = list(self.stage.levels)
        self._begin(names)
        self._ask(names[-1])
        self.gone = {names[-1]: REPORTS}
        self._go_through(late=names[-1])
        self._begin(names)
        self._go_through()
        assert self.phase == IDLE and self.sum.survivors == tuple(names) and len(self.opened_by) >= self.threshold

    def _go_through(self, late=""):
        """late: this site's report comes when the survivors are known, and the coordinator restarts then."""
        self.next_step()
        if late and self.phase == SIGNATURES:
            self.gone = {}
            self._finish(late, "well")
            self.restart_coordinator()
            assert late in self.arrived and late not in self.sum.survivors
        for phase in (SIGNATURES, SHARES):
            if self.phase == phase:
                self.next_step()
            if self.phase == SHARES and self.sites[self.sum.members[0]].signed == (self.number, self.sum.survivors):
                self._show_without(self.sum.members[0], out=0)


TestSums = Sums.TestCase
TestSums.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # to explain a failure would take minutes more
    suppress_health_check=[HealthCheck.too_slow],
)
