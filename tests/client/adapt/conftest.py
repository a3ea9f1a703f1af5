"""A federation whose tasks share what is behind them, its trained model, and one more task that shares it too."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli_w

from client.config import load_site
from client.data.table import load_table
from common.model_file import ModelFile
from common.plan import Plan, plan_from_dict
from experiments.baselines.network import train

WIDTH, KNOWN = 12, ("first", "second", "third", "fourth")


def shared_table(seed: int, rows: int = 400) -> pd.DataFrame:
    """Twelve inputs; every label follows two hidden directions, which are the same for all tables."""
    random = np.random.default_rng(seed)
    inputs = random.normal(0.0, 1.0, (rows, WIDTH))
    directions = np.random.default_rng(77).normal(0.0, 1.0, (WIDTH, 2)) / np.sqrt(WIDTH)
    hidden = np.tanh(1.5 * inputs @ directions)
    mix = {"first": (3, 0), "second": (0, 3), "third": (2, 2), "fourth": (2, -2), "ninth": (3, -1)}
    table = pd.DataFrame({f"x{i}": column for i, column in enumerate(inputs.T)})
    for name, weights in mix.items():
        table[name] = (random.random(rows) < 1 / (1 + np.exp(-hidden @ np.array(weights)))).astype(int)
    table["cost"] = (10 + 4 * hidden[:, 0] + random.normal(0, 1, rows)).clip(0, 30)
    table["grade"] = np.digitize(hidden[:, 0] - hidden[:, 1] + random.normal(0, 0.3, rows), [-0.7, 0.7])
    table.insert(0, "patient", [f"s{seed}-{i // 2:03d}" for i in range(rows)])  # two stays each
    table.insert(1, "stay", np.arange(rows))
    return table


def shared_content() -> dict[str, Any]:
    return {
        "federation": {"name": "shared"},
        "data": {"patient": "patient", "row": "stay"},
        "features": [{"name": f"x{i}", "range": [-6, 6]} for i in range(WIDTH)],
        "tasks": [{"name": name, "label": name} for name in KNOWN],
        "model": {"hidden": [16]},
        "training": {"rounds": 6, "l2_linear": 3.0, "l2_network": 1.0},
        "aggregation": {"secure": False, "min_sites": 1, "min_task_sites": 1, "clip_norm": 1e6},
    }


@pytest.fixture(scope="session")
def shared_plan() -> Plan:
    return plan_from_dict(shared_content(), source="shared.toml")


@pytest.fixture(scope="session")
def trained(shared_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    folder = tmp_path_factory.mktemp("trained")
    tables = []
    for seed in (1, 2, 3):
        shared_table(seed, 600).to_csv(folder / f"s{seed}.csv", index=False)
        tables.append(load_table(load_site(folder / f"s{seed}.csv"), shared_plan))
    return train(shared_plan, tables, device="cpu")


@pytest.fixture
def place(tmp_path: Path, trained: ModelFile) -> Path:
    """A folder with model.safetensors, own.csv, and task.toml."""
    (tmp_path / "model.safetensors").write_bytes(trained.to_bytes())
    shared_table(9).to_csv(tmp_path / "own.csv", index=False)
    tasks = [
        {"name": "ninth", "label": "ninth"},
        {"name": "cost", "label": "cost", "kind": "regression", "range": [0, 30]},
        {"name": "grade", "label": "grade", "kind": "multiclass", "classes": [0, 1, 2]},
        {"name": "ranked", "label": "grade", "kind": "ordinal", "classes": [0, 1, 2]},
        {"name": "blind", "label": "ninth", "exclude": ["x0", "x5"]},
        {"name": "first", "label": "ninth"},
        {"name": "nowhere", "label": "no_such_column"},
    ]
    (tmp_path / "task.toml").write_text(tomli_w.dumps({"tasks": tasks}))
    return tmp_path
