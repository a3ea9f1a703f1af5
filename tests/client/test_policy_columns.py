"""`limits.columns`: whatever a plan reads a column of the hospital's tables for, the list holds for it."""

import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from client.approval.review import review
from client.config import SiteConfig, load_site
from client.data import contract
from client.data.table import load_table
from client.policy.columns import columns_read
from client.policy.policy import SIMULATED, Policy, objections, write_policy
from client.secure.keys import make_keys
from common.plan import Plan, plan_from_dict
from common.privacy.events import UNNOISED_KINDS

ROWS = {
    "patid": ["1", "2", "3"],
    "fall": ["a", "b", "c"],
    "vitalzeichen": ["1", "1", "1"],
    "menge": ["train", "validation", "test"],
    "alter": ["40", "50", "60"],
    "bett": ["x", "y", "x"],
    "tod": ["2", "0", "3"],
    "risiko": ["0.1", "0.2", "0.3"],
    "tage": ["1", "2", "3"],
    "notiz": ["never", "read", "at all"],
}
COLUMNS = {
    "pid": "patid",
    "stay": "fall",
    "has_vitals": " vitalzeichen ",
    "set": "menge",
    "age": "alter",
    "ward": "bett",
    "death": "tod",
    "true_risk": "risiko",
    "los": "tage",
    "smoker": "",
}
HOURS = {
    "fall": ["a", "a", "b"],
    "stunde": ["0", "1", "0"],
    "druck": ["80", "60", "90"],
    "schlechter": ["0", "1", "0"],
    "pfleger": ["never", "read", "either"],
}
COLUMNS |= {"hour": "stunde", "map": "druck", "worse": "schlechter", "temp": ""}
LABELS = {"tod", "risiko", "tage"}
CONTENT: dict[str, Any] = {
    "federation": {"name": "every_way"},
    "data": {"patient": "pid", "row": "stay", "keep_rows": "has_vitals == 1"},
    "split": {"split_column": "set"},
    "features": [
        {"name": "age", "range": [0, 120]},
        {"name": "smoker", "kind": "binary"},
        {"name": "ward", "kind": "categorical", "categories": ["x", "y"]},
    ],
    "sequence": {
        "hours": 2,
        "features": [{"name": "map", "range": [20, 250]}, {"name": "temp", "range": [25, 45]}],
    },
    "tasks": [
        {"name": "shock", "kind": "hourly", "event": "map < 65", "within_h": 1},
        {"name": "w", "kind": "hourly", "label": "worse"},
        {"name": "t", "label": "death", "positive_when": ">= 2", "oracle": ["true_risk"], "exclude": ["age"]},
        {"name": "r", "kind": "regression", "label": "los", "range": [0, 9]},
    ],
}
PLAN = plan_from_dict(CONTENT, source="test")
READ = {name: column.strip() for name, column in COLUMNS.items() if column}


@pytest.fixture
def site(tmp_path: Path) -> SiteConfig:
    """Labels and oracles in a table of their own; every column has another name than in the plan."""
    for name, chosen in (("rows", set(ROWS) - LABELS), ("labels", LABELS | {"fall"})):
        columns = [column for column in ROWS if column in chosen]
        lines = [columns, *zip(*(ROWS[column] for column in columns), strict=True)]
        (tmp_path / f"{name}.csv").write_text("\n".join(",".join(line) for line in lines) + "\n")
    lines = [HOURS, *zip(*HOURS.values(), strict=True)]
    (tmp_path / "hours.csv").write_text("\n".join(",".join(line) for line in lines) + "\n")
    content = {
        "site": {"name": "s"},
        "data": {"files": ["rows.csv"], "labels": ["labels.csv"], "hours": ["hours.csv"]},
        "columns": COLUMNS,
    }
    (tmp_path / "site.toml").write_text(tomli_w.dumps(content))
    write_policy(tmp_path / "policy.toml", SIMULATED)
    return load_site(tmp_path)


def _refusals(columns: list[str] | None, config: SiteConfig, plan: Plan = PLAN) -> list[tuple[str, str]]:
    limits = {"columns": columns} if columns else {}
    policy = Policy.model_validate(
        SIMULATED | {"budget": {"allow_unnoised": list(UNNOISED_KINDS)}, "limits": SIMULATED["limits"] | limits}
    )
    told = objections(policy, plan, columns=columns_read(config, plan), unnoised=(), code="")
    return [(refusal.code, str(refusal)) for refusal in told if refusal.code != "cohort_below_policy"]


def test_the_columns_are_those_that_are_taken_out_of_the_files(site: SiteConfig, monkeypatch) -> None:
    """The judge is the reader of files, with a plan that names columns in every way that there is."""
    taken: set[str] = set()
    honest = contract.read_columns

    def noting(file: Path, rules: Any, header: list[str], found: dict[str, int]) -> Any:
        taken.update(header[at] for at in found.values())
        return honest(file, rules, header, found)

    monkeypatch.setattr(contract, "read_columns", noting)
    load_table(site, PLAN)
    assert taken == {*ROWS, *HOURS} - {"notiz", "pfleger"} == set(columns_read(site, PLAN)) == set(READ.values())


def test_no_key_of_a_plan_that_names_a_column_is_new() -> None:
    """A plan that gets another key of the type Column has to be in the test above; `columns_read` has to know of it."""
    named = {
        f"{section}.{key}"
        for section, part in Plan.model_json_schema()["$defs"].items()
        for key, field in part["properties"].items()
        if '"maxLength": 200' in json.dumps(field)
    }
    assert named == {
        "DataRules.patient",
        "DataRules.row",
        "Sequence.hour",
        "SplitRules.split_column",
        "Task.label",
        "Task.oracle",
    }, "beside names of features, and keep_rows, whose condition begins with a column"


@pytest.mark.parametrize("missing", sorted(READ.values()))
def test_each_of_them_has_to_be_on_the_list(missing: str, site: SiteConfig) -> None:
    allowed = [column for column in READ.values() if column != missing]
    assert _refusals([*allowed, missing], site) == _refusals(None, site) == []
    said = f"the plan reads {missing}; limits.columns allows {', '.join(allowed)}."
    assert _refusals(allowed, site) == [("column_not_allowed", said)]


def test_the_names_are_those_of_the_tables_not_of_the_plan(site: SiteConfig) -> None:
    assert [code for code, _ in _refusals(list(COLUMNS), site)] == ["column_not_allowed"]


@pytest.mark.parametrize("noised", [True, False])
def test_review_says_who_names_the_study_beside_its_budget(noised: bool, site: SiteConfig) -> None:
    make_keys(site, lambda count: bytes([7]) * count)
    private = {"privacy": {"unit": "patient", "target_epsilon": 2.0}, "aggregation": {"min_sites": 3}}
    plan = plan_from_dict(CONTENT | (private if noised else {}), source="test")
    write_policy(site.policy, {"budget": {"epsilon_per_study": 3.0, "epsilon_per_year": 7.0, "allow_unnoised": []}})
    said = (
        "  Budget: 3 for the study 'every_way', a name that the coordinator chooses, so that what holds is 7 for all "
        "studies of a year."
    )
    assert (said in review(site, plan).lines) == noised


def test_review_shows_which_columns_are_read_and_what_for(site: SiteConfig) -> None:
    make_keys(site, lambda count: bytes([7]) * count)
    lines = review(site, PLAN).lines
    at = lines.index("12 column(s) of this site's tables are read")
    assert lines[at + 1 : at + 13] == (
        "  patid: patient pid",
        "  fall: row stay",
        "  vitalzeichen: keep_rows has_vitals",
        "  menge: split_column set",
        "  alter: feature age",
        "  bett: feature ward",
        "  tod: label (t) death",
        "  tage: label (r) los",
        "  risiko: oracle (t) true_risk",
        "  stunde: hour hour",
        "  druck: feature map",
        "  schlechter: hourly label (w) worse",
    )


def test_features_of_the_sequence_have_to_be_on_the_list_of_features(site: SiteConfig) -> None:
    for allowed, refused in (
        (["age", "smoker", "ward", "map", "temp"], False),
        (["age", "smoker", "ward", "map"], True),
    ):
        limits = SIMULATED["limits"] | {"features": allowed}
        policy = Policy.model_validate(SIMULATED | {"limits": limits})
        told = objections(policy, PLAN, columns=columns_read(site, PLAN), unnoised=(), code="")
        assert ("feature_not_allowed" in {refusal.code for refusal in told}) is refused
