"""What one site puts into a sum: how many entries, what they mean, and which block of the plan each belongs to.

An update is `narrow` (its entries are bounded by the clip norm), counts and other sums over rows are `wide`. A site
puts zeros where a block does not take part or was not declared, so that declarations say who is in a block's sum.
"""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from common.associations import STAGE, Associations
from common.entries import Entries, block_index
from common.layouts import evaluation_of, survey_of
from common.model.code import Normaliser
from common.model.layout import Index, Layout, layout_of
from common.plan import Plan
from common.privacy.evaluation import PrivateEvaluation
from common.privacy.survey import PrivateSurvey

Kind = Literal["train", "evaluate", "query.survey"]
STAGES: dict[str, tuple[int, ...]] = {"train": (0,), "evaluate": (0, 1, 2), "query.survey": (1, 2, STAGE)}
_STAGES_PER_PATIENT: dict[str, tuple[int, ...]] = {"train": (0,), "evaluate": (2,), "query.survey": (1,)}
NORMS = ("norm before clipping", "norm after clipping", "clipped", "one")


def stages(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Kind of question -> its stages. Where every release costs a patient something, each thing is asked once."""
    if plan.privacy.per_patient:
        return _STAGES_PER_PATIENT
    return STAGES if plan.survey.compares else STAGES | {"query.survey": (1, 2)}


@dataclass(frozen=True)
class Contribution:
    """The vector of one site for one question: `narrow` entries of the update, then `wide` entries of tallies.

    kind, stage: of the question. Raises ValueError for a pair that no plan asks for.
    """

    plan: Plan
    kind: Kind
    stage: int = 0

    def __post_init__(self) -> None:
        if self.stage not in stages(self.plan).get(self.kind, ()):
            raise ValueError(f"nothing is summed for {self.kind!r} at stage {self.stage}")

    @property
    def layout(self) -> Layout:
        return layout_of(self.plan)

    @cached_property
    def entries(self) -> tuple[Entries, ...]:
        """What the wide entries hold, in order."""
        if self.kind == "query.survey":
            return survey_of(self.plan).entries if self._associations is None else self._associations.entries
        norms = tuple(Entries(meaning, "shared") for meaning in NORMS)
        if self.kind == "train" and self.plan.privacy.unit != "none":
            return norms
        judged = evaluation_of(self.plan, final=self.stage > 0).entries
        return (*judged, *norms) if self.kind == "train" else judged

    @cached_property
    def _associations(self) -> Associations | None:
        return Associations(self.plan) if (self.kind, self.stage) == ("query.survey", STAGE) else None

    @cached_property
    def _paired(self) -> tuple[slice, NDArray[np.int64]]:
        """Where the entries lie that need a pair of blocks, and the code of each one's pair."""
        if self.kind == "train":
            return self.layout.paired
        return self._associations.paired if self._associations else (slice(0, 0), np.zeros(0, dtype=np.int64))

    @cached_property
    def sensitivity(self) -> float:
        """Largest L2 change of the wide entries if one patient is left out; 0 where they have no noise to hide in."""
        if self.kind == "train" or not self.plan.privacy.per_patient:
            return 0.0
        about = PrivateSurvey(self.plan) if self.kind == "query.survey" else PrivateEvaluation(self.plan)
        return about.sensitivity

    @property
    def narrow(self) -> int:
        """D, the parameters of the model, for a round of training; otherwise 0."""
        return self.layout.parameters if self.kind == "train" else 0

    @cached_property
    def wide(self) -> int:
        """Entries of tallies, float64."""
        return sum(each.size for each in self.entries)

    @property
    def block_of(self) -> NDArray[np.int64]:
        """(narrow + wide,) index into `Layout.block_names` of each entry; made anew each time."""
        return np.concatenate([part.astype(np.int64) for part in self._blocks])

    @property
    def _blocks(self) -> tuple[Index, ...]:
        """`block_of` of the narrow entries, where there are some, and of the wide ones."""
        tallies = block_index(self.entries, self.layout.block_names)
        return (self.layout.block_of, tallies) if self.kind == "train" else (tallies,)

    @cached_property
    def pairs(self) -> tuple[int, ...]:
        """Codes of the pairs of blocks (`Layout.paired`) that entries of this vector need."""
        return tuple(np.unique(self._paired[1]).tolist())

    @cached_property
    def companions(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Blocks that a site fills only through another one: (block, blocks of which it needs at least one).

        The encoder learns through a task; an input's columns through a task that sees that input.
        """
        if self.kind != "train":
            return ()
        tasks = self.plan.tasks
        found = [(0, tuple(range(1, 1 + len(tasks))))]
        for index, feature in enumerate(self.plan.inputs):
            seeing = tuple(1 + t for t, task in enumerate(tasks) if feature.name not in task.exclude)
            found.append((1 + len(tasks) + index, seeing))
        return tuple(found)

    def subject(self, vector: NDArray[np.float32]) -> bytes:
        """SHA-256 of what the sum is about, whatever the histogram edges: model and normaliser; 32 bytes.

        The survey is about the rows alone, so that all of its passes are one subject.
        """
        about = self.layout.parameters + Normaliser.size(self.plan) if self.kind != "query.survey" else 0
        return hashlib.sha256(vector[:about].tobytes()).digest()

    def entries_of(self, blocks: Collection[int], pairs: Collection[int]) -> NDArray[np.bool_]:
        """(narrow + wide,) whether an entry takes part: its block is one of `blocks`, and its pair one of `pairs`."""
        part = np.zeros(len(self.layout.block_names), dtype=bool)
        part[list(blocks)] = True
        result = np.concatenate([part[blocks_of] for blocks_of in self._blocks])
        where, codes = self._paired
        if len(codes):
            known = np.zeros(len(part) ** 2, dtype=bool)
            known[list(pairs)] = True
            result[where] &= known[codes]
        return result

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of the plan's hash, the question, and the meaning and block of every entry; 32 bytes."""
        update = [(each.name, each.shape) for each in self.layout.segments] if self.narrow else []
        tallies = [(each.meaning, each.block, each.size) for each in self.entries]
        said = [self.plan.hash, self.kind, self.stage, self.layout.block_names, update, tallies]
        digest = hashlib.sha256(json.dumps(said).encode())
        for blocks_of in self._blocks:
            digest.update(blocks_of.astype("<i4").data)
        digest.update(np.array(self.pairs, dtype="<i8").data)
        return digest.digest()


@dataclass(frozen=True)
class Contributions:
    """All contributions of a plan, each made once: for 10 million parameters that takes most of a second."""

    plan: Plan
    _made: dict[tuple[str, int], Contribution] = field(default_factory=dict, compare=False, repr=False)

    def of(self, kind: str, stage: int) -> Contribution:
        """The contribution to a question. Raises ValueError for one that no plan asks."""
        if (kind, stage) not in self._made:
            self._made[kind, stage] = Contribution(self.plan, cast(Kind, kind), stage)
        return self._made[kind, stage]
