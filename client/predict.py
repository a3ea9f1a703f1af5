"""Predictions for a table of patients: the same contract, units, ranges and normaliser as in training.

With the model in a site's folder go that site's own outputs, where `consilium site benefit` has made them.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from client.at_rest.files import MODEL, is_sealed
from client.at_rest.key import vaulted
from client.benefit.answers import answer
from client.benefit.answers import columns as further_columns
from client.benefit.candidates import FEDERATED
from client.benefit.classes import told
from client.benefit.outlier import looked_at, missing
from client.benefit.outputs import SiteOutputs
from client.benefit.site import read_outputs
from client.config import SITE_FILE, load_site
from client.data.site_table import SiteTable
from client.data.table import load_for_prediction
from client.site_parts import own_model
from common.errors import DataError, ModelFileError
from common.files import check_writable, exists, read_bytes, write_atomic
from common.hourly import hour_scores, known_at_last
from common.model import Layout, Network, encode_stays
from common.model.code import Columns
from common.model_file import ModelFile
from common.ordinal import class_probabilities, level
from common.plan import Plan
from common.scores import scores_of_logits, task_columns
from common.tally import sigmoid


def predict_file(
    model: Path,
    table: Path,
    out: Path,
    *,
    probabilities: bool,
    hourly: bool = False,
    warn: Callable[[str], None] = lambda sentence: None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> int:
    """Write one row per row of `table` and one column per task to `out`, mode 0600; returns the number of rows.

    Of an hourly task the prediction at the last hour at which anything is known of the stay; hourly: at each hour too,
    and empty after that last one.
    model: a model file, or the encrypted one in a site's folder, with whose outputs each task has further columns.
    warn: told what looks like a slip in the table, and why outputs that are there are not used. tell: what the bands of
    each task mean. Raises ModelFileError for the model, ConsiliumError where it does not open, and DataError or
    PlanError for the table.
    """
    loaded, outputs, stale = _open(model)
    if stale is not None:
        warn(stale)
    if set(loaded.left_out) == {task.name for task in loaded.plan.tasks} and loaded.plan.model.local:
        raise ModelFileError(
            f"{model}: its heads stay at the hospitals (model.local); predict with the model in a hospital's folder."
        )
    if loaded.plan.model.scaling == "site" and not is_sealed(read_bytes(model)):
        warn(f"{model}: each hospital of its federation has its own scaling of features; this one is the pooled one.")
    site = load_site(table)
    for source in (model, site.source, *site.tables):
        if out.resolve() == source.resolve():
            raise DataError(f"{out}: this is a file that the predictions are made from; choose another --out.")
    check_writable(out)
    rows = load_for_prediction(site, loaded.plan)
    for sentence in rows.report.warnings:
        warn(sentence)
    columns: dict[str, np.ndarray] = {loaded.plan.data.patient: rows.patients}
    if loaded.plan.data.row is not None:
        columns[loaded.plan.data.row] = rows.row_ids
    if outputs is None:
        scores = predict_scores(loaded, rows.features, rows.hours)
        columns |= _columns(loaded.plan, scores, loaded.left_out, probabilities=probabilities)
        columns |= _hours_of(loaded, scores, rows.hours, each_hour=hourly)
    else:
        columns |= _own_columns(loaded, outputs, rows, probabilities=probabilities, each_hour=hourly)
    write_atomic(out, pd.DataFrame(columns).to_csv(index=False).encode(), private=True)
    for name, output in ({} if outputs is None else outputs.tasks).items():
        if output.bands is not None:
            tell(f"{name}.band: {output.bands.in_words()}.")
    return len(rows.features)


def _hours_of(model: ModelFile, scores: np.ndarray, hours: np.ndarray, *, each_hour: bool) -> dict[str, np.ndarray]:
    """Hourly tasks at the last hour that is known of a stay; each_hour: and at every hour up to it, NaN after it."""
    result: dict[str, np.ndarray] = {}
    for index in model.plan.hourly:
        if (name := model.plan.tasks[index].name) not in model.left_out:
            each, last = sigmoid(hour_scores(model.plan, index, scores)), known_at_last(hours)
            result[name] = each[np.arange(len(each)), last]
            if each_hour:
                result |= _each_hour(name, each, last)
    return result


def _each_hour(name: str, each: np.ndarray, last: np.ndarray) -> dict[str, np.ndarray]:
    """A column for each hour of `each`, (n, H), NaN after the last one that is known, (n,)."""
    columns = (np.where(hour <= last, each[:, hour], np.nan) for hour in range(each.shape[1]))
    return {f"{name}.hour_{hour}": column for hour, column in enumerate(columns)}


def model_bytes(model: Path) -> bytes:
    """A model file; an encrypted one is opened by the site whose folder it is in. Raises ConsiliumError."""
    data = read_bytes(model)
    if not is_sealed(data):
        return data
    if not exists(model.parent / SITE_FILE):
        raise ModelFileError(
            f"{model}: is encrypted, and no {SITE_FILE} beside it names the key; "
            "`consilium site model SITE --out FILE` takes it out."
        )
    return vaulted(load_site(model.parent)).read(model)


def _open(model: Path) -> tuple[ModelFile, SiteOutputs | None, str | None]:
    """The model; where it is a site's own, that site's outputs for it, or why they are not used."""
    opened = model_bytes(model)
    loaded = used_here(model, opened)
    if not is_sealed(read_bytes(model)):
        return loaded, None, None
    return loaded, *read_outputs(load_site(model.parent), opened)


def used_here(model: Path, data: bytes) -> ModelFile:
    """A model file, opened; in a site's folder that of the last run has the site's own scaling and heads.

    One that the site has adapted has them already. Raises ConsiliumError.
    """
    if is_sealed(read_bytes(model)) and model.name == MODEL:
        return own_model(load_site(model.parent), data)
    return ModelFile.from_bytes(data, source=str(model))


def predict_scores(model: ModelFile, features: np.ndarray, hours: np.ndarray | None = None) -> np.ndarray:
    """(n, outputs + K H) float32 scores (see common.scores and common.hourly).

    features: (n, F), hours: (n, H, S) of a model with a sequence; both raw, float32 with NaN for missing.
    """
    with torch.no_grad():
        each = torch.from_numpy(np.empty((len(features), 0, 0), dtype=np.float32) if hours is None else hours)
        inputs = encode_stays(torch.from_numpy(features), each, model.normaliser, model.plan)
        network = Network(Layout(model.plan), torch.device("cpu"))
        logits = network.logits(torch.from_numpy(model.parameters), inputs)
    return scores_of_logits(logits, model.normaliser, model.plan)


def network_inputs(model: ModelFile, features: np.ndarray, hours: np.ndarray) -> np.ndarray:
    """(n, d) float64: what `Detector.strange` looks at, of raw features, (n, F), and hours, (n, H, S)."""
    parts = (torch.from_numpy(part) for part in (features, hours))
    inputs = encode_stays(*parts, model.normaliser, model.plan).numpy()
    return looked_at(inputs, Columns.of(model.plan))


def _own_columns(
    model: ModelFile, outputs: SiteOutputs, rows: SiteTable, *, probabilities: bool, each_hour: bool
) -> dict[str, np.ndarray]:
    """As `_columns` and `_hours_of`, from each task's chosen model, calibrated; and how sure that is."""
    plan, detector, parts = model.plan, outputs.detector, (rows.features, rows.hours)
    strange, gaps = detector.strange(network_inputs(model, *parts)), detector.gaps(missing(*parts))
    used = {FEDERATED, *(each.model for each in outputs.tasks.values())}
    scores = {name: predict_scores(outputs.of(name, model), *parts) for name in used}
    decided = (*model.left_out, *outputs.tasks)
    result = _columns(plan, scores[FEDERATED], decided, probabilities=probabilities)
    of_hours: dict[str, np.ndarray] = {}
    for number, (task, columns) in enumerate(zip(plan.tasks, task_columns(plan), strict=True)):
        if task.name not in outputs.tasks:
            continue
        output = outputs.tasks[task.name]
        own = scores[output.model][:, columns]
        if task.hourly:
            each, last = hour_scores(plan, number, scores[output.model]), known_at_last(rows.hours)
            own = each[np.arange(len(each)), last][:, None]
            if each_hour:
                p = output.calibrator.probabilities(task, each.reshape(-1, 1))[:, 1]
                of_hours |= _each_hour(task.name, p.reshape(each.shape), last)
        answers = answer(task, output, own, strange=strange, gaps=gaps)
        codes = [_code(code) for code in task.classes or (0.0, 1.0)]
        if task.classes is not None:
            result[task.name] = np.array(codes)[told(task, answers.p)]
            if probabilities:
                result |= {f"{task.name}.{code}": answers.p[:, k] for k, code in enumerate(codes)}
        else:
            result[task.name] = answers.p[:, 1] if task.yes_or_no else answers.value
        result |= further_columns(task, output, answers, codes)
    return result | of_hours


def _columns(
    plan: Plan, scores: np.ndarray, left_out: tuple[str, ...], *, probabilities: bool
) -> dict[str, np.ndarray]:
    """Binary: probability. Regression: value in its unit. Multiclass: the likeliest class; ordinal: the median."""
    result: dict[str, np.ndarray] = {}
    for task, columns in zip(plan.tasks, task_columns(plan), strict=True):
        if task.name in left_out:
            continue
        own = scores[:, columns]
        if task.yes_or_no:
            result[task.name] = sigmoid(own[:, 0])
        elif task.kind == "regression":
            result[task.name] = own[:, 0]
        else:
            classes, ordered = task.classes or (), task.kind == "ordinal"
            chosen = level(own) if ordered else own.argmax(axis=1)
            result[task.name] = np.array([_code(classes[k]) for k in chosen])
            if probabilities:
                each = class_probabilities(sigmoid(own)) if ordered else sigmoid(own)
                result |= {f"{task.name}.{_code(code)}": each[:, k] for k, code in enumerate(classes)}
    return result


def _code(code: float | str) -> str:
    return code if isinstance(code, str) else f"{code:g}"
