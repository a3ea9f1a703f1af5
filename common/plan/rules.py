"""How a plan trains, sums and judges: the sections that are not about data or the network."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from common.plan.base import Count, Fraction, Name, NonNegative, Positive, Section
from common.secagg.fixedpoint import FixedPoint

MEAN_STRATEGIES = ("fedavg", "fedprox", "fedavgm", "fedadam", "fedyogi", "fedadagrad")
ROBUST_STRATEGIES = ("fedmedian", "fedtrimmedavg", "krum")
StrategyName = Literal[
    "fedavg", "fedprox", "fedavgm", "fedadam", "fedyogi", "fedadagrad", "fedmedian", "fedtrimmedavg", "krum"
]


class Federation(Section):
    """`[federation]`: the study."""

    name: Name = Field(description="Short name of the study.")
    title: str = Field(default="", description="One line for people.")


Balancing = Literal["plain", "uncertainty", "upgrad", "mgda", "pcgrad"]


class Training(Section):
    """`[training]`: what a site does in a round."""

    rounds: Annotated[int, Field(ge=1, le=1_000_000)] = Field(default=30, description="Federated rounds.")
    local_epochs: Count = Field(default=2, description="Passes over a site's training rows in one round.")
    min_local_steps: Count = Field(
        default=10,
        description="Fewest steps of a site in a round: one with few rows passes over them more often, or it would "
        "have too little say. Not with a patient's noise, where all take as many.",
    )
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = Field(default=32, description="Rows per step.")
    optimizer: Literal["sgd", "adamw"] = Field(default="sgd", description="'sgd' with momentum, or 'adamw'.")
    learning_rate: Positive = Field(default=0.03, description="Step size in round 1.")
    schedule: Literal["cosine", "constant"] = Field(
        default="cosine", description="How the step size falls over rounds."
    )
    patience: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=None,
        description="Early stopping: once so many models in a row had no lower loss on the validation rows of all "
        "sites (mean over tasks), the run ends with the best one. Without it the model of the last round is kept.",
    )
    momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(default=0.9, description="Momentum of 'sgd'.")
    l2_linear: NonNegative = Field(
        default=30.0, description="L2 penalty on the linear path, divided by the training rows of all sites."
    )
    l2_network: NonNegative = Field(
        default=8.0, description="L2 penalty on encoder and heads, divided by the training rows of all sites."
    )
    proximal_mu: NonNegative = Field(
        default=0.0, description="FedProx: weight of the squared distance to the model received."
    )
    balancing: Balancing = Field(
        default="plain",
        description="How tasks share the encoder. 'plain': their losses are summed. 'uncertainty': a task counts the "
        "less, the larger its loss is at the site. 'upgrad', 'mgda', 'pcgrad': their gradients at the encoder's output "
        "are combined by that method of `torchjd` (extra `balancing`).",
    )

    @property
    def combines_gradients(self) -> bool:
        """Whether the encoder's step is made of the tasks' gradients by another rule than their sum."""
        return self.balancing not in ("plain", "uncertainty")


class Aggregation(Section):
    """`[aggregation]`: how updates become one step."""

    strategy: StrategyName = Field(
        default="fedavg", description="The flwr.serverapp strategy that applies the summed step."
    )
    secure: bool = Field(
        default=True,
        description="true: the coordinator learns the sum over the sites of a round and not one site's vector. false: "
        "it sees each site's update and tallies.",
    )
    colluding_sites: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Secure sums: so many sites (f) may side with the coordinator and, together with it, still learn "
        "only the sum of the others; every sum then has at least f + 2. 0: nothing is promised if one does.",
    )
    absent_members: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="Secure sums: so many (d) of the sites that hold shares of the masks may be missing when a sum is "
        "opened; it takes at least f + 2 d + 1 sites. Without it: as many as the rules allow.",
    )
    clip_norm: Positive = Field(default=0.5, description="Largest L2 norm of a site's update; longer ones are scaled.")
    weight_row_cap: Count = Field(
        default=1000,
        description="Rows at which a site's weight for a block is 1; below, sqrt(rows / cap) rounded to "
        "1/8, 1/4, 1/2 or 1, so that exact counts never travel.",
    )
    min_sites: Count = Field(
        default=2,
        description="A round needs this many sites, or the run stops resumably; with secure sums at least 3, and at "
        "least colluding_sites + 2.",
    )
    min_task_sites: Count = Field(
        default=2,
        description="A task or feature that fewer sites hold is left out, and the report says so; with secure sums "
        "at least colluding_sites + 2.",
    )
    round_timeout_s: Positive = Field(default=600.0, description="Seconds to wait for the sites in one exchange.")
    server_learning_rate: Positive | None = Field(
        default=None, description="Step of fedavgm (default 1), fedadam, fedyogi (0.01) and fedadagrad (0.03)."
    )
    server_momentum: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(default=0.9, description="Momentum of fedavgm.")
    beta_1: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        default=0.9, description="First-moment decay of fedadam and fedyogi."
    )
    beta_2: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        default=0.99, description="Second-moment decay of fedadam and fedyogi."
    )
    tau: Positive = Field(default=1e-3, description="Adaptivity floor of fedadam, fedyogi and fedadagrad.")
    trim: Annotated[float, Field(gt=0.0, lt=0.5)] = Field(
        default=0.34, description="Share that fedtrimmedavg cuts off at each end."
    )
    malicious_sites: Annotated[int, Field(ge=0)] = Field(default=0, description="Sites that krum assumes dishonest.")

    @property
    def least_sites(self) -> int:
        """Fewest sites in any sum of this plan."""
        return max(self.min_sites, 3, self.colluding_sites + 2) if self.secure else self.min_sites

    @property
    def least_holders(self) -> int:
        """Fewest sites that must hold a task or feature: two beside those that side with the coordinator."""
        return max(self.min_task_sites, self.colluding_sites + 2) if self.secure else self.min_task_sites

    @property
    def holders_rule(self) -> str:
        """Why a task or feature with fewer holders is left out, as the end of a sentence."""
        if self.least_holders == self.min_task_sites:
            return f"the plan asks for {self.min_task_sites} (min_task_sites)"
        return f"a secure sum needs {self.least_holders} (colluding_sites + 2)"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.secure:
            if self.strategy in ROBUST_STRATEGIES:
                raise ValueError(
                    f"strategy {self.strategy!r} needs each site's own update, which secure = true (the default) "
                    f"hides; choose secure = false or one of {', '.join(MEAN_STRATEGIES)}"
                )
            FixedPoint.fit(clip_norm=self.clip_norm, sites=self.least_sites)  # ValueError: no headroom, no plan
            return self
        if self.colluding_sites:
            raise ValueError(
                f"colluding_sites = {self.colluding_sites} contradicts secure = false, under which the coordinator "
                "sees each site's update without anyone's help; choose secure = true or colluding_sites = 0"
            )
        if self.absent_members is not None:
            raise ValueError("absent_members belongs to secure sums, this plan says secure = false; leave it out")
        return self


class Evaluation(Section):
    """`[evaluation]`: how the model is judged."""

    histogram_bins: Annotated[int, Field(ge=8, le=4096)] = Field(
        default=256, description="Bins of the summed score histograms behind pooled AUROC, AUPRC and calibration."
    )
    round_bins: Annotated[int, Field(ge=8, le=4096)] = Field(
        default=64, description="The same for the learning curve that travels with each round's update."
    )
    calibration_groups: Annotated[int, Field(ge=2, le=100)] = Field(
        default=10, description="Groups of equal size in the calibration figure."
    )
    min_test_rows: Count = Field(
        default=5, description="A site with fewer labelled test rows is not in the per-site mean."
    )
    min_train_rows: Count = Field(
        default=20, description="A site with fewer labelled training rows is not in the per-site mean."
    )


class Seeds(Section):
    """`[seeds]`: everything random in a simulation follows from these; `--seed N` sets both."""

    split: Annotated[int, Field(ge=0)] = Field(default=0, description="Seed of the split into sets.")
    training: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Seed of the starting point, of batches and of dropout."
    )


__all__ = ["Aggregation", "Evaluation", "Federation", "Fraction", "Seeds", "Training"]
