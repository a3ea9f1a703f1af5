"""Tables read in another process are those read in this one; whatever ends that process, no value is told."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.config import SiteConfig, load_site
from client.data import apart, pipe, table
from client.site_rows import SiteRows
from common.errors import ConsiliumError, DataError, PlanError, Refusal
from common.plan import Plan
from tests.client.network.test_supervisor import runs, until
from tests.conftest import small_table

SECRET = "patient-Ada-Lovelace-4711"
HEAVY = {"pandas", "pyarrow", "pandera"}


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., SiteConfig]:
    """site(more): of the small table, with more lines of site.toml."""

    def make(more: str = "", *, files: str = "rows.csv") -> SiteConfig:
        rows = small_table(0)
        if files.endswith(".parquet"):
            rows.to_parquet(tmp_path / files)
        elif not (tmp_path / files).exists():
            rows.to_csv(tmp_path / files, index=False)
        (tmp_path / "site.toml").write_text(f'[site]\nname = "north"\n[data]\nfiles = ["{files}"]\n{more}\n')
        return load_site(tmp_path)

    return make


@pytest.mark.parametrize(
    ("files", "more"),
    [
        ("rows.csv", ""),
        ("rows.parquet", ""),
        ("rows.csv.gz", '[columns]\nsmoker = ""\n'),
        ("rows.csv", 'exclude_patients = ["s0-001", "nobody"]'),
        ("rows.csv", 'exclude_patients = "objections.txt"'),
    ],
)
def test_the_table_is_the_one_that_is_read_in_this_process(
    files: str, more: str, site: Callable[..., SiteConfig], plan: Plan, tmp_path: Path
) -> None:
    (tmp_path / "objections.txt").write_text("s0-002\n")
    config = site(more, files=files)
    here, there = table.load_table(config, plan), apart.load_table_apart(config, plan)
    for name in pipe.ARRAYS:
        one, other = getattr(here, name), getattr(there, name)
        assert (one.dtype, one.shape, one.strides) == (other.dtype, other.shape, other.strides)
        assert one.tobytes() == other.tobytes() and other.flags.writeable, name
    assert (there.site, there.report, there.objections) == (here.site, here.report, here.objections)
    assert json.dumps(there.report.to_json()) == json.dumps(here.report.to_json())


@pytest.mark.parametrize(
    ("more", "files", "kind"),
    [
        ('[columns]\nage = "years"', "rows.csv", DataError),
        ('[columns]\nheight = "age"', "rows.csv", PlanError),
        ('exclude_patients = "nowhere.txt"', "rows.csv", PlanError),
        ("", "absent/rows.csv", DataError),
    ],
)
def test_a_refused_table_is_refused_with_the_same_sentence(
    more: str, files: str, kind: type, site: Callable[..., SiteConfig], plan: Plan, tmp_path: Path
) -> None:
    config = site(more)
    if files != "rows.csv":
        config = config.model_copy(update={"data": config.data.model_copy(update={"files": (files,)})})
    with pytest.raises(kind) as here:
        table.load_table(config, plan)
    with pytest.raises(kind) as there:
        apart.load_table_apart(config, plan)
    assert (type(there.value), str(there.value)) == (type(here.value), str(here.value))


@pytest.mark.parametrize(
    "error", [DataError("a."), PlanError("b."), ConsiliumError("c."), Refusal("cannot_record", "d.", about="south")]
)
def test_an_error_of_ours_arrives_as_it_left(error: ConsiliumError) -> None:
    passed = io.BytesIO()
    pipe.send_error(passed, error)
    passed.seek(0)
    with pytest.raises(ConsiliumError) as found:
        pipe.receive_table(passed)
    assert type(found.value) is type(error) and (str(found.value), vars(found.value)) == (str(error), vars(error))


def test_an_answer_that_is_cut_off_anywhere_is_no_table(site: Callable[..., SiteConfig], plan: Plan) -> None:
    whole = io.BytesIO()
    pipe.send_table(whole, table.load_table(site(), plan))
    size = whole.tell()
    for length in {0, 1, *np.linspace(2, size - 1, 40).astype(int).tolist()}:
        with pytest.raises(pipe.CutOff):
            pipe.receive_table(io.BytesIO(whole.getvalue()[:length]))
    pipe.receive_table(io.BytesIO(whole.getvalue()))


def _plant(folder: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every Python that is started from now on run `code` first."""
    (folder / "planted").mkdir()
    (folder / "planted" / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder / "planted"), *sys.path]))


FAILING = f"""
import sys
from client.data import table

def fail(config, plan):
    print("{SECRET}", flush=True)
    print("{SECRET}", file=sys.stderr, flush=True)
    try:
        {{}}["{SECRET}"]
    except KeyError as error:
        raise ValueError("{SECRET}") from error

table.load_table = fail
"""


def test_an_error_that_is_not_ours_tells_where_and_no_value(
    site: Callable[..., SiteConfig],
    plan: Plan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    _plant(tmp_path, FAILING, monkeypatch)
    with pytest.raises(ConsiliumError) as found:
        apart.load_table_apart(site(), plan)
    assert type(found.value) is ConsiliumError and found.value.__cause__ is None
    assert str(found.value).startswith("the tables could not be read: ValueError at sitecustomize.py:")
    assert " fail < reader.py:" in str(found.value) and ", after KeyError at " in str(found.value)
    assert SECRET not in str(found.value) and capfd.readouterr() == ("", "")


def test_a_process_that_ends_before_it_is_asked(
    site: Callable[..., SiteConfig], plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the request is longer than a pipe holds."""
    _plant(tmp_path, "import os\nos._exit(3)\n", monkeypatch)
    long = json.dumps([f"nobody-{number}" for number in range(20_000)])
    with pytest.raises(ConsiliumError, match=r"site\.toml: the process that reads the tables ended with status 3"):
        apart.load_table_apart(site(f"exclude_patients = {long}"), plan)


def _readers(parent: int) -> list[int]:
    threads = Path(f"/proc/{parent}/task").glob("*/children")
    children = [int(child) for path in threads for child in path.read_text().split()]
    return [child for child in children if b"client.data.reader" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_a_process_that_is_killed_while_it_reads(site: Callable[..., SiteConfig], plan: Plan, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rows.csv")
    killed: list[int] = []

    def kill() -> None:
        with open(tmp_path / "rows.csv", "wb"):  # as soon as it is opened for reading
            killed.extend(_readers(os.getpid()))
            os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ConsiliumError, match=r"the process that reads the tables was ended by SIGKILL before it had"):
        apart.load_table_apart(site(), plan)
    killer.join()
    assert len(killed) == 1 and not runs(killed[0])


READS = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
from client.config import load_site
from client.data.apart import load_table_apart
from common.files import read_plan
from pathlib import Path
load_table_apart(load_site(sys.argv[1]), read_plan(Path(sys.argv[2])))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_process_ends_with_the_one_that_asked(
    number: signal.Signals, site: Callable[..., SiteConfig], plan: Plan, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "rows.csv")
    (tmp_path / "plan.json").write_bytes(plan.canonical)
    asking = subprocess.Popen(
        [sys.executable, "-c", READS, str(site().source), str(tmp_path / "plan.json")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.DEVNULL,
    )
    try:
        held: list[int] = []

        def opened() -> bool:
            try:
                held.append(os.open(tmp_path / "rows.csv", os.O_WRONLY | os.O_NONBLOCK))
            except OSError:  # nobody reads it yet
                return False
            return True

        until(opened, "the reading")
        (reader,) = _readers(asking.pid)
        asking.send_signal(number)
        assert asking.wait(30) == -number
        until(lambda: not runs(reader), "its end")
        os.close(held[0])
    finally:
        asking.kill()
        asking.wait()


PREPARED = """
import sys
from client.network import worker
from client.runner import prepare
from client.config import load_site
from client.site_rows import SiteRows
from common.files import read_plan
from pathlib import Path
prepare()
rows = SiteRows(load_site(sys.argv[1]), read_plan(Path(sys.argv[2])))
print(rows.dataset, *{name.partition(".")[0] for name in sys.modules})
"""


def test_a_runner_never_imports_what_only_reading_takes(
    site: Callable[..., SiteConfig], plan: Plan, tmp_path: Path
) -> None:
    config = site()
    (tmp_path / "plan.json").write_bytes(plan.canonical)
    words = [sys.executable, "-c", PREPARED, str(config.source), str(tmp_path / "plan.json")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout.split()
    assert "torch" in told and not HEAVY & set(told)
    assert told[0] == SiteRows(config, plan).dataset and set(sys.modules) >= HEAVY
