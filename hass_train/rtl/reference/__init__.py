"""Every module's parameters, reference in numpy, cycles and cost terms."""

from hass_train.rtl.module import Module
from hass_train.rtl.reference.pointwise import Requantise
from hass_train.rtl.reference.sparse import CrossbarEngine, PairEngine, WeightEngine

MODULES: dict[str, type[Module]] = {
    module.name: module for module in (Requantise, WeightEngine, PairEngine, CrossbarEngine)
}
"""All modules by their names."""
