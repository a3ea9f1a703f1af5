"""Hourly tables: what becomes an input, what becomes a label, what is counted, and what is one sentence."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.config import find_sites, load_site, with_hours, write_site_toml
from client.data.apart import load_table_apart
from client.data.event import event_labels
from client.data.site_table import SiteTable
from client.data.table import load_for_prediction, load_table
from client.policy.columns import columns_read
from client.site_rows import SiteRows
from common.errors import DataError, PlanError
from common.plan import Plan, plan_from_dict
from common.plan.condition import parse_condition
from tests.hourly import HOURS, hourly_content, hourly_plan, hourly_tables, write_site

ROWS = "patient,stay,age,smoker,died,days\na,1,60,0,1,3\na,2,61,0,0,2\nb,3,70,1,,\n"
NAN = np.nan


def _load(tmp_path: Path, hours: str, extra: str = "", *, rows: str = ROWS, plan: Plan | None = None) -> SiteTable:
    (tmp_path / "rows.csv").write_text(rows)
    (tmp_path / "hours.csv").write_text(hours)
    text = f'[site]\nname = "north"\n[data]\nfiles = ["rows.csv"]\nhours = ["hours.csv"]\n{extra}'
    (tmp_path / "site.toml").write_text(text)
    return load_table(load_site(tmp_path), plan or hourly_plan())


def test_hours_are_placed_and_what_has_no_place_is_counted(tmp_path: Path) -> None:
    text = "stay,hour,map,temp,lactate,worsens\n" + (
        "3,0,80,37,,1\n1,2,70,,2.5,0\n1,2,99,99,9,1\n1,1,300,10,,\n9,0,80,,,\n1,1.5,80,,,\n1,-1,80,,,\n1,,80,,,\n"
        "2,7,60,,,1\n2,20,50,,,1\n"
    )
    table = _load(tmp_path, text)
    expected = np.full((3, HOURS, 3), NAN)
    expected[2, 0, :2], expected[0, 2, 0], expected[0, 2, 2] = [80, 37], 70, 2.5
    np.testing.assert_array_equal(table.hours, expected.astype(np.float32))
    assert table.hours.dtype == table.hour_labels.dtype == np.float32
    assert table.report.hours_read == 10
    assert table.report.hours_dropped == {
        "no stay of this site": 1, "no whole hour": 3, "repeated hour": 1, "later than the inputs": 2,
    }  # fmt: skip
    counts = {f.name: (f.out_of_range, round(f.missing, 3)) for f in table.report.hour_features}
    assert counts == {"map": (1, 0.333), "temp": (1, 0.667), "lactate": (0, 0.667)}


def test_labels_of_hours_and_their_share(tmp_path: Path) -> None:
    """shock: map < 65 within 3 h. Stay 1: seen at 0, 2, 4 and 7; stay 2 never seen after hour 0."""
    text = "stay,hour,map,temp,lactate,worsens\n1,0,80,,,0\n1,2,60,,,1\n1,4,90,,,1\n1,7,64,,,\n2,0,80,,,\n3,1,,,,2\n"
    table = _load(tmp_path, text)
    shock = [1, 1, NAN, 0, 1, 1]  # at 2 it is so already; at 3 only hour 4 is seen
    np.testing.assert_array_equal(table.hour_labels[0, :, 0], np.array(shock, dtype=np.float32))
    np.testing.assert_array_equal(table.hour_labels[0, :, 1], np.array([0, NAN, 1, NAN, 1, NAN], dtype=np.float32))
    assert np.isnan(table.hour_labels[1:]).all()
    np.testing.assert_allclose(table.labels[:, 2:], [[0.8, 2 / 3], [NAN, NAN], [NAN, NAN]], rtol=1e-6)
    worse = table.report.tasks[3]
    assert (worse.label, worse.recorded, worse.labelled, worse.unknown_code) == ("worsens", True, 1, 1)
    assert table.report.tasks[2].label == "map < 65 within 3 h"


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 9), st.sampled_from(["x < 0", "x >= 1", "x == 0"]))
def test_event_labels_against_a_slow_loop(seed: int, within: int, event: str) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(size=(4, 8)).round()
    values[random.random(values.shape) < 0.4] = NAN
    condition = parse_condition(event, key="event", with_column=True)
    expected = np.full(values.shape, NAN)
    for stay in range(4):
        for hour in range(8):
            ahead = [v for v in values[stay, hour + 1 : hour + 1 + within] if not np.isnan(v)]
            already = not np.isnan(values[stay, hour]) and condition.holds(values[stay, hour])
            if ahead and not already:
                expected[stay, hour] = any(condition.holds(v) for v in ahead)
    np.testing.assert_array_equal(event_labels(values, condition, within_h=within), expected)


def test_columns_and_units_apply_by_name_and_the_policy_sees_them(tmp_path: Path) -> None:
    text = "StayNr,h,MAP kPa,degF,worsens\n1,0,10,98.6,1\n"
    extra = '[columns]\nstay = "StayNr"\nhour = "h"\nmap = "MAP kPa"\ntemp = "degF"\nlactate = ""\n'
    units = '[units]\nmap = "kPa"\ntemp = "[degF]"\n'
    table = _load(tmp_path, text, extra + units, rows=ROWS.replace("stay", "StayNr"))
    np.testing.assert_allclose(table.hours[0, 0], [75.006, 37.0, NAN], rtol=1e-4)
    assert [f.recorded for f in table.report.hour_features] == [True, True, False]
    assert [f.unit_from for f in table.report.hour_features] == ["kPa", "[degF]", None]
    read = columns_read(load_site(tmp_path), hourly_plan())
    assert read["MAP kPa"] == ["feature map"] and read["h"] == ["hour hour"]
    assert read["worsens"] == ["hourly label (worse) worsens"]


@pytest.mark.parametrize(
    ("hours", "extra", "error", "message"),
    [
        ("stay,hour,map,temp\n1,0,80,37\n", "", DataError, r"hours\.csv: column 'lactate', the plan's feature"),
        ("stay,map,temp,lactate\n1,80,37,1\n", "", DataError, r"hours\.csv: column 'hour', the plan's hour 'hour'"),
        ("stay,hour,map,temp,lactate\n1,0,high,37,1\n", "", DataError, r"column 'map'.*not numbers"),
        ("stay,hour,map,temp,lactate\n", "", DataError, "a header but no rows"),
        ("stay,hour,map,temp,lactate\n1,0,1,1,1\n", '[columns]\nmap = "temp"\n', PlanError, "a column of its own"),
        ("stay,hour,map,temp,lactate\n1,0,1,1,1\n", '[columns]\nmap = "worsens"\n', PlanError, "hourly label"),
        ("stay,hour,map,temp,lactate\n1,0,1,1,1\n", '[columns]\nworsens = "w"\n', PlanError, "no table of this site"),
        ("stay,hour,map,temp,lactate\n1,0,1,1,1\n", '[units]\nmap = "Cel"\n', PlanError, r"\[units\] map"),
    ],
)
def test_slips_are_one_sentence(tmp_path: Path, hours: str, extra: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as found:
        _load(tmp_path, hours, extra)
    assert "high" not in str(found.value), "a cell of the table"


def test_a_stay_of_two_patients_cannot_be_joined(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="tables of hours cannot be joined"):
        _load(tmp_path, "stay,hour,map,temp,lactate\n1,0,1,1,1\n", rows=ROWS.replace("b,3", "b,1"))


def test_a_site_without_hourly_tables_says_so(tmp_path: Path) -> None:
    (tmp_path / "north.csv").write_text(ROWS)
    with pytest.raises(PlanError, match=r"north\.csv: the plan has \[sequence\]"):
        load_table(load_site(tmp_path / "north.csv"), hourly_plan())
    none = '[columns]\nmap = ""\ntemp = ""\nlactate = ""\n'
    (tmp_path / "site.toml").write_text(f'[site]\nname = "north"\n[data]\nfiles = ["north.csv"]\n{none}')
    table = load_table(load_site(tmp_path), hourly_plan())
    assert np.isnan(table.hours).all() and not any(f.recorded for f in table.report.hour_features)
    assert np.isnan(table.labels[:, 2:]).all()


def test_bare_tables_share_one_hourly_table(tmp_path: Path) -> None:
    tables = {name: hourly_tables(seed) for seed, name in enumerate(("north", "south"))}
    for name, (rows, _) in tables.items():
        (tmp_path / "sites").mkdir(exist_ok=True)
        rows.to_csv(tmp_path / "sites" / f"{name}.csv", index=False)
    every = pd.concat([hours for _, hours in tables.values()])
    every.to_csv(tmp_path / "all.csv", index=False)
    found = with_hours(find_sites(tmp_path / "sites"), [tmp_path / "all.csv"])
    for config in found:
        table = load_table(config, hourly_plan())
        rows, hours = tables[config.name]
        assert table.report.hours_read == len(every)
        assert table.report.hours_dropped["no stay of this site"] == len(every) - len(hours)
        own = hours[(hours["hour"] < HOURS)]
        assert (~np.isnan(table.hours)).sum() == own[["map", "temp", "lactate"]].notna().sum().sum()
        again = write_site_toml(config, tmp_path / "virtual" / config.name / "site.toml")
        np.testing.assert_array_equal(load_table(again, hourly_plan()).hours, table.hours)


def test_the_other_process_gives_the_same_and_hours_are_in_the_fingerprint(tmp_path: Path) -> None:
    rows, hours = hourly_tables(1)
    plan, config = hourly_plan(), load_site(write_site(tmp_path, "north", rows, hours))
    here, apart = load_table(config, plan), load_table_apart(config, plan)
    for name in ("hours", "hour_labels", "labels", "features"):
        np.testing.assert_array_equal(getattr(here, name), getattr(apart, name))
    assert here.report == apart.report
    first = SiteRows(config, plan).dataset
    hours.loc[hours["hour"] == 1, "lactate"] = 3.0
    write_site(tmp_path, "north", rows, hours)
    assert SiteRows(config, plan).dataset != first


def test_rows_without_hours_keep_their_fingerprint(tmp_path: Path) -> None:
    """The ledger of a plan without a sequence goes on as before."""
    import hashlib

    content = hourly_content()
    content |= {"sequence": None, "tasks": content["tasks"][:1], "model": {"hidden": [4]}}
    content["tasks"][0]["exclude"] = []
    (tmp_path / "north.csv").write_text(ROWS)
    rows = SiteRows(load_site(tmp_path / "north.csv"), plan_from_dict(content, source="x"))
    digest = hashlib.sha256("\0".join(rows.table.patients.tolist()).encode())
    for part in (rows.table.features, rows.table.labels, rows.table.split):
        digest.update(np.ascontiguousarray(part).tobytes())
    assert rows.dataset == digest.hexdigest()


def test_prediction_needs_no_labels_but_rows_that_differ(tmp_path: Path) -> None:
    rows, hours = hourly_tables(2, stays=6)
    rows = rows.drop(columns=["died", "days"])
    config = load_site(write_site(tmp_path, "new", rows, hours.drop(columns="worsens")))
    table = load_for_prediction(config, hourly_plan())
    assert table.hours.shape == (6, HOURS, 3) and np.isnan(table.hour_labels).all()
    twice = pd.concat([rows, rows.head(1)])
    config = load_site(write_site(tmp_path, "new", twice, hours))
    with pytest.raises(DataError, match="'stay' are repeated or empty"):
        load_for_prediction(config, hourly_plan())


HEADER = "stay,hour,map,temp,lactate,worsens\n"
USUAL = "".join(f"{stay},{hour},80,37,1,0\n" for stay in (1, 2, 3) for hour in range(2))


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (USUAL, None),
        (USUAL + "".join(f"{stay},0,80,37,1,0\n" for stay in range(10, 90)), None),  # of a table that sites share
        (USUAL + "".join(f"1,{hour},80,37,1,0\n" for hour in range(HOURS, 90)), None),  # of a long stay
        (
            USUAL.replace("1,", "X1,", 1).replace("\n", "\nX", 5),
            "6 of 6 rows are dropped, no stay of this site and 3 of 3 stays are left without an hour; check how 'stay'",
        ),
        (
            USUAL.replace("1,1,", "1,1.5,") + "2,1.5,80,37,1,0\n" * 9,
            "10 of 15 rows are dropped, no whole hour; 'hour' has to be a whole number",
        ),
        (USUAL + "1,0,80,37,1,0\n" * 9, "9 of 15 rows are dropped, repeated hour; a stay has one row for each 'hour'"),
        (
            "".join(f"{stay},{60 * hour},80,37,1,0\n" for stay in (1, 2, 3) for hour in range(3)) + "3,1,80,37,1,0\n",
            None,  # each stay has its first hour
        ),
        (
            "".join(f"{stay},{60 * hour},80,37,1,0\n" for stay in (1, 2) for hour in (1, 2, 3)),
            "6 of 6 rows are dropped, later than the inputs and 3 of 3 stays are left without an hour; check that",
        ),
        ("9,0,80,37,1,0\n1,0.5,80,37,1,0\n2,60,80,37,1,0\n", "later than the inputs and 3 of 3 stays"),
    ],
    ids=["usual", "shared", "long", "other stays", "half hours", "repeated", "first hours", "minutes", "one each"],
)
def test_a_warning_where_most_hours_found_no_place(tmp_path: Path, hours: str, words: str | None) -> None:
    every = _load(tmp_path, HEADER + hours).report.warnings
    found = [sentence for sentence in every if sentence.startswith("hourly tables: ")]
    assert found == [] if words is None else len(found) == 1 and words in found[0]
