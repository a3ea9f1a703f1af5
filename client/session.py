"""A site at work: its settings, the plan it approved, its data on its device; warm between messages."""

import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from flwr.app import Context
from numpy.typing import NDArray
from torch import Tensor

from client.book import Book
from client.config import SiteConfig, find_sites, load_site
from client.data.table import SiteTable, load_table
from client.device import pick_device
from client.keys import load_roster, load_signing_key
from client.secure import Round, SecureSite
from client.store import STORE, FileVault, Vault
from client.trainer import TrainingSet
from common.contribution import Contribution, Contributions
from common.errors import DataError, PlanError, Refusal
from common.evaluation import Evaluation
from common.files import read_plan
from common.model import Layout, Network, Normaliser, encode, weight_level
from common.plan import Plan
from common.scores import exact_metrics
from common.secagg import report
from common.secagg.fixedpoint import MOST
from common.secagg.session import Party, Policy

TRAIN, VALIDATION, TEST = 0, 1, 2
LOGGER = "consilium.site"
_LEAST_PATIENTS = 5  # a sum over fewer training patients is too close to a row


@dataclass
class Session:
    """One site under one approved plan."""

    config: SiteConfig
    plan: Plan
    _encoded: dict[bytes, Tensor] = field(default_factory=dict)

    @cached_property
    def log(self) -> logging.Logger:
        """The site's own log; nothing of it reaches another site's, or the process's."""
        logger = logging.getLogger(f"{LOGGER}.{self.config.folder}")
        if not logger.handlers:
            logger.propagate = False
            logger.addHandler(_handler(self.config.folder / "site.log"))
        return logger

    @cached_property
    def book(self) -> Book:
        return Book(self.config.folder)

    def close(self) -> None:
        """Let go of the log file."""
        for handler in list(self.log.handlers):
            self.log.removeHandler(handler)
            handler.close()

    @cached_property
    def table(self) -> SiteTable:
        return load_table(self.config, self.plan)

    @cached_property
    def device(self) -> torch.device:
        return pick_device(self.config.site.device)

    @cached_property
    def network(self) -> Network:
        return Network(Layout(self.plan), self.device)

    def rows(self, part: int) -> np.ndarray:
        """Indices of the rows of one set; validation falls back to training rows where the plan keeps none apart."""
        if part == VALIDATION and not (self.table.split == VALIDATION).any():
            part = TRAIN
        return np.flatnonzero(self.table.split == part)

    def require_patients(self) -> None:
        """Raises Refusal `too_few_patients` where a sum over the training rows would be close to a single row."""
        patients = len(set(self.table.patients[self.rows(TRAIN)]))
        if patients < _LEAST_PATIENTS:
            raise Refusal("too_few_patients", f"{patients} training patients; a sum needs {_LEAST_PATIENTS}.")

    def inputs(self, normaliser: Normaliser) -> Tensor:
        """(rows, inputs) of the whole table on the device; made once per normaliser."""
        key = normaliser.to_vector().tobytes()
        if key not in self._encoded:
            self._encoded.clear()
            features = torch.from_numpy(self.table.features).to(self.device)
            self._encoded[key] = encode(features, normaliser, self.plan)
        return self._encoded[key]

    def labels(self, normaliser: Normaliser) -> np.ndarray:
        """(rows, T) float32; tasks that were left out count as unlabelled."""
        return np.where(normaliser.task_available > 0, self.table.labels, np.float32(np.nan)).astype(np.float32)

    def training_set(self, normaliser: Normaliser) -> TrainingSet:
        """Training rows with at least one label. Raises Refusal `nothing_to_train` if there is none."""
        labels = self.labels(normaliser)
        chosen = self.rows(TRAIN)
        chosen = chosen[~np.isnan(labels[chosen]).all(axis=1)]
        if len(chosen) == 0:
            raise Refusal("nothing_to_train", "no training row has a label of a task that takes part.")
        index = torch.from_numpy(chosen).to(self.device)
        return TrainingSet(self.inputs(normaliser)[index], torch.from_numpy(labels).to(self.device)[index])

    @cached_property
    def vault(self) -> Vault:
        """Where secure aggregation keeps what must survive; a simulation puts a store in memory here."""
        return FileVault(self.config.keys / STORE)

    @cached_property
    def secure(self) -> SecureSite:
        """This site's part in secure sums. Raises PlanError where it has no key or has accepted no roster."""
        rules, accepted = self.config.secure, load_roster(self.config)
        if accepted is None:
            raise PlanError(f"{self.config.keys}: no roster was accepted; `consilium site accept` keeps one.")
        # The plan that was approved here is a promise about the number of sites, not the coordinator's own rule.
        least = max(rules.min_cohort, self.plan.aggregation.least_sites)
        policy = Policy(**rules.model_dump() | {"min_cohort": least})
        party = Party(self.config.name, load_signing_key(self.config), accepted.roster, policy)
        return SecureSite(self.plan, party, self.vault)

    @cached_property
    def contributions(self) -> Contributions:
        return Contributions(self.plan)

    def contribution(self, kind: str, stage: int) -> Contribution:
        """What a vector for this question holds. Raises Refusal `malformed_request` if the plan has none such."""
        try:
            return self.contributions.of(kind, stage)
        except ValueError as error:
            raise Refusal("malformed_request", f"{error}.") from None

    def mask(self, begun: Round, narrow: NDArray[np.float32], wide: NDArray[np.float64]) -> bytes:
        """The report of a secure round, with zeros in every block that it leaves out or that this site did not declare.

        narrow is changed in place: at 10 M parameters a copy is 40 MB.
        """
        asked = begun.signed.header
        if not len(wide):
            narrow, wide = np.zeros(asked.narrow, dtype=np.float32), np.zeros(asked.wide)
        wide = np.clip(np.nan_to_num(wide), -MOST, MOST)  # a refusal would tell that a value lies beyond
        own = {block for block, level in enumerate(self.levels.values()) if level > 0}
        contribution = self.contribution(asked.purpose, asked.stage)
        taking_part = contribution.entries_of(own & set(asked.blocks), asked.pairs)
        narrow *= taking_part[: len(narrow)]
        kept = np.where(taking_part[len(narrow) :], wide, 0.0)
        del taking_part  # a quarter of a copy
        return self.secure.report(begun, report.Contribution(narrow, kept, self.secure.coins(begun)))

    @cached_property
    def levels(self) -> dict[str, float]:
        """Declared weight level of each block, from rounded square roots of row counts."""
        cap = self.plan.aggregation.weight_row_cap
        train = self.rows(TRAIN)
        labelled = ~np.isnan(self.table.labels[train])
        observed = ~np.isnan(self.table.features[train])
        counts = [int(labelled.any(axis=1).sum()), *labelled.sum(axis=0).tolist()]
        for feature, rows in zip(self.plan.features, observed.T, strict=True):
            sees = [feature.name not in task.exclude for task in self.plan.tasks]
            learns = (rows & labelled[:, sees].any(axis=1)).any()  # else every gradient of its columns is zero here
            counts.append(int(rows.sum()) if learns else 0)
        names = Layout(self.plan).block_names
        levels = [weight_level(count, row_cap=cap) for count in counts]
        levels += [float(counted) for counted in self._counted(labelled.sum(axis=0))]
        return dict(zip(names, levels, strict=True))

    def _counted(self, train_rows: NDArray[np.int64]) -> list[bool]:
        """For each task whether this site's own metrics enter the per-site mean: its test labels alone decide."""
        judge = Evaluation(self.plan, self.plan.evaluation.histogram_bins, True)
        labels = self.table.labels[self.rows(TEST)]
        result = []
        for index, task in enumerate(self.plan.tasks):
            scores = np.zeros((len(labels), task.outputs), dtype=np.float32)
            result.append(judge.counted(exact_metrics(scores, labels[:, index], task), int(train_rows[index])))
        return result


_sessions: dict[tuple[str, str], Session] = {}


def open_session(context: Context) -> Session:
    """The session that `context` belongs to; kept warm for the next message of the same site and plan.

    Deployed: node config `site-config` names the site.toml. Under Flower's simulation engine the run config `sites`
    names a folder of sites and `partition-id` counts them; a real node never reads that key.
    Raises PlanError if the site's settings or its approved plan cannot be read.
    """
    config = _site_of(context)
    if config.plan is None:
        raise PlanError(f"{config.source}: key 'site.plan' is missing; it names the federation.toml approved here.")
    plan = read_plan(config.plan)
    key = (str(config.folder), plan.hash)
    if key not in _sessions:
        keep_session(Session(config, plan))
    return _sessions[key]


def keep_session(session: Session) -> None:
    """Have `session` answer for its site from now on: a simulation hands over the tables that it has checked."""
    session.config.folder.mkdir(parents=True, exist_ok=True)
    _sessions[str(session.config.folder), session.plan.hash] = session


def close_sessions() -> None:
    """Forget every warm session and close the sites' logs."""
    for session in _sessions.values():
        session.close()
    _sessions.clear()


def _site_of(context: Context) -> SiteConfig:
    if "site-config" in context.node_config:
        return load_site(Path(str(context.node_config["site-config"])))
    if "partition-id" in context.node_config and "sites" in context.run_config:
        sites = find_sites(Path(str(context.run_config["sites"])))
        number = int(context.node_config["partition-id"])
        if number >= len(sites):
            raise DataError(
                f"{context.run_config['sites']}: {len(sites)} sites, but the engine asks for number {number}."
            )
        return sites[number]
    raise PlanError("node config 'site-config' is missing; it names this site's site.toml.")


def _handler(path: Path) -> logging.Handler:
    """Errors in full stay in this file, which only the site's own user reads."""
    path.touch(mode=0o600)
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler
