"""site.toml: what one hospital calls its tables, columns and units. A bare table is a site without one."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import Field, PrivateAttr, ValidationError

from client.at_rest.rules import AtRestRules
from client.policy.policy import POLICY_FILE, SIMULATED, write_policy
from client.site_data import SiteData
from client.site_rules import PLAN_FILE, SiteRules
from common.errors import PlanError
from common.files import exists, write_atomic
from common.plan.base import Section
from common.plan.load import first_problem

SITE_FILE = "site.toml"
TABLE_SUFFIXES = (".csv", ".csv.gz", ".parquet")
_PATHS = ("keys", "folder", "plan", "policy")


class SiteConfig(Section):
    """One site.toml. Relative paths count from the folder that holds it."""

    site: SiteRules
    data: SiteData
    columns: dict[str, str] = Field(
        default={},
        description="Column of the plan -> column of this site's files, where the names differ; "
        '"" for a feature or label that this site does not record.',
    )
    units: dict[str, str] = Field(
        default={},
        description="Feature (or regression task, or its label) of the plan -> unit in this site's files, "
        "where it differs from the plan's.",
    )
    at_rest: AtRestRules = AtRestRules()
    _source: Path = PrivateAttr(default=Path(SITE_FILE))

    @property
    def name(self) -> str:
        return self.site.name

    @property
    def source(self) -> Path:
        """The site.toml, or the table itself where there is none."""
        return self._source

    @property
    def bare(self) -> bool:
        """True for a table without a site.toml."""
        return is_table(self._source)

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(self._resolve(name) for name in self.data.files)

    @property
    def labels(self) -> tuple[Path, ...]:
        return tuple(self._resolve(name) for name in self.data.labels)

    @property
    def hours(self) -> tuple[Path, ...]:
        return tuple(self._resolve(name) for name in self.data.hours)

    @property
    def tables(self) -> tuple[Path, ...]:
        return (*self.files, *self.labels, *self.hours)

    @property
    def exclude_patients(self) -> Path | tuple[str, ...]:
        """The file with the patients who object, or their identifiers themselves."""
        named = self.data.exclude_patients
        return self._resolve(named) if isinstance(named, str) else named

    @property
    def keys(self) -> Path:
        return self._resolve(self.site.keys)

    @property
    def policy(self) -> Path:
        return self._resolve(self.site.policy)

    @property
    def folder(self) -> Path:
        return self._resolve(self.site.folder)

    @property
    def plan(self) -> Path | None:
        if self.site.plan is not None:
            return self._resolve(self.site.plan)
        beside = self._resolve(PLAN_FILE)
        return beside if not self.bare and exists(beside) else None

    def _resolve(self, name: str) -> Path:
        return self._source.parent / name

    def at(self, source: Path) -> Self:
        """This very config, as if it had been read from `source`."""
        self._source = source
        return self


def load_site(path: str | Path) -> SiteConfig:
    """The site at `path`: a site.toml, a folder that holds one, or a bare table (CSV, CSV.gz, Parquet).

    Raises PlanError.
    """
    source = path = Path(path)
    try:
        source = path / SITE_FILE if path.is_dir() else path
        if is_table(source):
            return _bare(source)
        content = tomllib.loads(source.read_bytes().decode())
        if "secure" in content:
            raise PlanError(
                f"{source}: [secure] belongs in {POLICY_FILE} beside this file now; docs/policy.md has all."
            )
        return SiteConfig.model_validate(content).at(source.absolute())
    except FileNotFoundError:
        if path.is_dir():
            raise PlanError(f"{path}: this folder holds no {SITE_FILE}.") from None
        raise PlanError(f"{path}: no such file; a site is a {SITE_FILE}, its folder or a table.") from None
    except OSError as error:
        raise PlanError(f"{source}: cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        raise PlanError(f"{source}: {first_problem(error, content, hidden='at_rest')}") from None
    except RecursionError:
        raise PlanError(f"{source}: not valid TOML: arrays or tables are nested too deeply.") from None
    except ValueError as error:  # TOMLDecodeError and UnicodeDecodeError, and what int() refuses
        raise PlanError(
            f"{source}: not valid TOML: {error}; a site is a {SITE_FILE}, its folder or a table "
            f"({', '.join(TABLE_SUFFIXES)})."
        ) from None


def find_sites(directory: str | Path) -> list[SiteConfig]:
    """The sites of a folder, sorted by name: one per table, *.site.toml, site.toml or sub-folder with a site.toml.

    A table that one of these site.toml files names belongs to that site and is no site of its own.
    Raises PlanError where there is no site, or where two have one name.
    """
    root = Path(directory)
    try:
        if not root.is_dir():
            found = "is a file" if root.exists() else "does not exist"
            raise PlanError(f"{root}: {found}; expected a folder with one table or {SITE_FILE} per site.")
        here = sorted(path for path in root.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise PlanError(f"{root}: cannot be read: {error.strerror}.") from None
    configs = [path for path in here if path.name == SITE_FILE or path.name.endswith("." + SITE_FILE)]
    configs += [path / SITE_FILE for path in here if path.is_dir() and (path / SITE_FILE).is_file()]
    sites = [load_site(path) for path in configs]
    taken = {file.resolve() for site in sites for file in site.tables}
    sites += [_bare(path) for path in here if is_table(path) and path.resolve() not in taken]
    if not sites:
        raise PlanError(
            f"{root}: no site found; expected one table ({', '.join(TABLE_SUFFIXES)}) per site, "
            f"or sub-folders that each hold a {SITE_FILE}."
        )
    return _unique(sites)


def with_hours(sites: list[SiteConfig], tables: Iterable[Path]) -> list[SiteConfig]:
    """`sites`, of which those that are bare tables have `tables` as their hourly tables."""
    named = tuple(str(table.absolute()) for table in tables)
    return [
        site.model_copy(update={"data": site.data.model_copy(update={"hours": named})}) if named and site.bare else site
        for site in sites
    ]


def load_home(path: Path, *, why: str) -> SiteConfig:
    """`load_site` of a hospital with a folder of its own. why: what keeps a bare table from it, for the message."""
    config = load_site(path)
    if config.bare:
        raise PlanError(f"{path}: a bare table {why}; write a site.toml beside it (docs/data.md).")
    return config


def virtual_site(config: SiteConfig, *, plan: str | Path | None) -> SiteConfig:
    """`config` as a simulation uses it: the same data and policy, but its own folder, keys and approved plan.

    Where it is written with `write_site_toml`, that folder holds the state; the real site's stays untouched.
    """
    rules: dict[str, Any] = {"name": config.name, "device": config.site.device}
    if plan is not None:
        rules["plan"] = str(Path(plan).absolute())
    if not config.bare and exists(config.policy):
        rules["policy"] = str(config.policy.absolute())
    return config.model_copy(update={"site": SiteRules(**rules), "at_rest": AtRestRules()})


def write_site_toml(config: SiteConfig, path: str | Path) -> SiteConfig:
    """Write `config` to `path` with absolute paths for what is set, and give it back as read from there.

    `keys`, `folder` and `policy` that are not set stay so: they then belong to the folder of the new file, which gets
    the policy of a simulation where it has none.
    """
    path = Path(path).absolute()
    site = config.site.model_dump(exclude_none=True, exclude_unset=True)
    site |= {key: str(config._resolve(site[key]).absolute()) for key in _PATHS if key in site}
    data = config.data.model_dump(exclude_unset=True)
    data["files"] = [str(file.absolute()) for file in config.files]
    if isinstance(config.exclude_patients, Path):
        data["exclude_patients"] = str(config.exclude_patients.absolute())
    for key, tables in (("labels", config.labels), ("hours", config.hours)):
        if tables:
            data[key] = [str(file.absolute()) for file in tables]
    content: dict[str, Any] = {"site": site, "data": data}
    at_rest = config.at_rest.model_dump(exclude_none=True)
    if "key_file" in at_rest:
        at_rest["key_file"] = str(config._resolve(at_rest["key_file"]).absolute())
    further = (("columns", config.columns), ("units", config.units), ("at_rest", at_rest))
    content |= {key: value for key, value in further if value}
    write_atomic(path, tomli_w.dumps(content).encode())
    written = load_site(path)
    if "policy" not in site and not exists(written.policy):
        write_policy(written.policy, SIMULATED)
    return written


def is_table(path: Path) -> bool:
    """True for the name of a CSV, CSV.gz or Parquet file; a folder is none."""
    return path.name.lower().endswith(TABLE_SUFFIXES) and not path.is_dir()


def _bare(path: Path) -> SiteConfig:
    stem = next(path.name[: -len(end)] for end in TABLE_SUFFIXES if path.name.lower().endswith(end))
    name = re.sub(r"[^a-z0-9_-]+", "_", stem.lower()).lstrip("_-")[:64]
    if not name:
        raise PlanError(f"{path}: no site name can be made of this file name; use letters or digits.")
    path = path.absolute()
    return SiteConfig(site=SiteRules(name=name), data=SiteData(files=(path.name,))).at(path)


def _unique(sites: Iterable[SiteConfig]) -> list[SiteConfig]:
    by_name: dict[str, SiteConfig] = {}
    for site in sites:
        other = by_name.setdefault(site.name, site)
        if other is not site:
            raise PlanError(
                f"{other.source} and {site.source} are both the site {site.name!r}; each needs its own name."
            )
    return [by_name[name] for name in sorted(by_name)]
