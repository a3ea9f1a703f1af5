"""The benchmark of whole secure rounds runs, and says what it measured."""

import pytest

from benchmarks import secagg_rounds


def test_both_ratios_can_be_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secagg_rounds, "CASES", ((3, 400), (4, 400), (5, 300)))
    ratios = list(secagg_rounds.run())
    assert [ratio.name.split(",")[0].split(" / ")[0] for ratio in ratios[:3]] == [
        "opening a session of 3 sites",
        "secure round of 3 sites",
        "opening a session of 4 sites",
    ]
    assert ["grows as" in ratio.note for ratio in ratios] == [False, False, False, True, False, False]
    assert all(ratio.ours_s > 0 and ratio.reference_s > 0 for ratio in ratios)


def test_the_model_has_about_as_many_parameters_as_asked() -> None:
    plan = secagg_rounds.large_plan(2000)
    assert secagg_rounds.Contribution(plan, "train").narrow == pytest.approx(2000, rel=0.05)


def test_growth_is_the_exponent() -> None:
    assert secagg_rounds.growth({n: 0.2 * n**0.7 for n in (3, 10, 300)}) == pytest.approx(0.7)
