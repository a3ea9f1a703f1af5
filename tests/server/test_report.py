"""The report page: complete, escaped, offline, robust to missing parts, and written whole or not at all."""

import json
import os
import random
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from common.errors import RunError
from server.dashboard import report
from server.dashboard.report import page, write_report

SAMPLE = Path(__file__).with_name("sample_result.json")
MANY_TASKS = {
    "hypertension": ("binary", "Hypertension at discharge, from vital signs and laboratory values."),
    "diabetes": ("binary", "Type 2 diabetes on the problem list."),
    "mortality_in_hospital": ("binary", "Death before discharge."),
    "sepsis_within_6h": ("binary", "Onset of sepsis in the next six hours (Sepsis-3)."),
    "acute_kidney_injury": ("binary", "KDIGO stage 2 or above within 48 h."),
    "drug_response": ("binary", "Systolic pressure below 140 mm[Hg] four weeks after the first prescription."),
    "ventilation_hours": ("regression", "Hours on a ventilator."),
    "length_of_stay_days": ("regression", "Days from admission to discharge."),
    "triage_level": ("multiclass", "Triage level given on arrival, 1 to 5."),
}
SMALL_TASKS = ("hypertension", "diabetes", "sepsis_within_6h", "drug_response", "length_of_stay_days", "triage_level")


class Parsed(HTMLParser):
    """What a browser would see: attributes by tag, and visible text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text.append(data)

    def visible(self) -> str:
        return " ".join(self.text)


def make_result(sites: list[str], names: tuple[str, ...], *, rounds: int, seed: int = 1) -> dict[str, Any]:
    """A made-up result that keeps docs/result.md, with figures of the size that real runs have."""
    draw = random.Random(seed)
    rows = {site: draw.randrange(900, 6000) for site in sites}
    tasks = {name: _task(name, rows, draw) for name in names}
    learnt = [1 - 0.75 * 2.718 ** (-each / (rounds / 5)) for each in range(rounds + 1)]
    history = []
    for index, part in enumerate(learnt):
        before = 0.45 + 0.7 * 2.718 ** (-index / (rounds / 3)) + draw.uniform(-0.03, 0.03)
        entry: dict[str, Any] = {"round": index + 1, "sites": len(sites), "failed": {}, "tasks": {}}
        if index < rounds:
            entry |= {"seconds": 0.4, "norm_before_clip": before, "norm_after_clip": min(0.5, before)}
            entry |= {"clipped_fraction": 1.0 if before > 0.5 else 0.0, "learning_rate": 0.03 * (1 - index / rounds)}
        for name, task in tasks.items():
            if task["kind"] == "regression":
                end = task["pooled"]["mae"]
                entry["tasks"][name] = {"mae": end * (1 + 0.8 * (1 - part)) + draw.uniform(-0.01, 0.01), "loss": 1 - part}
            else:
                auroc = 0.5 + (task["pooled"]["auroc"] - 0.5) * part + draw.uniform(-0.004, 0.004)
                entry["tasks"][name] = {"auroc": auroc, "loss": 0.69 - 0.2 * part}
        history.append(entry)
    history[4]["failed"] = {sites[-1]: "timeout"}
    history[5]["failed"] = {sites[-1]: "timeout"}
    history[9]["failed"] = {sites[0]: "out_of_memory"}
    features = ("heart_rate", "systolic", "diastolic", "temperature", "spo2", "glucose", "creatinine", "lactate", "hba1c", "bmi")
    pooled = {feature: min(0.9, 0.02 + 0.07 * index**1.3) for index, feature in enumerate(features)}
    lacking = {site: {each: min(1.0, value * draw.uniform(0.3, 1.6)) for each, value in pooled.items()} for site in sites}
    norms = {
        site: [
            {"round": entry["round"], "before": (raw := entry["norm_before_clip"] * draw.uniform(0.8, 1.25)), "after": min(0.5, raw)}
            for entry in history[:rounds]
        ]
        for site in sites
    }
    result = {
        "schema": "consilium/result/1",
        "federation": "ward",
        "title": "Six tasks from vital signs" if len(names) == 6 else "Nine tasks across a network of hospitals",
        "plan_hash": "9f2c41d07be85a3360c1f4ad8e7b52b9116de0c5a4438f90d2b7e61c3a58f7e4",
        "seed": 0,
        "seeds": {"split": 0, "training": 0},
        "secure": False,
        "strategy": "fedavg",
        "rounds": rounds,
        "parameters": 14326,
        "bytes_up_per_site_per_round": 70412,
        "bytes_down_per_site_per_round": 61004,
        "seconds": 12.3,
        "clip_norm": 0.5,
        "sites": {
            site: {
                "rows": n, "patients": n - 10, "train": n * 65 // 100, "validation": n // 10, "test": n // 4,
                "missing": lacking[site], "norms": norms[site],
            }
            for site, n in rows.items()
        },
        "site_count": len(sites),
        "left_out": {
            "tasks": {"readmission_30d": "1 site has labels; the plan asks for 2"},
            "features": {"troponin": "no site has measured it"},
        },
        "missing": pooled,
        "history": history,
        "tasks": tasks,
    }  # fmt: skip
    return _rounded(result)


def _task(name: str, rows: dict[str, int], draw: random.Random) -> dict[str, Any]:
    kind, description = MANY_TASKS[name]
    tests = {site: n // 4 for site, n in rows.items()}
    if kind == "regression":
        best = draw.uniform(1.2, 4.0)
        values = {site: best * draw.uniform(1.05, 1.35) for site in rows}
        task: dict[str, Any] = {"kind": kind, "description": description, "unit": "d" if "days" in name else "h"}
        measure = "mae"
    else:
        best = draw.uniform(0.76, 0.93)
        values = {site: best - draw.uniform(0.005, 0.06) for site in rows}
        task, measure = {"kind": kind, "description": description}, "auroc"
    mean = sum(values.values()) / len(values)
    per_site = {
        site: {measure: values[site], "n": tests[site], "train_n": rows[site] * 65 // 100, "counted": len(rows) < 4 or index != 3}
        for index, site in enumerate(rows)
    }
    pooled = {measure: mean + (0.02 if measure == "mae" else -0.006), "n": sum(tests.values())}
    average = {measure: mean, "n": sum(tests.values()), "sites": len(rows)}
    if kind != "regression":
        task["auroc_histogram"] = {"auroc": pooled["auroc"] + 0.0001, "bound": 0.0002, "bins": 256}
        for values_of in (pooled, average, *per_site.values()):
            values_of["accuracy"] = draw.uniform(0.7, 0.85)
    if kind == "binary":
        for values_of in (pooled, average, *per_site.values()):
            values_of |= {"auprc": draw.uniform(0.4, 0.7), "brier": draw.uniform(0.1, 0.2)}
            if "sites" not in values_of:
                values_of["positives"] = values_of["n"] // 4
        groups = [{"predicted": p, "observed": min(1, max(0, p + draw.uniform(-0.04, 0.03))), "n": int(900 * (1 - p) ** 2) + 9}
                  for p in (0.04, 0.09, 0.14, 0.2, 0.27, 0.35, 0.44, 0.55, 0.68, 0.83)]  # fmt: skip
        task["calibration"] = {"ece": draw.uniform(0.01, 0.04), "bound": 0.004, "groups": groups}
    return task | {"pooled": pooled, f"oracle_{measure}": best, "per_site": per_site, "per_site_mean": average}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 4) if isinstance(value, float) else value
