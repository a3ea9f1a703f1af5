"""Combinations of conflicting gradients, from `torchjd`: the one module that imports it (extra `balancing`).

UPGrad: P. Quinton, V. Rey (2024), "Jacobian descent for multi-objective optimization". MGDA: J.-A. Désidéri (2012),
solved as in Sener and Koltun (2018). PCGrad: T. Yu et al. (2020), "Gradient surgery for multi-task learning". Each is
scaled so that gradients which agree are summed, as in plain training.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor
from torchjd.aggregation import MGDAWeighting, PCGradWeighting, UPGradWeighting
from torchjd.linalg import DualConeProjector

# Of the mean squared norm, on the diagonal: gradients that cancel but for rounding would get boundless weights.
_RIDGE = 1e-6


def combination(method: str, seed: int) -> Callable[[Tensor], Tensor]:
    """A function from the inner products of m gradients, (m, m) float64 on the host, to their weights, (m,) float64.

    method: "upgrad", "mgda" or "pcgrad". seed: of the order in which PCGrad projects, which is no secret.
    """
    if method == "upgrad":
        return _upgrad
    return _mgda if method == "mgda" else _Pcgrad(seed)


def _upgrad(products: Tensor) -> Tensor:
    ones = torch.ones(len(products), dtype=products.dtype)
    return UPGradWeighting(ones, projector=NonNegativeProjector())(products)


def _mgda(products: Tensor) -> Tensor:
    return len(products) * MGDAWeighting()(products)  # its weights add up to 1


class _Pcgrad:
    """It draws from torch's global generator, which is put back as it was: what else draws does not notice."""

    def __init__(self, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._state = torch.get_rng_state()

    def __call__(self, products: Tensor) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._state)
            weights: Tensor = PCGradWeighting()(products)
            self._state = torch.get_rng_state()
        return weights


class NonNegativeProjector(DualConeProjector):
    """Projection onto the dual cone by non-negative least squares (Lawson and Hanson 1974).

    torchjd's own one needs quadprog, which is under the GPL.
    """

    def __call__(self, U: Tensor, G: Tensor) -> Tensor:
        """The v >= u with the least v' G v, for each row u. U: (..., m). G: (m, m)."""
        products = G.numpy()
        ridge = _RIDGE * np.trace(products) / len(products) * np.eye(len(products))
        root = np.linalg.cholesky(products + ridge).T
        rows = U.numpy().reshape(-1, len(products))
        found = [u + nnls(root, -root @ u, maxiter=100 * len(products))[0] for u in rows]
        return torch.from_numpy(np.stack(found)).view(U.shape)
