"""`run_baselines`: fits what was asked for and leaves one result.json each, and baselines.json over all of them."""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from client.config import SiteConfig
from common.errors import PlanError, RunError
from common.files import write_atomic
from common.plan import Plan
from experiments.baselines.catalogue import choose
from experiments.baselines.judge import judge
from experiments.baselines.learners import one_thread, require_library
from experiments.baselines.tables import load_tables

Listener = Callable[[dict[str, Any]], None]
RESULT, SUMMARY, PLAN = "result.json", "baselines.json", "plan.json"
_SHOWN = ("auroc", "mae", "accuracy", "sites", "n")


def run_baselines(
    plan: Plan,
    configs: Iterable[SiteConfig],
    out: Path,
    *,
    only: Sequence[str] = (),
    listeners: tuple[Listener, ...] = (),
) -> dict[str, Any]:
    """The summary that is also in `out`/baselines.json: baseline -> tasks -> per-site means, parameters, seconds.

    Raises PlanError and DataError before anything is written, and RunError if `out` holds something already or if no
    baseline could be fitted. One that cannot be fitted at all is named with its reason under `left_out`.
    """
    chosen = choose(only)
    library = any(baseline.library for baseline in chosen.values())
    if library:
        require_library()
    tables = load_tables(plan, configs)
    _claim(out, plan)
    summary: dict[str, Any] = {
        "schema": "consilium/baselines/1",
        "federation": plan.federation.name,
        "title": plan.federation.title,
        "plan_hash": plan.hash,
        "seeds": plan.seeds.model_dump(),
        "baselines": {},
        "left_out": {},
    }

    def tell(event: str, **facts: Any) -> None:
        for listener in listeners:
            listener({"event": event, **facts})

    with one_thread() if library else nullcontext():
        for number, (name, baseline) in enumerate(chosen.items(), start=1):
            tell("baseline", name=name, number=number, total=len(chosen))
            try:
                outcome = baseline.method(plan, tables, lambda what: tell("fit", what=what))
            except (PlanError, RunError) as error:
                summary["left_out"][name] = str(error)
                tell("left_out", name=name, reason=str(error))
                continue
            result = judge(name, plan, tables, outcome)
            write_atomic(out / name / RESULT, _json(result))
            summary["baselines"][name] = {"description": baseline.words, **_entry(result)}
            tell("fitted", name=name, seconds=result["seconds"])
    if not summary["baselines"]:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in summary["left_out"].items())
        raise RunError(f"no baseline could be fitted ({reasons}).")
    write_atomic(out / SUMMARY, _json(summary))
    return summary


def _entry(result: dict[str, Any]) -> dict[str, Any]:
    tasks = {}
    for name, task in result["tasks"].items():
        means = task.get("per_site_mean", {})
        tasks[name] = {"kind": task["kind"], "unit": task["unit"]}
        tasks[name] |= {key: means[key] for key in _SHOWN if key in means}
    return {"tasks": tasks, "parameters": result["parameters"], "seconds": result["seconds"]}


def _claim(out: Path, plan: Plan) -> None:
    """Refuse a folder that is in use, as a run does; then mark it with the plan."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out}: this folder already holds something; choose another --out.")
    write_atomic(out / PLAN, plan.canonical)


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=1, allow_nan=False).encode()
