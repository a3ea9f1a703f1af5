"""Numbers and names as a reader sees them; bounds are never rounded to something that no longer holds."""

import pytest

from server.dashboard import wording


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (wording.size(999), "999 bytes"),
        (wording.size(70412), "70 kB"),
        (wording.size(1_056_180), "1.1 MB"),
        (wording.amount(2.104, "d"), "2.10 d"),
        (wording.amount(0.01234), "0.0123"),
        (wording.amount(0.286, like=1.89), "0.29"),
        (wording.amount(0.286, "d", like=123.0), "0 d"),
        (wording.amount(12345.6, "ml"), "12,346 ml"),
        (wording.at_most(0.00123), "0.0013"),
        (wording.at_most(0.0002), "0.0002"),
        (wording.percent(0.001), "<1 %"),
        (wording.percent(0.999), ">99 %"),
        (wording.percent(1.0), "100 %"),
        (wording.rounds_text([7, 3, 8, 9]), "rounds 3 and 7 to 9"),
        (wording.rounds_text([4]), "round 4"),
        (wording.counted(1, "hospital"), "one hospital"),
        (wording.counted(18, "hospital"), "18 hospitals"),
        (wording.duration(245), "4 min 05 s"),
        (wording.fraction(float("nan")), wording.DASH),
    ],
)
def test_wording(shown: str, expected: str) -> None:
    assert shown == expected
