"""Many sites, some of which vanish before the report, after it, and as committee members at each step."""

from random import Random

import pytest

from common.errors import SumAborted
from common.secagg.coordinator import Sum
from common.secagg.encoding import encode
from tests.common.secagg.stage import Stage, Vectors

FEWER = [(64, 0), (64, 12), (100, 0), (100, 30)]


@pytest.fixture(scope="module", params=[*FEWER, (300, 20)], ids=str)
def stage(request) -> Stage:
    """(sites, f), in a session in which all take part; every tenth lacks the second block."""
    sites, colluding = request.param
    stage = Stage(sites, colluding=colluding, parameters=50, seed=sites + colluding)
    stage.open({name: (8, 0 if i % 10 == 9 else 4) for i, name in enumerate(stage.sites)})
    return stage


def report(stage: Stage, number: int, absent: set[str]) -> tuple[Sum, dict[str, Vectors]]:
    """Every site of the cohort begins; all but `absent` report."""
    signed = stage.header(number, stage.sites, bytes([number]) * 32)
    total, given = stage.sum(signed), {}
    for name, site in stage.sites.items():
        assert site.begin(encode(signed), signed.header.model) is None
        if name not in absent:
            given[name] = stage.contribution()
            total.take_report(name, site.finish(*given[name]))
    assert total.close() == ()
    return total, given


def sign(stage: Stage, total: Sum, members: list[str]) -> None:
    for name in members:
        total.take_crosscheck(name, stage.sites[name].cross_check(encode(total.cross_check_for(name))))


def test_survivors_are_summed_exactly(stage: Stage) -> None:
    """As many committee members are missing as may be: some at the cross-check, others at the unmasking."""
    random, roster = Random(stage.roster.colluding), stage.roster
    names, members = list(stage.sites), list(roster.committee)
    absent = set(random.sample(names, max(2, len(names) // 40)))
    total, given = report(stage, 1, absent)
    missing = random.sample(members, len(members) - roster.threshold)
    sign(stage, total, [name for name in members if name not in missing[::2]])
    for name in random.sample(names, len(names) // 8):
        stage.sites[name].restart()
    request = encode(total.unmask_request())
    for name in members:
        if name not in missing:
            total.take_shares(name, stage.sites[name].unmask(request))
    stage.assert_opens_exactly(total, given)


@pytest.mark.parametrize("stage", FEWER, indirect=True, ids=str)
def test_one_member_too_few_opens_nothing(stage: Stage) -> None:
    members, threshold = list(stage.roster.committee), stage.roster.threshold
    total, given = report(stage, 2, {members[0], members[-1]})
    sign(stage, total, members[: threshold - 1])
    with pytest.raises(SumAborted, match="signed"):
        total.unmask_request()
    sign(stage, total, members[threshold - 1 :])
    request = encode(total.unmask_request())
    for name in members[: threshold - 1]:
        total.take_shares(name, stage.sites[name].unmask(request))
    with pytest.raises(SumAborted, match="opened their shares"):
        total.total()
    total.take_shares(members[-1], stage.sites[members[-1]].unmask(request))
    stage.assert_opens_exactly(total, given)
