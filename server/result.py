"""result.json: what a run came to, in the schema of docs/result.md."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.broadcast import Broadcast
from common.evaluation import SITE_METRICS
from common.files import write_atomic
from common.model import Layout, Normaliser
from common.model_file import ModelFile, untaught
from common.plan import Plan
from server.journal import RunState
from server.phases.stopping import stops
from server.privacy import privacy_of

RESULT, MODEL = "result.json", "model.safetensors"


def assemble(
    plan: Plan,
    state: RunState,
    *,
    secure: bool,
    protocol: dict[str, Any] | None = None,
    sites: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The result of a finished run.

    protocol: of secure sums only: {"threshold", "committee", "colluding_sites", "min_cohort"}, as in docs/result.md.
    sites: site -> {"data": .., "evaluation": .., "norms": ..} from the sites' own files, which only a simulation can
    read; a deployed coordinator has none, and the result then holds no site's figures.
    """
    facts, own = state.facts, sites or {}
    layout = Layout(plan)
    result = {
        "schema": "consilium/result/1",
        "federation": plan.federation.name,
        "title": plan.federation.title,
        "plan_hash": plan.hash,
        "seed": plan.seeds.training,
        "seeds": plan.seeds.model_dump(),
        "secure": secure,
        "strategy": plan.aggregation.strategy,
        "clip_norm": plan.aggregation.clip_norm,
        "privacy": privacy_of(plan),
        "rounds": state.round,
        "parameters": layout.parameters,
        "bytes_up_per_site_per_round": facts.get("bytes_up", 0),
        "bytes_down_per_site_per_round": _bytes_down(plan, state),
        "seconds": round(facts.get("seconds", 0.0), 3),
        "site_count": len(facts["sites"]),
        "sites": {site: files["data"] | {"norms": files["norms"]} for site, files in own.items()},
        "left_out": facts["left_out"],
        "missing": facts["missing"],
        "history": facts["history"],
        "tasks": {},
    }
    if not plan.split.validates:
        result["history_rows"] = "training"
    if "unlike" in facts:
        result["unlike"] = facts["unlike"]
    if "survey_noise" in facts:
        result["survey_noise"] = facts["survey_noise"]
    if secure and protocol is not None:
        result["secure_aggregation"] = dict(protocol)
    if plan.model.scaling != "pooled":
        result["scaling"] = plan.model.scaling
    if plan.model.local:
        result["local"] = list(plan.model.local)
    if "start" in facts:
        result["start"] = facts["start"]
    learnt = facts["history"]
    if stops(plan, state):
        result["best_round"] = facts["best"]["round"]
        learnt = [entry for entry in learnt if entry["round"] <= result["best_round"] + 1]  # up to the model kept
    if (enough := rounds_to_99_percent(learnt)) is not None:
        result["rounds_to_99_percent"] = enough
    for task in plan.tasks:
        if task.name in facts["left_out"]["tasks"]:
            continue
        entry = dict(facts["tasks"][task.name])
        oracle = entry.pop("oracle", {})
        entry |= {f"oracle_{name}": oracle[name] for name in ("auroc", "mae") if name in oracle}
        entry |= {"kind": task.kind, "description": task.description, "unit": task.unit}
        entry["per_site"] = {site: files["evaluation"]["tasks"][task.name] for site, files in own.items()}
        if "noise" in entry and (mean := _mean_of_sites(entry["per_site"])) is not None:
            entry["per_site_mean"] = mean
        result["tasks"][task.name] = entry
    return result


def rounds_to_99_percent(history: Sequence[Mapping[str, Any]]) -> int | None:
    """Rounds after which the mean AUROC over tasks is, and stays, at least 99 % of its final value.

    history: as in docs/result.md; the entry of round r describes the model after r - 1 rounds. The mean is over the
    tasks of the last entry that has an AUROC; entries that lack one of them say nothing. None without any AUROC, and
    where the rounds have none and the end alone does.
    """
    curve = [(int(entry["round"]), _aurocs(entry)) for entry in history]
    final = next((aurocs for _, aurocs in reversed(curve) if aurocs), {})
    known = [(number, aurocs) for number, aurocs in curve if aurocs and final.keys() <= aurocs.keys()]
    if len(known) < 2:
        return None
    enough = 0.99 * sum(final.values())
    first = 0
    for number, aurocs in reversed(known):
        if sum(aurocs[task] for task in final) < enough:
            break
        first = number - 1
    return first


def _aurocs(entry: Mapping[str, Any]) -> dict[str, float]:
    return {task: scores["auroc"] for task, scores in entry.get("tasks", {}).items() if "auroc" in scores}


def _mean_of_sites(per_site: Mapping[str, Mapping[str, Any]]) -> dict[str, float] | None:
    """The mean over counted sites from their own files, which only a simulation has; noised sums hold none."""
    counted = [metrics for metrics in per_site.values() if metrics.get("counted")]
    if not counted:
        return None
    names = [name for name in SITE_METRICS if all(name in metrics for metrics in counted)]
    means = {name: sum(float(metrics[name]) for metrics in counted) / len(counted) for name in names}
    return means | {"sites": len(counted), "n": sum(metrics["n"] for metrics in counted)}


def _bytes_down(plan: Plan, state: RunState) -> int:
    normaliser = Normaliser.from_vector(state.arrays["normaliser"], plan)
    return int(Broadcast(state.arrays["parameters"], normaliser, state.arrays["edges"]).to_vector().nbytes)


def write_model(plan: Plan, state: RunState, folder: Path) -> None:
    """Write model.safetensors: parameters, normaliser and plan."""
    normaliser = Normaliser.from_vector(state.arrays["normaliser"], plan)
    left_out = untaught(plan, normaliser)
    write_atomic(folder / MODEL, ModelFile(plan, state.arrays["parameters"], normaliser, left_out).to_bytes())


def write_result(result: dict[str, Any], folder: Path) -> None:
    """Write result.json; it comes last, so its presence says that the run is complete."""
    write_atomic(folder / RESULT, json.dumps(result, indent=1, allow_nan=False).encode())
