"""Sum of clipped per-patient gradients of the flat network, without any per-patient gradient.

The gradient of a linear layer is an outer product g a^T of the output's gradient and the input, so the norm of a
patient's gradient follows from inner products alone (Goodfellow 2015, "Efficient per-example gradient computations";
Lee and Kifer 2021; Li et al. 2022, section 4). A patient passes the layer several times, once for each stay and each
group of tasks with the same exclusions: the squared norm of the summed gradient is the sum over all pairs of passes
p, q of (a_p . a_q)(g_p . g_q). Clipping scales g, and one matrix product for each layer adds everybody up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.model.network import Network
from common.privacy.output_gradient import OutputGradient
from common.privacy.rounding import products

Dropout = Callable[[int, int], Tensor]
"""(passes, width) -> mask: 0 for what is dropped, 1 / (1 - rate) for what is kept. It must be secret: a patient more
shifts the masks of those that follow, which is only as good as another draw to someone who cannot foresee them."""

_LONGEST = 1e12  # activations beyond it could hide signals whose squares are 0 in float32


@dataclass(frozen=True)
class ClippedSum:
    """total: (D,). norms: (patients,) of the gradients before clipping, which stay at the site."""

    total: Tensor
    norms: Tensor

    def share_clipped(self, max_grad_norm: float) -> float:
        """Between 0 and 1; 0 without patients."""
        return float((self.norms > max_grad_norm).double().mean()) if len(self.norms) else 0.0


@dataclass(frozen=True)
class PatientGradients:
    """Adds up patients' gradients, each over all tasks and rows of the patient, clipped to max_grad_norm.

    The weights of rows and tasks are constants that `OutputGradient.targets` holds, never a count of the batch.
    Rounding is on the safe side: a gradient is scaled to a norm that is smaller by all that its norm may be off.
    """

    network: Network
    output: OutputGradient
    max_grad_norm: float

    def clipped_sum(
        self,
        parameters: Tensor,
        inputs: Tensor,
        targets: Tensor,
        counts: NDArray[np.int64],
        *,
        dropout: Dropout | None = None,
    ) -> ClippedSum:
        """parameters: (D,). inputs: (n, inputs) and targets: (n, 2 outputs), the rows of one patient after another.

        counts: (patients,) rows of each, at least 1. dropout: masks of the n x groups passes, a row's in succession.
        Worked in the dtype of the tensors. A patient whose norm is not finite adds 0, with infinity as norm.
        """
        total = torch.empty_like(parameters)
        layers, into = self.tensors(parameters), self.tensors(total)
        return ClippedSum(total, self.add_up(layers, into, inputs, targets, counts, dropout=dropout))

    def targets(self, labels: Tensor, weights: Tensor) -> Tensor:
        """(n, 2 outputs) as `OutputGradient.targets` makes them."""
        return self.output.targets(labels, weights)

    def tensors(self, vector: Tensor) -> dict[str, Tensor]:
        """Named views into `vector`, (D,), made once for many steps."""
        return self.network.tensors(vector.detach())

    def add_up(
        self,
        layers: dict[str, Tensor],
        into: dict[str, Tensor],
        inputs: Tensor,
        targets: Tensor,
        counts: NDArray[np.int64],
        *,
        dropout: Dropout | None = None,
    ) -> Tensor:
        """`clipped_sum` of the parameters `layers`, written over `into`. Returns the norms, (patients,).

        Sums are worked in the dtype of `into`: the one that `rounding.precision` tells, or a wider one.
        """
        if len(counts) == 0:
            for part in into.values():
                part.zero_()
            return inputs.new_zeros(0)
        with torch.no_grad():
            activations, signals = self._passes(layers, inputs, targets, dropout)
            norms = self._norms(activations, signals, counts, "linear.weight" in layers)
            if not bool(norms.isfinite().all()):
                self._leave_out(norms, [*activations, *signals], counts)
            self._scale(activations, signals, norms, counts)
            for depth, (activation, signal) in enumerate(zip(activations, signals, strict=True)):
                name = f"encoder.{depth}" if depth < len(signals) - 1 else "heads"
                products(signal, activation, into[f"{name}.weight"], into[f"{name}.bias"])
            if "linear.weight" in layers:
                products(signals[-1], activations[0], into["linear.weight"])
        return norms

    @cached_property
    def _shown(self) -> tuple[Tensor, Tensor]:
        """(keep, add), each (groups, inputs): what the passes of a row see is row x keep + add."""
        pairs = [self.network.layout.columns.exclude(group) for group in self.network.groups]
        keep, add = (torch.from_numpy(np.stack(part)).to(self.network.device) for part in zip(*pairs, strict=True))
        return keep, add

    @cached_property
    def _column(self) -> Tensor:
        """(outputs,) where an output lies among the groups x outputs that a row's passes give."""
        layout = self.network.layout
        index = layout.plan.feature_index
        sets = [tuple(sorted(index[name] for name in task.exclude)) for task in layout.plan.tasks]
        group = np.array([self.network.groups.index(excluded) for excluded in sets])[layout.task_of_output]
        return torch.from_numpy(group * layout.outputs + np.arange(layout.outputs)).to(self.network.device)

    def _passes(
        self, layers: dict[str, Tensor], inputs: Tensor, targets: Tensor, dropout: Dropout | None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Input of each layer and gradient of its output, (passes, width): the encoder's in order, then the heads'."""
        groups, rate = len(self.network.groups), self.network.layout.plan.model.dropout
        wide = inputs
        if self.network.groups != ((),):
            keep, add = (part.to(inputs.dtype) for part in self._shown)
            wide = torch.addcmul(add, inputs[:, None], keep).flatten(0, 1)
        activations = [wide]
        for depth in range(len(self.network.layout.plan.model.hidden)):
            weight, bias = layers[f"encoder.{depth}.weight"], layers[f"encoder.{depth}.bias"]
            hidden = torch.addmm(bias, activations[-1], weight.t()).relu_()
            if dropout is not None and rate > 0.0:
                hidden.mul_(dropout(*hidden.shape))
            activations.append(hidden)
        out = torch.addmm(layers["heads.bias"], activations[-1], layers["heads.weight"].t())
        if "linear.weight" in layers:
            out.addmm_(wide, layers["linear.weight"].t())
        if groups == 1:
            signals = [self.output(out, targets)]
        else:
            spread = out.view(len(inputs), -1)
            own = self.output(spread[:, self._column], targets)
            # An output counts in the passes of its task's group alone.
            signals = [torch.zeros_like(spread).index_copy_(1, self._column, own).view(out.shape)]
        above = layers["heads.weight"]
        for depth in range(len(activations) - 2, -1, -1):
            signal = torch.ops.aten.threshold_backward(signals[0] @ above, activations[depth + 1], 0.0)
            if dropout is not None and rate > 0.0:
                signal.mul_(1.0 / (1.0 - rate))
            signals.insert(0, signal)
            above = layers[f"encoder.{depth}.weight"]
        return activations, signals

    def _norms(
        self, activations: list[Tensor], signals: list[Tensor], counts: NDArray[np.int64], linear_path: bool
    ) -> Tensor:
        """(patients,), run by run of patients with equally many rows."""
        if len(counts) == len(activations[0]):
            return _norm(activations, signals, 1, linear_path)
        groups = len(self.network.groups)
        bounds = [0, *(np.flatnonzero(np.diff(counts)) + 1).tolist(), len(counts)]
        norms, first = [], 0
        for begin, end in pairwise(bounds):
            each = int(counts[begin]) * groups
            run = slice(first, first := first + (end - begin) * each)
            norms.append(_norm([a[run] for a in activations], [s[run] for s in signals], each, linear_path))
        return norms[0] if len(norms) == 1 else torch.cat(norms)

    def _leave_out(self, norms: Tensor, passes: list[Tensor], counts: NDArray[np.int64]) -> None:
        """Count a gradient that is not finite as 0, in place: whether one patient's is must not show in the sum."""
        broken = ~norms.isfinite()
        norms.masked_fill_(broken, torch.inf)
        if len(passes[0]) != len(norms):
            repeats = torch.from_numpy(counts * len(self.network.groups)).to(norms.device)
            broken = broken.repeat_interleave(repeats, output_size=len(passes[0]))
        for rows in passes:
            rows.masked_fill_(broken[:, None], 0.0)

    def _scale(
        self, activations: list[Tensor], signals: list[Tensor], norms: Tensor, counts: NDArray[np.int64]
    ) -> None:
        """Clip, in place."""
        margin = 1.0 - _slack(activations, signals, 1)
        scale = (self.max_grad_norm * margin / norms).clamp_(max=1.0)
        passes = len(signals[0])
        if passes != len(norms):
            groups = len(self.network.groups)
            repeats = torch.from_numpy(counts * groups).to(norms.device)
            scale = scale.repeat_interleave(repeats, output_size=passes)
        for signal in signals:
            signal.mul_(scale[:, None])


def _slack(activations: list[Tensor], signals: list[Tensor], each: int) -> float:
    """At least what rounding adds to the square of a norm, relative to the magnitudes in it; 2^-19 or more in float32.

    Inner products of so many entries, of activations and of signals, and sums over layers and over pairs of `each`
    passes: gamma_k with k their sum (Higham 2002, section 3.1); eps is twice its unit.
    """
    wide = max(part.shape[1] for part in activations) + max(part.shape[1] for part in signals)
    return float((wide + each**2 + 3 * len(signals) + 16) * torch.finfo(signals[0].dtype).eps)


def _inner(rows: Tensor, each: int) -> Tensor:
    """Inner products of a patient's passes: (patients,) of one pass with itself, else (patients, each, each)."""
    if each == 1:
        lengths: Tensor = torch.linalg.vector_norm(rows, dim=1)
        return lengths.square_()
    own = rows.view(-1, each, rows.shape[1])
    return torch.bmm(own, own.transpose(1, 2))


def _norm(activations: list[Tensor], signals: list[Tensor], each: int, linear_path: bool) -> Tensor:
    """(patients,) norms of the gradients of patients with `each` passes.

    Where passes cancel out, the products' rounding errors remain: they are bounded by the norm that the passes would
    have if they did not, and this bound is added.
    """
    inner = [_inner(activation, each) for activation in activations]
    pairs = [_inner(signal, each) for signal in signals]
    cells = torch.addcmul(pairs[0], inner[0], pairs[0])  # the bias sees an input of 1
    for left, right in zip(inner[1:], pairs[1:], strict=True):
        cells.addcmul_(left, right).add_(right)
    if linear_path:
        cells.addcmul_(inner[0], pairs[-1])
    # So long that a signal with a square below float32's smallest number would still matter.
    lengths = [part if each == 1 else part.diagonal(dim1=1, dim2=2).amax(dim=1) for part in inner]
    too_long = torch.stack(lengths).amax(dim=0) > _LONGEST**2
    if each == 1:
        return cells.sqrt_().masked_fill_(too_long, torch.inf)
    apart = cells.diagonal(dim1=1, dim2=2).clamp(min=0.0).sqrt().sum(dim=1)
    return (
        torch.addcmul(cells.sum(dim=(1, 2)), apart, apart, value=_slack(activations, signals, each))
        .clamp_(min=0.0)
        .sqrt_()
        .masked_fill_(too_long, torch.inf)
    )
