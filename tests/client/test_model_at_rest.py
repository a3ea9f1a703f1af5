"""The model that a run leaves at a site: encrypted, used as it is, and taken out by a command."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client import predict
from client.at_rest.cli import model as take_out
from client.at_rest.files import MODEL, is_sealed
from client.at_rest.key import vaulted
from client.config import SiteConfig, load_site
from client.predict import predict_file
from client.secure import keys
from common.errors import ConsiliumError, ModelFileError
from common.model import Layout, Normaliser, initial_parameters
from common.model_file import ModelFile
from common.plan import Plan
from tests.conftest import small_table


@pytest.fixture
def content(plan: Plan) -> bytes:
    features, tasks = len(plan.features), len(plan.tasks)
    edges = np.tile(np.array([0, 50, 100, 150, 200], dtype=np.float32), (features, 1))
    ones, zeros = np.ones(max(features, tasks), "f4"), np.zeros(max(features, tasks), "f4")
    scale = (zeros[:features], ones[:features], edges, ones[:features], zeros[:tasks], ones[:tasks], ones[:tasks], 9.0)
    return ModelFile(plan, initial_parameters(Layout(plan), seed=0), Normaliser(*scale)).to_bytes()


@pytest.fixture
def site(tmp_path: Path, content: bytes) -> SiteConfig:
    """A site with a model from a run that came to its end."""
    (tmp_path / "north").mkdir()
    (tmp_path / "north" / "site.toml").write_text('[site]\nname = "north"\n[data]\nfiles = ["rows.csv"]\n')
    small_table(0).to_csv(tmp_path / "north" / "rows.csv", index=False)
    config = load_site(tmp_path / "north")
    keys.make_keys(config, os.urandom)
    vaulted(config).write(config.folder / MODEL, content)
    return config


def test_predictions_are_those_of_the_open_model(site: SiteConfig, content: bytes, tmp_path: Path) -> None:
    sealed, plain = site.folder / MODEL, tmp_path / "plain.safetensors"
    assert is_sealed(sealed.read_bytes()) and content[:200] not in sealed.read_bytes()
    plain.write_bytes(content)
    for number, path in enumerate((sealed, plain)):
        assert predict_file(path, site.files[0], tmp_path / f"{number}.csv", probabilities=True) == 90
        assert (tmp_path / f"{number}.csv").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "0.csv").read_bytes() == (tmp_path / "1.csv").read_bytes()


def test_where_predictions_cannot_go_is_told_before_the_table_is_read(
    site: SiteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "load_for_prediction", lambda *_: pytest.fail("read before it looked"))
    for out in (tmp_path, site.files[0] / "inside" / "p.csv"):
        with pytest.raises(ConsiliumError, match="cannot be written"):
            predict_file(site.folder / MODEL, site.files[0], out, probabilities=False)


def test_the_command_takes_it_out(site: SiteConfig, content: bytes, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    take_out(site.source, out)
    assert out.read_bytes() == content and out.stat().st_mode & 0o777 == 0o600


def _move(site: SiteConfig) -> Path:
    return (site.folder / MODEL).rename(site.folder.parent / MODEL)


def _flip(site: SiteConfig) -> Path:
    path, data = site.folder / MODEL, bytearray((site.folder / MODEL).read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    return path


def _other_key(site: SiteConfig) -> Path:
    (site.keys / "at-rest.key").write_text("ab" * 32)
    return site.folder / MODEL


def _no_key(site: SiteConfig) -> Path:
    (site.keys / "at-rest.key").unlink()
    return site.folder / MODEL


@pytest.mark.parametrize(
    ("spoil", "error", "told"),
    [
        (_move, ModelFileError, r"enc: is encrypted, and no site\.toml beside it names the key; `consilium site model"),
        (_flip, ConsiliumError, r"enc: is damaged"),
        (_other_key, ConsiliumError, r"enc: was encrypted with another key"),
        (_no_key, ConsiliumError, r"at-rest\.key: no such file"),
    ],
)
def test_what_does_not_open_is_one_sentence_and_leaves_nothing(
    spoil: Callable[[SiteConfig], Path], error: type, told: str, site: SiteConfig, tmp_path: Path
) -> None:
    path, out = spoil(site), tmp_path / "out"
    with pytest.raises(error, match=told):
        predict_file(path, site.files[0], out, probabilities=False)
    with pytest.raises(ConsiliumError):
        take_out(site.source, out)
    assert not out.exists()


@pytest.mark.parametrize("out", ["keys/at-rest.key", "keys/new", MODEL])
def test_the_open_model_replaces_no_file_of_the_sites(out: str, site: SiteConfig) -> None:
    before = {path: path.read_bytes() for path in site.folder.rglob("*") if path.is_file()}
    with pytest.raises(ConsiliumError, match="belongs to this site's encrypted files"):
        take_out(site.source, site.folder / out)
    assert {path: path.read_bytes() for path in site.folder.rglob("*") if path.is_file()} == before


def test_a_site_without_a_model_says_so(site: SiteConfig, tmp_path: Path) -> None:
    (site.folder / MODEL).unlink()
    with pytest.raises(ConsiliumError, match=r"model\.safetensors\.enc: no such file; a run that came to its end"):
        take_out(site.source, tmp_path / "out")
