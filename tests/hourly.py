"""A small federation with hours: two hourly tasks and two of the stay, on hospitals that train in a second."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.plan import Plan, plan_from_dict

HOURS = 6


def hourly_content(**model: Any) -> dict[str, Any]:
    """federation.toml as a dictionary that a test may change."""
    return {
        "federation": {"name": "hourly"},
        "data": {"patient": "patient", "row": "stay"},
        "features": [
            {"name": "age", "range": [0, 120], "unit": "a"},
            {"name": "smoker", "kind": "binary"},
        ],
        "sequence": {
            "hour": "hour",
            "hours": HOURS,
            "features": [
                {"name": "map", "range": [20, 250], "unit": "mm[Hg]"},
                {"name": "temp", "range": [25, 45], "unit": "Cel"},
                {"name": "lactate", "range": [0.1, 40], "unit": "mmol/L"},
            ],
        },
        "tasks": [
            {"name": "death", "label": "died", "exclude": ["lactate"]},
            {"name": "stay_days", "kind": "regression", "label": "days", "range": [0, 60], "unit": "d"},
            {"name": "shock", "kind": "hourly", "event": "map < 65", "within_h": 3},
            {"name": "worse", "kind": "hourly", "label": "worsens", "exclude": ["age", "map"]},
        ],
        "model": {"hidden": [4], "sequence_width": 8, **model},
        "training": {"rounds": 2, "batch_size": 16},
        "aggregation": {"secure": False},
        "evaluation": {"histogram_bins": 64, "round_bins": 16},
    }


def hourly_plan(**model: Any) -> Plan:
    return plan_from_dict(hourly_content(**model), source="hourly.toml")


def hourly_tables(seed: int, stays: int = 80) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One hospital's rows and hours. Pressure falls before a shock; some stays end early, cells are missing."""
    random = np.random.default_rng(seed)
    sick = random.random(stays)
    rows = pd.DataFrame(
        {
            "patient": [f"s{seed}-{i // 2:03d}" for i in range(stays)],
            "stay": [f"{seed}{i:04d}" for i in range(stays)],
            "age": random.uniform(20, 95, stays).round(),
            "smoker": random.integers(0, 2, stays),
            "died": (random.random(stays) < sick**2).astype(int),
            "days": (sick * 10).round(1),
        }
    )
    parts = []
    for stay, ill in zip(rows["stay"], sick, strict=True):
        length = int(random.integers(2, HOURS + 5))
        hour = np.arange(length)
        pressure = 85 - 25 * ill * hour / HOURS + random.normal(0, 8, length)
        part = {"stay": stay, "hour": hour, "map": pressure.round(1), "temp": random.normal(37, 0.5, length).round(1)}
        part["lactate"] = (1 + 3 * ill + random.exponential(0.5, length)).round(2)
        part["worsens"] = (random.random(length) < ill / 2).astype(float)
        parts.append(pd.DataFrame(part))
    hours = pd.concat(parts, ignore_index=True)
    for name, share in (("map", 0.2), ("temp", 0.5), ("lactate", 0.8), ("worsens", 0.3)):
        hours.loc[random.random(len(hours)) < share, name] = np.nan
    return rows, hours


def write_site(folder: Path, name: str, rows: pd.DataFrame, hours: pd.DataFrame, extra: str = "") -> Path:
    """`folder`/NAME.site.toml with its two tables beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    rows.to_csv(folder / f"{name}.csv", index=False)
    hours.to_csv(folder / f"{name}.hours.csv", index=False)
    path = folder / f"{name}.site.toml"
    path.write_text(f'[site]\nname = "{name}"\n[data]\nfiles = ["{name}.csv"]\nhours = ["{name}.hours.csv"]\n{extra}')
    return path
