"""For tests of the data contract: a small plan with each kind of feature, and a table that fits it."""

from pathlib import Path

from client.config import load_site
from client.data.table import SiteTable, load_table
from common.plan import Plan, plan_from_dict

HEADER = "pid,ok,heart_rate,sex,c,y\n"
GOOD = HEADER + "a,1,80,0,0,1\nb,1,90,1,x,0\n"


def contract_plan() -> Plan:
    return plan_from_dict(
        {
            "federation": {"name": "x"},
            "data": {"patient": "pid", "keep_rows": "ok == 1"},
            "features": [
                {"name": "heart_rate", "unit": "/min", "range": [20, 250]},
                {"name": "sex", "kind": "binary"},
                {"name": "c", "kind": "categorical", "categories": [0, 1, "x"]},
            ],
            "tasks": [{"name": "t", "label": "y"}],
        },
        source="test",
    )


def table(path: Path, plan: Plan) -> SiteTable:
    """path: of a site.toml or of a table."""
    return load_table(load_site(path), plan)
