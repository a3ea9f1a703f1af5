"""site.toml: what is read, what is refused and with which sentence, and that a written one reads the same."""

from collections.abc import Callable
from pathlib import Path

import pytest

from client.config import SiteConfig, find_sites, load_site, virtual_site, write_site_toml
from client.policy.policy import SIMULATED, load_policy, write_policy
from common.errors import ConsiliumError, PlanError
from common.privacy.events import UNNOISED_KINDS

FULL = """
[site]
name = "st-mary"
device = "cuda:0"
keys = "secrets"
plan = "../federation.toml"
folder = "state"
[data]
files = ["a.csv", "/data/b.csv"]
labels = ["labels.csv"]
encoding = "latin-1"
separator = ";"
[columns]
heart_rate = "Puls"
smoker = ""
[units]
weight_kg = "[lb_av]"
"""
MINIMAL = '[site]\nname = "a"\n[data]\nfiles = ["a.csv"]\n'


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_relative_paths_count_from_the_site_toml(tmp_path: Path) -> None:
    config = load_site(_write(tmp_path / "h" / "site.toml", FULL))
    assert config.name == "st-mary"
    assert config.files == (tmp_path / "h" / "a.csv", Path("/data/b.csv"))
    assert config.labels == (tmp_path / "h" / "labels.csv",)
    assert config.keys == tmp_path / "h" / "secrets"
    assert config.folder == tmp_path / "h" / "state"
    assert config.plan is not None and config.plan.resolve() == tmp_path / "federation.toml"
    assert not config.bare


def test_defaults(tmp_path: Path) -> None:
    config = load_site(_write(tmp_path / "site.toml", MINIMAL).parent)
    assert (config.site.device, config.data.encoding, config.data.separator) == ("auto", "utf-8", ",")
    assert (config.folder, config.keys, config.plan) == (tmp_path, tmp_path / "keys", None)
    assert config.policy == tmp_path / "policy.toml"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (MINIMAL + "file = 1\n", "unknown key 'data.file'"),
        ('[site]\nname = "a"\n', "required key 'data' is missing"),
        ('[site]\nname = "a"\n[data]\nfiles = []\n', "'data.files' is"),
        (MINIMAL.replace('"a"', '"A b"'), "'site.name' is 'A b'"),
        (MINIMAL.replace("[data]", 'device = "gpu"\n[data]'), "'site.device' is 'gpu'"),
        (MINIMAL + 'encoding = "utf-9"\n', "data.encoding: found 'utf-9'"),
        (MINIMAL + 'encoding = "hex"\n', "data.encoding: found 'hex'; allowed is a text encoding such as 'utf-8'"),
        (MINIMAL + 'encoding = "a\\u0000"\n', "data.encoding: found 'a\\x00'"),
        (MINIMAL + 'separator = ";;"\n', "'data.separator' is ';;'"),
        *(
            (MINIMAL + f'separator = "{mark}"\n', "data.separator: found '")
            for mark in ("§", "\\u0000", "\\n", "\\r", '\\"')
        ),
        (MINIMAL.replace("a.csv", "a\\u0000.csv"), "'data.files.0' is 'a\\x00.csv'"),
        (MINIMAL + "x = " + "[" * 5000, "not valid TOML: arrays or tables are nested too deeply."),
        (MINIMAL + "x = " + "1" * 5000, "not valid TOML: Exceeds the limit"),
        (MINIMAL + "[columns]\nage = 3\n", "'columns.age' is 3"),
        (MINIMAL + "[secure]\nmin_cohort = 3\n", "[secure] belongs in policy.toml beside this file now"),
        ("[site\n", "not valid TOML"),
    ],
)
def test_every_mistake_names_the_file_and_the_key(tmp_path: Path, text: str, sentence: str) -> None:
    path = _write(tmp_path / "site.toml", text)
    with pytest.raises(PlanError) as caught:
        load_site(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["key_env", "passphrase_env", "key_file"])
def test_a_secret_in_the_wrong_place_is_not_shown(tmp_path: Path, key: str) -> None:
    secret = "correct horse\\u0000"
    (tmp_path / "site.toml").write_text(
        f'[site]\nname = "a"\n[data]\nfiles = ["a.csv"]\n[at_rest]\n{key} = "{secret}"\n'
    )
    with pytest.raises(PlanError, match=rf"'at_rest\.{key}' \(its value is not shown here\) has to be ") as caught:
        load_site(tmp_path)
    assert "horse" not in str(caught.value)


def test_a_missing_file_a_folder_without_site_and_a_binary_file(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"nowhere\.toml: no such file"):
        load_site(tmp_path / "nowhere.toml")
    with pytest.raises(PlanError, match=r"this folder holds no site\.toml"):
        load_site(tmp_path)
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlanError, match=r"x\.toml: not valid TOML"):
        load_site(tmp_path / "x.toml")


@pytest.mark.parametrize("read", [load_site, find_sites])
@pytest.mark.parametrize("end", [".csv", ".toml", ""])
def test_a_path_that_no_file_can_have_is_one_sentence(tmp_path: Path, read: Callable[[Path], object], end: str) -> None:
    with pytest.raises(PlanError, match=r"xx.*: cannot be read: \S.*\.$"):
        read(tmp_path / ("x" * 5000 + end))


@pytest.mark.parametrize("separator", [";", "\\t", " ", "|", "\\u0001"])
def test_any_ascii_separator_is_allowed(tmp_path: Path, separator: str) -> None:
    config = load_site(_write(tmp_path / "site.toml", MINIMAL + f'separator = "{separator}"\n'))
    assert len(config.data.separator) == 1


@pytest.mark.parametrize(
    ("file", "name"),
    [("Midwest_100-249.csv", "midwest_100-249"), ("St. Mary's.csv.gz", "st_mary_s"), ("_X.PARQUET", "x")],
)
def test_a_bare_table_is_a_site_named_after_its_file(tmp_path: Path, file: str, name: str) -> None:
    config = load_site(_write(tmp_path / file, "a\n1\n"))
    assert config.bare
    assert config.name == name
    assert config.files == (tmp_path / file,)
    assert not config.columns


def test_a_file_name_without_letters_makes_no_site(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no site name can be made"):
        load_site(_write(tmp_path / "-.csv", "a\n"))


def test_find_sites_takes_tables_named_tomls_and_sub_folders_but_no_table_twice(tmp_path: Path) -> None:
    for name in ("z.csv", "m.parquet", "n.csv.gz", "claimed.csv", "labels.csv", ".hidden.csv", "notes.txt"):
        _write(tmp_path / name, "x\n")
    _write(
        tmp_path / "own.site.toml", '[site]\nname = "own"\n[data]\nfiles = ["claimed.csv"]\nlabels = ["labels.csv"]\n'
    )
    _write(tmp_path / "sub" / "site.toml", MINIMAL)
    _write(tmp_path / "other" / "a.csv", "x\n")
    assert [site.name for site in find_sites(tmp_path)] == ["a", "m", "n", "own", "z"]


def test_two_sites_with_one_name_are_refused_and_both_files_named(tmp_path: Path) -> None:
    _write(tmp_path / "A.csv", "x\n")
    _write(tmp_path / "a.parquet", "x\n")
    with pytest.raises(PlanError, match=r"A\.csv and .*a\.parquet are both the site 'a'"):
        find_sites(tmp_path)


def test_no_site_no_folder_and_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"no site found; expected one table \(\.csv, \.csv\.gz, \.parquet\) per site"):
        find_sites(tmp_path)
    with pytest.raises(PlanError, match="does not exist"):
        find_sites(tmp_path / "nowhere")
    with pytest.raises(PlanError, match="is a file"):
        find_sites(_write(tmp_path / "a.csv", "x\n"))


@pytest.mark.parametrize("text", [FULL, MINIMAL], ids=["full", "minimal"])
def test_a_written_site_reads_the_same(tmp_path: Path, text: str) -> None:
    config = load_site(_write(tmp_path / "h" / "site.toml", text))
    written = write_site_toml(config, tmp_path / "elsewhere" / "site.toml")
    assert _meaning(load_site(tmp_path / "elsewhere" / "site.toml")) == _meaning(written)
    assert (written.name, written.files, written.labels, written.plan) == (
        config.name, config.files, config.labels, config.plan,
    )  # fmt: skip
    assert (written.columns, written.units, written.data.encoding) == (
        config.columns,
        config.units,
        config.data.encoding,
    )
    assert written.site.device == config.site.device
    again = write_site_toml(written, tmp_path / "third" / "site.toml")
    assert again.files == config.files
    assert sorted(path.name for path in (tmp_path / "third").iterdir()) == ["policy.toml", "site.toml"]


def test_a_virtual_site_shares_the_data_and_nothing_else(tmp_path: Path) -> None:
    config = load_site(_write(tmp_path / "h" / "site.toml", FULL))
    path = tmp_path / "run" / "sites" / "st-mary" / "site.toml"
    virtual = write_site_toml(virtual_site(config, plan=tmp_path / "run" / "plan.json"), path)
    assert (virtual.name, virtual.files, virtual.columns) == (config.name, config.files, config.columns)
    assert (virtual.folder, virtual.keys) == (path.parent, path.parent / "keys")
    assert load_policy(virtual.policy).budget.allow_unnoised == UNNOISED_KINDS and virtual.policy.parent == path.parent
    assert virtual.plan == tmp_path / "run" / "plan.json"


def test_a_virtual_site_keeps_the_policy_of_the_real_one(tmp_path: Path) -> None:
    config = load_site(_write(tmp_path / "h" / "site.toml", FULL.replace('keys = "secrets"', 'policy = "own.toml"')))
    own = write_policy(config.policy, SIMULATED | {"secure": {"min_cohort": 7}})
    virtual = write_site_toml(virtual_site(config, plan=None), tmp_path / "run" / "site.toml")
    assert virtual.policy == tmp_path / "h" / "own.toml" and load_policy(virtual.policy) == own
    assert not (tmp_path / "run" / "policy.toml").exists()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    config = load_site(_write(tmp_path / "a.csv", "x\n"))
    with pytest.raises(ConsiliumError, match=r"site\.toml: cannot be written: "):
        write_site_toml(config, tmp_path / "a.csv" / "site.toml")


def _meaning(config: SiteConfig) -> tuple[object, ...]:
    return (config.model_dump(), config.source, config.files, config.labels, config.keys, config.folder, config.plan)
