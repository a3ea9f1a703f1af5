"""Experiments over many federations: one file describes them, and nothing is computed twice (docs/research.md)."""

from experiments.sweep.cells import Cell, cells_of
from experiments.sweep.experiment import Experiment, read_experiment
from experiments.sweep.sweep import Sweep
from experiments.sweep.table import table_of

__all__ = ["Cell", "Experiment", "Sweep", "cells_of", "read_experiment", "table_of"]
