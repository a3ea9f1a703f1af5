"""The hospital by itself: the same network, trainer and number of passes, on its own training rows alone.

It is what the coordinator would end with in a federation of one (a test says so), without a coordinator and without
noise: nothing leaves, so nobody has to be hidden.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.site_rows import TRAIN, SiteRows
from client.training.trainer import Trainer, batch_generator
from common.model import Layout, Network, Normaliser, initial_parameters
from common.model_file import ModelFile
from common.plan import Plan, all_shared, plan_from_dict
from common.schedule import learning_rate
from common.survey import Survey

# Nothing leaves a site that is alone, so nothing has to be clipped; a bound that no update reaches.
_NO_CLIPPING = 1e9


def alone(plan: Plan, *, noise: bool = True) -> Plan:
    """`plan` for one site by itself: no other site to wait for, a plain sum of one, no clipping.

    noise: False also drops the plan's [privacy].
    """
    company = {"strategy": "fedavg", "secure": False, "clip_norm": _NO_CLIPPING, "min_sites": 1, "min_task_sites": 1}
    changes: dict[str, Any] = {"aggregation": company}
    changes["training"] = plan.training.model_dump(mode="json") | {"proximal_mu": 0.0, "patience": None}
    if not noise:
        changes["privacy"] = {}
    content = plan.model_dump(mode="json")
    content.pop("start", None)  # an earlier model is of others
    content = all_shared(content)
    return plan_from_dict(content | changes, source=plan.federation.name)


def train_alone(rows: SiteRows) -> ModelFile:
    """The model of this site's training rows, scaled by their own moments.

    Raises Refusal `nothing_to_train` where no training row has a label. Tasks without a label are left out.
    """
    plan = alone(rows.plan, noise=False)
    own = SiteRows(rows.config, plan)
    own.table = rows.table  # the same rows, read once
    normaliser = _own_normaliser(own)
    data = own.training_set(normaliser)
    layout = Layout(plan)
    trainer, moving = Trainer(Network(layout, own.device), normaliser), _moving(layout, normaliser)
    parameters = initial_parameters(layout, seed=plan.seeds.training)
    for number in range(1, plan.training.rounds + 1):
        generator = batch_generator(plan.seeds.training, own.config.name, number, own.device)
        rate = learning_rate(plan.training, number)
        trained = trainer.train(parameters, data, generator=generator, rate=rate)
        parameters = np.where(moving, trained, parameters)
    available = zip(plan.tasks, normaliser.task_available, strict=True)
    left_out = tuple(task.name for task, present in available if not present)
    return ModelFile(plan, parameters, normaliser, left_out)


def _own_normaliser(own: SiteRows) -> Normaliser:
    """What the survey of a federation of one finds, from the two passes over the training rows."""
    survey, train = Survey(own.plan), own.rows(TRAIN)
    table, edges = own.table, survey.first_edges()
    hours = None if own.plan.sequence is None else table.hours[train]

    def one_pass(edges: NDArray[np.float32]) -> NDArray[np.float64]:
        return survey.of(table.features[train], table.labels[train], edges, hours=hours)

    edges = survey.second_edges(one_pass(edges))
    return survey.normaliser(
        one_pass(edges),
        edges,
        features=[own.levels[f"input:{feature.name}"] > 0 for feature in own.plan.inputs],
        tasks=[own.levels[f"task:{task.name}"] > 0 for task in own.plan.tasks],
    )


def _moving(layout: Layout, normaliser: Normaliser) -> NDArray[np.bool_]:
    """(D,) the parameters of blocks, and of pairs of blocks, that take part; the others stay where they began."""
    taking_part = layout.taking_part(normaliser.task_available, normaliser.available) > 0
    moving = taking_part[layout.block_of]
    where, codes = layout.paired
    blocks = len(layout.block_names)
    moving[where] &= taking_part[codes // blocks] & taking_part[codes % blocks]
    return np.asarray(moving)
