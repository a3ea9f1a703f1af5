"""Units: published conversion factors, round trips, and the sentence for a unit that cannot be converted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import PlanError
from common.vitals import VITALS, converter, convertible

# Conversion factors as printed in clinical tables (AMA Manual of Style, 11th ed., SI conversion), and defined ones.
PUBLISHED = [
    (16.0, "kPa", "mm[Hg]", None, 120.01),
    (98.6, "[degF]", "Cel", None, 37.0),
    (310.15, "K", "Cel", None, 37.0),
    (220.0, "[lb_av]", "kg", None, 99.79),
    (70.0, "[in_i]", "cm", None, 177.8),
    (5.55, "mmol/L", "mg/dL", "glucose", 100.0),
    (88.4, "umol/L", "mg/dL", "creatinine", 1.0),
    (17.104, "umol/L", "mg/dL", "bilirubin", 1.0),
    (0.357, "mmol/L", "mg/dL", "bun", 1.0),
    (0.1665, "mmol/L", "mg/dL", "urea", 1.0),
    (5.172, "mmol/L", "mg/dL", "cholesterol", 200.0),
    (1.0, "mmol/L", "mg/dL", "lactate", 9.01),
    (2.5, "mmol/L", "mg/dL", "calcium", 10.02),
    (140.0, "meq/L", "mmol/L", "sodium", 140.0),
    (2.0, "meq/L", "mmol/L", "magnesium", 1.0),
    (8.69, "mmol/L", "g/dL", "hemoglobin", 14.0),
    (135.0, "g/L", "g/dL", None, 13.5),
    (0.97, "1", "%", None, 97.0),
    (7500.0, "/uL", "10*3/uL", None, 7.5),
    (1.8, "[degF]{difference}", "Cel{difference}", None, 1.0),
    (36.0, "h", "d", None, 1.5),
]


@pytest.mark.parametrize(("value", "source", "target", "analyte", "expected"), PUBLISHED)
def test_published_factors(value: float, source: str, target: str, analyte: str | None, expected: float) -> None:
    assert converter(source, target, analyte)(value) == pytest.approx(expected, rel=2e-3)


PAIRS = [
    (source, target, analyte)
    for target, analyte in [
        ("mm[Hg]", None),
        ("Cel", None),
        ("kg", None),
        ("cm", None),
        ("mg/dL", "calcium"),
        ("d", None),
    ]
    for source in convertible(target, analyte)
]


@given(st.sampled_from(PAIRS), st.floats(min_value=-1e4, max_value=1e4))
def test_there_and_back(pair: tuple[str, str, str | None], value: float) -> None:
    source, target, analyte = pair
    there, back = converter(source, target, analyte), converter(target, source, analyte)
    assert back(there(value)) == pytest.approx(value, rel=1e-9, abs=1e-9)
    assert there.inverse()(there(value)) == pytest.approx(value, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("alias", "code", "target"),
    [("mmHg", "mm[Hg]", "kPa"), ("°F", "[degF]", "Cel"), ("lbs", "[lb_av]", "kg"), ("inches", "[in_i]", "cm"),
     ("MG/DL", "mg/dL", "g/L"), ("µg/dL", "ug/dL", "g/L"), ("bpm", "/min", "/s"), ("K/uL", "10*3/uL", "/uL")],
)  # fmt: skip
def test_aliases_mean_the_ucum_code(alias: str, code: str, target: str) -> None:
    assert converter(alias, target) == converter(code, target)


def test_an_unknown_unit_converts_only_to_itself() -> None:
    assert converter("furlong", " furlong")(3.0) == 3.0
    with pytest.raises(PlanError, match=r"^unit 'cm' cannot become 'furlong'; allowed: furlong\.$"):
        converter("cm", "furlong")


def test_another_dimension_is_refused_with_the_units_that_are_allowed() -> None:
    with pytest.raises(PlanError, match=r"^unit 'kg' cannot become 'mm\[Hg\]'; allowed: mm\[Hg\], kPa, Pa\.$"):
        converter("kg", "mm[Hg]")


@pytest.mark.parametrize(("analyte", "found"), [(None, "none"), ("wine", "'wine'")])
def test_mass_and_amount_need_an_analyte(analyte: str | None, found: str) -> None:
    with pytest.raises(PlanError, match=f"needs an analyte, found {found}, allowed: .*glucose"):
        converter("mmol/L", "mg/dL", analyte)


def test_equivalents_need_a_valence() -> None:
    with pytest.raises(PlanError, match=r"^unit 'meq/L' cannot become 'mg/dL'"):
        converter("meq/L", "mg/dL", "glucose")


@pytest.mark.parametrize("vital", VITALS.values(), ids=list(VITALS))
def test_every_vital_has_a_known_unit_a_range_and_a_loinc_code_with_its_check_digit(vital) -> None:  # type: ignore[no-untyped-def]
    assert len(convertible(vital.unit, vital.analyte)) > 1 or vital.unit in ("[pH]",)
    assert vital.low < vital.high
    number, digit = vital.loinc.split("-")
    assert _mod10(number) == int(digit)


def _mod10(number: str) -> int:
    """LOINC's check digit (Luhn; LOINC Users' Guide, appendix C)."""
    total = 0
    for position, character in enumerate(reversed(number)):
        value = int(character) * (2 if position % 2 == 0 else 1)
        total += value // 10 + value % 10
    return -total % 10
