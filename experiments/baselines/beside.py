"""Baselines beside the federation they belong to: its result.json gains `baselines`, its report the comparison."""

import json
from pathlib import Path
from typing import Any

from common.errors import ConsiliumError, RunError
from common.files import read_bytes
from common.plan import Plan
from experiments.baselines.catalogue import BASELINES
from experiments.baselines.run import SUMMARY
from experiments.compare import gather
from server.dashboard.report import SCHEMA, write_report
from server.result import RESULT, write_result

REPORT = "report.html"
_RUN = "the run"


def check_run(run: Path, plan: Plan) -> None:
    """Refuse, before an hour of fitting, a `run` that the baselines of `plan` could not be put beside.

    Raises RunError if its split seed or tasks are not the plan's, ConsiliumError if its result.json is no result.
    """
    result = _federation(run)
    seed = result.get("seeds", {}).get("split", result.get("seed", 0))
    if seed != plan.seeds.split:
        raise RunError(
            f"{run}: its split seed is {seed}, that of the baselines {plan.seeds.split}; give both the same --seed."
        )
    theirs = result["tasks"].keys() | result.get("left_out", {}).get("tasks", {}).keys()
    if differing := sorted(theirs ^ {task.name for task in plan.tasks}):
        raise RunError(f"{run}: not of the same plan: task {differing[0]!r} is in one of the run and the plan only.")


def put_beside(run: Path, baselines: Path) -> dict[str, Any]:
    """The run's result with the baselines in it, as it then is in `run`/result.json; its report is written again.

    run: folder of one federation. baselines: what `run_baselines` wrote. Baselines that the run already has stay, those
    of the same name are replaced. Raises RunError, with nothing changed, unless split seeds, tasks and test rows of all
    of them are the run's (`gather`).
    """
    result = _federation(run)
    summary = _json(baselines / SUMMARY)
    names = list(summary["baselines"])
    fitted = gather([run, *(baselines / name for name in names)], labels=[_RUN, *names])
    found = dict(result.get("baselines", {}))
    for name in names:
        (other,) = fitted[name].values()
        about = summary["baselines"][name]
        found[name] = {key: about[key] for key in ("description", "parameters", "seconds")}
        found[name]["tasks"] = {
            task: {key: entry[key] for key in ("per_site_mean", "per_site") if key in entry}
            for task, entry in other["tasks"].items()
        }
    result["baselines"] = {
        name: found[name] for name in [*BASELINES, *sorted(found.keys() - BASELINES.keys())] if name in found
    }
    write_result(result, run)
    write_report(result, run / REPORT)
    return result


def _federation(run: Path) -> dict[str, Any]:
    if not (run / RESULT).is_file():
        raise RunError(f"{run}: no {RESULT} in this folder; --run takes the folder of one finished run.")
    result = _json(run / RESULT)
    if result.get("schema") != SCHEMA:
        raise ConsiliumError(f"{run / RESULT}: schema is {result.get('schema')!r}; this version reads {SCHEMA!r}.")
    if "baseline" in result:
        raise RunError(f"{run}: this is the baseline {result['baseline']!r}; --run takes the folder of a federation.")
    return result


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_bytes(path))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ConsiliumError(f"{path}: not a JSON object; it may be cut off or damaged.")
    return content
