"""Sums with noise over sites as deployed: what is opened is the plain sum and noise, and a failure is hidden."""

import numpy as np
import pytest

from common.contribution import Contribution
from common.privacy.shares import noise_steps
from common.secagg.fixedpoint import FixedPoint
from tests.conftest import small_table
from tests.messages import refuse
from tests.secure import NAMES, Wire, collect, headers, without
from tests.server.conftest import Seen

NOISY = {"noise": "shared", "noise_multiplier": 1.0}
SUMS = {"min_sites": 3, "clip_norm": 0.5}


@pytest.mark.parametrize("unit", ["patient", "hospital"])
def test_opened_sum_is_the_plain_one_and_the_noise_of_its_survivors(unit: str, federation, seen: Seen) -> None:
    """The third site's report never arrives: three shares are left, of a plan that counts with three."""
    four, wire = federation(4, aggregation=SUMS, privacy={"unit": unit, **NOISY}), Wire()
    wire.change("south", "train", refuse, time=0)
    total = collect(four, wire)
    assert total.sites == without("south", 4)
    header = headers(wire)[-1]
    asked = Contribution(four.plan, "train")
    fixed = FixedPoint(header.clip_norm, header.narrow_scale, header.wide_scale)
    assert header.noise == noise_steps(asked, fixed) > 0
    noise = seen.totals[-1] - seen.exact(total.sites)
    part = asked.entries_of(header.blocks, header.pairs)[: asked.narrow]
    inside, sigma = noise[: asked.narrow][part], header.noise * np.sqrt(3)
    assert not noise[: asked.narrow][~part].any() and not noise[asked.narrow :].any()
    assert abs(inside.mean()) < 6 * sigma / np.sqrt(len(inside))
    assert inside.std() == pytest.approx(sigma, rel=6 / np.sqrt(2 * len(inside)))


def test_a_site_whose_work_fails_adds_its_share_of_the_noise(federation, seen: Seen, monkeypatch) -> None:
    """Zeros and noise look like any other report, and without its share the sum would have too little."""
    four, wire = federation(4, aggregation=SUMS, privacy={"unit": "patient", **NOISY}), Wire()
    monkeypatch.setattr("client.training.private_work.train", lambda *_: 1 / 0)
    total = collect(four, wire)
    header = headers(wire)[-1]
    assert len(total.sites) == 4 and not any(values.any() for values in seen.values.values())
    noise = seen.totals[-1][: header.narrow]
    assert noise.std() == pytest.approx(header.noise * 2.0, rel=6 / np.sqrt(2 * len(noise)))


def test_a_run_of_pooled_steps_has_scores_at_its_end_alone(federation) -> None:
    plan = {"aggregation": SUMS, "privacy": {"unit": "patient", **NOISY}, "training": {"rounds": 2}}
    three = federation(3, **plan)
    result = three.run()
    assert [entry["tasks"] for entry in result["history"]] == [{}, {}]
    assert not any("norm" in key for entry in result["history"] for key in entry)
    assert result["tasks"]["death"]["pooled"]["n"] > 0


@pytest.mark.parametrize("unit", ["patient", "hospital"])
def test_nothing_about_rows_travels_in_a_round_but_under_noise(unit: str, federation, seen: Seen) -> None:
    """Beside the update, to every entry of which noise is added, a site sends zeros, whatever its table holds."""
    sampled = {"expected_patients": 100} if unit == "patient" else {}
    plan = {"aggregation": SUMS, "privacy": {"unit": unit, **sampled, **NOISY}}
    beside = {}
    for count, rows in ((3, 90), (4, 200)):
        tables = {name: small_table(seed, rows) for seed, name in enumerate(NAMES[:count])}
        some, wire = federation(count, tables=tables, **plan), Wire()
        assert len(collect(some, wire).sites) == count
        asked, header = Contribution(some.plan, "train"), headers(wire)[-1]
        assert asked.wide == header.wide == 4 and header.noise > 0
        part = asked.entries_of(header.blocks, header.pairs)[: asked.narrow]
        for site in some.sites:
            update, beside[site, rows] = np.split(seen.values[site], [asked.narrow])
            assert update[part].any() and not update[~part].any()
            own = seen.noise[site]
            assert own.shape == (asked.narrow,) and (own[part] != 0).mean() > 0.9 and not own[~part].any()
    assert len(beside) == 7 and not any(values.any() for values in beside.values())
