"""Which columns a plan needs, and what they are called in this site's files."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from client.config import SITE_FILE, SiteConfig
from common.errors import DataError, PlanError
from common.plan import Feature, Plan, Task

Kind = Literal["number", "flag", "text", "id"]


@dataclass(frozen=True)
class Need:
    """One column to read. kind: 'number', 'flag' (a number, or true and false), 'text' (codes) or 'id'."""

    name: str
    kind: Kind
    role: str
    optional: bool = False

    @property
    def key(self) -> str:
        """Name of the column once it is read; one plan column can be needed as text and as numbers."""
        return f"{self.kind}:{self.name}"


def feature_need(feature: Feature) -> Need:
    kinds: dict[str, Kind] = {"numeric": "number", "binary": "flag", "categorical": "text"}
    return Need(feature.name, kinds[feature.kind], "feature")


def label_need(task: Task) -> Need:
    condition = task.positive_condition
    kind: Kind = "number" if task.kind == "regression" else "flag"
    if task.classes is not None or (condition is not None and isinstance(condition.value, str)):
        kind = "text"
    return Need(task.label, kind, f"label ({task.name})", optional=True)


def patient_need(plan: Plan) -> Need:
    return Need(plan.data.patient, "id", "patient")


def row_need(plan: Plan) -> Need | None:
    return None if plan.data.row is None else Need(plan.data.row, "id", "row")


def split_need(plan: Plan) -> Need | None:
    return None if plan.split.split_column is None else Need(plan.split.split_column, "text", "split_column")


def keep_need(plan: Plan) -> Need | None:
    condition = plan.data.keep_condition
    if condition is None or condition.column is None:
        return None
    return Need(condition.column, "text" if isinstance(condition.value, str) else "flag", "keep_rows")


def label_needs(plan: Plan) -> list[Need]:
    """Labels and oracles: what may be absent, and what a separate table of labels can hold."""
    oracles = [Need(column, "number", f"oracle ({task.name})", True) for task in plan.tasks for column in task.oracle]
    return _distinct([*(label_need(task) for task in plan.tasks if not task.hourly), *oracles])


def key_need(plan: Plan) -> Need:
    """What tables of labels and of hours are joined on."""
    return row_need(plan) or patient_need(plan)


def hour_need(plan: Plan) -> Need:
    return Need("" if plan.sequence is None else plan.sequence.hour, "number", "hour")


def hour_label_need(task: Task) -> Need:
    return Need(task.label, "flag", f"hourly label ({task.name})", optional=True)


def hour_needs(plan: Plan, *, labelled: bool = True) -> list[Need]:
    """What a hourly table has; nothing of a plan without a sequence. labelled: with the labels that it may have."""
    if plan.sequence is None:
        return []
    tasks = [plan.tasks[index] for index in plan.hourly if plan.tasks[index].label] if labelled else []
    features = [feature_need(feature) for feature in plan.sequence.features]
    return _distinct([key_need(plan), hour_need(plan), *features, *(hour_label_need(task) for task in tasks)])


def row_needs(plan: Plan) -> list[Need]:
    """Everything else: a table of rows has all of it."""
    single = (patient_need(plan), row_need(plan), keep_need(plan), split_need(plan))
    return _distinct([*(need for need in single if need), *(feature_need(feature) for feature in plan.features)])


def prediction_needs(plan: Plan) -> list[Need]:
    """Features, and identifiers where the table has them."""
    ids = [Need(need.name, need.kind, need.role, True) for need in (patient_need(plan), row_need(plan)) if need]
    return _distinct([*ids, *(feature_need(feature) for feature in plan.features)])


def _distinct(needs: list[Need]) -> list[Need]:
    return list({need.key: need for need in reversed(needs)}.values())[::-1]


def check_names(config: SiteConfig, plan: Plan) -> None:
    """Raise PlanError for a slip in [columns] or [units] that would go unnoticed.

    That is a name that the plan does not have, or a feature that is read from the column of a label, an identifier,
    the split or another feature.
    """
    columns = {need.name: need for need in (*row_needs(plan), *label_needs(plan), *hour_needs(plan))}
    for name, column in config.columns.items():
        if name not in columns:
            raise PlanError(f"{config.source}: [columns] {name!r} is no column of the plan{_nearest(name, columns)}.")
        if not column.strip() and not (columns[name].role == "feature" or columns[name].optional):
            raise PlanError(
                f'{config.source}: [columns] {name} = "" is only for features and labels; '
                f"this is the plan's {columns[name].role} column."
            )
    single = (patient_need(plan), row_need(plan), split_need(plan))
    others = (*label_needs(plan), *(need for need in single if need))
    _check_own_columns(config, others, map(feature_need, plan.features))
    in_hours = {need.name for need in map(feature_need, plan.hour_features)}
    others = tuple(need for need in hour_needs(plan) if need.name not in in_hours)
    _check_own_columns(config, others, map(feature_need, plan.hour_features))
    numeric = {feature.name for feature in plan.inputs if feature.kind == "numeric"}
    numeric |= {name for task in plan.tasks if task.kind == "regression" for name in (task.name, task.label)}
    for name in config.units:
        if name not in numeric:
            raise PlanError(
                f"{config.source}: [units] {name!r} is no numeric feature and no regression task of the plan"
                f"{_nearest(name, numeric)}."
            )


def _check_own_columns(config: SiteConfig, others: Iterable[Need], features: Iterable[Need]) -> None:
    """Raise PlanError if two needs, one of them a feature, are one column: a label as an input would be a leak."""
    taken = {column_of(config, need): need for need in others}
    for need in features:
        column = column_of(config, need)
        other = taken.setdefault(column, need) if column else need
        if other is not need:
            name = need.name if need.name in config.columns else other.name
            raise PlanError(
                f"{config.source}: [columns] {name} = {column!r} makes one column {describe(other)} and "
                f"{describe(need)}; a feature needs a column of its own"
                f', or {need.name} = "" if this site does not record it.'
            )


def column_of(config: SiteConfig, need: Need) -> str:
    """What `need` is called in this site's files; '' where the site does not record it."""
    return config.columns.get(need.name, need.name).strip()


def locate(config: SiteConfig, file: Path, header: list[str], needs: Iterable[Need]) -> dict[str, int]:
    """Key of each need -> position of its column in `header`; a need that the file lacks is left out.

    Raises DataError for a column that occurs twice.
    """
    found: dict[str, int] = {}
    for need in needs:
        column = column_of(config, need)
        if column in header and column:
            if header.count(column) > 1:
                raise DataError(f"{file}: column {column!r} occurs {header.count(column)} times in the header.")
            found[need.key] = header.index(column)
    return found


def not_recorded(config: SiteConfig, need: Need) -> bool:
    """True where site.toml says `name = ""`."""
    return not column_of(config, need)


def missing_column(config: SiteConfig, file: Path, header: list[str], need: Need) -> DataError:
    """The sentence for a column that is not in `file`."""
    column = config.columns.get(need.name, need.name)
    hint = _nearest(column, header)
    separators = [mark for mark in ";\t|," if len(header) == 1 and mark in header[0]]
    if separators:
        cure = f"the header looks separated by {separators[0]!r}: set 'separator' under [data] in {SITE_FILE}"
    else:
        cure = f'under [columns] in {SITE_FILE} write {need.name} = "its name in this file"'
        if need.role == "feature":
            cure += f', or {need.name} = "" if this site does not record it'
    return DataError(f"{file}: column {column!r}, {describe(need)}, is missing{hint}; {cure}.")


def check_mapped_labels(config: SiteConfig, needs: Iterable[Need], found: Iterable[object]) -> None:
    """Raise PlanError if [columns] names a label's column that none of the site's tables has.

    needs: of the labels. found: the keys that were read from all tables together. A label that [columns] does not name
    may be absent.
    """
    keys = set(found)
    for need in needs:
        column = config.columns.get(need.name, "").strip()
        if column and need.key not in keys:
            raise PlanError(
                f"{config.source}: [columns] {need.name} = {column!r}: no table of this site has that column; "
                f'write {need.name} = "" if this site does not record it.'
            )


def describe(need: Need) -> str:
    """`the plan's feature 'age'`."""
    return f"the plan's {need.role} {need.name!r}"


def _nearest(name: str, names: Iterable[str]) -> str:
    folded = {other.casefold(): other for other in names if other}
    close = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
    return "; nearest: " + ", ".join(repr(folded[match]) for match in close) if close else ""
