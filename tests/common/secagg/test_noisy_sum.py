"""A secure sum with noise: it opens to the plain sum and the survivors' shares, and less noise is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest

from common.errors import Refusal
from common.privacy.noise import discrete_gaussian
from common.secagg.encoding import encode
from common.secagg.messages import SignedHeader
from common.secagg.noise import NoiseShare
from tests.common.secagg.stage import CLIP, Stage
from tests.common.secagg.stage_site import coins_of

MODEL = bytes(32)


def _stage(count: int, parameters: int, *, shares: int, colluding: int = 0, multiplier: float = 1.0) -> Stage:
    """Sites that hide a whole site's update: sensitivity CLIP, `shares` honest survivors."""
    noise = NoiseShare(multiplier, CLIP, parameters, shares)
    stage = Stage(count, colluding=colluding, parameters=parameters, noise=noise)
    stage.open(dict.fromkeys(stage.sites, (8, 8)))
    return stage


def _summed(stage: Stage, absent: tuple[str, ...] = ()) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(noise in the sum, sum of the survivors' shares, exact sum of their integers), (D,) int64 each."""
    size, names = stage.question.narrow, tuple(stage.sites)
    signed = stage.header(1, names, MODEL)
    total, shares, integers = stage.sum(signed), {}, {}
    for name in names:
        site = stage.sites[name]
        assert site.begin(encode(signed), MODEL) is None
        narrow, wide = stage.contribution()
        drawn = discrete_gaussian(size, sigma=signed.header.noise, random=stage.random.randbytes)
        shares[name], integers[name] = drawn, stage.fixed.integers(narrow, wide, coins_of(name, 1))[0]
        data = site.finish(narrow, wide, noise=drawn.astype(np.int32))
        if name not in absent:
            total.take_report(name, data)
    total.close()
    committee = stage.roster.committee
    for member in committee:
        total.take_crosscheck(member, stage.sites[member].cross_check(encode(total.cross_check_for(member))))
    for member in committee:
        total.take_shares(member, stage.sites[member].unmask(encode(total.unmask_request())))
    assert total.survivors == tuple(name for name in names if name not in absent)
    plain = sum(integers[name].astype(np.int64) for name in total.survivors)
    opened = total.total()[0].view(np.int32).astype(np.int64)
    return opened - plain, sum(shares[name] for name in total.survivors), plain


@pytest.mark.parametrize(("count", "absent"), [(3, 0), (4, 1), (10, 2)])
def test_a_sum_holds_the_shares_of_its_survivors_alone(count: int, absent: int) -> None:
    stage = _stage(count, 50, shares=3)
    missing = tuple(stage.sites)[1 : 1 + absent]
    noise, shares, _ = _summed(stage, missing)
    assert np.array_equal(noise, shares) and noise.any()


def test_a_hospital_is_hidden_by_the_calibrated_noise() -> None:
    """Five sites, of which one tells its share: the other four have the noise of one mechanism, and the mean is kept.

    Six standard deviations of 60,000 entries, from a fixed seed.
    """
    count, size, z = 5, 60_000, 2.0
    stage = _stage(count, size, shares=4, colluding=1, multiplier=z)
    noise, _, plain = _summed(stage)
    sigma = z * (CLIP * stage.fixed.narrow_scale + math.sqrt(size))
    everyone = sigma * math.sqrt(count / 4)
    assert abs(noise.var() / everyone**2 - 1) <= 6 * math.sqrt(2 / size)
    assert abs(noise.mean()) <= 6 * everyone / math.sqrt(size)
    assert stage.question.noise == math.ceil(math.sqrt((sigma * (1 + 2**-20)) ** 2 + 4) / 2)
    # The plain sum is in it: along its direction the noise is one-dimensional, and no longer than six sigma.
    along = plain / np.linalg.norm(plain)
    assert abs(noise @ along) <= 6 * everyone


@pytest.mark.parametrize("change", [-1, 1, None])
def test_a_header_with_other_noise_is_refused(change: int | None) -> None:
    stage = _stage(3, 20, shares=3)
    header = stage.header(1, stage.sites, MODEL).header
    header = replace(header, noise=0 if change is None else header.noise + change)
    signed = SignedHeader(header, stage.key.sign("header", header))
    with pytest.raises(Refusal) as refusal:
        stage.sites["site000"].begin(encode(signed), MODEL)
    assert refusal.value.code == "other_fixed_point"


@pytest.mark.parametrize("noise", [None, np.zeros(19, np.int32), np.zeros(20, np.int64)], ids=["none", "19", "wide"])
def test_a_report_is_not_made_without_the_noise_of_its_header(noise: np.ndarray | None) -> None:
    stage = _stage(3, 20, shares=3)
    site = stage.sites["site000"]
    site.begin(encode(stage.header(1, stage.sites, MODEL)), MODEL)
    with pytest.raises(ValueError, match="noise"):
        site.finish(*stage.contribution(), noise=noise)


def test_noise_is_not_added_where_the_header_says_none() -> None:
    stage = Stage(3)
    stage.open(dict.fromkeys(stage.sites, (8, 8)))
    site = stage.sites["site000"]
    site.begin(encode(stage.header(1, stage.sites, MODEL)), MODEL)
    with pytest.raises(ValueError, match="has some"):
        site.finish(*stage.contribution(), noise=np.zeros(20, np.int32))


def test_the_wide_entries_of_a_survey_have_the_noise_where_there_are_no_narrow_ones() -> None:
    noise = NoiseShare(1.0, 3.0, 30, 3)
    stage = Stage(3, parameters=0, tallies=30)
    stage.question = replace(stage.question, noise=noise.steps(2.0**20))
    for site in stage.sites.values():
        site.question = stage.question
    stage.open(dict.fromkeys(stage.sites, (8, 8)))
    signed = stage.header(1, stage.sites, MODEL)
    total, exact = stage.sum(signed), np.zeros(30, np.int64)
    for name, site in stage.sites.items():
        site.begin(encode(signed), MODEL)
        narrow, wide = np.zeros(0, np.float32), stage.numbers.integers(0, 10**6, 30) / 4
        drawn = discrete_gaussian(30, sigma=signed.header.noise, random=stage.random.randbytes)
        exact += stage.fixed.integers(narrow, wide, coins_of(name, 1))[1] + drawn
        total.take_report(name, site.finish(narrow, wide, noise=drawn))
    total.close()
    for member in stage.roster.committee:
        total.take_crosscheck(member, stage.sites[member].cross_check(encode(total.cross_check_for(member))))
    for member in stage.roster.committee:
        total.take_shares(member, stage.sites[member].unmask(encode(total.unmask_request())))
    assert np.array_equal(total.total()[1].view(np.int64), exact)
