"""What a hospital's people see of a comparison: status, check, damage of the file, and columns out of range."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from client.comparison import UNLIKE, findings, own_part, read_findings
from client.config import find_sites, load_site
from client.data.table import load_table
from client.network.preflight import _data
from client.site_rows import SiteRows
from common.associations import Associations
from common.errors import ConsiliumError
from common.plan import Plan
from experiments.simulate import prepare_sites
from server.journal import PLAN
from tests.conftest import small_plan, small_table

SAID = "age looks like mo; check its unit."


@pytest.fixture
def folder(plan: Plan, write_sites, tmp_path: Path) -> Path:
    """Of a site that has compared itself once."""
    (tmp_path / PLAN).write_bytes(plan.canonical)
    sites = prepare_sites(plan, find_sites(write_sites()), tmp_path)
    here = sites["north"].parent
    content = {"plan_hash": plan.hash, "findings": [{"column": "age", "kind": "unit", "words": SAID}]}
    (here / UNLIKE).write_text(json.dumps(content))
    return here


def test_check_repeats_what_was_found_under_this_plan(folder: Path, plan: Plan) -> None:
    config = load_site(folder)
    told = [each.words for each in _data(config, None) if each.level == "warning"]  # type: ignore[arg-type]
    assert told == [f"Unlike the other hospitals, when it was last compared: {SAID}"]
    assert read_findings(config, plan.hash) == read_findings(config) == (SAID,)
    assert read_findings(config, "0" * 64) == ()


def test_damaged_file_is_named(folder: Path) -> None:
    for content in ("{", "[]", '"words"', "7", "{}", '{"plan_hash": "0"}'):
        (folder / UNLIKE).write_text(content)
        with pytest.raises(ConsiliumError, match=r"unlike\.json: is damaged; the next comparison writes it again"):
            read_findings(load_site(folder))


def _site(plan: Plan, folder: Path, table: pd.DataFrame) -> SiteRows:
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / "north.csv", index=False)
    (config,) = find_sites(folder)
    site = SiteRows(config, plan)
    site.table = load_table(config, plan)
    return site


def _alone(site: SiteRows) -> np.ndarray:
    layout = Associations(site.plan)
    edges = layout.edges_of(np.tile(np.arange(1, 128, dtype=np.float32) / 128, (2, 1))).ravel()
    return np.concatenate([edges, own_part(site, edges)]).astype(np.float32)


@pytest.mark.parametrize(("scale", "offset", "fits"), [(1 / 7.500617, 0.0, " and would fit as kPa"), (1.0, 900.0, "")])
def test_column_out_of_range_is_named_with_the_unit_that_fits(
    scale: float, offset: float, fits: str, tmp_path: Path
) -> None:
    table = small_table(0)
    site = _site(small_plan(), tmp_path / "sites", table.assign(sbp=table["sbp"] * scale + offset))
    known = int(table["sbp"].notna().sum())
    (found,) = findings(site, _alone(site))
    assert (found.column, found.kind) == ("sbp", "range")
    assert found.words == f"sbp: {known} of {known} values are outside the plausible range{fits}; check its unit."
    (warning,) = [words for words in site.table.report.warnings if words.startswith("sbp")]
    assert ("they look like kPa" in warning) == bool(fits)


def test_a_few_values_out_of_range_are_no_finding(tmp_path: Path) -> None:
    table = small_table(0)
    table.loc[:30, "sbp"] = 999.0
    site = _site(small_plan(), tmp_path / "sites", table)
    assert site.table.report.features[1].out_of_range > 20 and findings(site, _alone(site)) == ()
    assert site.table.report.features[1].looks_like is None
