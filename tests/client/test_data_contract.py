"""What breaks the data contract is refused with one sentence that names the file and the column, and no value."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.config import SiteConfig, load_site
from client.data.table import SiteTable, load_for_prediction, load_table
from common.errors import ConsiliumError, DataError, PlanError
from common.plan import Plan, plan_from_dict
from tests.client.contract import GOOD, HEADER, contract_plan, table

Site = Callable[..., Path]


@pytest.fixture
def plan() -> Plan:
    return contract_plan()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Writes a table, and a site.toml where `toml` is given; the path is what `load_site` takes."""

    def write(content: str | bytes, name: str = "rows.csv", toml: str | None = None) -> Path:
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        if toml is None:
            return tmp_path / name
        (tmp_path / "site.toml").write_text(f'[site]\nname = "s"\n[data]\nfiles = ["{name}"]\n{toml}', encoding="utf-8")
        return tmp_path / "site.toml"

    return write


CORRUPT = "not a readable|damaged or cut off"
BAD: list[tuple[str, str | bytes, str, str]] = [
    ("empty file", "", "rows.csv", r"the file is empty; the first line must be a header"),
    ("blank lines only", "\n\n,,\n \n", "rows.csv", r"the file is empty; the first line must be a header"),
    ("only the separator", "sep=;\n", "rows.csv", r"the file is empty; the first line must be a header"),
    ("header and blank lines", HEADER + "\n\n", "rows.csv", r"a header but no rows\."),
    ("ragged below the separator", "sep=,\n" + GOOD + "c;1;2\n", "rows.csv", r"under \[data\], ',' now\."),
    ("header only", HEADER, "rows.csv", r"a header but no rows\."),
    ("header only, no line end", HEADER.strip(), "rows.csv", r"a header but no rows\."),
    ("empty Parquet", b"", "rows.parquet", CORRUPT),
    ("text as Parquet", GOOD, "rows.parquet", "not a readable Parquet file"),
    ("text as gzip", GOOD, "rows.csv.gz", CORRUPT),
    ("cut gzip", gzip.compress(GOOD.encode())[:-12], "rows.csv.gz", CORRUPT),
    ("column missing", GOOD.replace("heart_rate", "Heart Rate"), "rows.csv",
     r"column 'heart_rate', the plan's feature 'heart_rate', is missing; nearest: 'Heart Rate'; "
     r'under \[columns\] in site\.toml write heart_rate = "its name in this file", or heart_rate = ""'),
    ("patient missing", GOOD.replace("pid", "mrn"), "rows.csv", r"column 'pid', the plan's patient 'pid', is missing"),
    ("keep_rows missing", GOOD.replace("ok", "o"), "rows.csv", r"column 'ok', the plan's keep_rows 'ok', is missing"),
    ("another separator", GOOD.replace(",", ";"), "rows.csv",
     r"looks separated by ';': set 'separator' under \[data\]"),
    ("text among numbers", GOOD.replace("90", "fast"), "rows.csv",
     r"column 'heart_rate', the plan's feature 'heart_rate', holds 1 value\(s\) that are not numbers, first in row 2 "),
    ("all text", GOOD.replace("90", "fast").replace("80", "slow"), "rows.csv",
     r"'heart_rate'.* holds 2 value\(s\) that are not numbers, first in row 1 after the header"),
    ("decimal comma", GOOD.replace("90", '"90,5"'), "rows.csv", r"'heart_rate'.*decimal commas"),
    ("yes for 1", GOOD.replace("90,1", "90,yes"), "rows.csv", r"column 'sex'.*allowed: 0, 1, true or false"),
    ("text as label", GOOD.replace("x,0", "x,no"), "rows.csv",
     r"column 'y', the plan's label \(t\) 'y', holds 1 value"),
    ("column twice", GOOD.replace("c,y", "sex,y"), "rows.csv", r"column 'sex' occurs 2 times in the header"),
    ("ragged", GOOD + "c,1,2\n", "rows.csv", r"1 row\(s\) have another number of values than the 6 columns"),
    ("another encoding", GOOD.replace("a,1", "ä,1").encode("latin-1"), "rows.csv",
     r"not text in the encoding 'utf-8'; name the right one as 'encoding' under \[data\]"),
    ("encoding of the header", GOOD.replace("heart_rate", "härt").encode("latin-1"), "rows.csv", "encoding 'utf-8'"),
    ("nothing kept", GOOD.replace("a,1", "a,0").replace("b,1", "b,"), "rows.csv",
     r"no row is left of 2; dropped: not ok == 1 2\."),
    ("no patient", GOOD.replace("a,1", ",1").replace("b,1", "  ,1"), "rows.csv", r"no row is left.*no patient 2\."),
    ("no label column", GOOD.replace("c,y", "c,z"), "rows.csv", r"no row has a label for any task; .* are 'y'\."),
    ("no label", GOOD.replace("0,1\n", "0,\n").replace("x,0\n", "x,\n"), "rows.csv",
     r"no row has a label for any task"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "name", "sentence"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_table(site: Site, plan: Plan, content: str | bytes, name: str, sentence: str) -> None:
    path = site(content, name)
    with pytest.raises(DataError, match=sentence) as caught:
        table(path, plan)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    message = message.removeprefix(str(path))
    assert "\n" not in message
    assert not any(value in message for value in ("fast", "slow", "90,5", "yes"))


BAD_SITE = [
    ('labels = ["nowhere.csv"]\n', DataError, r"nowhere\.csv: no such file; check 'files' and 'labels' under \[data\]"),
    (
        '[columns]\nheart_rate = "hr"\n',
        DataError,
        r"rows\.csv: column 'hr', the plan's feature 'heart_rate', is missing",
    ),
    ('[columns]\ny = "outcome"\n', PlanError, r"site\.toml: \[columns\] y = 'outcome': no table of this site has that"),
    (
        '[columns]\nhartrate = "hr"\n',
        PlanError,
        r"\[columns\] 'hartrate' is no column of the plan; nearest: 'heart_rate'",
    ),
    ('[columns]\npid = ""\n', PlanError, r'\[columns\] pid = "" is only for features and labels'),
    ('[units]\nhart_rate = "/s"\n', PlanError, r"\[units\] 'hart_rate' is no numeric feature.*nearest: 'heart_rate'"),
    ('[units]\nsex = "kg"\n', PlanError, r"\[units\] 'sex' is no numeric feature and no regression task"),
    (
        '[units]\nheart_rate = "kg"\n',
        PlanError,
        r"\[units\] heart_rate: unit 'kg' cannot become '/min'; allowed: /min, /s",
    ),
]


@pytest.mark.parametrize(("toml", "kind", "sentence"), BAD_SITE)
def test_bad_site_toml(site: Site, plan: Plan, toml: str, kind: type[ConsiliumError], sentence: str) -> None:
    path = site(GOOD, toml=toml)
    with pytest.raises(kind, match=sentence) as caught:
        table(path, plan)
    assert str(caught.value).startswith(str(path.parent))


LEAKS = [
    ('sex = "y"', r"\[columns\] sex = 'y' makes one column the plan's label \(t\) 'y' and the plan's feature 'sex'; "),
    (
        'sex = " outcome "\ny = "outcome"',
        r"\[columns\] sex = 'outcome' makes one column the plan's label \(t\) 'y' and",
    ),
    ('y = "sex"', r"\[columns\] y = 'sex' makes one column the plan's label \(t\) 'y' and the plan's feature 'sex'"),
    ('heart_rate = "risk"', r"\[columns\] heart_rate = 'risk' makes one column the plan's oracle \(t\) 'risk' and"),
    ('heart_rate = "pid"', r"\[columns\] heart_rate = 'pid' makes one column the plan's patient 'pid' and"),
    ('heart_rate = "stay"', r"\[columns\] heart_rate = 'stay' makes one column the plan's row 'stay' and"),
    ('sex = "set"', r"\[columns\] sex = 'set' makes one column the plan's split_column 'set' and"),
    ('sex = "heart_rate"', r"\[columns\] sex = 'heart_rate' makes one column the plan's feature 'heart_rate' and"),
    ('sex = "z"\nc = "z"', r"\[columns\] c = 'z' makes one column the plan's feature 'sex' and the plan's feature 'c'"),
]


@pytest.mark.parametrize(("columns", "sentence"), LEAKS)
@pytest.mark.parametrize("load", [load_table, load_for_prediction])
def test_a_feature_has_a_column_of_its_own(
    site: Site, plan: Plan, load: Callable[[SiteConfig, Plan], SiteTable], columns: str, sentence: str
) -> None:
    content = plan.model_dump(mode="json")
    content["data"]["row"], content["split"]["split_column"], content["tasks"][0]["oracle"] = "stay", "set", ["risk"]
    path = site(GOOD, toml=f"[columns]\n{columns}\n")
    with pytest.raises(PlanError, match=sentence) as caught:
        load(load_site(path), plan_from_dict(content, source="test"))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_column_that_the_label_left_free_can_be_a_feature(site: Site, plan: Plan) -> None:
    swapped = table(site(GOOD, toml='[columns]\nsex = "y"\ny = "sex"\n'), plan)
    assert swapped.features[:, 1].tolist() == [1, 0]
    assert swapped.labels.tolist() == [[0], [1]]
    both = table(site(GOOD, toml='[columns]\nsex = ""\nc = ""\n'), plan)
    assert np.isnan(both.features[:, 1:]).all()


def test_a_file_name_that_no_file_can_have(site: Site, plan: Plan, tmp_path: Path) -> None:
    site(GOOD)
    (tmp_path / "site.toml").write_text(f'[site]\nname = "s"\n[data]\nfiles = ["{"x" * 5000}.csv"]\n')
    with pytest.raises(DataError, match=r"xx\.csv: cannot be read: \S.*\.$"):
        table(tmp_path / "site.toml", plan)


def test_a_folder_in_place_of_a_table(site: Site, plan: Plan, tmp_path: Path) -> None:
    path = site(GOOD, toml="")
    (tmp_path / "rows.csv").unlink()
    (tmp_path / "rows.csv").mkdir()
    with pytest.raises(DataError, match=r"rows\.csv: is a folder; "):
        table(path, plan)


def test_the_second_of_several_files_is_the_one_that_is_named(site: Site, plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text(GOOD.replace("90", "fast"))
    site(GOOD)
    (tmp_path / "site.toml").write_text('[site]\nname = "s"\n[data]\nfiles = ["rows.csv", "more.csv"]\n')
    with pytest.raises(DataError, match=r"more\.csv: column 'heart_rate'.*first in row 2 "):
        table(tmp_path / "site.toml", plan)


SAME = {
    "byte order mark": ("\ufeff" + GOOD, ""),
    "spaces in the header": (HEADER.replace(",", " , ") + GOOD.split("\n", 1)[1], ""),
    "spaces around values": (GOOD.replace("80", " 80 ").replace(",x,", ", x ,"), ""),
    "Windows line ends": (GOOD.replace("\n", "\r\n"), ""),
    "true and false": (GOOD.replace("80,0", "80,False").replace("90,1", "90,TRUE"), ""),
    "decimals": (GOOD.replace("80", "80.0").replace("0,0,1", "0.0,0.0,1.0"), ""),
    "latin-1": (GOOD.replace("pid", "Pät").encode("latin-1"), 'encoding = "latin-1"\n[columns]\npid = "Pät"\n'),
    "utf-16": (GOOD.encode("utf-16"), 'encoding = "utf-16"\n'),
    "semicolons": (GOOD.replace(",", ";"), 'separator = ";"\n'),
    "Excel's separator": ("sep=,\r\n" + GOOD.replace("\n", "\r\n"), ""),
    "Excel's separator, which is another": ("sep=;\n" + GOOD.replace(",", ";"), ""),
    "Excel's separator, a tab": ('\ufeff"SEP=\t"\n' + GOOD.replace(",", "\t"), 'separator = ";"\n'),
    "Excel's separator in utf-16": (
        ("sep=;\r\n\r\n" + GOOD.replace(",", ";")).encode("utf-16"),
        'encoding = "utf-16"\n',
    ),
    "blank lines above": ("\n\r\n \n" + GOOD, ""),
    "a byte order mark and blank lines above": ("\ufeff\n\n" + GOOD, ""),
    "empty cells above": ("sep=,\n,,,,,\n\n" + GOOD, ""),
    "blank lines above and old line ends": ("\n\n".replace("\n", "\r") + GOOD.replace("\n", "\r"), ""),
    "blank lines between": (GOOD.replace("\n", "\n\n"), ""),
    "other names": (GOOD.replace("ok", "KEEP").replace("y\n", "Z\n"), '[columns]\nok = "KEEP"\ny = "Z"\n'),
    "a broken note": (GOOD.replace("\n", ",note\xe4\n").replace("note\xe4", "note", 1).encode("latin-1"), ""),
    "a note with a line break": (GOOD.replace("\n", ',"1\n2, ""3"""\n'), ""),
}


@pytest.mark.parametrize("case", SAME)
def test_what_makes_no_difference(site: Site, plan: Plan, case: str) -> None:
    content, toml = SAME[case]
    expected = table(site(GOOD, "good.csv"), plan)
    found = table(site(content, toml=toml), plan)
    assert found.patients.tolist() == expected.patients.tolist() == ["a", "b"]
    assert found.features.tolist() == expected.features.tolist() == [[80, 0, 0], [90, 1, 2]]
    assert found.labels.tolist() == expected.labels.tolist() == [[1], [0]]
    assert found.split.tolist() == expected.split.tolist()
