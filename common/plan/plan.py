"""`Plan`: the whole federation.toml, cross-checked, with canonical bytes and a SHA-256."""

import hashlib
import json
from functools import cached_property
from typing import Annotated, Self

from pydantic import Field, model_validator

from common.plan.base import Section
from common.plan.data import DataRules, Feature, SplitRules, Task
from common.plan.later import without_unused
from common.plan.model_rules import ModelRules
from common.plan.privacy import Privacy
from common.plan.rules import ROBUST_STRATEGIES, Aggregation, Evaluation, Federation, Seeds, Training
from common.plan.sequence import Sequence
from common.plan.start import Start
from common.plan.survey import SurveyRules


class Plan(Section):
    """What a federation computes. Two plans are the same exactly if their `hash` is."""

    federation: Federation
    data: DataRules
    split: SplitRules = SplitRules()
    features: Annotated[tuple[Feature, ...], Field(strict=False, min_length=1)]
    sequence: Sequence | None = None
    tasks: Annotated[tuple[Task, ...], Field(strict=False, min_length=1)]
    survey: SurveyRules = SurveyRules()
    model: ModelRules = ModelRules()
    training: Training = Training()
    aggregation: Aggregation = Aggregation()
    privacy: Privacy = Privacy()
    evaluation: Evaluation = Evaluation()
    seeds: Seeds = Seeds()
    start: Start | None = None

    @cached_property
    def canonical(self) -> bytes:
        """UTF-8 JSON with sorted keys and no spaces: what the hash covers and what a site approves."""
        content = without_unused(self.model_dump(mode="json"))
        return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()

    @cached_property
    def hash(self) -> str:
        """SHA-256 of `canonical`, in hexadecimal."""
        return hashlib.sha256(self.canonical).hexdigest()

    @cached_property
    def feature_index(self) -> dict[str, int]:
        return {feature.name: index for index, feature in enumerate(self.inputs)}

    @cached_property
    def inputs(self) -> tuple[Feature, ...]:
        """(F + S) every input column: the features of a row, then those of the sequence."""
        return (*self.features, *self.hour_features)

    @property
    def hour_features(self) -> tuple[Feature, ...]:
        """(S) features of the sequence; none without one."""
        return () if self.sequence is None else self.sequence.features

    @property
    def hours(self) -> int:
        """H, hours that are inputs; 0 without a sequence."""
        return 0 if self.sequence is None else self.sequence.hours

    @cached_property
    def hourly(self) -> tuple[int, ...]:
        """(K) indices of the hourly tasks."""
        return tuple(index for index, task in enumerate(self.tasks) if task.hourly)

    def task(self, name: str) -> Task:
        return next(task for task in self.tasks if task.name == name)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_sequence()
        names = [feature.name for feature in self.inputs]
        for what, listed in (("feature", names), ("task", [task.name for task in self.tasks])):
            twice = sorted({name for name in listed if listed.count(name) > 1})
            if twice:
                raise ValueError(f"{what} {twice[0]!r} is defined twice; every {what} needs its own name")
        labels = {task.label: task.name for task in self.tasks if task.label}
        oracles = {column: task.name for task in self.tasks for column in task.oracle}
        for name in names:
            if name in labels:
                raise ValueError(f"feature {name!r} is the label of task {labels[name]!r}; a label cannot be an input")
            if name in oracles:
                raise ValueError(f"feature {name!r} is the oracle of task {oracles[name]!r}; it cannot be an input")
            if name in (self.data.patient, self.data.row, self.split.split_column):
                raise ValueError(f"feature {name!r} is the patient, row or split column; it cannot be an input")
        for task in self.tasks:
            unknown = [name for name in task.exclude if name not in names]
            if unknown:
                raise ValueError(
                    f"task {task.name!r}: 'exclude' names {unknown[0]!r}, which is no feature of this plan"
                )
            if set(names) <= set(task.exclude):
                raise ValueError(f"task {task.name!r}: 'exclude' leaves it without any input")
        if self.aggregation.least_holders > 1 and self.aggregation.least_sites < 2:
            raise ValueError("aggregation: min_sites = 1 contradicts min_task_sites > 1; no task could be trained")
        self._check_strategy()
        self._check_privacy()
        self._check_balancing()
        self._check_parts()
        return self

    def _check_sequence(self) -> None:
        if self.sequence is None:
            told = [
                key for key in ("encoder", "sequence_width", "sequence_layers") if getattr(self.model, key) is not None
            ]
            if told:
                raise ValueError(f"model.{told[0]} says nothing without [sequence]")
            if self.hourly:
                raise ValueError(f"task {self.tasks[self.hourly[0]].name!r} is hourly, which needs [sequence]")
            return
        if self.sequence.hour in (self.data.patient, self.data.row):
            raise ValueError(f"sequence.hour is {self.sequence.hour!r}, the patient or row column; it needs its own")
        names = {feature.name for feature in self.sequence.features}
        for task in self.tasks:
            condition = task.event_condition
            if condition is not None and condition.column not in names:
                raise ValueError(
                    f"task {task.name!r}: 'event' compares {condition.column!r}, which is no feature of [sequence]"
                )

    def _check_strategy(self) -> None:
        strategy, mu = self.aggregation.strategy, self.training.proximal_mu
        if strategy == "fedprox" and mu == 0.0:
            raise ValueError("strategy 'fedprox' needs training.proximal_mu above 0; at 0 it is 'fedavg'")
        if strategy == "fedavg" and mu > 0.0:
            raise ValueError("training.proximal_mu above 0 belongs to strategy 'fedprox', this plan says 'fedavg'")
        sites, malicious = self.aggregation.min_sites, self.aggregation.malicious_sites
        if strategy == "krum" and sites < 2 * malicious + 3:
            raise ValueError(
                f"krum with malicious_sites = {malicious} needs min_sites of at least {2 * malicious + 3} "
                f"(2 f + 3), this plan says {sites}"
            )

    @property
    def frozen(self) -> bool:
        """Whether the encoder stays as it was."""
        return self.start is not None and self.start.freeze_encoder

    def _check_privacy(self) -> None:
        rules, sums = self.privacy, self.aggregation
        if self.frozen and rules.unit != "none":
            raise ValueError("start.freeze_encoder = true contradicts privacy.unit: noise would move the encoder")
        if rules.noise_in_sum and not sums.secure:
            raise ValueError(
                "privacy.noise = 'shared' needs aggregation.secure = true: in the open, a share is too little noise"
            )
        if rules.pooled_steps and sums.strategy == "fedprox":
            raise ValueError("privacy.noise = 'shared' makes one step per round, in which 'fedprox' has no meaning")
        if rules.unit != "none" and self.training.patience is not None:
            raise ValueError(
                "training.patience needs the validation loss of every round, which does not travel under noise; "
                "leave it out, or choose fewer rounds"
            )
        if rules.per_patient and self.survey.unlike == "stop":
            raise ValueError(
                "survey.unlike = 'stop' needs exact sums, and with privacy.unit = 'patient' there are none"
            )
        if rules.unit != "none" and sums.strategy in ROBUST_STRATEGIES:
            raise ValueError(f"strategy {sums.strategy!r} has no privacy accounting; choose one that takes the mean")

    def _check_balancing(self) -> None:
        rules = self.training
        if rules.balancing != "plain" and self.privacy.per_patient:
            raise ValueError(
                f"training.balancing = {rules.balancing!r} contradicts privacy.unit = 'patient': the weights of "
                "tasks follow from patients, and have no noise; choose 'plain'"
            )
        if rules.combines_gradients and self.frozen:
            raise ValueError(
                f"training.balancing = {rules.balancing!r} has nothing to do with start.freeze_encoder = true, for "
                "tasks share the encoder alone; choose 'plain'"
            )

    def _check_parts(self) -> None:
        rules = self.model
        if rules.scaling == "site" and self.privacy.per_patient:
            raise ValueError(
                "model.scaling = 'site' contradicts privacy.unit = 'patient': a patient would move the inputs, and so "
                "the clipped gradients, of all others of the site, and no noise covers that; choose 'pooled'"
            )
        if not rules.local:
            return
        if self.privacy.unit != "none":
            raise ValueError(
                f"model.local contradicts privacy.unit = '{self.privacy.unit}', whose noise would be for parts that "
                "never leave; choose local = []"
            )
        if self.training.patience is not None:
            raise ValueError(
                "training.patience goes back to an earlier model, of which sites no longer have the parts of "
                "model.local; leave one of the two out"
            )
        if self.frozen:
            raise ValueError(
                "model.local contradicts start.freeze_encoder = true: heads and linear path alone would be trained; "
                "choose local = []"
            )
