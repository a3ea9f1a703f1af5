"""Fine-tuning: heads and linear paths trained further on the site's rows, the encoder as it came.

With the encoder frozen a task's head and linear path see no other task, so each task keeps the pass at which its own
validation loss was lowest, the first of them 0: as received.
"""

import numpy as np

from client.benefit.candidates import FEDERATED, losses, scores, with_heads
from client.benefit.labelled import labelled
from client.site_rows import VALIDATION, SiteRows
from client.training.trainer import Float32, Trainer, batch_generator
from common.errors import Refusal
from common.model import Layout, Network
from common.model_file import ModelFile
from common.plan import Plan, plan_from_dict

MOST_EPOCHS = 10
SHARE_OF_RATE = 0.1  # of the plan's first step size
FEWEST_ROWS = 10  # validation rows with a label, below which a task keeps what it received


def fine_tune(received: ModelFile, rows: SiteRows) -> tuple[ModelFile, dict[str, int]]:
    """The fine-tuned model, and the passes that each task kept. The site must have validation rows of its own."""
    layout = Layout(received.plan)
    best = dict.fromkeys((task.name for task in received.plan.tasks), 0)
    lowest, heads = _losses(received, rows), {}
    try:
        data = rows.training_set(received.normaliser)
    except Refusal:
        return received, best
    one_pass = Layout(_one_pass(received.plan))
    trainer = Trainer(Network(one_pass, rows.device), received.normaliser, frozen=layout.output_of < 0)
    rate, seeds, parameters = received.plan.training.learning_rate * SHARE_OF_RATE, received.plan.seeds, None
    for epoch in range(1, MOST_EPOCHS + 1):
        generator = batch_generator(
            seeds.training, rows.config.name, received.plan.training.rounds + epoch, rows.device
        )
        start = received.parameters if parameters is None else parameters
        parameters = trainer.train(start, data, generator=generator, rate=rate)
        reached = _losses(with_heads(received, dict.fromkeys(best, parameters)), rows)
        for name, loss in reached.items():
            if loss < lowest[name]:
                lowest[name], best[name], heads[name] = loss, epoch, parameters
    return with_heads(received, heads), best


def _one_pass(plan: Plan) -> Plan:
    """The plan with one pass in each call of the trainer, and no pull back to where the pass began.

    Nor anything to balance: heads share no parameter.
    """
    content = plan.model_dump(mode="json")
    one = {"local_epochs": 1, "min_local_steps": 1, "proximal_mu": 0.0, "balancing": "plain"}
    content["training"] |= one
    if content["aggregation"]["strategy"] == "fedprox":
        content["aggregation"]["strategy"] = "fedavg"
    return plan_from_dict(content, source=plan.federation.name)


def _losses(model: ModelFile, rows: SiteRows) -> dict[str, float]:
    """Task -> mean loss on the validation rows, of the tasks with enough of them; of the hours of a stay their mean."""
    index = rows.rows(VALIDATION)
    found: Float32 = scores(model, rows, index)
    labels, patients = rows.labels(model.normaliser)[index], rows.table.patients[index]
    result = {}
    for number, task in enumerate(model.plan.tasks):
        own = labelled(model.plan, number, {FEDERATED: found}, labels, patients)
        if len(np.unique(own.at)) >= FEWEST_ROWS:
            each = losses(task, own.scores[FEDERATED], own.labels)
            result[task.name] = float(np.average(each, weights=own.weights))
    return result
