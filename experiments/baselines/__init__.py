"""What a federation has to be compared with: other models on the very same rows, splits, features and exclusions."""

from experiments.baselines.catalogue import BASELINES
from experiments.baselines.run import run_baselines

__all__ = ["BASELINES", "run_baselines"]
