"""The five encoders as functions of named tensors. Each gives (n, H, width): the state at an hour sees no later hour.

tcn: residual causal convolutions, dilated 1, 2, 4 … (Bai, Kolter, Koltun 2018), normed at the end. lstm, gru: PyTorch's
own kernels. attention: causal, with the norm before each part (Xiong et al. 2020) and sines of the hour (Vaswani et al.
2017). mlp: plain layers on summaries of the hours so far (summaries.py) and sines of the hour, what the others have to
be better than.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from common.model.sequence.shapes import KERNEL, SEQUENCE_INPUT
from common.model.sequence.summaries import summaries
from common.plan import ModelRules
from common.plan.model_rules import ATTENTION_HEADS

Tensors = Mapping[str, Tensor]


def states(tensors: Tensors, hours: Tensor, rules: ModelRules) -> Tensor:
    """(n, H, width) the state at each hour. hours: (n, H, columns). tensors: as `sequence_shapes` names them."""
    seen = summaries(hours) if rules.sequence_encoder == "mlp" else hours
    inside = functional.linear(seen, tensors[SEQUENCE_INPUT], tensors["sequence.input.bias"]).relu()
    kinds = {"tcn": convolve, "lstm": lstm, "gru": gru, "attention": attend, "mlp": plain}
    return kinds[rules.sequence_encoder](tensors, inside, rules.layers)


def convolve(tensors: Tensors, inside: Tensor, layers: int) -> Tensor:
    """inside: (n, H, width). Each convolution is one matrix product: small ones are slower as torch's own kernels."""
    hidden, hours = inside, inside.shape[1]
    for layer in range(layers):
        weight, dilation = tensors[f"sequence.{layer}.weight"], 2**layer
        before = functional.pad(hidden, (0, 0, (KERNEL - 1) * dilation, 0))  # nothing later than the hour is seen
        seen = torch.cat([before[:, k * dilation : k * dilation + hours] for k in range(KERNEL)], dim=2)
        flat = weight.transpose(1, 2).reshape(len(weight), -1)
        hidden = hidden + functional.linear(seen, flat, tensors[f"sequence.{layer}.bias"]).relu()
    return functional.layer_norm(hidden, (hidden.shape[2],))


def plain(tensors: Tensors, inside: Tensor, layers: int) -> Tensor:
    """inside: (n, H, width)."""
    hidden = inside + _places(inside.shape[1], inside.shape[2], inside.device)
    for layer in range(layers):
        hidden = functional.linear(
            hidden, tensors[f"sequence.{layer}.weight"], tensors[f"sequence.{layer}.bias"]
        ).relu()
    return hidden


def lstm(tensors: Tensors, inside: Tensor, layers: int) -> Tensor:
    """inside: (n, H, width)."""
    start = inside.new_zeros(layers, inside.shape[0], inside.shape[2])
    out, _, _ = torch.lstm(inside, (start, start), _flat(tensors, layers), True, layers, 0.0, False, False, True)
    return out


def gru(tensors: Tensors, inside: Tensor, layers: int) -> Tensor:
    """inside: (n, H, width)."""
    start = inside.new_zeros(layers, inside.shape[0], inside.shape[2])
    out, _ = torch.gru(inside, start, _flat(tensors, layers), True, layers, 0.0, False, False, True)
    return out


def _flat(tensors: Tensors, layers: int) -> list[Tensor]:
    names = ("input.weight", "state.weight", "input.bias", "state.bias")
    return [tensors[f"sequence.{layer}.{name}"] for layer in range(layers) for name in names]


def attend(tensors: Tensors, inside: Tensor, layers: int) -> Tensor:
    """inside: (n, H, width)."""
    count, hours, width = inside.shape
    hidden = inside + _places(hours, width, inside.device)
    for layer in range(layers):
        own = {name: tensors[f"sequence.{layer}.{name}"] for name in _PARTS}
        normed = functional.layer_norm(hidden, (width,))
        three = functional.linear(normed, own["attend.weight"], own["attend.bias"])
        query, key, value = three.view(count, hours, 3, ATTENTION_HEADS, -1).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        seen = seen.transpose(1, 2).reshape(inside.shape)
        hidden = hidden + functional.linear(seen, own["join.weight"], own["join.bias"])
        normed = functional.layer_norm(hidden, (width,))
        wide = functional.linear(normed, own["wide.weight"], own["wide.bias"]).relu()
        hidden = hidden + functional.linear(wide, own["narrow.weight"], own["narrow.bias"])
    return functional.layer_norm(hidden, (width,))


_PARTS = tuple(f"{part}.{kind}" for part in ("attend", "join", "wide", "narrow") for kind in ("weight", "bias"))


def _places(hours: int, width: int, device: torch.device) -> Tensor:
    """(H, width) sines and cosines of the hour, of wavelengths from 2 pi to 10,000 times that."""
    column = torch.arange(width, device=device)
    angle = torch.arange(hours, device=device)[:, None] * torch.exp(-math.log(10_000.0) * (column // 2 * 2 / width))
    return torch.where(column % 2 == 0, angle.sin(), angle.cos())
