"""The models that a hospital may choose between for each task, and what they say of its rows."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from client.site_rows import SiteRows
from common.hourly import hour_scores
from common.model import Layout, Network
from common.model_file import ModelFile
from common.ordinal import class_probabilities
from common.plan import Task
from common.scores import scores_of_logits, task_columns
from common.tally import sigmoid

Float32 = NDArray[np.float32]
FEDERATED, FINE_TUNED, LOCAL = "federated", "fine-tuned", "local"


@dataclass(frozen=True)
class Candidates:
    """federated: as received. fine_tuned: None without validation rows. local: None without training rows.

    epochs: task -> passes of fine-tuning that were kept, 0 for none.
    """

    federated: ModelFile
    fine_tuned: ModelFile | None
    local: ModelFile | None
    epochs: dict[str, int]

    @cached_property
    def models(self) -> dict[str, ModelFile]:
        """By name, in the order in which they are preferred."""
        listed = {FEDERATED: self.federated, FINE_TUNED: self.fine_tuned, LOCAL: self.local}
        return {name: model for name, model in listed.items() if model is not None}


def scores(model: ModelFile, rows: SiteRows, index: NDArray[np.int64]) -> Float32:
    """(n, outputs + K H) scores (see common.hourly) of the chosen rows; NaN for tasks that the model left out."""
    network = Network(Layout(model.plan), rows.device)
    with torch.no_grad():
        inputs = rows.inputs(model.normaliser)[torch.from_numpy(index).to(rows.device)]
        logits = network.logits(torch.from_numpy(model.parameters).to(rows.device), inputs)
    result = scores_of_logits(logits, model.normaliser, model.plan)
    for number, (task, columns) in enumerate(zip(model.plan.tasks, task_columns(model.plan), strict=True)):
        if task.name in model.left_out:
            result[:, columns] = np.nan
            if task.hourly:
                hour_scores(model.plan, number, result)[:] = np.nan  # a view
    return result


def with_heads(model: ModelFile, tasks: dict[str, Float32]) -> ModelFile:
    """`model` with the heads and linear paths of some tasks from other parameters. tasks: name -> (D,)."""
    layout = Layout(model.plan)
    of_output = np.where(layout.output_of >= 0, layout.task_of_output[layout.output_of], -1)
    parameters = model.parameters.copy()
    for index, task in enumerate(model.plan.tasks):
        if task.name in tasks:
            parameters = np.where(of_output == index, tasks[task.name], parameters)
    return replace(model, parameters=parameters)


def losses(task: Task, own: Float32, labels: Float32) -> NDArray[np.float64]:
    """(n,) loss of each row: nats of a class, or the absolute error of a value.

    own: (n, task.outputs) scores, labels: (n,), none of them NaN.
    """
    wide = own.astype(np.float64)
    if task.kind == "regression":
        return np.asarray(np.abs(wide[:, 0] - labels))
    if task.kind == "ordinal":
        p = class_probabilities(sigmoid(wide))[np.arange(len(wide)), labels.astype(np.int64)]
        return np.asarray(-np.log(np.maximum(p, 1e-12)))
    if task.yes_or_no:
        return np.asarray(np.logaddexp(0.0, np.where(labels == 1.0, -1.0, 1.0) * wide[:, 0]))
    log_p = -np.logaddexp(0.0, -wide)  # each class against the rest, from one softmax
    return np.asarray(-log_p[np.arange(len(wide)), labels.astype(np.int64)])
