"""The named tensors of a sequence's encoder, as they lie in the flat vector."""

import numpy as np
from numpy.typing import NDArray

from common.model.code import CODES
from common.model.sequence.summaries import SUMMARIES
from common.plan import ModelRules

KERNEL = 3
SEQUENCE_INPUT = "sequence.input.weight"
Shapes = list[tuple[str, tuple[int, ...]]]


def feature_of_input(rules: ModelRules, feature_of_hour: NDArray[np.int64]) -> NDArray[np.int64]:
    """The feature behind each column of the first map. feature_of_hour: (3 S,) behind each column of one hour."""
    if rules.sequence_encoder != "mlp":
        return feature_of_hour
    return np.tile(feature_of_hour[: len(feature_of_hour) // CODES], SUMMARIES)


def sequence_shapes(rules: ModelRules, columns: int) -> Shapes:
    """Names and shapes in order. columns: numbers that describe one hour, of which an MLP gets summaries.

    The first map, from what it gets to the width, is a segment of its own: its columns belong to the features.
    """
    width, kind = rules.width, rules.sequence_encoder
    columns = columns // CODES * SUMMARIES if kind == "mlp" else columns
    shapes: Shapes = [(SEQUENCE_INPUT, (width, columns)), ("sequence.input.bias", (width,))]
    for layer in range(rules.layers):
        shapes += [(f"sequence.{layer}.{name}", shape) for name, shape in _LAYER[kind](width)]
    return shapes


def _convolution(width: int) -> Shapes:
    return [("weight", (width, width, KERNEL)), ("bias", (width,))]


def _plain(width: int) -> Shapes:
    return [("weight", (width, width)), ("bias", (width,))]


def _recurrent(gates: int, width: int) -> Shapes:
    """As torch.nn.LSTM and GRU have them: of the input, of the state before, and two biases."""
    square, line = (gates * width, width), (gates * width,)
    return [("input.weight", square), ("state.weight", square), ("input.bias", line), ("state.bias", line)]


def _attention(width: int) -> Shapes:
    """As torch.nn.MultiheadAttention has them, then two layers that work on each hour by itself."""
    return [
        ("attend.weight", (3 * width, width)),
        ("attend.bias", (3 * width,)),
        ("join.weight", (width, width)),
        ("join.bias", (width,)),
        ("wide.weight", (2 * width, width)),
        ("wide.bias", (2 * width,)),
        ("narrow.weight", (width, 2 * width)),
        ("narrow.bias", (width,)),
    ]


_LAYER = {
    "tcn": _convolution,
    "lstm": lambda width: _recurrent(4, width),
    "gru": lambda width: _recurrent(3, width),
    "attention": _attention,
    "mlp": _plain,
}
