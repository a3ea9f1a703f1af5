"""experiment.toml: a federation, what is varied, and over which seeds; checked before anything runs."""

import tomllib
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from common.errors import PlanError
from common.files import read_bytes, read_plan
from common.plan import Plan
from common.plan.base import Section
from common.plan.load import first_problem
from experiments.sweep.hospitals import Hospitals, Partition, Synthetic, Tables

Value = bool | int | float | str | list[Any]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
_MOST_CELLS = 100_000
_HOSPITALS = ("synthetic", "partition")


class Arm(Section):
    """`[[arms]]`: settings that belong together, under a name."""

    name: Annotated[str, Field(min_length=1, max_length=60)] = Field(description="What the arm is called in tables.")
    set: dict[str, Value] = Field(default={}, description="'section.key' of the plan and its value.")


class Experiment(Section):
    """The whole file. Every arm is run under every combination of the grid, with every seed."""

    title: str = Field(min_length=1, description="What is asked, in one line.")
    federation: str = Field(description="The plan that everything begins with, a path from this file.")
    sites: str | None = Field(default=None, description="Folder with the hospitals' tables, a path from --data.")
    synthetic: Synthetic | None = Field(default=None, description="Synthetic hospitals instead of `sites`.")
    partition: Partition | None = Field(default=None, description="One table, divided, instead of `sites`.")
    seeds: Annotated[tuple[Seed, ...], Field(strict=False, min_length=1)] = Field(
        description="Each sets seeds.split and seeds.training."
    )
    set: dict[str, Value] = Field(default={}, description="Settings of every cell: 'section.key' and its value.")
    grid: dict[str, Annotated[tuple[Value, ...], Field(strict=False, min_length=1)]] = Field(
        default={}, description="'section.key' -> the values that it takes in turn."
    )
    arms: Annotated[tuple[Arm, ...], Field(strict=False)] = Field(default=(), description="Named settings.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if [self.sites, self.synthetic, self.partition].count(None) != 2:
            raise ValueError("exactly one of 'sites', [synthetic] and [partition] says which hospitals take part")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds holds a seed twice")
        if len({arm.name for arm in self.arms}) < len(self.arms):
            raise ValueError("two arms have one name")
        used = {
            key.partition(".")[0] for each in (self.set, self.grid, *(arm.set for arm in self.arms)) for key in each
        }
        for section in sorted(used & set(_HOSPITALS)):
            if getattr(self, section) is None:
                raise ValueError(f"there is no [{section}] of which a key could be set")
        for arm in self.arms:
            if both := sorted(arm.set.keys() & self.grid.keys()):
                raise ValueError(f"arm {arm.name!r} sets {both[0]}, which the grid varies")
        if len(self.combinations) * len(self.seeds) > _MOST_CELLS:
            raise ValueError(f"there are more than {_MOST_CELLS:,} cells")
        return self

    def hospitals(self, settings: Mapping[str, Value]) -> Hospitals:
        """Whichever of the three says it, with its own keys among the settings. Raises ValidationError."""
        chosen = self.synthetic or self.partition or Tables(folder=self.sites or "")
        own = {key.partition(".")[2]: value for key, value in settings.items() if of_hospitals(key)}
        return type(chosen).model_validate(chosen.model_dump() | own)

    @property
    def factors(self) -> tuple[str, ...]:
        """What is varied: 'arm' where there are arms, then the keys of the grid in their order."""
        return (("arm",) if self.arms else ()) + tuple(self.grid)

    @property
    def combinations(self) -> list[tuple[dict[str, Value], dict[str, Value]]]:
        """(value of each factor, settings of the plan), arm by arm, the last key of the grid fastest."""
        arms: list[tuple[dict[str, Value], dict[str, Value]]] = [({"arm": a.name}, a.set) for a in self.arms]
        points = [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]
        return [(name | point, self.set | own | point) for name, own in arms or [({}, {})] for point in points]


def read_experiment(path: Path) -> Experiment:
    """Raises PlanError with one sentence for a file that cannot be read or says something that is not allowed."""
    try:
        content = tomllib.loads(read_bytes(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{path}: not valid TOML: {error}.") from None
    try:
        return Experiment.model_validate(content)
    except ValidationError as error:
        problem = first_problem(error, content).replace("docs/federation.md", "docs/research.md")
        raise PlanError(f"{path}: {problem}") from None


def of_hospitals(key: str) -> bool:
    """Whether a setting is of the hospitals and not of the plan."""
    return key.partition(".")[0] in _HOSPITALS


def plan_of(experiment: Experiment, path: Path, settings: dict[str, Value], seed: int) -> Plan:
    """The plan of one cell. path: of the experiment. Raises PlanError."""
    seeds: dict[str, Value] = {"seeds.split": seed, "seeds.training": seed}
    own = {key: value for key, value in settings.items() if not of_hospitals(key)}
    overrides = tuple(f"{key}={toml(value)}" for key, value in (seeds | own).items())
    return read_plan(path.parent / experiment.federation, overrides=overrides)


def toml(value: Value) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(toml(each) for each in value)}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return repr(value)
