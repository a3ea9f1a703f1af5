"""Runs against each other: paired over seeds, with intervals, as numbers and as a page."""

from experiments.compare.differences import comparison
from experiments.compare.gather import gather
from experiments.compare.page import page

__all__ = ["comparison", "gather", "page"]
