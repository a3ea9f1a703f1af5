"""Secure sums over sites with stores on disk: exact over the sites that are left, or not opened at all."""

from pathlib import Path

import numpy as np
import pytest

from common.contribution import Contribution
from common.errors import TooFewSites
from common.model import Layout
from common.privacy.shares import rounding_error
from tests.conftest import small_table
from tests.messages import refuse, silent
from tests.secure import NAMES, Wire, aborted, build, collect, headers, without
from tests.server.clock import Clock
from tests.server.conftest import Seen


def test_site_that_fails_is_left_out_and_the_sum_of_the_others_is_exact(federation, seen: Seen) -> None:
    four, wire = federation(4), Wire()
    wire.change("south", "train", refuse, time=0)
    total = collect(four, wire)
    assert total.sites == without("south", 4) and total.failed == {"south": "site_error"}
    assert np.array_equal(seen.totals[-1], seen.exact(total.sites))
    size = Layout(four.plan).parameters
    error = total.total - np.sum([seen.values[site] for site in total.sites], axis=0)
    assert 0 < np.linalg.norm(error[:size]) <= rounding_error(four.plan, 4)
    assert np.abs(error[size:]).max() <= 3 * 2.0**-20
    assert total.each == {} and total.bytes_up > 4 * size


def test_without_site_too_few_are_left_and_the_run_goes_on_later(federation, tmp_path: Path, clock: Clock) -> None:
    whole = build(tmp_path / "whole", 3, training={"rounds": 2})
    whole.run()
    cut, wire = federation(3, training={"rounds": 2}), Wire()
    wire.change("south", "train", silent, time=2)
    with pytest.raises(TooFewSites, match=r"round 2: 2 site\(s\) reported, the plan asks for 3 \(south: no_answer"):
        cut.run(wire)
    assert wire.asked["east", "query.crosscheck"] == 4, "three surveys and round 1"
    assert not (cut.out / "model.safetensors").exists()
    checkpoint = (cut.out / "checkpoint.safetensors").read_bytes()
    wire = Wire()
    wire.change("south", "train", silent, time=1)
    with pytest.raises(TooFewSites):
        cut.run(wire)
    assert (cut.out / "checkpoint.safetensors").read_bytes() == checkpoint
    cut.run()
    assert (cut.out / "model.safetensors").read_bytes() == (whole.out / "model.safetensors").read_bytes()


@pytest.mark.parametrize("answer", [refuse, silent], ids=["refuse", "silent"])
@pytest.mark.parametrize("kind", ["query.crosscheck", "query.unmask"])
def test_two_of_five_members_may_be_missing(kind: str, answer, federation, seen: Seen, clock: Clock) -> None:
    five, wire = federation(5), Wire()
    assert (len(five.keys.roster.committee), five.keys.roster.threshold) == (5, 3)
    for site in ("north", "west"):
        wire.change(site, kind, answer)
    total = collect(five, wire)
    assert total.sites == NAMES and total.failed == {} and aborted(five) == []
    assert np.array_equal(seen.totals[-1], seen.exact(NAMES))


@pytest.mark.parametrize("kind", ["query.crosscheck", "query.unmask"])
def test_three_of_five_members_missing_once_costs_an_attempt(kind: str, federation, seen, clock) -> None:
    five, wire = federation(5), Wire()
    for site in ("north", "south", "west"):
        wire.change(site, kind, silent)
    total = collect(five, wire)
    assert total.sites == NAMES and len(seen.totals) == 1
    assert np.array_equal(seen.totals[-1], seen.exact(NAMES))


@pytest.mark.parametrize("kind", ["query.crosscheck", "query.unmask"])
def test_three_of_five_members_gone_open_nothing_and_the_next_sum_works(kind: str, federation, seen, clock) -> None:
    five, wire = federation(5), Wire()
    for site in ("north", "south", "west"):
        wire.change(site, kind, silent, time=0)
    with five.sums(wire) as sums:
        with pytest.raises(TooFewSites):
            five.collect(sums)
        assert seen.totals == [] and aborted(five)
        wire.changes.clear()
        assert five.collect(sums, shift=0.01).sites == NAMES
    assert np.array_equal(seen.totals[-1], seen.exact(NAMES))


def test_run_goes_on_after_members_were_gone_while_a_sum_was_opened(federation, clock: Clock) -> None:
    """The same survivors have to be asked for again: a new round of the same model counts as a second sum."""
    five, wire = federation(5), Wire()
    for site in ("north", "south", "west"):
        wire.change(site, "query.unmask", silent, time=0)
    for _ in range(2):
        with pytest.raises(TooFewSites):
            collect(five, wire)
    wire.changes.clear()
    assert collect(five, wire).sites == NAMES


def test_block_that_a_dropout_leaves_to_one_site_is_left_out_of_the_sum(federation, seen: Seen) -> None:
    tables = {name: small_table(i) for i, name in enumerate(NAMES[:4])}
    for name in ("east", "west"):
        tables[name] = tables[name].drop(columns="died")
    four, wire = federation(4, tables=tables), Wire()
    wire.change("south", "train", refuse)
    total, asked = collect(four, wire), Contribution(four.plan, "train")
    first, second = headers(wire)
    block = Layout(four.plan).block_names.index("task:death")
    assert block in first.blocks and block not in second.blocks
    assert total.sites == without("south", 4) and "fewer than 2 contributors" in aborted(four)[0]
    own = asked.block_of == block
    assert not total.total[own].any() and not total.entries[own].any()
    assert all(not seen.values[site][own].any() for site in total.sites), "zeros before masking, not after"
    assert total.total[~own].any() and len(seen.totals) == 1
