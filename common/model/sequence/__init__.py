"""Encoders of a sequence: one state for each hour, made of that hour and those before it, and of nothing later."""

from common.model.sequence.encoders import states
from common.model.sequence.shapes import SEQUENCE_INPUT, feature_of_input, sequence_shapes

__all__ = ["SEQUENCE_INPUT", "feature_of_input", "sequence_shapes", "states"]
