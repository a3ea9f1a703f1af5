"""A small federation with secure sums as deployed: enrolled sites with stores on disk, one process in between.

A wire that can be tampered with, sites that can be started again, and a coordinator that can be killed.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from flwr.app import Context, Message, RecordDict

from client.app import app
from client.config import find_sites
from client.session import Session
from client.sessions import close_sessions, open_session
from common.broadcast import Broadcast
from common.contribution import Contribution
from common.evaluation import Evaluation, first_edges
from common.layouts import evaluation_of
from common.model import Layout, Normaliser, initial_parameters
from common.plan import Plan, plan_from_dict
from common.secagg.encoding import decode
from common.secagg.messages import Header, SignedHeader
from experiments.enrolment import enrol_virtual
from experiments.simulate import prepare_sites
from server.exchange import Question
from server.identity import act_as_coordinator
from server.inprocess import InProcessGrid
from server.journal import EVENTS, PLAN, Journal
from server.run import run
from server.secure_session import Opening
from server.secure_sum import SecureSum
from server.sums import Sum
from tests.conftest import small_content, small_table
from tests.messages import Reply, kind

NAMES = ("east", "north", "south", "west", "young")
STEPS = ("train", "query.crosscheck", "query.unmask")


class Killed(BaseException):
    """Ends the coordinator where it is thrown in, as a kill does: nothing catches it."""


@dataclass
class Wire:
    """Sites behind it answer through `app`.

    instead: what answers in a site's place, which never hears the question. asked: how often each site was asked each
    kind of question. sent: site, question and honest answer, in order.
    """

    instead: dict[tuple[str, str], Callable[[Message], Message | None]] = field(default_factory=dict)
    changes: dict[tuple[str, str, int], Reply] = field(default_factory=dict)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    sent: list[tuple[str, Message, Message]] = field(default_factory=list)

    def change(self, site: str, kind: str, reply: Reply, *, time: int = 1) -> None:
        """The answer of `site` to the `time`-th question of `kind` (0: to each): reply(question, honest answer).

        None is no answer.
        """
        self.changes[site, kind, time] = reply

    def __call__(self, message: Message, context: Context) -> Message | None:
        site, kind = name_of(context), message.metadata.message_type
        self.asked[site, kind] += 1
        if (other := self.instead.get((site, kind))) is not None:
            return other(message)
        reply = app(message, context)
        self.sent.append((site, message, reply))
        for time in (0, self.asked[site, kind]):
            if (change := self.changes.get((site, kind, time))) is not None:
                return change(message, reply)
        return reply


class Grid(InProcessGrid):
    """As ours, but a site may stay silent."""

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [reply for reply in super().pull_messages(message_ids) if reply is not None]


@dataclass(frozen=True)
class Federation:
    """Enrolled sites in `folder`. The coordinator's journal is in `folder`/out."""

    plan: Plan
    folder: Path
    sites: dict[str, Path]
    keys: Any

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def context(self, site: str) -> Context:
        return Context(1, 1, {"site-config": str(self.sites[site])}, RecordDict(), {})

    def session(self, site: str) -> Session:
        return open_session(self.context(site))

    def run(self, wire: Wire | None = None, *, grid: Grid | None = None) -> dict[str, Any]:
        """A whole run, or the rest of one; every process begins anew."""
        close_sessions()
        journal = Journal(self.out, self.plan, resume=True)
        try:
            grid = grid or self.grid(wire)
            return run(self.plan, grid, journal, wanted_sites=len(self.sites), keys=self.keys, wait_s=0.0)
        finally:
            journal.close()
            close_sessions()

    def grid(self, wire: Wire | None = None) -> Grid:
        return Grid(wire or Wire(), [{"site-config": str(path)} for path in self.sites.values()])

    @contextmanager
    def sums(self, wire: Wire | None = None, *, grid: Grid | None = None) -> Iterator[SecureSum]:
        """The sums of an open session, without a run around them."""
        journal = Journal(self.out, self.plan, resume=True)
        try:
            grid = grid or self.grid(wire)
            cohort, _, state = Opening(self.plan, grid, journal, self.keys).open(grid.get_node_ids())
            yield SecureSum(self.plan, grid, cohort, journal, state)
        finally:
            journal.close()

    def question(self, *, shift: float = 0.0) -> Question:
        return Question("train", self.plan.hash, round=1, vector=broadcast(self.plan, shift=shift))

    def collect(self, sums: SecureSum, *, shift: float = 0.0) -> Sum:
        """The sum of a first round of training."""
        asked = Contribution(self.plan, "train")
        size = asked.narrow + asked.wide
        least = self.plan.aggregation.least_sites
        return sums.collect(self.question(shift=shift), size=size, min_sites=least, plausible=lambda *_: True)


def name_of(context: Context) -> str:
    return Path(str(context.node_config["site-config"])).parent.name


def build(
    folder: Path,
    count: int = 3,
    *,
    secure: bool = True,
    tables: dict[str, pd.DataFrame] | None = None,
    **sections: Any,
) -> Federation:
    """`count` enrolled sites, NAMES in order, under the small plan with one round; sections change the plan.

    secure: whether its sums are; the sites are enrolled in any case.
    """
    act_as_coordinator()
    content = small_content()
    for name, changes in {"training": {"rounds": 1}, **sections}.items():
        content[name] = {**content.get(name, {}), **changes} if isinstance(changes, dict) else changes
    content["aggregation"] = {**content["aggregation"], "secure": secure}
    plan = plan_from_dict(content, source="small")
    hospitals = folder / "hospitals"
    hospitals.mkdir(parents=True)
    for name, table in (tables or {name: small_table(i) for i, name in enumerate(NAMES[:count])}).items():
        table.to_csv(hospitals / f"{name}.csv", index=False)
    machines = folder / "machines"
    machines.mkdir()
    (machines / PLAN).write_bytes(plan.canonical)
    sites = prepare_sites(plan, find_sites(hospitals), machines)
    keys = enrol_virtual(plan, sites, machines)
    close_sessions()
    return Federation(plan, folder, sites, keys)


def broadcast(plan: Plan, *, shift: float = 0.0, final: bool = False) -> np.ndarray:
    """What an honest coordinator sends before a first round of training; or, `final`, to have the test rows judged."""
    layout, features, tasks = Layout(plan), len(plan.features), len(plan.tasks)
    edges = np.tile(np.array([0, 50, 100, 150, 200], dtype=np.float32), (features, 1))
    ones = np.ones(max(features, tasks), dtype="f4")
    centre, scale = (np.resize(np.array(part, "f4"), features) for part in ([60, 130, 0, 0], [10, 20, 1, 1]))
    means, own = np.zeros(tasks, "f4"), ones[:tasks]
    normaliser = Normaliser(centre, scale, edges, ones[:features], means, own, own, 100.0)
    parameters = initial_parameters(layout, seed=0) + np.float32(shift)
    judge = evaluation_of(plan, final=final)
    plain = isinstance(judge, Evaluation)
    scores = first_edges(judge.score_columns, bins=judge.bins) if plain else judge.first_edges()
    return Broadcast(parameters, normaliser, scores).to_vector()


def collect(federation: Federation, wire: Wire) -> Sum:
    with federation.sums(wire) as sums:
        return federation.collect(sums)


def without(site: str, count: int) -> tuple[str, ...]:
    return tuple(name for name in NAMES[:count] if name != site)


def aborted(federation: Federation) -> list[str]:
    log = federation.out / EVENTS
    events = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [event["reason"] for event in events if event["event"] == "sum_aborted"]


def headers(wire: Wire) -> list[Header]:
    """The distinct headers of training, in the order of their rounds."""
    sent = [decode(SignedHeader, m.content["header"]["protocol"]) for _, m, _ in wire.sent if kind(m) == "train"]
    return [signed.header for _, signed in sorted({signed.header.round: signed for signed in sent}.items())]
