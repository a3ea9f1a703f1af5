"""`consilium adapt` from the command line: files, an encrypted model, and one sentence for what is wrong."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from client.adapt import command
from client.adapt.command import adapt_files
from client.at_rest.files import MODEL, is_sealed
from client.at_rest.key import vaulted
from client.config import load_site
from client.predict import predict_file
from client.secure import keys
from common.errors import ConsiliumError
from tests.client.adapt.conftest import KNOWN


def consilium(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "experiments", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_from_the_command_line_to_predictions(place: Path) -> None:
    own, model, out = place / "own.csv", place / "model.safetensors", place / "new.safetensors"
    options = ("--plan", place / "task.toml", "--task", "ninth", "--out", out, "--labels", "10,9000", "--draws", 2)
    done = consilium("adapt", model, own, *options)
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    assert "10 labels: too few draws to say which is better (2, at least 5 are needed); adapted against" in shown
    assert "better than" not in shown and "9000 labels: not compared" in shown
    report = json.loads((place / "new.json").read_text())
    assert report["sizes"][0]["labels"] == 10 and report["model_plan_hash"] != report["plan_hash"]
    page = (place / "new.html").read_text()
    mean = report["sizes"][0]["methods"]["adapted"]["mean"]
    assert f"{mean:.3f} [" in page and "Nothing left this site" in page and not re.search("https?://", page)
    done = consilium("predict", out, own, "--out", place / "p.csv")
    assert done.returncode == 0, done.stderr
    assert list(pd.read_csv(place / "p.csv").columns) == ["patient", "stay", *KNOWN, "ninth"]
    for name in ("new.safetensors", "new.json", "new.html"):
        assert (place / name).stat().st_mode & 0o777 == 0o600


def test_an_error_is_one_sentence_and_leaves_nothing(place: Path) -> None:
    out = place / "new.safetensors"
    options = ("--plan", place / "task.toml", "--task", "first", "--out", out)
    done = consilium("adapt", place / "model.safetensors", place / "own.csv", *options)
    assert done.returncode == 2 and done.stdout.strip() == ""
    text = done.stderr.strip()
    assert "the model has a task 'first' already" in text and "Traceback" not in text and len(text.splitlines()) == 1
    assert not list(place.glob("new.*"))


def files(place: Path, **changes: Any) -> dict[str, Any]:
    options: dict[str, Any] = {
        "model": place / "model.safetensors",
        "site": place / "own.csv",
        "plan": place / "task.toml",
        "out": place / "new.safetensors",
        "task": "ninth",
        "unfreeze": False,
        "sizes": "",
        "draws": 2,
        "seed": 0,
        "tell": lambda text: None,
    }
    return adapt_files(**options | changes)


WRONG: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "no such task": (lambda p: {"task": "tenth"}, "--task tenth is none of its tasks; the file has ninth, cost"),
    "several tasks": (lambda p: {"task": None}, "needs a --task"),
    "no label column": (lambda p: {"task": "nowhere"}, "no row has a label|no table has the column 'no_such_column'"),
    "no model": (lambda p: {"model": p / "own.csv"}, "not a readable safetensors file"),
    "no task file": (lambda p: {"plan": p / "own.csv"}, "not valid TOML"),
    "a table in the way": (lambda p: {"out": p / "own.csv"}, "choose another --out"),
    "the model itself": (lambda p: {"out": p / "model.safetensors"}, "choose another --out"),
    "another ending": (lambda p: {"out": p / "new.bin"}, "ends in .safetensors"),
    "labels": (lambda p: {"sizes": "10,many"}, "--labels 10,many: expected whole numbers"),
    "two labels": (lambda p: {"sizes": "2"}, "at least 4"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told(place: Path, name: str) -> None:
    changes, words = WRONG[name]
    before = {path: path.read_bytes() for path in place.iterdir()}
    with pytest.raises(ConsiliumError, match=words) as raised:
        files(place, **changes(place))
    assert "\n" not in str(raised.value)
    assert {path: path.read_bytes() for path in place.iterdir()} == before


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_a_label_that_the_model_has_learnt_is_no_new_task(place: Path, kind: str) -> None:
    ranged = "range = [0, 1]" if kind == "regression" else ""
    (place / "task.toml").write_text(f'[[tasks]]\nname = "again"\nlabel = "second"\nkind = "{kind}"\n{ranged}')
    with pytest.raises(ConsiliumError, match="has learnt the label 'second' already, as its task 'second'; name"):
        files(place, task=None)
    (place / "task.toml").write_text('[[tasks]]\nname = "ninth"\nlabel = "ninth"\n')
    files(place, task=None, unfreeze=True)
    (place / "task.toml").write_text('[[tasks]]\nname = "again"\nlabel = "second"\n')
    report = files(place, task=None, model=place / "new.safetensors", out=place / "more.safetensors")
    assert report["task"] == "again"  # of the moved encoder "second" has no head any more


@pytest.mark.parametrize("name", ["new.safetensors", "new.json", "new.html"])
def test_what_adapt_did_not_write_is_left_alone_and_told_before_the_work(
    place: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(place)
    again = {path: path.read_bytes() for path in place.iterdir()}
    files(place)  # its own three are replaced
    assert {path: path.read_bytes() for path in place.iterdir()} == again
    for each in ("new.safetensors", "new.json", "new.html"):
        (place / each).unlink()
    monkeypatch.setattr(command, "adapt", lambda *_, **__: pytest.fail("worked before it looked"))
    (place / name).write_bytes(b'{"schema": "consilium/result/1"}')
    with pytest.raises(ConsiliumError, match=rf"{name}: exists, and `consilium adapt` did not write it"):
        files(place)
    assert (place / name).read_bytes() == b'{"schema": "consilium/result/1"}'
    (place / name).unlink()
    (place / name).mkdir()
    with pytest.raises(ConsiliumError, match=rf"{name}: exists|not an ordinary file|cannot be read"):
        files(place)
    assert [path.name for path in place.glob("new.*")] == [name]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tasks = 3", "holds no task"),
        ('[[tasks]]\nname = "ninth"', "required key 'label' is missing"),
        ('[[tasks]]\nname = "ninth"\nlabel = "x0"', "feature 'x0' is the label of task 'ninth'"),
        ('[[tasks]]\nname = "ninth"\nlabel = "ninth"\nexclude = ["bmi"]', "no feature of this plan"),
    ],
)
def test_a_wrong_task_names_its_file(place: Path, text: str, words: str) -> None:
    (place / "task.toml").write_text(text)
    with pytest.raises(ConsiliumError, match=words) as raised:
        files(place, task=None)
    assert str(raised.value).startswith(f"{place / 'task.toml'}: ")


def test_an_encrypted_model_stays_so(place: Path) -> None:
    home = place / "north"
    home.mkdir()
    (home / "site.toml").write_text('[site]\nname = "north"\n[data]\nfiles = ["../own.csv"]\n')
    config = load_site(home)
    keys.make_keys(config, os.urandom)
    vaulted(config).write(home / MODEL, (place / "model.safetensors").read_bytes())
    for out in (place / "new.safetensors", home / "new.safetensors", place / "new.safetensors.enc"):
        with pytest.raises(ConsiliumError, match="what is made from it stays so"):
            files(place, model=home / MODEL, site=home, out=out)
    out = home / "new.safetensors.enc"
    files(place, model=home / MODEL, site=home, out=out)
    assert is_sealed(out.read_bytes())
    predict_file(out, place / "own.csv", place / "p.csv", probabilities=False)
    files(place)
    predict_file(place / "new.safetensors", place / "own.csv", place / "q.csv", probabilities=False)
    assert (place / "p.csv").read_bytes() == (place / "q.csv").read_bytes()


def test_what_looks_like_a_slip_in_the_table_is_told(place: Path) -> None:
    table = pd.read_csv(place / "own.csv")
    table.assign(x3=table["x3"] * 1000).to_csv(place / "own.csv", index=False)
    options = ("--plan", place / "task.toml", "--task", "ninth", "--out", place / "new.safetensors", "--labels", "")
    done = consilium("adapt", place / "model.safetensors", place / "own.csv", *options)
    assert done.returncode == 0 and "outside the plausible range" not in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: x3: ") and "outside the plausible range" in line
