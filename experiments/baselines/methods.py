"""The baselines themselves: which rows each model is fitted on, and whose test rows it then scores."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np

from client.benefit.alone import alone
from client.data.table import SiteTable
from client.predict import predict_scores
from client.site_rows import TEST
from common.errors import RunError
from common.model_file import ModelFile
from common.plan import Plan, Task
from experiments.baselines.judge import Float32, Outcome
from experiments.baselines.learners import Fitted, Learner, constant
from experiments.baselines.network import train
from experiments.baselines.plans import in_the_open, multi_label, one_task
from experiments.baselines.rows import Rows
from experiments.baselines.tables import judged_features, merged, of_tasks, score_columns, train_counts

Tables = Sequence[SiteTable]
Tell = Callable[[str], None]
Method = Callable[[Plan, Tables, Tell], Outcome]
T = TypeVar("T")


def network_local(plan: Plan, tables: Tables, tell: Tell) -> Outcome:
    """Our network at each site alone; a task with too few training rows there has no model."""
    outcome = _nothing(plan, tables)
    for table in tables:
        tell(table.site)
        try:
            model = _timed(outcome, lambda: train(alone(plan), [table]))  # noqa: B023  called at once
        except RunError:
            continue  # no label, or no row, to train on
        outcome.scores[table.site] = _scores(model, table)
        enough = train_counts(table) >= plan.evaluation.min_train_rows
        for columns, kept in zip(score_columns(plan), enough, strict=True):
            if not kept:
                outcome.scores[table.site][:, columns] = np.nan
        outcome.parameters = len(model.parameters)
    return _name_missing(plan, outcome)


def network_pooled(plan: Plan, tables: Tables, tell: Tell) -> Outcome:
    """Our network on all rows as those of one site."""
    return _one_network(alone(plan), plan, [merged(tables)], tables)


def network_multi_label(plan: Plan, tables: Tables, tell: Tell) -> Outcome:
    """The same as one plain multi-label classifier. Raises PlanError if no input is left."""
    return _one_network(alone(multi_label(plan)), plan, [merged(tables)], tables)


def network_single_task(plan: Plan, tables: Tables, tell: Tell, *, federated: bool) -> Outcome:
    """One network for each task: on all rows as those of one site, or `federated` as the plan says."""
    outcome = _nothing(plan, tables)
    for index, (task, columns) in enumerate(zip(plan.tasks, score_columns(plan), strict=True)):
        tell(task.name)
        ours = one_task(plan, index)
        if federated:
            ours = in_the_open(ours)
            members = [of_tasks(table, plan, [index]) for table in tables if train_counts(table)[index]]
        else:
            ours, members = alone(ours), [of_tasks(merged(tables), plan, [index])]
        try:
            model = _timed(outcome, lambda: train(ours, members))  # noqa: B023  called at once
        except RunError as error:
            outcome.left_out[task.name] = str(error)
            continue
        for table in tables:
            outcome.scores[table.site][:, columns] = _scores(model, table)
        outcome.parameters += len(model.parameters)
    return outcome


def learner_pooled(plan: Plan, tables: Tables, tell: Tell, *, learner: Learner) -> Outcome:
    """One model per task on the training rows of all sites together."""
    outcome = _nothing(plan, tables)
    rows = Rows.of(plan)
    together = merged(tables)
    for index, task in enumerate(rows.plan.tasks):
        tell(task.name)
        features, labels = rows.training(together, index)
        if len(labels) == 0 or _one_class(task, labels):
            outcome.left_out[task.name] = "the training rows have one class only" if len(labels) else "no training row"
            continue
        model = _timed(outcome, lambda: learner(rows.plan, task, features, labels, plan.seeds.training))  # noqa: B023
        for table in tables:
            _judge_with(outcome, model, rows, table, index)
        outcome.parameters += model.parameters
    return outcome


def learner_local(plan: Plan, tables: Tables, tell: Tell, *, learner: Learner) -> Outcome:
    """One model per task and site, on that site's training rows and judged on its own test rows.

    Too few training rows: no model. One class among them: a constant, which is all that the site alone can say.
    """
    outcome, rows = _nothing(plan, tables), Rows.of(plan)
    for table in tables:
        parameters, enough = 0, train_counts(table) >= plan.evaluation.min_train_rows
        for index, task in enumerate(rows.plan.tasks):
            if not enough[index]:
                continue
            tell(f"{table.site}, {task.name}")
            features, labels = rows.training(table, index)
            if _one_class(task, labels):
                model = constant(task, labels)
                outcome.unfitted.add((table.site, task.name))
            else:
                seed = plan.seeds.training
                model = _timed(outcome, lambda: learner(rows.plan, task, features, labels, seed))  # noqa: B023
            _judge_with(outcome, model, rows, table, index)
            parameters += model.parameters
        outcome.parameters = max(outcome.parameters, parameters)
    return _name_missing(plan, outcome)


single_task = partial(network_single_task, federated=False)
single_task_federated = partial(network_single_task, federated=True)


def _nothing(plan: Plan, tables: Tables) -> Outcome:
    columns = sum(len(each) for each in score_columns(plan))
    empty = {table.site: np.full((len(judged_features(table)), columns), np.nan, dtype=np.float32) for table in tables}
    return Outcome(empty)


def _timed(outcome: Outcome, fit: Callable[[], T]) -> T:
    started = time.monotonic()
    try:
        return fit()
    finally:
        outcome.seconds += time.monotonic() - started


def _one_network(ours: Plan, plan: Plan, members: Tables, tables: Tables) -> Outcome:
    outcome = _nothing(plan, tables)
    model = _timed(outcome, lambda: train(ours, members))
    outcome.left_out = dict.fromkeys(model.left_out, "no training row has a label")
    outcome.scores = {table.site: _scores(model, table) for table in tables}
    outcome.parameters = len(model.parameters)
    return outcome


def _scores(model: ModelFile, table: SiteTable) -> Float32:
    """(test rows, outputs + K H of the model); NaN for a task that it left out."""
    scores = predict_scores(model, judged_features(table), table.hours[table.split == TEST])
    for task, columns in zip(model.plan.tasks, score_columns(model.plan), strict=True):
        if task.name in model.left_out:
            scores[:, columns] = np.nan
    return np.asarray(scores, dtype=np.float32)


def _judge_with(outcome: Outcome, model: Fitted, rows: Rows, table: SiteTable, index: int) -> None:
    features = rows.judged(table, index)
    if len(features):
        columns = score_columns(rows.source)[index]
        outcome.scores[table.site][:, columns] = rows.in_place(model.scores(features), index)
    if not model.probabilistic:
        outcome.improbable.add(rows.plan.tasks[index].name)


def _one_class(task: Task, labels: Float32) -> bool:
    return task.kind != "regression" and len(np.unique(labels)) < 2


def _name_missing(plan: Plan, outcome: Outcome) -> Outcome:
    for task, columns in zip(plan.tasks, score_columns(plan), strict=True):
        if all(np.isnan(scores[:, columns]).all() for scores in outcome.scores.values()):
            outcome.left_out[task.name] = "no site has enough training rows to learn it alone"
    return outcome
