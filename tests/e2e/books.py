"""What must hold after every fault: each round once, the model of one process, each release paid for once."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from client.config import find_sites
from client.ledger.file import LEDGER
from client.ledger.reading import read_bodies
from common.plan import Plan
from experiments.simulate import simulate
from tests.e2e.faults import Faulty
from tests.e2e.held_worker import sent_by
from tests.e2e.network import events
from tests.laws.asserts import assert_same_model

MODEL = "model.safetensors"


def assert_rounds(out: Path, plan: Plan, *, sites: int) -> None:
    """The journal and the result hold every round once, in order, with this many hospitals."""
    rounds = [(event["round"], event["sites"]) for event in events(out, "round")]
    expected = [(number, sites) for number in range(1, plan.training.rounds + 1)]
    assert rounds == expected
    result = json.loads((out / "result.json").read_text())
    last = (plan.training.rounds + 1, sites)  # the final model, evaluated
    assert [(entry["round"], entry["sites"]) for entry in result["history"]] == [*expected, last]
    assert result["secure"] is True and result["site_count"] == sites


def assert_model_of_one_process(network: Faulty, plan: Plan, out: Path, here: Path) -> None:
    """The run's model has the bits of the same plan over the same tables in this process."""
    simulate(plan, find_sites(network.folder / "sites"), here)
    assert_same_model(here / MODEL, out / MODEL)


def assert_books(network: Faulty, plan: Plan) -> None:
    """Ledgers are whole; every release of `plan` has its entry and every entry its release, paid for once."""
    for site, home in network.sites.items():
        assert "all of them as they were written" in network.quickly("site", "receipts", "verify", home)
        records = read_bodies(home / LEDGER)
        released = [body for body in records if body["record"] == "receipt" and not body["code"]]
        numbered = enumerate(records, start=1)
        entries = {n: body for n, body in numbered if body["record"] == "entry" and _is_of(body, plan)}
        paid = [body["entry"] for body in released if _is_of(body, plan) and body["entry"] is not None]
        assert set(paid) == set(entries), f"{site}: entries {sorted(entries)}, receipts of {sorted(set(paid))}"
        again = Counter(body["again"] for body in entries.values() if body["again"])
        assert all(count == 1 for count in again.values()), f"{site}: stored bytes were paid for twice: {again}"
        trained = {(body["step"]["round"], body["request"]) for body in entries.values() if _kind(body) == "train"}
        assert sorted(number for number, _ in trained) == list(range(1, plan.training.rounds + 1)), f"{site}: {trained}"
        sent = [(each.kind, each.sha256, each.bytes) for each in sent_by(network.folder, site) if not each.code]
        assert [(_kind(body), body["sha256"], body["bytes"]) for body in released] == sent, f"{site}: what left"


def paid_again(network: Faulty, plan: Plan) -> int:
    """Entries for questions that were paid for before, over all hospitals: sums that were given up and begun anew."""
    count = 0
    for home in network.sites.values():
        entries = [body for body in read_bodies(home / LEDGER) if body["record"] == "entry" and _is_of(body, plan)]
        count += len(entries) - len({(json.dumps(body["step"]), body["request"]) for body in entries})
    return count


def _is_of(body: dict[str, Any], plan: Plan) -> bool:
    return bool(body["step"]["plan_hash"] == plan.hash)


def _kind(body: dict[str, Any]) -> str:
    return str(body["step"]["kind"])
