"""The study of new tasks: what is held out is held out, and the document says what was found."""

import json
from pathlib import Path

import numpy as np
import pytest

from client.config import find_sites
from common.files import read_bytes
from common.model_file import ModelFile
from common.plan import plan_from_dict
from experiments.adapt.document import Hourly, document
from experiments.adapt.study import held_out, material_of, of_stays, without
from tests.client.adapt.conftest import shared_content, shared_table
from tests.hourly import hourly_plan, hourly_tables, write_site


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


def test_with_hours_the_tasks_of_the_whole_stay_are_held_out(tmp_path: Path) -> None:
    plan = hourly_plan(encoder="gru")
    assert of_stays(plan) == ["death", "stay_days"]
    for seed, name in enumerate(("east", "north", "south")):
        write_site(tmp_path / "sites", name, *hourly_tables(seed))
    sites = find_sites(tmp_path / "sites")
    found = held_out(plan, "death", sites, tmp_path / "work", sizes=[8], draws=2)
    model = ModelFile.from_bytes(read_bytes(tmp_path / "work" / "death" / "model.safetensors"), source="model")
    assert [task.name for task in model.plan.tasks] == ["stay_days", "shock", "worse"]
    assert model.plan.model.sequence_encoder == "gru"
    material = material_of(plan, "death", sites, model)
    assert material.hours.shape == (240, plan.hours, 3) and material.hidden.shape == (240, 4 + 8)
    (entry,) = found["sizes"]
    text = document(
        {},
        title="T",
        plan="p.toml",
        tasks=5,
        seed=0,
        commit="abc",
        sizes=[8],
        hourly=Hourly(plan, "h.toml", {"death": found}),
    )
    section = text.split("## With hours\n")[1]
    assert "`examples/h.toml`, whose networks read hours 0 to 5 with the encoder `gru`" in section
    assert "learns the other\n1 and shock and worse. 1 of the 2 tasks were not run." in section
    row = next(line for line in section.splitlines() if line.startswith("| 8 (1 tasks) |"))
    assert len(entry["methods"]) == 4
    for values in entry["methods"].values():
        assert f"{np.mean(values['values']):.3f} [" in row
