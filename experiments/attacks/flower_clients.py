"""Five hospitals that run Flower's own SecAgg+ client, and the server's side of its four stages.

Nothing of Flower is replaced: each hospital is a `ClientApp` with `secaggplus_mod` around its training function, and
the messages are Flower's. Legacy API and internals used here and in flower_builtin.py only, as of flwr 1.41:
flwr.client.mod.secaggplus_mod, flwr.common.{FitRes, ...}, flwr.common.secure_aggregation,
flwr.compat.common.recorddict_compat, flwr.supercore.primitives.asymmetric.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import Code, FitRes, Status, bytes_to_ndarray, ndarrays_to_parameters
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.compat.common.recorddict_compat import fitres_to_recorddict

from server.identity import act_as_coordinator

NODES = (1, 2, 3, 4, 5)
VICTIM = 1
ENTRIES = 10_000
THRESHOLD = 3
RING = 2**32
# Flower's defaults.
CLIP, LEVELS, EXAMPLES = 8.0, 2**22, 1000

Answers = dict[int, Any]


class Hospitals:
    """Real clients with random updates that Flower's quantisation represents exactly, so that the truth is known."""

    def __init__(self) -> None:
        act_as_coordinator()
        random = np.random.default_rng(0)
        self._steps = {node: random.integers(-LEVELS // 16, LEVELS // 16, ENTRIES) for node in NODES}
        self._contexts = {
            node: Context(run_id=1, node_id=node, node_config={}, state=RecordDict(), run_config={}) for node in NODES
        }
        self._app = ClientApp(mods=[secaggplus_mod])
        self._app.train()(self._train)

    def true_update(self, node: int) -> np.ndarray:
        """The quantised update, (ENTRIES,) int64: what the hospital adds its masks to."""
        return self._steps[node] + LEVELS // 2

    def setup(self, *, threshold: int = THRESHOLD) -> Answers:
        """Every hospital's two public keys."""
        settings = {
            Key.SAMPLE_NUMBER: len(NODES),
            Key.SHARE_NUMBER: len(NODES),
            Key.THRESHOLD: threshold,
            Key.CLIPPING_RANGE: CLIP,
            Key.TARGET_RANGE: LEVELS,
            Key.MOD_RANGE: RING,
            Key.MAX_WEIGHT: float(EXAMPLES),
        }
        return self.ask(Stage.SETUP, dict.fromkeys(NODES, settings))

    def masked_update(self, node: int, sealed: Mapping[tuple[int, int], bytes]) -> np.ndarray:
        """Hand `node` its part of the sealed shares, {(from, to): ciphertext}; its masked vector, (ENTRIES,) int64."""
        sources = [source for source, to in sealed if to == node]
        question = {Key.SOURCE_LIST: sources, Key.CIPHERTEXT_LIST: [sealed[source, node] for source in sources]}
        answer = self.ask(Stage.COLLECT_MASKED_VECTORS, {node: question})[node]
        return bytes_to_ndarray(answer[Key.MASKED_PARAMETERS][1])  # the entry before holds the weight

    def ask(self, stage: str, questions: Mapping[int, Mapping[str, Any]]) -> Answers:
        """One message of `stage` to each node in `questions`, answered by its real client."""
        answers = {}
        for node, question in questions.items():
            content = RecordDict({RECORD_KEY_CONFIGS: ConfigRecord({**question, Key.STAGE: stage})})
            message = Message(content, dst_node_id=node, message_type="train")
            reply = self._app(message, self._contexts[node])
            answers[node] = reply.content.config_records[RECORD_KEY_CONFIGS]
        return answers

    def _train(self, message: Message, context: Context) -> Message:
        update = (self._steps[context.node_id] * (2 * CLIP / LEVELS)).astype(np.float32)
        result = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([update]), EXAMPLES, {})
        return Message(fitres_to_recorddict(result, keep_input=False), reply_to=message)


def sealed_shares(answers: Answers) -> dict[tuple[int, int], bytes]:
    """{(from, to): ciphertext} out of the answers to the share-keys stage."""
    return {
        (source, to): ciphertext
        for source, answer in answers.items()
        for to, ciphertext in zip(answer[Key.DESTINATION_LIST], answer[Key.CIPHERTEXT_LIST], strict=True)
    }
