"""What a site does for each kind of message: read the request, compute, return a Release. The door sends it."""

import json
from dataclasses import replace

import numpy as np
import torch

from client import comparison
from client.release import Acknowledgement, Answer, Declaration, Opinion, Release, Statistics, Update
from client.request import Request
from client.session import Session
from client.site_parts import files_of, parts_of
from client.site_rows import TEST, TRAIN, VALIDATION
from client.training import private_work
from client.training.trainer import Trainer, batch_generator
from common.associations import STAGE
from common.broadcast import Broadcast
from common.errors import Refusal
from common.evaluation import Evaluation
from common.files import write_atomic, write_set
from common.hourly import judged
from common.layouts import evaluation_of, survey_of
from common.model import Normaliser
from common.model_file import ModelFile, untaught
from common.privacy.evaluation import PrivateEvaluation
from common.schedule import learning_rate
from common.scores import exact_metrics, scores_of_logits, scores_of_oracle
from common.start import start_digest

Judge = Evaluation | PrivateEvaluation


def unknown(session: Session, request: Request) -> Release:
    """There is no handler for this kind of message."""
    raise Refusal("malformed_request", f"no handler for {request.step.kind!r}.")


def declare(session: Session, request: Request) -> Release:
    """Which blocks the site can train, and writes the data report into the site's folder."""
    report = json.dumps(session.table.report.to_json(), indent=1).encode()
    write_atomic(session.config.folder / "data_report.json", report, private=True)
    secure = session.plan.aggregation.secure
    card = session.secure.open(request.protocol, list(session.levels.values())) if secure else b""
    return Declaration(session.config.name, session.levels, card)


def cards(session: Session, request: Request) -> Release:
    """Keep the cards of all sites of a secure session."""
    session.secure.take_cards(request.protocol)
    return Acknowledgement()


def cross_check(session: Session, request: Request) -> Release:
    """Sign whose reports are in a secure sum."""
    return Answer(session.secure.cross_check(request.protocol), "crosscheck")


def unmask(session: Session, request: Request) -> Release:
    """This site's shares of the masks of a secure sum."""
    return Answer(session.secure.unmask(request.protocol), "shares")


def close(session: Session, request: Request) -> Release:
    """Erase the keys of a secure session."""
    session.secure.close(request.protocol)
    return Acknowledgement()


def survey(session: Session, request: Request) -> Release:
    """Feature moments and histograms of the training rows, between the edges received."""
    session.require_patients()
    if request.stage == STAGE:
        return Statistics(comparison.own_part(session, request.vector), "survey")
    layout = survey_of(session.plan)
    shape = layout.first_edges().shape
    if request.vector.size != shape[0] * shape[1]:
        raise Refusal("malformed_request", f"{request.vector.size} survey edges instead of {shape[0] * shape[1]}.")
    edges = request.vector.reshape(shape)
    rows = session.rows(TRAIN)
    table = session.table
    features, labels = table.features[rows], table.labels[rows]
    hours = None if session.plan.sequence is None else table.hours[rows]
    return Statistics(layout.of(features, labels, edges, hours=hours), "survey")


def compare(session: Session, request: Request) -> Opinion:
    """Hold the training rows against the other sites' sums; what is unlike is written down here."""
    return comparison.compare(session, request.vector)


def train(session: Session, request: Request) -> Release:
    """One round: tallies of the model received on the validation rows, then local training."""
    plan = session.plan
    if not 1 <= request.round <= plan.training.rounds:
        raise Refusal("malformed_request", f"round {request.round} of a plan with {plan.training.rounds} rounds.")
    session.require_patients()
    received, evaluation = _receive(session, request, final=False)
    if plan.start is not None and request.round == 1 and _digest(received) != plan.start.vector:
        raise Refusal("other_start", "the parameters, or the scaling of features, of round 1 are others.")
    if plan.privacy.per_patient:
        return private_work.train(session, request, received, _weights(session, received.normaliser))
    received = _with_own(session, received, before=request.round)
    # Tallies have no noise: where the plan promises some, they do not travel.
    tallies = _evaluate(session, received, evaluation, VALIDATION) if plan.privacy.unit == "none" else np.zeros(0)
    generator = batch_generator(plan.seeds.training, session.config.name, request.round, session.device)
    rate = learning_rate(plan.training, request.round)
    data = session.training_set(session.scaled(received.normaliser))
    trainer = Trainer(session.network, received.normaliser, own_rows=len(data.inputs) if plan.model.local else None)
    trained = trainer.train(received.parameters, data, generator=generator, rate=rate)
    moved = trained - received.parameters
    if plan.model.local and np.isfinite(trained).all():  # the door refuses what is not finite
        session.local_parts.keep(request.round, started=received.parameters, trained=trained)
        moved[session.network.layout.local] = 0.0
    return Update(moved, _weights(session, received.normaliser), tallies)


def evaluate(session: Session, request: Request) -> Release:
    """Tallies of the model received: validation rows at stage 0, test rows from stage 1 on."""
    session.require_patients()
    final = request.stage > 0
    received, evaluation = _receive(session, request, final=final)
    received = _with_own(session, received)
    return Statistics(_evaluate(session, received, evaluation, TEST if final else VALIDATION), "evaluation")


def finish(session: Session, request: Request) -> Release:
    """Keep model, normaliser and plan at the site, with the site's own results on its own test rows."""
    received, _ = _receive(session, request, final=True)
    here = _with_own(session, received)
    left_out = untaught(session.plan, received.normaliser)
    model = ModelFile(session.plan, received.parameters, received.normaliser, left_out).to_bytes()
    results = json.dumps(_own_results(session, here), indent=1).encode()
    write_atomic(session.config.folder / "evaluation.json", results, private=True)
    parts = parts_of(session, here.parameters)
    write_set(files_of(session.config.folder, session.vaulted, model, parts), private=True)
    return Acknowledgement()


def _receive(session: Session, request: Request, *, final: bool) -> tuple[Broadcast, Judge]:
    evaluation = evaluation_of(session.plan, final=final)
    try:
        layout, columns = session.network.layout, evaluation.score_columns
        received = Broadcast.from_vector(request.vector, layout, columns=columns, bins=evaluation.bins)
    except ValueError as error:
        raise Refusal("malformed_request", f"{error}.") from None
    if request.blocks is not None:
        flags = layout.taking_part(received.normaliser.task_available, received.normaliser.available)
        if not flags[list(request.blocks)].all():
            # A site would send zeros in a block that the others count it in.
            raise Refusal("malformed_request", "the normaliser leaves out a block that the round's header holds.")
    return received, evaluation


def _with_own(session: Session, received: Broadcast, *, before: int | None = None) -> Broadcast:
    """What came, with the parameters that stay at this site; before: the round that is about to be trained."""
    if not session.plan.model.local:
        return received
    return replace(received, parameters=session.local_parts.put_into(received.parameters, before=before))


def _digest(received: Broadcast) -> str:
    return start_digest(received.parameters, received.normaliser)


def _scores(session: Session, received: Broadcast, rows: np.ndarray) -> np.ndarray:
    index = torch.from_numpy(rows).to(session.device)
    with torch.no_grad():
        parameters = torch.from_numpy(received.parameters).to(session.device)
        logits = session.network.logits(parameters, session.inputs(session.scaled(received.normaliser))[index])
    return scores_of_logits(logits, received.normaliser, session.plan)


def _evaluate(session: Session, received: Broadcast, evaluation: Judge, part: int) -> np.ndarray:
    rows = session.rows(part)
    labels = session.labels(received.normaliser)
    if isinstance(evaluation, PrivateEvaluation):
        return evaluation.of(_scores(session, received, rows), labels[rows], received.edges)
    oracle = scores_of_oracle(session.table.oracle[rows], session.plan) if evaluation.final else None
    return evaluation.of(
        _scores(session, received, rows),
        labels[rows],
        received.edges,
        oracle=oracle,
        train_rows=session.labelled(labels),
    )


def _weights(session: Session, normaliser: Normaliser) -> np.ndarray:
    """(D,) float32: the declared level of each parameter's block; 0 where the federation left the block out."""
    layout = session.network.layout
    taking_part = layout.taking_part(normaliser.task_available, normaliser.available)
    levels = np.array([session.levels[name] for name in layout.block_names]) * taking_part
    return levels.astype(np.float32)[layout.block_of]


def _own_results(session: Session, received: Broadcast) -> dict[str, object]:
    """Exact metrics on the site's own test rows; they stay in the site's folder."""
    rows = session.rows(TEST)
    scores, labels = _scores(session, received, rows), session.labels(received.normaliser)
    judge = Evaluation(session.plan, session.plan.evaluation.histogram_bins, True)
    trained_on = session.labelled(labels)
    results = {}
    for i, task in enumerate(session.plan.tasks):
        part = judged(session.plan, i, scores, labels[rows])
        metrics = exact_metrics(part.scores, part.labels, task, weights=part.weights)
        metrics |= {"train_n": int(trained_on[i]), "counted": judge.counted(metrics, int(trained_on[i]))}
        results[task.name] = metrics
    return {"site": session.config.name, "plan_hash": session.plan.hash, "tasks": results}
