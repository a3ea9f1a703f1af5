"""What of a model is a site's own: trained and kept there, and the very same wherever the site uses its model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from client.adapt.command import adapt_files
from client.at_rest.files import MODEL, Vaulted, VaultKey
from client.at_rest.key import vaulted
from client.benefit.candidates import scores
from client.benefit.cli import make
from client.benefit.site import open_site
from client.config import SiteConfig, find_sites, load_site
from client.local_parts import HEADS, LocalParts
from client.predict import predict_file
from client.sessions import close_sessions
from client.site_parts import PARTS, own_model
from client.site_rows import TEST
from common.errors import ConsiliumError, ModelFileError
from common.files import read_bytes
from common.model import Layout, initial_parameters
from common.model_file import ModelFile
from common.plan import Plan, plan_from_dict
from common.scores import exact_metrics
from common.tally import sigmoid
from experiments.simulate import simulate
from server.journal import Journal, RunState
from tests.conftest import small_plan, small_table
from tests.hourly import hourly_content, hourly_tables, write_site

NAMES = ("north", "south", "west")
SITE, HEADS_ONLY = {"scaling": "site"}, {"local": ["heads"]}
ALL = {"scaling": "site", "local": ["heads", "linear"]}
MODELS = {"scaling": SITE, "heads": HEADS_ONLY, "all": ALL}


def plan_with(rules: dict[str, Any], **sections: Any) -> Plan:
    return small_plan(model={"hidden": [8], **rules}, **sections)


def tables() -> dict[str, pd.DataFrame]:
    """Three hospitals, one of which measures pressure on another scale."""
    result = {name: small_table(seed, rows=200) for seed, name in enumerate(NAMES)}
    result["west"]["sbp"] *= 1.4
    return result


def run(rules: dict[str, Any], hospitals: Path, out: Path, **options: Any) -> dict[str, Any]:
    result = simulate(plan_with(rules), find_sites(hospitals), out, **options)
    close_sessions()
    return result


def own_bytes(config: SiteConfig, name: str) -> bytes:
    return vaulted(config).read(config.folder / name)


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospitals")
    for name, table in tables().items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder


@pytest.fixture(scope="module", params=MODELS, ids=list(MODELS))
def finished(request: pytest.FixtureRequest, hospitals: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(what the plan says of the model, the run's folder, its result)"""
    out = tmp_path_factory.mktemp(request.param) / "out"
    return MODELS[request.param], out, run(MODELS[request.param], hospitals, out)


def test_a_kept_model_judges_as_the_run_did(finished: Any) -> None:
    rules, out, result = finished
    for name in NAMES:
        config = load_site(out / "sites" / name)
        site = open_site(config)
        rows = site.rows.rows(TEST)
        found, labels = scores(site.received, site.rows, rows), site.rows.labels(site.received.normaliser)[rows]
        told = json.loads((config.folder / "evaluation.json").read_text())["tasks"]["death"]
        judged = exact_metrics(found[:, :1], labels[:, 0], site.received.plan.tasks[0])
        assert judged["auroc"] == told["auroc"] and judged["n"] == told["n"]
    assert result.get("scaling") == rules.get("scaling") and result.get("local") == rules.get("local")


def test_predictions_in_a_hospital_are_made_with_its_own_parts(finished: Any, hospitals: Path, tmp_path: Path) -> None:
    _, out, _ = finished
    config = load_site(out / "sites" / "west")
    predict_file(config.folder / MODEL, hospitals / "west.csv", tmp_path / "p.csv", probabilities=False)
    site = open_site(config)
    every = scores(site.received, site.rows, np.arange(len(site.rows.table.patients)))
    by_patient = pd.read_csv(tmp_path / "p.csv").set_index("patient")["death"]
    assert by_patient[site.rows.table.patients].to_numpy() == pytest.approx(sigmoid(every[:, 0]), abs=1e-6)


def test_the_shared_model_holds_nothing_of_a_site(finished: Any) -> None:
    rules, out, _ = finished
    shared = ModelFile.from_bytes(read_bytes(out / "model.safetensors"), source="shared")
    layout = Layout(shared.plan)
    kept = {name: load_site(out / "sites" / name) for name in NAMES}
    assert {own_bytes(config, MODEL) for config in kept.values()} == {read_bytes(out / "model.safetensors")}
    begun = initial_parameters(layout, seed=shared.plan.seeds.training)
    assert shared.parameters[layout.local].tobytes() == begun[layout.local].tobytes()
    assert (shared.parameters[~layout.local] != begun[~layout.local]).mean() > 0.5
    assert shared.left_out == (tuple(task.name for task in shared.plan.tasks) if "local" in rules else ())
    used = {name: open_site(config).received for name, config in kept.items()}
    if "local" in rules:
        own = [model.parameters[layout.local] for model in used.values()]
        assert all((a != b).any() for a, b in zip(own, [*own[1:], begun[layout.local]], strict=True))
    if "scaling" in rules:
        pooled, own_mean = shared.normaliser.mean[1], {name: one.normaliser.mean[1] for name, one in used.items()}
        assert own_mean["west"] > 1.1 * pooled > pooled > 1.1 * own_mean["north"]


def test_elsewhere_a_model_has_pooled_scaling_and_no_heads(finished: Any, hospitals: Path, tmp_path: Path) -> None:
    rules, out, _ = finished
    told: list[str] = []
    model, to = out / "model.safetensors", tmp_path / "p.csv"
    if "local" in rules:
        with pytest.raises(ModelFileError, match=r"its heads stay at the hospitals"):
            predict_file(model, hospitals / "west.csv", to, probabilities=False)
        return
    predict_file(model, hospitals / "west.csv", to, probabilities=False, warn=told.append)
    assert "this one is the pooled one" in told[0]


def test_benefit_uses_the_very_same_model(hospitals: Path, tmp_path: Path) -> None:
    run(ALL, hospitals, tmp_path / "out")
    config = load_site(tmp_path / "out" / "sites" / "west")
    report = make(config)
    told = json.loads((config.folder / "evaluation.json").read_text())["tasks"]
    for task in ("death", "pressure"):
        assert report["tasks"][task]["models"]["federated"]["auroc"] == pytest.approx(told[task]["auroc"], abs=1e-9)
    predict_file(config.folder / MODEL, hospitals / "west.csv", tmp_path / "p.csv", probabilities=False)
    assert pd.read_csv(tmp_path / "p.csv")["death"].between(0, 1).all()


def test_what_a_site_adapts_has_its_own_scaling_and_heads_inside(hospitals: Path, tmp_path: Path) -> None:
    run(ALL, hospitals, tmp_path / "out")
    config, out = load_site(tmp_path / "out" / "sites" / "west"), tmp_path / "out" / "sites" / "west"
    table = tables()["west"].assign(late=lambda each: (each["days"] > 6).astype(int))
    table.to_csv(tmp_path / "west.csv", index=False)
    (tmp_path / "task.toml").write_text('[[tasks]]\nname = "late"\nlabel = "late"\n')
    rules: dict[str, Any] = {"task": None, "unfreeze": False, "sizes": "", "draws": 1, "seed": 0, "tell": print}
    made = out / "mine.safetensors.enc"
    adapt_files(out / MODEL, tmp_path / "west.csv", tmp_path / "task.toml", made, **rules)
    used, adapted = open_site(config).received, ModelFile.from_bytes(own_bytes(config, made.name), source="mine")
    assert adapted.normaliser.std.tobytes() == used.normaliser.std.tobytes() and adapted.left_out == ()
    heads = [Layout(model.plan).split(model.parameters)["heads.weight"] for model in (adapted, used)]
    assert heads[0][: len(heads[1])].tobytes() == heads[1].tobytes()
    for number, model in enumerate((out / MODEL, made)):
        predict_file(model, tmp_path / "west.csv", tmp_path / f"{number}.csv", probabilities=False)
    first, second = (pd.read_csv(tmp_path / f"{number}.csv") for number in (0, 1))
    assert second["death"].tolist() == first["death"].tolist() and "late" in second
    rules["sizes"] = "10"
    with pytest.raises(ModelFileError, match="heads stay at the hospitals"):
        adapt_files(
            tmp_path / "out" / "model.safetensors",
            tmp_path / "west.csv",
            tmp_path / "task.toml",
            tmp_path / "new.safetensors",
            **rules,
        )


def test_hours_and_their_heads_are_a_sites_own_too(tmp_path: Path) -> None:
    for seed, name in enumerate(NAMES):
        write_site(tmp_path / "hospitals", name, *hourly_tables(seed))
    plan = plan_from_dict(hourly_content(**HEADS_ONLY, scaling="site"), source="hourly")
    simulate(plan, find_sites(tmp_path / "hospitals"), tmp_path / "out")
    close_sessions()
    config = load_site(tmp_path / "out" / "sites" / "south")
    shared = ModelFile.from_bytes(own_bytes(config, MODEL), source="shared")
    used = own_model(config, own_bytes(config, MODEL))
    local, first = Layout(plan).local, len(plan.features)
    assert (used.parameters[local] != shared.parameters[local]).mean() > 0.9
    assert (used.normaliser.mean[first:] != shared.normaliser.mean[first:]).all()
    predict_file(
        config.folder / MODEL, tmp_path / "hospitals" / "south.site.toml", tmp_path / "p.csv", probabilities=False
    )
    assert pd.read_csv(tmp_path / "p.csv")["shock"].between(0, 1).all()


def test_parts_that_do_not_belong_to_the_model_are_refused(hospitals: Path, tmp_path: Path) -> None:
    run(ALL, hospitals, tmp_path / "out")
    config = load_site(tmp_path / "out" / "sites" / "west")
    path, store = config.folder / PARTS, vaulted(config)
    assert path.stat().st_mode & 0o777 == 0o600
    whole = store.read(path)
    digest = whole.index(b'"model":"') + len(b'"model":"')
    other = whole[:digest] + b"0" * 64 + whole[digest + 64 :]
    for data, words in ((other, "belongs to another model"), (whole[:40], "is damaged"), (b"", "is damaged")):
        store.write(path, data)
        with pytest.raises(ConsiliumError, match=words):
            open_site(config)
    path.unlink()
    with pytest.raises(ConsiliumError, match="no such file"):
        predict_file(config.folder / MODEL, hospitals / "west.csv", tmp_path / "p.csv", probabilities=False)
    assert not (tmp_path / "p.csv").exists()


@pytest.mark.parametrize("committed", [False, True], ids=["before-the-checkpoint", "after-it"])
def test_a_resumed_run_ends_with_the_same_parts(
    committed: bool, hospitals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(ALL, hospitals, tmp_path / "whole")
    commit = Journal.commit

    def ends(journal: Journal, state: RunState) -> None:
        if state.round == 2 and not committed:
            raise KeyboardInterrupt
        commit(journal, state)
        if state.round == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "commit", ends)
    with pytest.raises(KeyboardInterrupt):
        run(ALL, hospitals, tmp_path / "cut")
    monkeypatch.undo()
    close_sessions()
    run(ALL, hospitals, tmp_path / "cut", resume=True)
    for name in NAMES:
        whole, cut = (load_site(tmp_path / folder / "sites" / name) for folder in ("whole", "cut"))
        for file in (PARTS, HEADS, MODEL):
            assert own_bytes(whole, file) == own_bytes(cut, file)


def test_local_parts_of_a_round_that_is_asked_again_begin_where_they_began(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text('[site]\nname = "north"\n[data]\nfiles = ["rows.csv"]\n')
    config, layout, store = load_site(tmp_path), Layout(plan_with(HEADS_ONLY)), Vaulted(VaultKey(bytes(32)), "north")
    parts = LocalParts(config, layout, store)
    received, started, trained = (np.full(layout.parameters, value, dtype=np.float32) for value in (0, 1, 2))
    assert parts.put_into(received, before=1) is received
    parts.keep(3, started=started, trained=trained)

    def own(before: int | None) -> float:
        found = parts.put_into(received, before=before)
        assert (found[~layout.local] == 0).all() and len(set(found[layout.local])) == 1
        return float(found[layout.local][0])

    assert [own(before) for before in (None, 4, 9, 3, 2, 1)] == [2, 2, 2, 1, 0, 0]
    other = LocalParts(config, Layout(plan_with({"local": ["heads"]}, training={"rounds": 9})), store)
    assert other.put_into(received) is received
    store.write(tmp_path / HEADS, b"cut off")
    with pytest.raises(ConsiliumError, match="is damaged"):
        parts.put_into(received)
