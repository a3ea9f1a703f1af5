"""Runs inside the image: repeats a finished compose run in one process and says how far the two are apart."""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from client.config import find_sites
from client.data.synthetic import hospitals, write_hospitals
from common.files import read_plan
from experiments.simulate import simulate

RTOL, ATOL, AUROC = 1e-4, 1e-5, 1e-3


def main(deployed: Path) -> int:
    plan = read_plan(deployed / "plan.json")
    with tempfile.TemporaryDirectory() as folder:
        write_hospitals(Path(folder) / "data", hospitals(3, plan.seeds.split), plan.seeds.split)
        here = Path(folder) / "run"
        expected = simulate(plan, find_sites(Path(folder) / "data"), here)
        ours, theirs = load_file(here / "model.safetensors"), load_file(deployed / "model.safetensors")
    found = json.loads((deployed / "result.json").read_text())
    apart, agree = 0.0, ours.keys() == theirs.keys() and found["tasks"].keys() == expected["tasks"].keys()
    for name, tensor in ours.items():
        apart = max(apart, float(np.abs(theirs[name].astype(np.float64) - tensor).max()))
        agree &= np.allclose(theirs[name], tensor, rtol=RTOL, atol=ATOL)
    scores = [
        abs(found["tasks"][name]["pooled"]["auroc"] - task["pooled"]["auroc"])
        for name, task in expected["tasks"].items()
        if "auroc" in task["pooled"]
    ]
    agree &= bool(scores) and max(scores) <= AUROC and found["rounds"] == expected["rounds"] == plan.training.rounds
    agree &= found["site_count"] == 3 and all(not entry["failed"] for entry in found["history"])
    print(
        f"{'SAME' if agree else 'DIFFERENT'}: {found['rounds']} rounds, {found['site_count']} sites, "
        f"{found['parameters']} parameters; containers and one process are at most {apart:.1e} apart in the model "
        f"and {max(scores):.1e} in AUROC over {len(scores)} tasks."
    )
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
