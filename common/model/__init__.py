"""The shared multi-task model: input code, network, flat layout."""

from common.model.code import Columns, Normaliser, encode
from common.model.hours import encode_stays
from common.model.layout import LEVELS, Layout, layout_of, weight_level
from common.model.network import Network, initial_parameters
from common.model.site_scaling import SiteScaling

__all__ = [
    "LEVELS",
    "Columns",
    "Layout",
    "Network",
    "Normaliser",
    "SiteScaling",
    "encode",
    "encode_stays",
    "initial_parameters",
    "layout_of",
    "weight_level",
]
