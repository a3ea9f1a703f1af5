"""The steps of a round on the stage, each with what must come of it: values, a refusal by its code, or SumAborted."""

from hashlib import sha256

import pytest
from hypothesis import event

from common.errors import Refusal, SumAborted
from common.secagg.encoding import decode, encode
from common.secagg.header import question_key
from common.secagg.messages import CrossCheck, SignedHeader
from common.secagg.session import Policy
from tests.common.secagg.stage import Stage
from tests.common.secagg.stage_site import Site

STEPS = IDLE, REPORTS, SIGNATURES, SHARES, _ = "idle", "reports", "signatures", "shares", "never"


class Rounds:
    """An honest coordinator, and a record of who is away: `down` at any time, `gone` from a step of this round on."""

    phase = IDLE
    stage: Stage
    down: set[str]

    @property
    def sites(self) -> dict[str, Site]:
        return self.stage.sites

    @property
    def threshold(self) -> int:
        return self.stage.roster.threshold

    def _begin(self, cohort, *, gap=1, again=False):
        self.number += gap
        if not (again and self.model and self._may_be_asked_again()):
            self.models += 1
            self.model = sha256(b"model %d" % self.models).digest()
        self.question = encode(self.stage.header(self.number, cohort, self.model))  # as the journal keeps it
        self.arrived: set[str] = set()
        self.gone: dict[str, str] = {}
        self._fresh_sum(REPORTS)

    def _absent(self, name) -> bool:
        gone = self.phase != IDLE and STEPS.index(self.phase) >= STEPS.index(self.gone.get(name, "never"))
        return gone or name in self.down

    def _may_be_asked_again(self) -> bool:
        key = question_key(self.stage.header(1, self.stage.levels, self.model).header)
        return all(self.sites[name].opened(key) <= Policy().retries for name in self.stage.levels)

    def _fresh_sum(self, phase):
        self.sum, self.phase = self.stage.sum(decode(SignedHeader, self.question)), phase
        self.opened_by: set[str] = set()

    def all_report(self):
        for name in self.sum.header.cohort:
            self._ask(name, "well")

    def _ask(self, name, fate="goes on training"):
        """The question reaches a site, perhaps not for the first time."""
        if self._absent(name):
            return
        site = self.sites[name]
        began, reported = site.began == self.number, (name, self.number) in self.given
        if began and not reported:
            with refused("report_lost"):
                site.begin(self.question, self.model)
        elif (stored := site.begin(self.question, self.model)) is not None:
            assert reported
            self._arrives(name, stored, fate)
        else:
            assert not began
        if site.training is not None and fate != "goes on training":
            self._finish(name, fate)

    def _finish(self, name, fate):
        site = self.sites[name]
        number, vectors = site.training.number, self.stage.contribution()
        if not site.trains_for_its_last_round:
            with refused("round_overtaken"):
                site.finish(*vectors)
            return
        report = site.finish(*vectors, stored=fate != "dies before storing")
        if report is not None:
            self.given[name, number] = vectors
            self._arrives(name, report, fate, number)

    def _arrives(self, name, report, fate, number=None):
        if fate == "answer lost" or self.phase != REPORTS or name not in self.sum.header.cohort:
            return  # an answer after the end of its step is not read
        if number not in (None, self.number):
            with refused("report_of_another_header"):
                self.sum.take_report(name, report)
            return
        self.sum.take_report(name, report)
        self.arrived.add(name)

    def close(self):
        asked = self.sum.header
        count = len(next(iter(self.stage.levels.values())))
        needed = [(block,) for block in asked.blocks] + [divmod(pair, count) for pair in asked.pairs]
        enough = all(self.stage.enough(self.arrived, *blocks) for blocks in needed)
        if len(self.arrived) >= max(self.stage.roster.min_cohort, self.stage.roster.colluding + 2) and enough:
            assert self.sum.close() == () and self.sum.survivors == tuple(sorted(self.arrived))
            self.phase = SIGNATURES
        else:
            with pytest.raises(SumAborted):
                self.sum.close()
            self.abandon()

    def all_sign(self):
        for name in self.sum.members:
            if not self._absent(name):
                self._sign(name)

    def _sign(self, name, *, lost=False):
        if self.sites[name].has_opened_over_others(self.sum.header, self.sum.survivors):
            with refused("opened_with_others"):  # or the difference of two sums would be one site's part
                self.sites[name].cross_check(encode(self.sum.cross_check_for(name)))
            return
        signature = self.sites[name].cross_check(encode(self.sum.cross_check_for(name)))
        assert self.sites[name].signed == (self.number, self.sum.survivors)
        if not lost:
            self.sum.take_crosscheck(name, signature)

    def _show_without(self, name, out):
        shown = self.sum.cross_check_for(name)
        kept = [i for i in range(len(shown.reports)) if i != out]
        parts = (tuple(part[i] for i in kept) for part in (shown.reports, shown.signatures, shown.ciphertexts))
        other = CrossCheck(shown.header, shown.header_signature, *parts)
        with refused("second_survivor_set", "too_few_survivors", "too_few_contributors_left"):
            self.sites[name].cross_check(encode(other))

    def ask_for_shares(self):
        if len(self.sum.signers) >= self.threshold:
            self.request = encode(self.sum.unmask_request())
            self.phase = SHARES
        else:
            with pytest.raises(SumAborted):
                self.sum.unmask_request()

    def all_open(self):
        for name in self.sum.members:
            if not self._absent(name):
                self._open(name)

    def _open(self, name, *, lost=False):
        if self.sites[name].signed != (self.number, self.sum.survivors):
            with refused("unmask_before_crosscheck", "unmask_of_another_round"):
                self.sites[name].unmask(self.request)
            return
        answer = self.sites[name].unmask(self.request)
        if not lost:
            self.sum.take_shares(name, answer)
            self.opened_by.add(name)

    def add_up(self):
        if len(self.opened_by) < self.threshold:
            with pytest.raises(SumAborted):
                self.sum.total()
            return
        self.stage.assert_opens_exactly(self.sum, {name: self.given[name, self.number] for name in self.sum.survivors})
        missing = len(self.sum.survivors) < len(self.sum.header.cohort)
        event("opened with sites missing" if missing else "opened, nobody missing")
        self.phase = IDLE

    def next_step(self):
        if self.phase == REPORTS:
            self.all_report()
            if self.arrived:
                self.close()
        elif self.phase == SIGNATURES:
            self.all_sign()
            self.ask_for_shares()
        else:
            self.all_open()
            self.add_up()

    def abandon(self):
        event(f"given up in {self.phase}")
        self.phase = IDLE

    def restart_coordinator(self):
        """It has the header, and the survivors from the moment on when it showed them; it asks all sites again."""
        survivors, phase = self.sum.survivors if self.phase != REPORTS else None, self.phase
        self.arrived = set()
        self._fresh_sum(REPORTS)
        for name in self.sum.header.cohort:
            self._ask(name)
        if survivors is None:
            return
        if not set(survivors) <= self.arrived:
            self.abandon()
            return
        event(
            f"coordinator restarted in {phase}, "
            + ("late reports" if len(self.arrived) > len(survivors) else "none late")
        )
        self.sum.keep_only(survivors)
        assert self.sum.close() == () and self.sum.survivors == survivors
        self.phase = SIGNATURES


class refused:
    """The block raises a Refusal with one of these codes."""

    def __init__(self, *codes):
        self.codes = codes

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        assert isinstance(error, Refusal) and error.code in self.codes, f"{error!r} instead of {self.codes}"
        return True
