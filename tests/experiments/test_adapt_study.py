"""The study of new tasks: what is held out is held out, and the document says what was found."""

import json
from pathlib import Path

import numpy as np
import pytest

from client.config import find_sites
from common.files import read_bytes
from common.model_file import ModelFile
from common.plan import plan_from_dict
from experiments.adapt.document import document
from experiments.adapt.study import held_out, material_of, without
from tests.client.adapt.conftest import shared_content, shared_table


def test_a_held_out_task_is_learnt_from_few_labels_alone(tmp_path: Path) -> None:
    content = shared_content()
    content["tasks"].append({"name": "ninth", "label": "ninth"})
    content["training"]["rounds"] = 3
    plan = plan_from_dict(content, source="study")
    (tmp_path / "sites").mkdir()
    for seed in (1, 2):
        shared_table(seed, 300).to_csv(tmp_path / "sites" / f"s{seed}.csv", index=False)
    sites = find_sites(tmp_path / "sites")
    found = held_out(plan, "ninth", sites, tmp_path / "work", sizes=[8, 12, 9000], draws=2)
    model = ModelFile.from_bytes(read_bytes(tmp_path / "work" / "ninth" / "model.safetensors"), source="model")
    assert "ninth" not in [task.name for task in model.plan.tasks] and "ninth" not in model.plan.canonical.decode()
    assert model.plan.hash == without(plan, "ninth").hash
    material = material_of(plan, "ninth", sites, model)
    assert not set(material.patients[material.train]) & set(material.patients[material.test])
    assert found["rows"]["training_rows"] + found["rows"]["test_rows"] <= 600
    text = document({"ninth": found}, title="T", plan="p.toml", tasks=5, seed=0, commit="abc", sizes=[8, 12, 9000])
    small, middle, large = found["sizes"]
    assert "4 of the 5 tasks were not run." in text
    assert "skipped" in large and "## 9000 labels" in text
    for entry in (small, middle):
        row = next(line for line in text.splitlines() if line.startswith(f"| {entry['labels']} (1 tasks)"))
        for values in entry["methods"].values():
            assert f"{np.mean(values['values']):.3f} [" in row
    again = held_out(plan, "ninth", [], tmp_path / "work")
    assert again == json.loads((tmp_path / "work" / "ninth.json").read_text()) == found
    with pytest.raises(StopIteration):
        material_of(plan, "tenth", sites, model)
