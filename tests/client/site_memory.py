"""Run as a program by test_memory: one site answers one round with 10 million parameters.

`site_memory.py FOLDER traced|resident` prints the number of parameters, and the peak from the moment when the update is
in hand until the reply is made: bytes above what was in use before.
"""

import os
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import tomli_w
from flwr.app import Context, RecordDict

from client.approval.approval import approve
from client.config import load_site
from client.door import answer
from client.policy.policy import SIMULATED, write_policy
from client.release import Update
from client.secure.answers import SecureSite
from client.secure.keys import make_keys
from client.secure.store import STORE, FileVault
from client.session import Session
from client.sessions import keep_session
from common.contribution import Contribution
from common.files import read_plan
from common.model import Layout
from common.secagg import session as protocol
from common.secagg.encoding import decode, encode
from common.secagg.fixedpoint import FixedPoint
from common.secagg.messages import Header, OpenSession, SessionCards, SignedCard, SignedHeader
from common.secagg.primitives import SigningKey, digest
from common.secagg.roster import found
from common.secagg.session import Party
from server.exchange import Question
from server.identity import act_as_coordinator

SITES = ("north", "south", "west")
SITE = {"site": {"name": "north", "plan": "federation.toml"}, "data": {"files": ["none.csv"]}}
PLAN = {
    "federation": {"name": "large"},
    "data": {"patient": "patient"},
    "features": [{"name": f"x{i}", "range": [0, 1]} for i in range(4)],
    "tasks": [{"name": "death", "label": "died"}],
    "model": {"hidden": [3100, 3200]},
    "evaluation": {"histogram_bins": 64, "round_bins": 16},
}


def main(folder: Path, measure: str) -> None:
    (folder / "federation.toml").write_text(tomli_w.dumps(PLAN))
    (folder / "site.toml").write_text(tomli_w.dumps(SITE))
    plan = read_plan(folder / "federation.toml")
    key, keys = SigningKey.new(os.urandom), {name: SigningKey.new(os.urandom) for name in SITES}
    roster = found(keys, federation="large", coordinator=key).roster
    parties = {name: Party(name, own, roster) for name, own in keys.items()}
    config = load_site(folder)
    write_policy(config.policy, SIMULATED)
    make_keys(config, os.urandom)
    approve(config, plan)
    session = Session(config, plan)
    session.secure = SecureSite(plan, parties["north"], FileVault(folder / STORE, session.vaulted))
    session.dataset = "no rows"
    act_as_coordinator()
    session.levels = dict.fromkeys(Layout(plan).block_names, 1.0)
    keep_session(session)

    request = OpenSession(bytes(32), digest(roster), bytes.fromhex(plan.hash))
    signed = [decode(SignedCard, session.secure.open(encode(request), list(session.levels.values())))]
    levels = signed[0].card.levels
    for name in SITES[1:]:
        own = protocol.open_session(parties[name], request, plan=request.plan, levels=levels, random=os.urandom)
        signed.append(own.card)
    cards = SessionCards(tuple(each.card for each in signed), tuple(each.signature for each in signed))
    session.secure.take_cards(encode(cards))

    contribution = session.contribution("train", 0)
    model = np.zeros(contribution.narrow, dtype=np.float32)
    header = _header(contribution, request, cards, roster, model)
    protocol_bytes = encode(SignedHeader(header, key.sign("header", header)))
    question = Question("train", plan.hash, 1, 0, model, protocol_bytes).to(1)
    context = Context(1, 1, {"site-config": str(folder)}, RecordDict(), {})
    gauge = {"traced": _Traced, "resident": _Resident}[measure]()
    reply = answer(question, context, lambda *_: gauge.start(_update(contribution)))
    peak = gauge.peak()
    assert reply.has_content() and len(reply.content["arrays"]["report"].data) > 4 * contribution.narrow
    print(contribution.narrow, peak)


def _header(contribution: Contribution, request, cards, roster, model) -> Header:
    fixed = FixedPoint.fit(clip_norm=contribution.plan.aggregation.clip_norm, sites=len(SITES))
    return Header(
        session=request.session,
        round=1,
        roster=digest(roster),
        cards=digest(cards),
        plan=request.plan,
        purpose="train",
        training_round=1,
        stage=0,
        cohort=SITES,
        blocks=tuple(range(len(cards.cards[0].levels))),
        pairs=contribution.pairs,
        model=digest(model.tobytes()),
        layout=contribution.hash,
        narrow=contribution.narrow,
        wide=contribution.wide,
        clip_norm=fixed.clip_norm,
        narrow_scale=fixed.narrow_scale,
        wide_scale=fixed.wide_scale,
        subject=contribution.subject(model),
    )


def _update(contribution: Contribution) -> Update:
    """One that is longer than the clip norm, so that clipping has to scale it."""
    delta = np.random.default_rng(0).standard_normal(contribution.narrow, dtype=np.float32)
    tallies = np.zeros(contribution.wide - 4)
    return Update(delta, np.ones(contribution.narrow, dtype=np.float32), tallies)


class _Traced:
    """What Python and NumPy allocate."""

    def start(self, update: Update) -> Update:
        tracemalloc.start()
        return update

    def peak(self) -> int:
        return tracemalloc.get_traced_memory()[1]


class _Resident:
    """What the whole process occupies, SQLite's own memory too."""

    def start(self, update: Update) -> Update:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        self._before = _status("VmRSS")
        return update

    def peak(self) -> int:
        return _status("VmHWM") - self._before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name + ":"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
