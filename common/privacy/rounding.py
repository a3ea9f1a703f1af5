"""How far rounding moves a sum of clipped gradients, and in which precision it is therefore to be worked.

A sum of k products in precision u, in any order, is off in each entry by at most gamma_k = k u / (1 - k u) times the
sum of the products' magnitudes (Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 3.1). Here
products are added up in blocks of b passes and the blocks one after another: k = b + blocks, and one more for a scaling
that follows. The magnitudes of one patient with a single pass are those of the patient's clipped gradient, so that over
n patients with bound C the whole sum is off by at most gamma_k n C in L2. This grows with n^2, and a patient more can
shift all others to other places: both of two neighbouring sums are off, each by its own error.

A patient's passes may cancel out, so that the magnitudes are longer than the gradient: by `STRETCH` at most, for
`per_patient._norm` counts what cancels with a weight above 2^-19.

A patient's own gradient may besides change in its last bits with the shape of the batch that it is worked in; that is
not bounded here (docs/privacy.md).

Noise is made for `ALLOWED` of a patient's gradient in each entry, that is ALLOWED sqrt(D) C in L2, over two sums. Each
may be off by half of it. Where float32 (u = 2^-24) cannot keep to that, the products, exact in float64, are added up in
float64 (u = 2^-53): it keeps to it up to 10 million patients of one pass, or 100,000 of sixteen passes, from 1,000
parameters on. `precision` refuses more.
"""

from math import ceil, sqrt

import torch
from torch import Tensor

ALLOWED = 2.0**-16
"""Of a patient's gradient, in each entry: by how much more than the bound one patient may move the sum worked here.

It costs 0.45 % more noise with 86,000 parameters, and lets a step of 128 patients be one product in float32."""

STRETCH = 2.0**10
BLOCKS = {torch.float32: 160, torch.float64: 1024}
"""Passes that are added up in one matrix product."""

_UNIT = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}


def precision(*, patients: int, passes: int, size: int) -> torch.dtype:
    """float32 where the sum of so many patients' gradients, (size,), keeps to half the allowance, else float64.

    passes: of all patients together. Raises ValueError where float64 does not keep to it either.
    """
    for kind in (torch.float32, torch.float64):
        if error(kind, patients=patients, passes=passes) <= ALLOWED * sqrt(size) / 2.0:
            return kind
    raise ValueError(f"a step over {patients} patients with {passes} passes is more than float64 can add up")


def error(kind: torch.dtype, *, patients: int, passes: int) -> float:
    """Largest L2 error of the sum, scaled once, over the bound of one patient's gradient."""
    block, unit = BLOCKS[kind], _UNIT[kind]
    terms = (min(block, passes) + ceil(passes / block) + 1) * unit
    if terms >= 0.5:
        return float("inf")
    return terms / (1.0 - terms) * patients * (1.0 if passes == patients else STRETCH)


def products(signal: Tensor, activation: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
    """Sum over passes of the outer products, written over `weight`, and of the signals, over `bias`.

    Block by block, in the dtype of `weight`. signal: (passes, out), activation: (passes, in). weight: (out, in).
    """
    block = BLOCKS[weight.dtype]
    for first in range(0, len(signal), block):
        left, right = (part[first : first + block].to(weight.dtype) for part in (signal, activation))
        if first == 0:
            torch.mm(left.t(), right, out=weight)
        else:
            weight += left.t() @ right
        if bias is not None:
            if first == 0:
                torch.sum(left, dim=0, out=bias)
            else:
                bias += left.sum(dim=0)
