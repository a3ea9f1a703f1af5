"""A site at work: its settings, the plan it approved, its data on its device; warm between messages."""

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from client.approval.approval import approval_path, check_approval
from client.at_rest.files import Vaulted
from client.at_rest.key import vaulted
from client.ledger.ledger import LEDGER, Ledger
from client.ledger.opening import BEGUN
from client.local_parts import LocalParts
from client.own_log import own_file
from client.policy.policy import Policy, load_policy
from client.secure.answers import Round, SecureSite
from client.secure.keys import KEY, ROSTER, load_roster, load_signing_key
from client.secure.store import STORE, FileVault, Vault
from client.site_rows import TRAIN, SiteRows
from client.training.randomness import Randomness, SystemRandomness
from common.contribution import Contribution, Contributions
from common.errors import PlanError, Refusal
from common.files import exists
from common.model import Network, layout_of
from common.privacy.mechanism import Mechanism, mechanism
from common.privacy.noise import discrete_gaussian
from common.privacy.shares import fixed_point, noise_share
from common.secagg import report
from common.secagg.fixedpoint import MOST
from common.secagg.primitives import SigningKey
from common.secagg.session import Party

LOGGER = "consilium.site"
_Mark = tuple[int, int]


@dataclass
class Session(SiteRows):
    """One site under one approved plan. virtual: its ledger need not outlast a power cut.

    told: digests of the list of patients who object, as the sessions that this one follows have read it.
    """

    virtual: bool = False
    told: frozenset[str] = frozenset()
    _approved: _Mark | None = None
    _accepted: tuple[_Mark | None, ...] = ()

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
        return Network(layout_of(self.plan), self.device)

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
        self._note_keys()
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
    def local_parts(self) -> LocalParts:
        """The parameters that stay here while a run goes on."""
        return LocalParts(self.config, layout_of(self.plan), self.vaulted)

    @cached_property
    def secure(self) -> SecureSite:
        """This site's part in secure sums. Raises PlanError where it has no key or has accepted no roster."""
        self._note_keys()
        rules, accepted = self.policy.secure, load_roster(self.config)
        if accepted is None:
            raise PlanError(f"{self.config.keys}: no roster was accepted; `consilium site accept` keeps one.")
        # The plan that was approved here is a promise about the number of sites, not the coordinator's own rule.
        policy = rules.in_sums(self.plan.aggregation.least_sites)
        party = Party(self.config.name, self.signing_key, accepted.roster, policy)
        return SecureSite(self.plan, party, self.vault)

    def _note_keys(self) -> None:
        self._accepted = self._accepted or self._keys()

    def _keys(self) -> tuple[_Mark | None, ...]:
        return _mark(self.config.keys / ROSTER), _mark(self.config.keys / KEY)

    @property
    def is_behind(self) -> bool:
        """Whether this site has accepted another roster since, or has a new key."""
        return self._accepted not in ((), self._keys())

    def follow(self, before: "Session") -> None:
        """Go on for a site whose settings, plan or roster changed; an edited policy, or list, waits for a start."""
        if "policy" in vars(before):
            self.policy = before.policy
        self.told = before.lists_read

    @property
    def lists_read(self) -> frozenset[str]:
        """Digests of the list of patients who object, as it was read here with each reading of the tables."""
        return self.told | ({self.table.objections} if "table" in vars(self) else set())

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


def _mark(path: Path) -> _Mark | None:
    """Differs as soon as another file takes this one's place; None where there is none."""
    if not exists(path):
        return None
    found = path.stat()
    return found.st_ino, found.st_mtime_ns
