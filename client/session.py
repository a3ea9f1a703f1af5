"""A site at work: its settings, the plan it approved, its data on its device; warm between messages."""

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from flwr.app import Context
from numpy.typing import NDArray

from client.approval.approval import approval_path, check_approval
from client.at_rest.files import Vaulted
from client.at_rest.key import vaulted
from client.config import SiteConfig, find_sites, load_site
from client.ledger.ledger import LEDGER, Ledger
from client.own_log import own_file
from client.policy.policy import Policy, load_policy
from client.secure.answers import Round, SecureSite
from client.secure.keys import ROSTER, load_roster, load_signing_key
from client.secure.store import STORE, FileVault, Vault
from client.site_rows import TRAIN, SiteRows
from client.training.randomness import Randomness, SystemRandomness
from common.contribution import Contribution, Contributions
from common.errors import DataError, PlanError, Refusal
from common.files import exists, own_folder, read_plan
from common.model import Layout, Network
from common.privacy.mechanism import Mechanism, mechanism
from common.privacy.noise import discrete_gaussian
from common.privacy.shares import fixed_point, noise_share
from common.secagg import report
from common.secagg.fixedpoint import MOST
from common.secagg.primitives import SigningKey
from common.secagg.session import Party

LOGGER = "consilium.site"
BEGUN = "ledger.begun"  # in the folder of keys


@dataclass
class Session(SiteRows):
    """One site under one approved plan. virtual: its ledger need not outlast a power cut."""

    virtual: bool = False
    _approved: tuple[int, int] | None = None
    _accepted: tuple[int, int] | None = None

    @cached_property
    def log(self) -> logging.Logger:
        """The site's own log; nothing of it reaches another site's, or the process's."""
        logger = logging.getLogger(f"{LOGGER}.{self.config.folder}")
        if not logger.handlers:
            logger.propagate = False
            logger.addHandler(own_file(self.config.folder / "site.log"))
        return logger

    def close(self) -> None:
        """Let go of the ledger and the log file."""
        if "ledger" in self.__dict__:
            self.ledger.close()
        if "log" in self.__dict__:
            for handler in list(self.log.handlers):
                self.log.removeHandler(handler)
                handler.close()

    @cached_property
    def network(self) -> Network:
        return Network(Layout(self.plan), self.device)

    def require_patients(self) -> None:
        """Raises Refusal `too_few_patients` at a site too small to let sums out; under noise the noise covers that."""
        patients, least = len(set(self.table.patients[self.rows(TRAIN)])), self.policy.limits.min_patients
        if patients < least and not self.plan.privacy.per_patient:
            raise Refusal("too_few_patients", f"{patients} training patients; this site's policy asks for {least}.")

    @cached_property
    def policy(self) -> Policy:
        """What this site allows, whatever the plan says."""
        return load_policy(self.config.policy)

    @cached_property
    def randomness(self) -> Randomness:
        """The operating system's; a simulation puts a seeded one here."""
        return SystemRandomness()

    @cached_property
    def mechanism(self) -> Mechanism:
        """The noise of this plan at this site, which depends on the number of its training patients."""
        if self.plan.privacy.noise == "shared" or not self.plan.privacy.per_patient:
            return mechanism(self.plan)
        train = self.rows(TRAIN)
        labelled = train[~np.isnan(self.table.labels[train]).all(axis=1)]
        if len(labelled) == 0:
            raise Refusal("nothing_to_train", "no training row has a label.")
        return mechanism(self.plan, patients=len(set(self.table.patients[labelled])))

    def check_approval(self) -> None:
        """Raises Refusal unless the operator has approved this plan. Read again only when the file is another one."""
        now = _mark(approval_path(self.config, self.plan.hash))
        if now is None or now != self._approved:
            check_approval(self.config, self.plan)
            self._approved = now

    @cached_property
    def ledger(self) -> Ledger:
        """The site's books; one process at a time has them."""
        return Ledger(
            self.config.folder / LEDGER,
            self.signing_key,
            durable=not self.virtual,
            alone=not self.virtual,
            begun=self.config.keys / BEGUN,
        )

    @cached_property
    def signing_key(self) -> SigningKey:
        return load_signing_key(self.config)

    @cached_property
    def vault(self) -> Vault:
        """Where secure aggregation keeps what must survive; a simulation puts a store in memory here."""
        return FileVault(self.config.keys / STORE, self.vaulted)

    @cached_property
    def vaulted(self) -> Vaulted:
        """Seals and opens what this site keeps encrypted on its disk."""
        return vaulted(self.config)

    @cached_property
    def secure(self) -> SecureSite:
        """This site's part in secure sums. Raises PlanError where it has no key or has accepted no roster."""
        self._accepted = _mark(self.config.keys / ROSTER)
        rules, accepted = self.policy.secure, load_roster(self.config)
        if accepted is None:
            raise PlanError(f"{self.config.keys}: no roster was accepted; `consilium site accept` keeps one.")
        # The plan that was approved here is a promise about the number of sites, not the coordinator's own rule.
        policy = rules.in_sums(self.plan.aggregation.least_sites)
        party = Party(self.config.name, self.signing_key, accepted.roster, policy)
        return SecureSite(self.plan, party, self.vault)

    @property
    def is_behind(self) -> bool:
        """Whether this site has accepted another roster since, perhaps with a new key of its own."""
        return self._accepted not in (None, _mark(self.config.keys / ROSTER))

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
        source = self.randomness.source("noise", self.plan.hash, asked.purpose, asked.training_round, asked.stage)
        noise = self.secure.noise(begun, source)
        own = report.Contribution(narrow, kept, self.secure.coins(begun), noise)
        return self.secure.report(begun, own, rows=self.dataset)

    def noised(self, kind: str, stage: int, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Statistics that leave in the open, on a grid of 2^-20, with all the noise that the plan asks of a site."""
        contribution = self.contribution(kind, stage)
        share = noise_share(contribution)
        if share is None:
            return values
        scale = fixed_point(contribution, sites=1).wide_scale
        source = self.randomness.source("noise", self.plan.hash, kind, stage)
        drawn = discrete_gaussian(len(values), sigma=share.steps(scale), random=source)
        return (np.rint(np.clip(np.nan_to_num(values), -MOST, MOST) * scale) + drawn) / scale


_sessions: dict[tuple[str, str], Session] = {}


def open_session(context: Context) -> Session:
    """The session that `context` belongs to; kept warm for the next message of the same site and plan.

    Deployed: node config `site-config` names the site.toml. Under Flower's simulation engine the run config `sites`
    names a folder of sites and `partition-id` counts them; a real node never reads that key.
    Raises PlanError if the site's settings or its approved plan cannot be read.
    """
    config, virtual = _site_of(context)
    if config.plan is None:
        raise PlanError(f"{config.source}: key 'site.plan' is missing; it names the federation.toml approved here.")
    plan = read_plan(config.plan)
    key = (str(config.folder), plan.hash)
    known = _sessions.get(key)
    if known is None or known.config != config:  # site.toml was edited: begin anew with what it says
        keep_session(Session(config, plan, virtual))
    elif known.is_behind:
        session = Session(config, plan, virtual)
        session.policy = known.policy  # an edited one still waits for a start
        keep_session(session)
    return _sessions[key]


def keep_session(session: Session) -> None:
    """Have `session` answer for its site from now on: a simulation hands over the tables that it has checked."""
    own_folder(session.config.folder)
    folder = str(session.config.folder)
    for key in [key for key in _sessions if key[0] == folder]:
        _sessions.pop(key).close()  # a site works under one plan at a time, and one session holds its ledger
    _sessions[str(session.config.folder), session.plan.hash] = session


def close_sessions() -> None:
    """Forget every warm session and close the sites' logs."""
    for session in _sessions.values():
        session.close()
    _sessions.clear()


def _site_of(context: Context) -> tuple[SiteConfig, bool]:
    """The site's settings, and whether it is a virtual one of a simulation engine."""
    if "site-config" in context.node_config:
        return load_site(Path(str(context.node_config["site-config"]))), False
    if "partition-id" in context.node_config and "sites" in context.run_config:
        sites = find_sites(Path(str(context.run_config["sites"])))
        number = int(context.node_config["partition-id"])
        if number >= len(sites):
            raise DataError(
                f"{context.run_config['sites']}: {len(sites)} sites, but the engine asks for number {number}."
            )
        return sites[number], True
    raise PlanError("node config 'site-config' is missing; it names this site's site.toml.")


def _mark(path: Path) -> tuple[int, int] | None:
    """Differs as soon as another file takes this one's place; None where there is none."""
    if not exists(path):
        return None
    found = path.stat()
    return found.st_ino, found.st_mtime_ns
