"""A hospital whose hourly columns are unlike the others' is told so; hospitals that are alike are not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from client.comparison import read_findings
from client.config import find_sites, load_site
from client.data.table import load_table
from common.associations import Associations
from common.plan import plan_from_dict
from experiments.simulate import simulate
from tests.hourly import HOURS, hourly_content, hourly_tables, write_site

NAMES = ("east", "north", "south")
CONTENT = hourly_content()
CONTENT["sequence"]["features"][2]["analyte"] = "lactate"
PLAN = plan_from_dict(CONTENT, source="hourly")


@pytest.mark.parametrize("wrong", [True, False], ids=["milligrams", "clean"])
def test_an_hourly_column_in_another_unit_is_found(wrong: bool, tmp_path: Path) -> None:
    """mg/dL of lactic acid instead of mmol/L: most of it is within the plausible range."""
    for seed, name in enumerate(NAMES):
        rows, hours = hourly_tables(seed, stays=200)
        if wrong and name == "south":
            hours["lactate"] *= 9.008
        write_site(tmp_path / "hospitals", name, rows, hours)
    result = simulate(PLAN, find_sites(tmp_path / "hospitals"), tmp_path / "out")
    assert result["unlike"]["sites"] == (["south"] if wrong else [])
    for site in (load_site(tmp_path / "out" / "sites" / name) for name in NAMES):
        words = ("lactate looks like mg/dL; check its unit.",) if wrong and site.site.name == "south" else ()
        assert read_findings(site, PLAN.hash) == words


def test_a_column_of_an_hourly_feature_is_its_mean_over_a_stay(tmp_path: Path) -> None:
    """pandas is the judge."""
    write_site(tmp_path, "east", *hourly_tables(5))
    (site,) = find_sites(tmp_path)
    table = load_table(site, PLAN)
    values = Associations(PLAN).values(table.features, table.labels, table.hours)
    hours = pd.read_csv(site.hours[0], dtype={"stay": str})
    hours = hours[hours["hour"] < HOURS]
    for column, feature in enumerate(PLAN.hour_features, start=len(PLAN.features)):
        known = hours[feature.name].where(hours[feature.name].between(*feature.range))
        means = known.groupby(hours["stay"]).mean().reindex(table.row_ids)
        assert np.allclose(values[:, column], means, rtol=1e-5, equal_nan=True)
        assert Associations(PLAN).columns[column] == feature
