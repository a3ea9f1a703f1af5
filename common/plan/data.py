"""The data contract in a plan: rows, split, features and tasks."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from common.plan.base import Column, Fraction, Name, Section
from common.plan.condition import Condition, parse_condition

FeatureKind = Literal["numeric", "binary", "categorical"]
TaskKind = Literal["binary", "multiclass", "ordinal", "regression", "hourly"]
Range = Annotated[tuple[float, float], Field(strict=False)]
Codes = Annotated[tuple[float | str, ...], Field(strict=False)]
Names = Annotated[tuple[Name, ...], Field(strict=False)]
Columns = Annotated[tuple[Column, ...], Field(strict=False)]


class DataRules(Section):
    """`[data]`: what one row is."""

    patient: Column = Field(description="Column that identifies the patient; all rows of one patient share a split.")
    row: Column | None = Field(
        default=None,
        description="Column that identifies one row (a stay) where a patient has several. "
        "Without it a patient has one row, and further rows of the same patient are dropped and counted.",
    )
    keep_rows: str | None = Field(
        default=None, description="Only rows that meet this condition take part, e.g. 'has_vitals == 1'."
    )

    @property
    def keep_condition(self) -> Condition | None:
        return None if self.keep_rows is None else parse_condition(self.keep_rows, key="keep_rows", with_column=True)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _ = self.keep_condition
        return self


class SplitRules(Section):
    """`[split]`: who trains, who validates, who tests; by patient, with a keyed hash."""

    salt: str = Field(
        default="consilium",
        min_length=1,
        description="Key of the hash that assigns a patient to a set; the same at every site, "
        "so one patient in two hospitals is never in two sets.",
    )
    train: Fraction = Field(default=0.65, description="Fraction of patients to train on.")
    validation: Fraction = Field(
        default=0.10, description="Fraction of patients for learning curves and choices; 0 uses the training rows."
    )
    test: Fraction = Field(default=0.25, description="Fraction of patients kept for the final evaluation.")
    split_column: Column | None = Field(
        default=None,
        description="Column with 'train', 'validation' or 'test' for each row instead of the hash; rows where it is "
        "empty take no part. Without 'validation' rows, train is divided train : validation by the hash.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        total = self.train + self.validation + self.test
        if abs(total - 1.0) > 1e-9:
            raise ValueError(f"train + validation + test is {total:g}; it must be 1")
        if self.train == 0.0 or self.test == 0.0:
            raise ValueError("train and test must both be above 0")
        return self

    @property
    def validates(self) -> bool:
        """Whether rows are kept for validation; a split column may name some whatever the fraction is."""
        return self.validation > 0.0 or self.split_column is not None


class Feature(Section):
    """`[[features]]`: one input column."""

    name: Name = Field(description="Name of the column in the plan; a site maps its own column to it.")
    kind: FeatureKind = Field(default="numeric", description="'numeric', 'binary' (0 or 1) or 'categorical'.")
    unit: str = Field(default="1", min_length=1, description="Unit of the values, e.g. 'mm[Hg]'; '1' for none.")
    analyte: str | None = Field(
        default=None, description="Substance, e.g. 'glucose', where mg/dL and mmol/L are to be converted."
    )
    range: Range | None = Field(
        default=None,
        description="[low, high]: plausible values in `unit`; what lies outside is set to missing and counted. "
        "Required for numeric features.",
    )
    categories: Codes | None = Field(
        default=None, description="The codes of a categorical feature; another code is set to missing and counted."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.range is not None) != (self.kind == "numeric"):
            raise ValueError(f"feature {self.name!r}: 'range' belongs to numeric features, and they need one")
        if (self.categories is not None) != (self.kind == "categorical"):
            raise ValueError(f"feature {self.name!r}: 'categories' belongs to categorical features, and they need it")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"feature {self.name!r}: 'range' must be [low, high] with low < high")
        if self.categories is not None and (len(set(self.categories)) != len(self.categories) or not self.categories):
            raise ValueError(f"feature {self.name!r}: 'categories' must be a list of different codes")
        return self


class Task(Section):
    """`[[tasks]]`: one thing to predict."""

    name: Name = Field(description="Name of the task in every table and file.")
    kind: TaskKind = Field(
        default="binary",
        description="'binary', 'multiclass', 'ordinal', 'regression', or 'hourly': yes or no at each hour of "
        "`[sequence]`, from what was known up to and including that hour.",
    )
    label: Annotated[str, Field(max_length=200)] = Field(
        default="",
        description="Column with the label; an empty cell is a row without this label. Required; hourly tasks have it "
        "in the hourly tables, 0 or 1 for each hour, or have 'event' in its place.",
    )
    event: str | None = Field(
        default=None,
        description="Hourly tasks without a label: what is to be foreseen, one comparison of a feature of the "
        "sequence, e.g. 'mean_bp < 65'. An hour at which it is so already has no label, nor has one after which "
        "nothing was measured in time.",
    )
    within_h: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="Hourly tasks with 'event': it is to be foreseen so many hours ahead."
    )
    positive_when: str | None = Field(
        default=None, description="Binary tasks: when a value counts as positive, e.g. '>= 2'. Without it: 0 or 1."
    )
    classes: Codes | None = Field(
        default=None,
        description="Multiclass and ordinal tasks: the codes of the classes, of ordinal ones from lowest to highest.",
    )
    unit: str = Field(default="1", min_length=1, description="Regression tasks: unit of the label.")
    analyte: str | None = Field(default=None, description="Regression tasks: substance, as for features.")
    range: Range | None = Field(
        default=None, description="Regression tasks: [low, high] of plausible labels; outside is counted as unlabelled."
    )
    exclude: Names = Field(
        default=(), description="Features that give this label away: masked as missing for this task only."
    )
    oracle: Columns = Field(
        default=(),
        description="Synthetic data only: the column with the true risk (multiclass: one per class; "
        "ordinal: one per class but the last, the risk to lie beyond it), "
        "to show the best result that any model could reach.",
    )
    description: str = Field(default="", description="One line in plain words for people who review the plan.")

    @property
    def positive_condition(self) -> Condition | None:
        return (
            None
            if self.positive_when is None
            else parse_condition(self.positive_when, key="positive_when", with_column=False)
        )

    @property
    def event_condition(self) -> Condition | None:
        return None if self.event is None else parse_condition(self.event, key="event", with_column=True)

    @property
    def hourly(self) -> bool:
        return self.kind == "hourly"

    @property
    def yes_or_no(self) -> bool:
        """Whether an output is the log-odds of one event, of a stay or of an hour."""
        return self.kind in ("binary", "hourly")

    @property
    def source(self) -> str:
        """What the label is made of, for people: a column, or an event of the sequence."""
        return self.label if self.event is None else f"{self.event} within {self.within_h} h"

    @property
    def outputs(self) -> int:
        """Columns of the head: one per class for multiclass, one fewer for ordinal, else one."""
        return 1 if self.classes is None else len(self.classes) - (self.kind == "ordinal")

    @property
    def two_sided(self) -> bool:
        """Whether each column of the head answers yes or no: binary and ordinal tasks."""
        return self.kind in ("binary", "ordinal")

    @model_validator(mode="after")
    def _check(self) -> Self:
        where = f"task {self.name!r}"
        if self.positive_when is not None and self.kind != "binary":
            raise ValueError(f"{where}: 'positive_when' belongs to binary tasks, this one is {self.kind}")
        _ = self.positive_condition
        if (self.classes is not None) != (self.kind in ("multiclass", "ordinal")):
            raise ValueError(f"{where}: 'classes' belongs to multiclass and ordinal tasks, and they need it")
        if self.classes is not None and (len(self.classes) < 3 or len(set(self.classes)) != len(self.classes)):
            raise ValueError(f"{where}: 'classes' must name at least three different codes")
        if (self.range is not None) != (self.kind == "regression"):
            raise ValueError(f"{where}: 'range' belongs to regression tasks, and they need one")
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"{where}: 'range' must be [low, high] with low < high")
        if self.oracle and len(self.oracle) != self.outputs:
            raise ValueError(f"{where}: 'oracle' must name {self.outputs} column(s), found {len(self.oracle)}")
        self._check_label(where)
        return self

    def _check_label(self, where: str) -> None:
        if not self.hourly and (self.event is not None or self.within_h is not None):
            raise ValueError(f"{where}: 'event' and 'within_h' belong to hourly tasks, this one is {self.kind}")
        if (self.event is None) != (self.within_h is None):
            raise ValueError(f"{where}: 'event' and 'within_h' belong together")
        if self.hourly and bool(self.label) == (self.event is not None):
            raise ValueError(f"{where}: an hourly task needs either 'label' or 'event', and not both")
        if not self.hourly and not self.label:
            raise ValueError(f"{where}: required key 'label' is missing")
        if self.hourly and self.oracle:
            raise ValueError(f"{where}: 'oracle' is not known hour by hour; leave it out")
        condition = self.event_condition
        if condition is not None and isinstance(condition.value, str):
            raise ValueError(f"{where}: 'event' is {self.event!r}; features of a sequence are compared with a number")
