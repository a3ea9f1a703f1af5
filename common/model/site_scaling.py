"""A site's own scaling: its numeric features are mapped onto the federation's scale by its own mean and spread.

For hospitals whose devices or units differ without anybody's notice. The input code stays the pooled one: a site's mean
and spread take the place of the pooled ones, and the edges of the piecewise code move with them. Two sites whose values
are an affine map of each other's then have the same inputs, up to what few rows are shrunk. A real difference between
hospitals in the mean or the spread of a feature is taken away with it.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from common.model.code import Normaliser
from common.plan import Plan

Float64 = NDArray[np.float64]
PRIOR_ROWS = 10.0
"""Rows at which a site's own moments count as much as the pooled ones.

The ratio of the variance within a site to that between sites, of hospitals whose means lie about a third of a standard
deviation apart.
"""


@dataclass(frozen=True)
class SiteScaling:
    """count, mean, std: (F + S,) float64, in plan units, of one site's training rows; std is 0 where nothing varies."""

    count: Float64
    mean: Float64
    std: Float64

    def of(self, normaliser: Normaliser, plan: Plan) -> Normaliser:
        """The pooled `normaliser` as this site uses it.

        With Z = n / (n + PRIOR_ROWS), the credibility of n values (Bühlmann 1967, "Experience rating and credibility"):
        mean = pooled + Z (own - pooled), and log std likewise, for a spread is a scale. Of features that are not
        numeric, or have no spread here, the pooled ones stay.
        """
        numeric = np.array([feature.kind == "numeric" for feature in plan.inputs])
        own = numeric & (self.count > 0) & (self.std > 0)
        credibility = np.where(own, self.count / (self.count + PRIOR_ROWS), 0.0)
        mean, std, edges = (part.astype(np.float64) for part in (normaliser.mean, normaliser.std, normaliser.edges))
        centre = mean + credibility * (self.mean - mean)
        stretch = np.where(own, self.std / std, 1.0) ** credibility
        row = slice(len(plan.features))
        moved = centre[row, None] + (edges - mean[row, None]) * stretch[row, None]
        return replace(
            normaliser,
            mean=np.where(own, centre, normaliser.mean).astype(np.float32),
            std=np.where(own, std * stretch, normaliser.std).astype(np.float32),
            edges=np.where(own[row, None], moved, normaliser.edges).astype(np.float32),
        )
