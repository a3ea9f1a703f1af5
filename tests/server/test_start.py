"""A federation that goes on from an earlier model: what it begins with, what moves, and who notices another start."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from typer.testing import CliRunner

from client.at_rest.files import Vaulted, VaultKey
from client.config import find_sites
from common.errors import ConsiliumError, ModelFileError, PlanError, RunError
from common.files import read_bytes
from common.model import Layout
from common.model_file import ModelFile
from common.plan import Plan, plan_from_dict
from common.plan.describe import describe
from common.start import StartingPoint, starting_point
from experiments.cli import app
from experiments.simulate import simulate
from server.dashboard.start import start_line
from server.phases import survey
from server.start import START, read_start
from tests.conftest import small_content, small_table


def content(tasks: slice, **sections: Any) -> dict[str, Any]:
    base = small_content()
    return base | {"tasks": base["tasks"][tasks]} | sections


def run(plan: Plan, sites: Path, out: Path, **options: Any) -> ModelFile:
    simulate(plan, find_sites(sites), out, **options)
    return ModelFile.from_bytes(read_bytes(out / "model.safetensors"), source="model")


@pytest.fixture
def earlier(write_sites, tmp_path: Path) -> tuple[Path, ModelFile, Path]:
    """(folder of the hospitals, a model for the first two tasks, its file)"""
    sites = write_sites()
    model = run(plan_from_dict(content(slice(0, 2)), source="first"), sites, tmp_path / "first")
    return sites, model, tmp_path / "first" / "model.safetensors"


def going_on(model: ModelFile, *, freeze: bool = True, secure: bool = False, **sections: Any) -> Plan:
    """All four tasks, from `model` on."""
    other = content(slice(None), aggregation={"secure": secure}, **sections)
    begin = starting_point(plan_from_dict(other, source="next"), model, source="model")
    return plan_from_dict(other | {"start": {"vector": begin.digest, "freeze_encoder": freeze}}, source="next")


def parts(model: ModelFile) -> dict[str, np.ndarray]:
    return Layout(model.plan).split(model.parameters)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "secure"])
def test_a_frozen_encoder_does_not_move_and_heads_do(earlier, tmp_path: Path, secure: bool) -> None:
    sites, before, file = earlier
    after = run(going_on(before, secure=secure), sites, tmp_path / "next", start=file)
    was, now = parts(before), parts(after)
    assert all(np.array_equal(was[name], now[name]) for name in was if name.startswith("encoder."))
    assert np.array_equal(before.normaliser.mean, after.normaliser.mean)
    assert np.array_equal(before.normaliser.edges, after.normaliser.edges)
    assert not np.allclose(was["heads.weight"][0], now["heads.weight"][0], atol=1e-4)
    assert len(now["heads.weight"]) == 6 and now["linear.weight"][2:].any()
    result = json.loads((tmp_path / "next" / "result.json").read_text())
    assert set(result["tasks"]) == {"death", "stay", "triage", "pressure"}
    begun = result["start"]
    assert begun["model_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert begun["plan_hash"] == before.plan.hash and begun["vector"] == after.plan.start.vector
    assert (begun["kept"], begun["new"], begun["freeze_encoder"]) == (["death", "stay"], ["triage", "pressure"], True)
    told = f"(SHA-256 {begun['model_sha256']}): its encoder stayed as it was; heads that went on: death, stay; "
    assert told in (tmp_path / "next" / "report.html").read_text() and told in start_line(result)
    # Heads that were taken over begin as they ended, where the new plan has their tasks.
    begin = Layout(after.plan).split(starting_point(after.plan, before, source="model").parameters)
    assert np.array_equal(begin["heads.weight"][:2], was["heads.weight"])
    assert np.array_equal(begin["linear.weight"][:2], was["linear.weight"]) and not begin["linear.weight"][2:].any()


def test_an_encoder_that_is_not_frozen_moves_from_where_it_was(earlier, tmp_path: Path) -> None:
    sites, before, file = earlier
    plan = going_on(before, freeze=False)
    after = run(plan, sites, tmp_path / "next", start=file)
    result = json.loads((tmp_path / "next" / "result.json").read_text())
    assert "its encoder was trained further" in start_line(result)
    assert "start" not in json.loads((tmp_path / "first" / "result.json").read_text())
    moved = np.linalg.norm(parts(after)["encoder.0.weight"] - parts(before)["encoder.0.weight"])
    assert 0.01 < moved < plan.training.rounds * plan.aggregation.clip_norm


def test_sites_refuse_another_start_than_the_plan_names(earlier, tmp_path: Path, monkeypatch) -> None:
    """A coordinator that sends other values in round 1, the last bit of one of them or the scaling, gets nothing."""
    sites, before, file = earlier

    def bit(begin: StartingPoint) -> StartingPoint:
        values = begin.parameters.copy()
        values[7] = np.nextafter(values[7], np.float32(9))
        return replace(begin, parameters=values)

    def scaling(begin: StartingPoint) -> StartingPoint:
        other = replace(begin.model.normaliser, std=2 * begin.model.normaliser.std)
        return replace(begin, model=replace(begin.model, normaliser=other))

    for number, change in enumerate((bit, scaling)):
        monkeypatch.setattr(survey, "read_start", lambda plan, folder, change=change: change(read_start(plan, folder)))
        with pytest.raises(RunError, match="north: other_start"):
            run(going_on(before), sites, tmp_path / f"next{number}", start=file)


def test_a_run_that_resumes_has_its_start(earlier, tmp_path: Path) -> None:
    sites, before, file = earlier
    plan, out = going_on(before), tmp_path / "next"
    whole = run(plan, sites, out, start=file)
    assert (out / START).read_bytes() == file.read_bytes()
    (out / "result.json").unlink()
    (out / "checkpoint.safetensors").unlink()
    again = run(plan, sites, out, resume=True)
    assert np.array_equal(whole.parameters, again.parameters)


def test_what_does_not_fit_is_told_before_anything_is_written(earlier, tmp_path: Path) -> None:
    sites, before, file = earlier
    plan, out = going_on(before), tmp_path / "next"
    anew = plan_from_dict(content(slice(None)), source="anew")
    other = plan_from_dict(json.loads(plan.canonical) | {"seeds": {"training": 5}}, source="other")
    wide = plan_from_dict(json.loads(plan.canonical) | {"model": {"hidden": [9]}}, source="wide")
    changed = json.loads(plan.canonical)
    changed["tasks"][0] |= {"kind": "regression", "range": [0, 1]}
    kind = plan_from_dict(changed, source="kind")
    changed = json.loads(plan.canonical)
    changed["tasks"][0]["label"] = "died_later"
    label = plan_from_dict(changed, source="label")
    for broken, start, words in (
        (plan, None, "name its file with --start"),
        (anew, file, "the plan has no .start. and begins anew"),
        (other, file, "another model, other tasks or another seed"),
        (wide, file, "model.hidden is .8. there and .9. in the plan"),
        (kind, file, "task 'death' is another kind there"),
        (label, file, "task 'death' is learnt from 'died' there and from 'died_later' in the plan; give the new one"),
        (plan, sites / "north.csv", "not a readable safetensors file"),
    ):
        with pytest.raises(ConsiliumError, match=words):
            simulate(broken, find_sites(sites), out, start=start)
        assert not out.exists()
    with pytest.raises(PlanError, match="noise would move the encoder"):
        privacy = {"unit": "patient", "noise": "local", "target_epsilon": 3.0, "expected_patients": 200}
        plan_from_dict(json.loads(plan.canonical) | {"privacy": privacy}, source="noise")


def test_a_plan_that_begins_anew_keeps_its_hash_and_one_that_goes_on_says_so(earlier) -> None:
    _, before, _ = earlier
    plan = going_on(before)
    assert "start" not in json.loads(before.plan.canonical) and json.loads(plan.canonical)["start"]
    text = "\n".join(line for _, lines in describe(plan) for line in lines)
    assert plan.start is not None and plan.start.vector in text and "only heads and linear path are trained" in text


def test_from_the_command_line(earlier, tmp_path: Path) -> None:
    sites, _, file = earlier
    federation = tmp_path / "next.toml"
    federation.write_text(tomli_w.dumps(content(slice(None))))
    told = CliRunner().invoke(app, ["plan", "start", str(federation), str(file)])
    assert told.exit_code == 0, told.output
    assert told.stdout.endswith("# heads that go on: death, stay\n# heads that begin anew: triage, pressure\n")
    federation.write_text(federation.read_text() + "\n" + told.stdout)
    arguments = ["simulate", str(federation), "--sites", str(sites), "--out", str(tmp_path / "next")]
    done = CliRunner().invoke(app, [*arguments, "--start", str(file)])
    assert done.exit_code == 0, done.output


def test_another_split_is_refused_because_former_training_patients_would_be_tested_on(earlier, tmp_path: Path) -> None:
    _, _, file = earlier
    federation = tmp_path / "next.toml"
    federation.write_text(tomli_w.dumps(content(slice(None))))
    told = CliRunner().invoke(app, ["plan", "start", str(federation), str(file), "--seed", "4"])
    assert isinstance(told.exception, PlanError) and "divides patients into training and test otherwise" in str(
        told.exception
    )


def test_an_encrypted_model_is_called_that(tmp_path: Path) -> None:
    """Not damaged: `plan start` and --start are told how it is opened."""
    (tmp_path / "federation.toml").write_text(tomli_w.dumps(content(slice(None))))
    sealed = tmp_path / "model.safetensors.enc"
    sealed.write_bytes(Vaulted(VaultKey(bytes(32)), "north").seal(b"model", "file", sealed.name))
    commands = (
        ("plan", "start", str(tmp_path / "federation.toml"), str(sealed)),
        ("simulate", str(tmp_path / "federation.toml"), "--sites", str(tmp_path), "--start", str(sealed)),
    )
    small_table(0).to_csv(tmp_path / "north.csv", index=False)
    small_table(1).to_csv(tmp_path / "south.csv", index=False)
    for command in commands:
        error = CliRunner().invoke(app, command).exception
        assert isinstance(error, ModelFileError) and str(error).startswith(f"{sealed}: is encrypted")
        assert "`consilium site model SITE --out FILE` takes it out" in str(error)
