"""No value of a patient is in any log, message, result or page: planted ones are looked for after runs that fail."""

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from client import work
from client.config import find_sites, load_site
from client.data.table import load_table
from client.session import Session
from client.sessions import close_sessions
from common.errors import ConsiliumError, DataError
from common.plan import plan_from_dict
from experiments.cli import main
from experiments.simulate import simulate
from tests.conftest import small_content
from tests.laws.planted import MARK, Scan, planted
from tests.messages import data_of
from tests.secure import Federation, Wire, build

pytestmark = pytest.mark.usefixtures("closed")
LATE = ("evaluate", "cross_check", "unmask", "close")  # asked again and again when they fail
HANDLERS = (
    "declare",
    "survey",
    "compare",
    "train",
    "finish",
    "cards",
    *(pytest.param(n, marks=pytest.mark.slow) for n in LATE),
)


def _machines(federation: Federation) -> tuple[Path, ...]:
    """All folders but that with the hospitals' own tables."""
    return tuple(path for path in federation.folder.iterdir() if path.name != "hospitals")


def _check_all(scan: Scan, federation: Federation, wire: Wire, capfd: pytest.CaptureFixture[str]) -> set[str]:
    close_sessions()
    names = {name for folder in _machines(federation) for name in scan.folder(folder)}
    for site, question, reply in wire.sent:
        scan.check(repr(question) + repr(reply), (site, question.metadata.message_type))
        if reply.has_content() and "arrays" in reply.content:
            scan.check(data_of(reply), (site, question.metadata.message_type))
    for stream in capfd.readouterr():
        scan.check(stream, "terminal")
    return names


@pytest.mark.parametrize("secure", [False, True])
def test_nothing_of_a_whole_run_holds_one(secure: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tables = {name: planted(seed) for seed, name in enumerate(("east", "north", "south"))}
    tables["south"].loc[3, "sbp"] = 9_876.123457  # out of range
    tables["south"].loc[4, "ward"] = f"{MARK}-ward"  # an unknown code
    tables["south"].loc[5, "died"] = 7
    tables["south"] = pd.concat([tables["south"], tables["south"].iloc[[6, 7]]])  # repeated patients
    federation, wire = build(tmp_path, secure=secure, tables=tables), Wire()
    assert federation.run(wire)["rounds"]
    names = _check_all(Scan(*tables.values()), federation, wire, capfd)
    assert {
        "site.log",
        "data_report.json",
        "unlike.json",
        "evaluation.json",
        "result.json",
        "report.html",
        "events.jsonl",
    } <= names


def _raise_with(row: dict[str, object], table: pd.DataFrame) -> None:
    """An error whose text is a table, caused by one with a row, and so on down to an identifier."""
    who = str(row["patient"])
    errors = [
        KeyError(who),
        UnicodeDecodeError("utf-8", who.encode(), 0, 1, who),
        FileNotFoundError(2, "No such file", f"/data/{who}.csv"),
        ValueError(f"could not convert string to float: {row!r}"),
    ]
    for error, cause in zip(errors[1:], errors, strict=False):
        error.__cause__ = cause
    raise LookupError(table.to_csv()) from errors[-1]


@pytest.mark.parametrize("handler", HANDLERS)
def test_no_error_in_a_handler_tells_one(handler: str, federation: Federation, monkeypatch, capfd) -> None:
    table = pd.read_csv(federation.folder / "hospitals" / "south.csv")
    honest, wire = getattr(work, handler), Wire()

    def fail(session: Session, request: object) -> object:
        if session.config.name == "south":
            _raise_with(table.iloc[0].to_dict(), table)
        return honest(session, request)

    monkeypatch.setattr(work, handler, fail)
    with suppress(ConsiliumError):
        federation.run(wire)
    _check_all(Scan(table), federation, wire, capfd)
    log = (federation.sites["south"].parent / "site.log").read_text()
    assert f"LookupError at {Path(__file__).name}" in log
    assert ", after ValueError, after FileNotFoundError, after UnicodeDecodeError, after KeyError" in log


@pytest.fixture
def federation(tmp_path: Path) -> Federation:
    return build(tmp_path, tables={name: planted(seed) for seed, name in enumerate(("east", "north", "south"))})


def _number_as_text(table: pd.DataFrame) -> pd.DataFrame:
    table["age"] = table["age"].astype(object)
    table.loc[3, "age"] = f"{MARK} forty"
    return table


def _decimal_comma(table: pd.DataFrame) -> pd.DataFrame:
    table["age"] = table["age"].map(lambda age: f"{age}".replace(".", ","))
    return table


def _label_as_text(table: pd.DataFrame) -> pd.DataFrame:
    table["died"] = table["died"].astype(object)
    table.loc[3, "died"] = f"{MARK} died"
    return table


def _no_labels(table: pd.DataFrame) -> pd.DataFrame:
    for column in ("died", "days", "level", "sbp_class"):
        table[column] = f"{MARK}" if column == "level" else np.nan
    return table


def _quoted(table: pd.DataFrame) -> pd.DataFrame:
    table.loc[3, "patient"] = f'{MARK}"\n{MARK},,,"'
    return table.drop(columns="age")


SPOILT = {
    "text for a number": _number_as_text,
    "a decimal comma": _decimal_comma,
    "text for a label": _label_as_text,
    "labels that cannot be used": _no_labels,
    "a column is missing": _quoted,
    "no patient": lambda table: table.assign(patient=""),
    "a header that is a patient": lambda table: table.rename(columns={"age": "Alter"}),
}


@pytest.mark.parametrize("how", SPOILT)
def test_no_sentence_about_a_table_tells_one(how: str, federation: Federation, capfd) -> None:
    whole = planted(2)
    file = federation.folder / "hospitals" / "south.csv"
    SPOILT[how](whole.copy()).to_csv(file, index=False)
    config = load_site(federation.sites["south"])
    with pytest.raises(DataError) as refused:
        load_table(config, federation.plan)
    Scan(whole).check(str(refused.value), how)
    wire = Wire()
    with suppress(ConsiliumError):
        federation.run(wire)
    _check_all(Scan(whole), federation, wire, capfd)
    assert "data_not_ready" in (federation.sites["south"].parent / "site.log").read_text()


RAW = {
    "rows of other lengths": lambda text: text + f"{MARK},1,2,3\n",
    "another encoding": lambda text: text.encode("latin-1"),
    "cut off within quotes": lambda text: text + f'"{MARK}',
    "binary": lambda text: b"PAR1" + text.encode() + bytes(range(256)),
    "no header": lambda text: text.partition("\n")[2],
}


@pytest.mark.parametrize("how", RAW)
def test_no_command_tells_one_of_a_damaged_table(how: str, tmp_path: Path, monkeypatch, capfd) -> None:
    """As people meet it: `consilium simulate`, `site check` and `predict`, to their exit status and last line."""
    whole = planted(2)
    folder = tmp_path / "hospitals"
    folder.mkdir()
    spoilt = RAW[how](whole.to_csv(index=False))
    (folder / "south.csv").write_bytes(spoilt if isinstance(spoilt, bytes) else spoilt.encode())
    for seed, name in enumerate(("east", "north")):
        planted(seed).to_csv(folder / f"{name}.csv", index=False)
    plan = tmp_path / "plan.json"
    plan.write_bytes(plan_from_dict(small_content(), source="small").canonical)
    monkeypatch.chdir(tmp_path)
    ended = []
    for command in (
        ["simulate", "plan.json", "--sites", "hospitals", "--out", "out"],
        ["site", "check", "hospitals/south.csv", "--plan", "plan.json"],
    ):
        monkeypatch.setattr("sys.argv", ["consilium", *command])
        with pytest.raises(SystemExit) as end:
            main()
        ended.append(end.value.code)
        told = capfd.readouterr()
        if how != "no header":  # then the hospital's own screen shows the names of columns that it has
            Scan(whole).check(told.out + told.err, command)
        assert "Traceback" not in told.err
    assert ended == [2, 2] or how == "cut off within quotes"
    if (tmp_path / "out").exists():
        Scan(whole).folder(tmp_path / "out")


def test_an_objection_names_nobody(tmp_path: Path, capfd) -> None:
    content = small_content()
    plan = plan_from_dict(content | {"training": {**content["training"], "rounds": 1}}, source="small")
    folder, table = tmp_path / "hospitals", planted(0)
    for seed, name in enumerate(("north", "south")):
        (folder / name).mkdir(parents=True)
        planted(seed).to_csv(folder / name / "rows.csv", index=False)
        named = [*planted(seed)["patient"][:3], f"{MARK}-nobody"]
        (folder / name / "objections.txt").write_text("\n".join(named))
        (folder / name / "site.toml").write_text(
            f'[site]\nname = "{name}"\n[data]\nfiles = ["rows.csv"]\nexclude_patients = "objections.txt"\n'
        )
    result = simulate(plan, find_sites(folder), tmp_path / "out")
    assert set(result["sites"]) == {"north", "south"}
    Scan(table, planted(1)).folder(tmp_path / "out")
    report = json.loads((tmp_path / "out" / "sites" / "north" / "data_report.json").read_text())
    assert (report["objected_patients"], report["unknown_objections"]) == (3, 1)
    assert report["patients"] == len(table) - 3
    for stream in capfd.readouterr():
        Scan(table).check(stream, "terminal")


def test_the_scan_finds_what_is_there(tmp_path: Path) -> None:
    table = planted(0)
    scan = Scan(table)
    for text in (f"row {table['age'][0]}, next", table["patient"][5], f'"{table["sbp"].dropna().iloc[0]}"'):
        (tmp_path / "some.log").write_text(text)
        with pytest.raises(AssertionError):
            scan.folder(tmp_path)
    (tmp_path / "some.log").write_text("0.123456 and 61.5")
    assert scan.folder(tmp_path) == ["some.log"]
