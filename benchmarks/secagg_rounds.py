"""What a secure sum adds to a whole round, in process: exchange, checks, masks, sum and step, against one in the open.

Sites answer with a prepared update and its tallies, as in `rounds`, so that only our own path is timed; secure rounds
add the coordinator's journal. A site's store is in memory. Virtual sites share a process, which remembers signatures
that it has verified: a real committee member verifies that of every site, 0.1 to 0.2 ms each. A session is opened once
per run and timed apart. Time per site: that of the round over the number of sites, all steps and the coordinator's work
included. Bytes: a site's report, the largest of its answers.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from benchmarks.measure import Ratio, compare
from client.request import Request
from client.secure.answers import SecureSite
from client.secure.store import MemoryVault
from common.contribution import Contribution
from common.plan import Plan, plan_from_dict
from common.secagg.primitives import SigningKey
from common.secagg.report import Contribution as Numbers
from common.secagg.roster import found
from common.secagg.session import Party
from server.cohort import Cohort
from server.exchange import Question
from server.inprocess import InProcessGrid
from server.journal import Journal
from server.secure_session import Opening
from server.secure_state import CoordinatorKeys
from server.secure_sum import SecureSum
from server.strategy import ServerStep
from server.sums import PlainSum

CASES = ((3, 100_000), (10, 100_000), (30, 100_000), (100, 100_000), (300, 100_000), (1000, 10_000))


def run() -> Iterator[Ratio]:
    """One ratio per number of sites; the last with 100,000 parameters says how the time of a site grows."""
    times: dict[int, float] = {}
    for sites, parameters in CASES:
        opening, ratio = one(sites, parameters, pairs=1 if sites > 300 else 3 if sites > 100 else 5, warm=sites <= 300)
        yield opening
        if parameters == CASES[0][1]:
            times[sites] = ratio.ours_s / sites
        if len(times) == len([case for case in CASES if case[1] == parameters]) > 1 and sites == max(times):
            before, last = sorted(times)[-2:]
            step = growth({sites: times[sites] for sites in (before, last)})
            grows = f"a site's time grows as n^{growth(times):.2f}, from {before} to {last} sites as n^{step:.2f}"
            ratio = replace(ratio, note=f"{ratio.note}; {grows}")
        yield ratio


def one(sites: int, parameters: int, *, pairs: int, warm: bool = True) -> tuple[Ratio, Ratio]:
    """The opening of a session of `sites` against a secure round, and a secure round against one in the open."""
    plan = large_plan(parameters)
    with TemporaryDirectory() as folder:
        federation = Federation(plan, sites, Path(folder))
        opened_s = federation.open()
        size = federation.contribution.narrow
        name = f"{sites} sites, {size:,} parameters"
        ratio = compare(
            f"secure round of {name} / in the open", federation.secure, federation.plain, pairs=pairs, warm=warm
        )
        sent = federation.bytes_up
        each_ms = 1e3 * ratio.ours_s / sites
        note = f"per site {each_ms:.1f} ms and a report of {sent:,} bytes, {sent / size:.2f} per parameter"
        times = opened_s, ratio.ours_s, opened_s / ratio.ours_s
        opening = Ratio(f"opening a session of {sites} sites / secure round", *times, times[2], times[2], 1)
        return opening, replace(ratio, note=note)


def growth(times: dict[int, float]) -> float:
    """Exponent e of time ~ sites^e, by least squares on logarithms."""
    return float(np.polyfit(np.log(list(times)), np.log(list(times.values())), 1)[0])


def large_plan(parameters: int) -> Plan:
    """A plan whose model has about as many parameters."""
    content = {
        "federation": {"name": "bench"},
        "data": {"patient": "p"},
        "features": [{"name": f"x{i}", "range": [-10, 10]} for i in range(20)],
        "tasks": [{"name": "t", "label": "y"}],
        "model": {"hidden": [1]},
    }
    narrow = [Contribution(_with_hidden(content, width), "train").narrow for width in (1, 2)]
    return _with_hidden(content, 1 + round((parameters - narrow[0]) / (narrow[1] - narrow[0])))


def _with_hidden(content: dict[str, object], width: int) -> Plan:
    return plan_from_dict(content | {"model": {"hidden": [width]}}, source="bench")


@dataclass(frozen=True)
class _Site:
    """Answers with the same numbers in each round, under masks where a session is open."""

    secure: SecureSite
    numbers: tuple[np.ndarray, np.ndarray]
    contribution: Contribution
    levels: dict[str, float]

    def declare(self, request: Request) -> RecordDict:
        site, levels = self.secure.party.site, self.levels
        card = self.secure.open(request.protocol, list(levels.values()))
        content = {"site": site, "blocks": list(levels), "levels": list(levels.values()), "card": card}
        return RecordDict({"declaration": ConfigRecord(content)})

    def take_cards(self, request: Request) -> RecordDict:
        self.secure.take_cards(request.protocol)
        return RecordDict()

    def train(self, request: Request) -> RecordDict:
        if not request.protocol:
            vector = np.concatenate(self.numbers).astype(np.float32)
            return RecordDict({"arrays": ArrayRecord({"vector": Array(vector)})})
        protocol, number = request.protocol, request.round
        subject = self.contribution.subject(request.vector)
        begun = self.secure.begin(
            protocol, self.contribution, training_round=number, model=request.model, subject=subject
        )
        return _bytes("report", self.secure.report(begun, Numbers(*self.numbers, hashlib.sha256(b"coins").digest())))

    def cross_check(self, request: Request) -> RecordDict:
        return _bytes("answer", self.secure.cross_check(request.protocol))

    def unmask(self, request: Request) -> RecordDict:
        return _bytes("answer", self.secure.unmask(request.protocol))


Work = Callable[[_Site, Request], RecordDict]


class Federation:
    """`sites` virtual sites and a coordinator that can sum in both ways."""

    def __init__(self, plan: Plan, sites: int, folder: Path) -> None:
        self.plan, self.contribution, self.bytes_up, self._round = plan, Contribution(plan, "train"), 0, 0
        self._journal = Journal(folder / "run", plan, resume=False)
        names = [f"site{i:04d}" for i in range(sites)]
        keys, boss = {name: SigningKey.new(os.urandom) for name in names}, SigningKey.new(os.urandom)
        roster = found(keys, federation="bench", coordinator=boss).roster
        self._keys = CoordinatorKeys(boss, roster)
        levels = dict.fromkeys(self.contribution.layout.block_names, 1.0)
        random = np.random.default_rng(0)
        update = random.normal(size=self.contribution.narrow)
        update *= 0.9 * plan.aggregation.clip_norm / np.linalg.norm(update)
        numbers = update.astype(np.float32), random.integers(0, 1000, self.contribution.wide).astype(np.float64)
        secure = [SecureSite(plan, Party(name, keys[name], roster), MemoryVault()) for name in names]
        self._sites = [_Site(each, numbers, self.contribution, levels) for each in secure]
        self._grid = InProcessGrid(_app(self._sites), [{"site": i} for i in range(sites)])
        self._model = np.zeros(self.contribution.narrow, dtype=np.float32)
        self._step, self._moved = ServerStep(plan.aggregation), np.ones(self.contribution.narrow, dtype=bool)

    def open(self) -> float:
        """Opens the session; seconds."""
        started = perf_counter()
        opening = Opening(self.plan, self._grid, self._journal, self._keys)
        self._cohort, failed, state = opening.open(self._grid.get_node_ids())
        if failed:
            raise RuntimeError(f"sites failed: {failed}")
        self._secure = SecureSum(self.plan, self._grid, self._cohort, self._journal, state)
        self._plain = PlainSum(self._grid, Cohort(self._cohort.names, self._cohort.levels), timeout_s=600.0)
        return perf_counter() - started

    def secure(self) -> None:
        self.bytes_up = self._one_round(self._secure)

    def plain(self) -> None:
        self._one_round(self._plain)

    def _one_round(self, sums: SecureSum | PlainSum) -> int:
        """A round on a model of its own: a site does not open many sums of one."""
        self._round += 1
        self._model[0] = self._round
        question = Question("train", self.plan.hash, self._round, 0, self._model)
        size, sites = self.contribution.narrow + self.contribution.wide, len(self._sites)
        total = sums.collect(question, size=size, min_sites=sites, plausible=lambda sites, vector: True)
        if total.failed:
            raise RuntimeError(f"sites failed: {total.failed}")
        self._step.apply(1, self._model, total.total[: len(self._model)] / sites, self._moved)
        return total.bytes_up


def _app(sites: list[_Site]) -> ClientApp:
    app = ClientApp()
    for register, work in (
        (app.query("declare"), _Site.declare),
        (app.query("cards"), _Site.take_cards),
        (app.query("crosscheck"), _Site.cross_check),
        (app.query("unmask"), _Site.unmask),
        (app.train(), _Site.train),
    ):
        register(partial(_answer, sites, work))
    return app


def _answer(sites: list[_Site], work: Work, message: Message, context: Context) -> Message:
    site = sites[int(context.node_config["site"])]
    return Message(work(site, Request.of(message)), reply_to=message)


def _bytes(name: str, data: bytes) -> RecordDict:
    return RecordDict({"arrays": ArrayRecord({name: Array("uint8", (len(data),), "bytes", data)})})
