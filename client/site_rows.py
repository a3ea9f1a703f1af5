"""A site's rows as its plan divides them, on its device; what follows from them alone, and from nobody's question."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client.config import SiteConfig
from client.data.apart import load_table
from client.data.site_table import SiteTable
from client.patients import PatientSet, first_rows
from client.training.device import pick_device
from client.training.trainer import TrainingSet
from common.errors import Refusal
from common.evaluation import Evaluation
from common.hourly import judged, with_hours
from common.model import Layout, Normaliser, SiteScaling, encode_stays, weight_level
from common.plan import Plan
from common.privacy.bins import rows_of_patient
from common.scores import exact_metrics
from common.survey import Survey

TRAIN, VALIDATION, TEST = 0, 1, 2


@dataclass
class SiteRows:
    """The rows of one site under one plan."""

    config: SiteConfig
    plan: Plan
    _encoded: dict[bytes, Tensor] = field(default_factory=dict, kw_only=True)

    @cached_property
    def table(self) -> SiteTable:
        return load_table(self.config, self.plan)

    @cached_property
    def device(self) -> torch.device:
        return pick_device(self.config.site.device)

    def rows(self, part: int) -> np.ndarray:
        """Indices of the rows of one set; validation falls back to training rows where the plan keeps none apart.

        Under patient-level privacy only the first rows of each patient, as many as the plan bounds.
        """
        if part == VALIDATION and not (self.table.split == VALIDATION).any():
            part = TRAIN
        rows = np.flatnonzero(self.table.split == part)
        if not self.plan.privacy.per_patient:
            return rows
        return first_rows(rows, self.table.patients, most=rows_of_patient(self.plan))

    @cached_property
    def dataset(self) -> str:
        """Fingerprint of the rows that take part: SHA-256, in hexadecimal. It stays at the site."""
        table = self.table
        parts = (table.features, table.labels, table.split, table.hours, table.hour_labels)
        digest = hashlib.sha256("\0".join(table.patients.tolist()).encode())
        for part in parts:
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def inputs(self, normaliser: Normaliser) -> Tensor:
        """(rows, width) of the whole table on the device; made once per normaliser."""
        key = normaliser.to_vector().tobytes()
        if key not in self._encoded:
            self._encoded.clear()
            features, hours = (torch.from_numpy(p).to(self.device) for p in (self.table.features, self.table.hours))
            self._encoded[key] = encode_stays(features, hours, normaliser, self.plan)
        return self._encoded[key]

    @cached_property
    def scaling(self) -> SiteScaling:
        """From the moments of this site's own training rows, which stay here."""
        survey, train = Survey(self.plan), self.rows(TRAIN)
        features, labels = self.table.features[train], self.table.labels[train]
        hours = None if self.plan.sequence is None else self.table.hours[train]
        return SiteScaling(*survey.moments(survey.of(features, labels, survey.first_edges(), hours=hours)))

    def scaled(self, normaliser: Normaliser) -> Normaliser:
        """The pooled normaliser as this site uses it, which the plan decides."""
        own = self.plan.model.scaling == "site"
        return self.scaling.of(normaliser, self.plan) if own else normaliser

    def labels(self, normaliser: Normaliser) -> np.ndarray:
        """(rows, T + K H) float32, see `common.hourly`; tasks that were left out count as unlabelled."""
        taking_part = normaliser.task_available > 0
        each = np.concatenate([taking_part, np.repeat(taking_part[list(self.plan.hourly)], self.plan.hours)])
        labels = with_hours(self.table.labels, self.table.hour_labels)
        return np.where(each, labels, np.float32(np.nan)).astype(np.float32)

    def labelled(self, labels: np.ndarray) -> NDArray[np.int64]:
        """(T,) training rows with a label of each task; labels: (rows, T + K H)."""
        return np.asarray((~np.isnan(labels[self.rows(TRAIN), : len(self.plan.tasks)])).sum(axis=0))

    def patient_set(self, normaliser: Normaliser) -> PatientSet:
        """The rows of `training_set`, each patient's together."""
        chosen, labels = self._training_rows(normaliser)
        index = torch.from_numpy(chosen).to(self.device)
        return PatientSet.of(
            self.inputs(normaliser)[index],
            torch.from_numpy(labels).to(self.device)[index],
            self.table.patients[chosen],
            rows_per_patient=rows_of_patient(self.plan),
        )

    def training_set(self, normaliser: Normaliser) -> TrainingSet:
        """Training rows with at least one label. Raises Refusal `nothing_to_train` if there is none."""
        chosen, labels = self._training_rows(normaliser)
        index = torch.from_numpy(chosen).to(self.device)
        return TrainingSet(self.inputs(normaliser)[index], torch.from_numpy(labels).to(self.device)[index])

    def _training_rows(self, normaliser: Normaliser) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the training rows with a label, and the labels of all rows."""
        labels = self.labels(normaliser)
        chosen = self.rows(TRAIN)
        chosen = chosen[~np.isnan(labels[chosen]).all(axis=1)]
        if len(chosen) == 0:
            raise Refusal("nothing_to_train", "no training row has a label of a task that takes part.")
        return chosen, labels

    @cached_property
    def levels(self) -> dict[str, float]:
        """Declared weight level of each block, from rounded square roots of row counts."""
        cap = self.plan.aggregation.weight_row_cap
        train = self.rows(TRAIN)
        labelled = ~np.isnan(self.table.labels[train])
        hourly = ~np.isnan(self.table.hours[train]).all(axis=1)
        observed = np.concatenate([~np.isnan(self.table.features[train]), hourly], axis=1)
        counts = [int(labelled.any(axis=1).sum()), *labelled.sum(axis=0).tolist()]
        for feature, rows in zip(self.plan.inputs, observed.T, strict=True):
            sees = [feature.name not in task.exclude for task in self.plan.tasks]
            learns = (rows & labelled[:, sees].any(axis=1)).any()  # else every gradient of its columns is zero here
            counts.append(int(rows.sum()) if learns else 0)
        names = Layout(self.plan).block_names
        levels = [weight_level(count, row_cap=cap) for count in counts]
        if self.plan.privacy.pooled_steps:
            levels = [float(level > 0) for level in levels]  # weights are not used there
        counted = [False] * len(self.plan.tasks)
        if not self.plan.privacy.per_patient:  # there is no per-site mean under noise, and test labels stay untold
            counted = self._counted(labelled.sum(axis=0))
        levels += [float(each) for each in counted]
        return dict(zip(names, levels, strict=True))

    def _counted(self, train_rows: NDArray[np.int64]) -> list[bool]:
        """For each task whether this site's own metrics enter the per-site mean: its test labels alone decide."""
        judge = Evaluation(self.plan, self.plan.evaluation.histogram_bins, True)
        rows = self.rows(TEST)
        labels = with_hours(self.table.labels[rows], self.table.hour_labels[rows])
        outputs = sum(task.outputs for task in self.plan.tasks) + len(self.plan.hourly) * self.plan.hours
        scores = np.zeros((len(labels), outputs), dtype=np.float32)
        result = []
        for index, task in enumerate(self.plan.tasks):
            part = judged(self.plan, index, scores, labels)
            metrics = exact_metrics(part.scores, part.labels, task, weights=part.weights)
            result.append(judge.counted(metrics, int(train_rows[index])))
        return result
