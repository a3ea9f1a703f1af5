"""Predictions for a table of patients: the same contract, units, ranges and normaliser as in training."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from client.config import load_site
from client.data.table import load_for_prediction
from common.errors import DataError
from common.files import read_bytes, write_atomic
from common.model import Layout, Network, encode
from common.model_file import ModelFile
from common.plan import Plan
from common.scores import scores_of_logits, task_columns
from common.tally import sigmoid


def predict_file(model: Path, table: Path, out: Path, *, probabilities: bool) -> int:
    """Write one row per row of `table` and one column per task to `out`; returns the number of rows.

    Raises ModelFileError for the model and DataError or PlanError for the table.
    """
    loaded = ModelFile.from_bytes(read_bytes(model), source=str(model))
    site = load_site(table)
    for source in (model, site.source, *site.files, *site.labels):
        if out.resolve() == source.resolve():
            raise DataError(f"{out}: this is a file that the predictions are made from; choose another --out.")
    rows = load_for_prediction(site, loaded.plan)
    scores = predict_scores(loaded, rows.features)
    columns: dict[str, np.ndarray] = {loaded.plan.data.patient: rows.patients}
    if loaded.plan.data.row is not None:
        columns[loaded.plan.data.row] = rows.row_ids
    columns |= _columns(loaded.plan, scores, loaded.left_out, probabilities=probabilities)
    write_atomic(out, pd.DataFrame(columns).to_csv(index=False).encode())
    return len(scores)


def predict_scores(model: ModelFile, features: np.ndarray) -> np.ndarray:
    """(n, outputs) float32 scores (see common.scores) of raw features, (n, F) float32 with NaN for missing."""
    with torch.no_grad():
        inputs = encode(torch.from_numpy(features), model.normaliser, model.plan)
        network = Network(Layout(model.plan), torch.device("cpu"))
        logits = network.logits(torch.from_numpy(model.parameters), inputs)
    return scores_of_logits(logits, model.normaliser, model.plan)


def _columns(
    plan: Plan, scores: np.ndarray, left_out: tuple[str, ...], *, probabilities: bool
) -> dict[str, np.ndarray]:
    """Binary: probability. Regression: value in the task's unit. Multiclass: the most probable class."""
    result: dict[str, np.ndarray] = {}
    for task, columns in zip(plan.tasks, task_columns(plan), strict=True):
        if task.name in left_out:
            continue
        own = scores[:, columns]
        if task.kind == "binary":
            result[task.name] = sigmoid(own[:, 0])
        elif task.kind == "regression":
            result[task.name] = own[:, 0]
        else:
            classes = task.classes or ()
            result[task.name] = np.array([_code(classes[k]) for k in own.argmax(axis=1)])
            if probabilities:
                result |= {f"{task.name}.{_code(code)}": sigmoid(own[:, k]) for k, code in enumerate(classes)}
    return result


def _code(code: float | str) -> str:
    return code if isinstance(code, str) else f"{code:g}"
