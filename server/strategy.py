"""How the summed step is applied: by any flwr.serverapp strategy, which sees one reply, the already divided sum.

Mean-based strategies need nothing else. Robust ones get each site's own step, which only plain sums can give.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower
from numpy.typing import NDArray

from common.errors import RunError
from common.plan import Aggregation
from common.plan.rules import ROBUST_STRATEGIES
from server.identity import act_as_coordinator

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
_DEFAULT_RATE = {"fedavgm": 1.0, "fedadam": 0.01, "fedyogi": 0.01, "fedadagrad": 0.03}
_NODE = 1
_PREFIX = "strategy."


class _OneNode:
    """All that `configure_train` asks of a grid: the step is taken on one, already summed, reply."""

    def get_node_ids(self) -> list[int]:
        return [_NODE]


def _make(rules: Aggregation) -> flower.FedAvg:
    common: dict[str, Any] = {"min_train_nodes": 1, "min_available_nodes": 1}
    rate = rules.server_learning_rate or _DEFAULT_RATE.get(rules.strategy, 1.0)
    adaptive = {"eta": rate, "tau": rules.tau}
    moments = adaptive | {"beta_1": rules.beta_1, "beta_2": rules.beta_2}
    match rules.strategy:
        case "fedavgm":
            return flower.FedAvgM(**common, server_learning_rate=rate, server_momentum=rules.server_momentum)
        case "fedadam":
            return flower.FedAdam(**common, **moments)
        case "fedyogi":
            return flower.FedYogi(**common, **moments)
        case "fedadagrad":
            return flower.FedAdagrad(**common, **adaptive)
        case "fedmedian":
            return flower.FedMedian(**common)
        case "fedtrimmedavg":
            return flower.FedTrimmedAvg(**common, beta=rules.trim)
        case "krum":
            return flower.Krum(**common, num_malicious_nodes=rules.malicious_sites)
        case _:
            # FedProx differs from FedAvg at the sites alone; there the plan's proximal_mu is in the training step.
            return flower.FedAvg(**common)


@dataclass
class ServerStep:
    """Applies one round's step; keeps the strategy's own state between rounds and in the journal."""

    rules: Aggregation
    _strategy: flower.FedAvg = field(init=False)

    def __post_init__(self) -> None:
        act_as_coordinator()
        self._strategy = _make(self.rules)

    @property
    def robust(self) -> bool:
        return self.rules.strategy in ROBUST_STRATEGIES

    def apply(
        self,
        round_number: int,
        parameters: Float32,
        step: Float64,
        moved: NDArray[np.bool_],
        each: dict[str, Float64] | None = None,
    ) -> Float32:
        """The next parameters, (D,) float32.

        step: (D,) float64, the divided sum. moved: (D,) False where no site contributed; those stay bit for bit.
        each: site -> (D,) its own step, for robust strategies.
        """
        steps = [step] if not self.robust else [each[site] for site in sorted(each)] if each else []
        if not steps:
            raise RunError(
                f"strategy {self.rules.strategy!r} needs each site's own update, which this sum does not show."
            )
        current = ArrayRecord({"vector": Array(parameters)})
        requests = self._strategy.configure_train(round_number, current, ConfigRecord(), _OneNode())  # type: ignore[arg-type]
        request = next(iter(requests), None) or Message(RecordDict(), _NODE, MessageType.TRAIN)
        replies = [_reply(request, parameters + own) for own in steps]
        arrays, _ = self._strategy.aggregate_train(round_number, replies)
        if arrays is None:
            raise RunError(f"round {round_number}: strategy {self.rules.strategy!r} gave no model.")
        # FedAdam returns float64; FedAvgM keeps its own copy of the model, so the cast goes back to it as well.
        result = next(iter(arrays.values())).numpy().astype(np.float32)
        result = np.where(moved, result, parameters)
        if isinstance(self._strategy, flower.FedAvgM):
            self._strategy.current_arrays = ArrayRecord({"vector": Array(result)})
        return result

    def state(self) -> dict[str, NDArray[Any]]:
        """What the strategy remembers, as arrays for the journal; their names begin with `strategy.`."""
        result: dict[str, NDArray[Any]] = {}
        for name in ("m_t", "v_t"):
            if (value := getattr(self._strategy, name, None)) is not None:
                result[_PREFIX + name] = np.asarray(value["vector"])
        if (momentum := getattr(self._strategy, "momentum_vector", None)) is not None:
            result[_PREFIX + "momentum_vector"] = np.asarray(momentum[0])
        return result

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Continue from a journal's arrays: `parameters`, (D,), and what `state` gave at that moment."""
        for name in ("m_t", "v_t"):
            if _PREFIX + name in arrays:
                setattr(self._strategy, name, {"vector": arrays[_PREFIX + name]})
        if isinstance(self._strategy, flower.FedAvgM):
            self._strategy.current_arrays = ArrayRecord({"vector": Array(arrays["parameters"])})
            if (momentum := arrays.get(_PREFIX + "momentum_vector")) is not None:
                self._strategy.momentum_vector = [momentum]


def _reply(request: Message, model: Float64) -> Message:
    content = RecordDict(
        {"arrays": ArrayRecord({"vector": Array(model)}), "metrics": MetricRecord({"num-examples": 1.0})}
    )
    return Message(content, reply_to=request)
