"""Runs inside the image: repeats finished compose runs in one process and says how far they are apart from it."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from client.config import find_sites
from client.data.synthetic import hospitals, write_hospitals
from common.files import read_plan
from experiments.simulate import simulate

AUROC = 1e-9


def main(runs: list[Path]) -> int:
    plan = read_plan(runs[0] / "plan.json")
    with tempfile.TemporaryDirectory() as folder:
        write_hospitals(Path(folder) / "data", hospitals(3, plan.seeds.split), plan.seeds.split)
        here = Path(folder) / "run"
        expected = simulate(plan, find_sites(Path(folder) / "data"), here)
        return 0 if sum(_agree(run, here, expected) for run in runs) == len(runs) else 1


def _agree(deployed: Path, here: Path, expected: dict[str, Any]) -> bool:
    """Whether both gave the same bits: sums are exact on integers, and their rounding follows the plan."""
    ours, theirs = load_file(here / "model.safetensors"), load_file(deployed / "model.safetensors")
    found = json.loads((deployed / "result.json").read_text())
    agree = ours.keys() == theirs.keys() and found["tasks"].keys() == expected["tasks"].keys()
    agree &= all(np.array_equal(theirs[name], tensor) for name, tensor in ours.items())
    scores = [
        abs(found["tasks"][name]["pooled"]["auroc"] - task["pooled"]["auroc"])
        for name, task in expected["tasks"].items()
        if "auroc" in task["pooled"]
    ]
    agree &= bool(scores) and max(scores) <= AUROC and found["rounds"] == expected["rounds"]
    agree &= found["site_count"] == 3 and all(not entry["failed"] for entry in found["history"])
    agree &= found["secure"] is True and expected["secure"] is True
    apart = max(float(np.abs(theirs[name].astype(np.float64) - tensor).max()) for name, tensor in ours.items())
    print(
        f"{'SAME' if agree else 'DIFFERENT'}: {found['rounds']} rounds, {found['site_count']} sites, "
        f"{found['parameters']} parameters, {'secure' if found['secure'] else 'plain'} sums; containers and one "
        f"process are at most {apart:.1e} apart in the model and {max(scores):.1e} in AUROC over {len(scores)} tasks."
    )
    return agree


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
