"""Who takes part: declarations are read strictly, and a level says how many labelled training rows a site has."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Error, Message, RecordDict

from client.config import load_site
from client.session import Session
from common.contribution import Contribution
from common.errors import TooFewSites
from common.model import LEVELS, Layout
from common.plan import Plan
from server.cohort import Cohort, shared_by, wait_for_nodes
from server.declarations import enrol
from server.inprocess import InProcessGrid
from tests.conftest import small_table

Record = dict[str, Any]


@pytest.fixture
def layout(plan: Plan) -> Layout:
    return Layout(plan)


def _honest(layout: Layout, site: str) -> Record:
    levels = [LEVELS[i % len(LEVELS)] for i in range(len(layout.block_names))]
    return {"site": site, "blocks": list(layout.block_names), "levels": levels}


def _enrol(layout: Layout, *declarations: Record | None) -> tuple[Cohort, dict[str, str]]:
    """The cohort of nodes 1, 2, … that declare this; None is a node that answers with an error."""

    def app(message: Message, context: Context) -> Message:
        declared = declarations[context.node_id - 1]
        if declared is None:
            return Message(Error(code=103, reason="data_not_ready: look in the log."), reply_to=message)
        return Message(RecordDict({"declaration": ConfigRecord(declared)}), reply_to=message)

    grid = InProcessGrid(app, [{}] * len(declarations))
    return enrol(grid, grid.get_node_ids(), layout, timeout_s=1.0)


def test_declared_levels_are_taken_as_they_are(layout: Layout) -> None:
    cohort, failed = _enrol(layout, _honest(layout, "north"), None, _honest(layout, "south-2"))
    assert cohort.names == {1: "north", 3: "south-2"} and failed == {"node 2": "data_not_ready"}
    for site in ("north", "south-2"):
        assert cohort.levels[site].tolist() == _honest(layout, site)["levels"]
    assert cohort.holders(0) == [] and cohort.holders(1) == ["north", "south-2"]


NONSENSE: dict[str, Callable[[Record], Record]] = {
    "0.9": lambda d: {"levels": [0.9, *d["levels"][1:]]},
    "a little above 1": lambda d: {"levels": [*d["levels"][:-1], 1.0 + 1e-9]},
    "NaN": lambda d: {"levels": [float("nan"), *d["levels"][1:]]},
    "infinity": lambda d: {"levels": [float("inf"), *d["levels"][1:]]},
    "negative": lambda d: {"levels": [-1.0, *d["levels"][1:]]},
    "2": lambda d: {"levels": [2.0, *d["levels"][1:]]},
    "bools": lambda d: {"levels": [True] * len(d["levels"])},
    "texts": lambda d: {"levels": ["1.0"] * len(d["levels"])},
    "a bool": lambda d: {"levels": True},
    "a number": lambda d: {"levels": 1.0},
    "one level too few": lambda d: {"levels": d["levels"][:-1]},
    "one level too many": lambda d: {"levels": [*d["levels"], 1.0]},
    "no levels": lambda d: {"levels": []},
    "one block too few": lambda d: {"blocks": d["blocks"][:-1]},
    "blocks in another order": lambda d: {"blocks": d["blocks"][::-1]},
    "another block": lambda d: {"blocks": [*d["blocks"][:-1], "input:other"]},
    "one more block": lambda d: {"blocks": [*d["blocks"], "input:other"], "levels": [*d["levels"], 1.0]},
    "a text for blocks": lambda d: {"blocks": "shared"},
}


@pytest.mark.parametrize("what", NONSENSE)
def test_site_that_declares_nonsense_is_left_out_and_named(layout: Layout, what: str) -> None:
    honest = _honest(layout, "north")
    cohort, failed = _enrol(layout, honest | NONSENSE[what](honest), _honest(layout, "south"))
    assert failed == {"node 1": "malformed_declaration"}
    assert cohort.names == {2: "south"} and set(cohort.levels) == {"south"}


@pytest.mark.parametrize(
    "name", ["north\n", "north\nsouth", "North", "", "-north", "../north", "n" * 65, "north south", True, 7, b"north"]
)
def test_name_that_is_none_is_left_out_by_its_node(layout: Layout, name: object) -> None:
    cohort, failed = _enrol(layout, _honest(layout, "south"), _honest(layout, "north") | {"site": name})
    assert failed == {"node 2": "malformed_declaration"}
    assert cohort.names == {1: "south"} and set(cohort.levels) == {"south"}


def test_cards_come_with_the_declarations(layout: Layout) -> None:
    declared = [_honest(layout, "north") | {"card": b"card of north"}, _honest(layout, "south")]
    cohort, failed = _enrol(layout, *declared)
    assert cohort.cards == {"north": b"card of north", "south": b""} and failed == {}
    for card in ("text", 7, [1], True):
        cohort, failed = _enrol(layout, _honest(layout, "north") | {"card": card}, _honest(layout, "south"))
        assert failed == {"node 1": "malformed_declaration"} and set(cohort.cards) == {"south"}


def test_cohort_without_some_sites_keeps_nothing_of_them(layout: Layout) -> None:
    whole, _ = _enrol(layout, *(_honest(layout, site) for site in ("north", "south", "west")))
    rest = whole.without({"south", "nobody"})
    assert rest.names == {1: "north", 3: "west"}
    assert set(rest.levels) == set(rest.cards) == {"north", "west"} and rest.holders(1) == ["north", "west"]
    assert set(whole.levels) == {"north", "south", "west"}


@pytest.mark.parametrize("least", [1, 2, 3])
def test_what_is_shared_is_what_enough_sites_hold(layout: Layout, least: int) -> None:
    """Judged site by site: a pair counts where one site holds both, not where two sites hold one each.

    An input and the encoder count where the site also holds a task that is shared, and from which they learn.
    """
    asked, names = Contribution(layout.plan, "train"), layout.block_names
    tasks = {names.index(f"task:{task.name}"): task.exclude for task in layout.plan.tasks}
    lacking = 0
    for seed in range(40):
        held = np.random.default_rng(seed).random((4, len(names))) < 0.6
        blocks, pairs = shared_by(held, asked, least=least)

        def fills(site: np.ndarray, block: int, held: np.ndarray = held) -> bool:
            name = names[block].removeprefix("input:")
            beside = [t for t, excluded in tasks.items() if held[:, t].sum() >= least and name not in excluded]
            learns = name == "shared" or names[block].startswith("input:")
            return bool(site[block]) and (not learns or any(site[t] for t in beside))

        expected = [b for b in range(len(names)) if sum(fills(site, b) for site in held) >= least]
        assert blocks == tuple(expected)
        lacking += sum(held.sum(axis=0) >= least) - len(expected)
        parts = [(code, divmod(code, len(names))) for code in asked.pairs]
        both = [code for code, pair in parts if sum(all(s[b] for b in pair) for s in held) >= least]
        assert pairs == tuple(code for code in both if set(divmod(code, len(names))) <= set(expected))
    assert lacking > 0 or least == 1


@pytest.mark.parametrize("key", ["site", "blocks", "levels"])
def test_declaration_with_a_part_missing_is_left_out(layout: Layout, key: str) -> None:
    record = {name: value for name, value in _honest(layout, "north").items() if name != key}
    cohort, failed = _enrol(layout, record, _honest(layout, "south"))
    assert list(failed.values()) == ["malformed_declaration"] and set(cohort.levels) == {"south"}


def test_two_nodes_of_one_name_are_both_left_out_where_nothing_tells_them_apart(layout: Layout) -> None:
    cohort, failed = _enrol(layout, *(_honest(layout, site) for site in ("north", "south", "north", "west")))
    assert cohort.names == {2: "south", 4: "west"} and failed == {"north": "name_twice"}


def test_too_few_nodes_are_named_after_the_wait() -> None:
    grid = InProcessGrid(lambda *_: None, [{}] * 2)
    assert wait_for_nodes(grid, wanted=2, timeout_s=0.0) == [1, 2]
    with pytest.raises(TooFewSites, match=r"2 of 3 sites were connected after 0 s"):
        wait_for_nodes(grid, wanted=3, timeout_s=0.0)


def test_level_of_a_block_counts_the_training_rows_that_can_train_it(make_plan, write_sites) -> None:
    """64 training rows of which 4 have labels, all of them for every task; every test row is labelled."""
    plan = make_plan(split={"split_column": "part"}, aggregation={"weight_row_cap": 64})
    table = small_table(0, rows=120).assign(part=["train"] * 64 + ["validation"] * 16 + ["test"] * 40)
    labels = ["died", "days", "level", "sbp_class"]
    table[labels] = table[labels].astype(float)
    table.loc[4:63, labels] = np.nan
    table.loc[16:63, "smoker"] = np.nan
    folder: Path = write_sites(only=table)
    levels = Session(load_site(folder / "only.csv"), plan).levels
    tasks = {name: level for name, level in levels.items() if name.startswith("task:")}
    assert levels["shared"] == 1 / 4  # sqrt(4 / 64)
    assert len(tasks) == 4 and set(tasks.values()) == {1 / 4}
    assert levels["input:age"] == 1.0 and levels["input:smoker"] == 1 / 2
