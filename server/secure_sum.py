"""`SecureSum`: the summing seam under secure aggregation. Three exchanges per sum, over any Flower Grid.

report      every site of the cohort: a masked vector
cross-check every committee member: signs whose reports are in
unmask      every committee member: shares of what is left of the masks

The coordinator keeps the header, then the survivors, before it sends them: after a crash it asks the same again. A sum
that fails before the last step is tried again in a new round without the sites that failed it. One that fails in the
last step can only be asked for again as it is, now or when the run is resumed: whoever has opened it opens no other of
the same model. The model is as it was.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from flwr.app import ArrayRecord, RecordDict
from flwr.serverapp import Grid
from numpy.typing import NDArray

from common.contribution import Contribution, Contributions
from common.errors import Refusal, RunError, SumAborted, TooFewSites
from common.plan import Plan
from common.privacy.shares import fixed_point, noise_steps
from common.secagg.coordinator import Sum as Masked
from common.secagg.encoding import encode
from common.secagg.messages import Header, SignedHeader
from common.secagg.primitives import digest
from server.cohort import Cohort, shared_by
from server.exchange import Answers, Question, ask_each
from server.journal import Journal
from server.secure_state import SecureState
from server.sums import Check, Sum, in_time, late, named, too_few

ATTEMPTS = 3
_AGAIN = frozenset({"report_lost", "round_overtaken", "replayed_round", "second_header"})
"""What a site says that has lost a round through a restart: it takes part in the next one."""


@dataclass
class SecureSum:
    """Adds vectors that the coordinator never sees. state: what survives a restart, kept in the journal.

    Raises PlanError before anything is asked, where the plan's noise leaves no room for the sums of training.
    """

    plan: Plan
    grid: Grid
    cohort: Cohort
    journal: Journal
    state: SecureState
    secure: bool = True
    late_sites: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        fixed_point(self._contributions.of("train", 0), sites=len(self.state.keys.roster.sites))

    @cached_property
    def _contributions(self) -> Contributions:
        return Contributions(self.plan)

    @property
    def _timeout_s(self) -> float:
        return self.plan.aggregation.round_timeout_s

    def collect(self, question: Question, *, size: int, min_sites: int, plausible: Check) -> Sum:
        """As `Summation.collect`. A sum of statistics that was opened before a crash is not asked again."""
        asked = _name(question)
        if (known := self.state.result(asked)) is not None:
            return known
        contribution = self._contributions.of(question.kind, question.stage)
        if contribution.narrow + contribution.wide != size:
            raise RunError(f"'{question.kind}': {size} entries expected, the plan's layout says otherwise.")
        failed: dict[str, str] = {}
        reason = ""
        for _ in range(ATTEMPTS):
            sites = tuple(site for site in sorted(self.cohort.levels) if failed.get(site, "report_lost") in _AGAIN)
            if len(sites) < min_sites:
                break
            signed = self._header(question, contribution, sites, asked)
            entries = contribution.entries_of(signed.header.blocks, signed.header.pairs)
            try:
                total = self._sum(question, signed, entries, failed)
            except SumAborted as aborted:
                reason = str(aborted)
                self.journal.event("sum_aborted", kind=question.kind, round=question.round, reason=reason)
                failed |= dict.fromkeys(aborted.about, "left_out_of_sum")
                if not self.state.opening:
                    self.state.finish(self.journal)
                continue
            if not plausible(total.sites, total.total):
                self.state.finish(self.journal)
                raise RunError(
                    f"round {question.round} ('{question.kind}'): the sum of {', '.join(total.sites)} is none that "
                    "honest sites can make; which of them sent what, a secure sum cannot tell."
                )
            self.state.finish(self.journal, asked, total if contribution.narrow == 0 else None)
            return total
        if reason and len(sites) >= min_sites:
            raise TooFewSites(f"{named(question)}: {reason}; the model is as it was, the run can be resumed.")
        answered = tuple(site for site in sorted(self.cohort.levels) if site not in failed)
        raise TooFewSites(too_few(question, answered, failed, min_sites))

    def _header(
        self, question: Question, contribution: Contribution, sites: tuple[str, ...], asked: bytes
    ) -> SignedHeader:
        """The header of this question's round: the one that was sent before a crash, or a new one, kept first."""
        if (pending := self.state.pending(asked)) is not None:
            return pending
        state, vector = self.state, question.vector
        held = np.array([self.cohort.levels[site] for site in sites]) > 0
        blocks, pairs = shared_by(held, contribution, least=self.plan.aggregation.least_holders)
        roster = state.keys.roster
        fixed = fixed_point(contribution, sites=len(roster.sites))
        header = Header(
            state.session,
            state.last_round + 1,
            digest(roster),
            digest(state.cards),
            bytes.fromhex(self.plan.hash),
            question.kind,
            question.round,
            question.stage,
            sites,
            blocks,
            pairs,
            hashlib.sha256(b"" if vector is None else vector.tobytes()).digest(),
            contribution.hash,
            contribution.narrow,
            contribution.wide,
            fixed.clip_norm,
            fixed.narrow_scale,
            fixed.wide_scale,
            noise_steps(contribution, fixed),
            subject=contribution.subject(np.zeros(0, dtype=np.float32) if vector is None else vector),
        )
        signed = SignedHeader(header, state.keys.key.sign("header", header))
        state.begin(self.journal, asked, signed)
        return signed

    def _sum(self, question: Question, signed: SignedHeader, entries: NDArray[np.bool_], failed: dict[str, str]) -> Sum:
        roster, cohort = self.state.keys.roster, signed.header.cohort
        masked = Masked(
            roster, self.state.cards, signed, self._contributions.of(question.kind, question.stage).companions
        )
        with_header = Question(
            question.kind, question.plan_hash, question.round, question.stage, question.vector, encode(signed)
        )
        answers = self._ask(dict.fromkeys(cohort, with_header), failed, enough=in_time(cohort, self.late_sites))
        self.late_sites = late(answers, self.cohort.names)
        bytes_up = 0
        for site, content in self._by_site(answers).items():
            data = _bytes(content, "report")
            bytes_up = max(bytes_up, len(data))
            if _taken(masked.take_report, site, data, failed):
                failed.pop(site, None)
        if (chosen := self.state.survivors) and not set(chosen) <= set(masked.survivors):
            raise SumAborted("sites whose reports were in this sum before the coordinator's restart are missing")
        masked.keep_only(chosen or masked.survivors)
        failed |= dict.fromkeys(masked.close(), "unequal_pair_seeds")
        self.state.survive(self.journal, masked.survivors)
        members = [name for name in masked.members if name in self.cohort.levels]
        questions = {
            name: Question("query.crosscheck", self.plan.hash, protocol=encode(masked.cross_check_for(name)))
            for name in members
        }
        refused: dict[str, str] = {}
        answers = self._ask(questions, refused, enough=roster.threshold)
        for name, content in self._by_site(answers).items():
            _taken(masked.take_crosscheck, name, _bytes(content, "answer"), refused)
        if len(masked.signers) < roster.threshold:
            _stop_if_blamed(answers, cohort)
            raise SumAborted(f"{_listed(refused)}; {roster.threshold} committee members must sign")
        self.state.open(self.journal)
        request = Question("query.unmask", self.plan.hash, protocol=encode(masked.unmask_request()))
        answers = self._ask(dict.fromkeys(members, request), refused, enough=roster.threshold)
        for name, content in self._by_site(answers).items():
            _taken(masked.take_shares, name, _bytes(content, "answer"), refused)
        total = masked.values()
        missing = {site: failed.get(site, "left_out_of_sum") for site in self.cohort.levels}
        missing = {site: code for site, code in missing.items() if site not in masked.survivors}
        return Sum(total, masked.survivors, missing, {}, bytes_up, entries)

    def _ask(self, questions: Mapping[str, Question], failed: dict[str, str], *, enough: int | None = None) -> Answers:
        nodes = {site: node for node, site in self.cohort.names.items()}
        failed |= dict.fromkeys(set(questions) - set(nodes), "absent_when_resumed")
        asked = {nodes[site]: question for site, question in questions.items() if site in nodes}
        answers = ask_each(self.grid, asked, timeout_s=self._timeout_s, enough=enough)
        failed |= {self.cohort.names[node]: code for node, code in answers.failed.items()}
        return answers

    def _by_site(self, answers: Answers) -> dict[str, RecordDict]:
        return {self.cohort.names[node]: content for node, content in sorted(answers.contents.items())}


def _stop_if_blamed(answers: Answers, cohort: tuple[str, ...]) -> None:
    """Members that cannot open a site's shares name it: where the others are too few, the next attempt goes without."""
    about = tuple(sorted(set(answers.blamed.values()) & set(cohort)))
    if about:
        raise SumAborted(f"committee members cannot open the shares of {', '.join(about)}", about=about)


def _taken(take: Callable[[str, bytes], None], site: str, data: bytes, failed: dict[str, str]) -> bool:
    """Whether `site` sent what it should; otherwise it has failed, with the code of the check."""
    try:
        take(site, data)
    except Refusal as refusal:
        failed[site] = refusal.code
        return False
    return True


def _name(question: Question) -> bytes:
    """Names a question across restarts of the coordinator."""
    vector = b"" if question.vector is None else question.vector.tobytes()
    words = repr((question.kind, question.plan_hash, question.round, question.stage)).encode()
    return hashlib.sha256(words + b"\0" + vector).digest()


def _bytes(content: RecordDict, name: str) -> bytes:
    arrays = content.get("arrays")
    return arrays[name].data if isinstance(arrays, ArrayRecord) and list(arrays) == [name] else b""


def _listed(failed: Mapping[str, str]) -> str:
    return ", ".join(f"{site}: {code}" for site, code in sorted(failed.items())) or "nobody refused"
