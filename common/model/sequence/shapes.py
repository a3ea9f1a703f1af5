"""The named tensors of a sequence's encoder, as they lie in the flat vector."""

from common.plan import ModelRules

KERNEL = 3
SEQUENCE_INPUT = "sequence.input.weight"
Shapes = list[tuple[str, tuple[int, ...]]]


def sequence_shapes(rules: ModelRules, columns: int) -> Shapes:
    """Names and shapes in order. columns: numbers that describe one hour.

    The first map, from the columns to the width, is a segment of its own: its columns belong to the features.
    """
    width, kind = rules.width, rules.sequence_encoder
    shapes: Shapes = [(SEQUENCE_INPUT, (width, columns)), ("sequence.input.bias", (width,))]
    for layer in range(rules.layers):
        shapes += [(f"sequence.{layer}.{name}", shape) for name, shape in _LAYER[kind](width)]
    return shapes


def _convolution(width: int) -> Shapes:
    return [("weight", (width, width, KERNEL)), ("bias", (width,))]


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
}
