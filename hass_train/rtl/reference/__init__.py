"""Every module's parameters, reference in numpy, cycles and cost terms."""

from hass_train.rtl.module import Module
from hass_train.rtl.reference.dense import ActivationEngine, DenseEngine
from hass_train.rtl.reference.pointwise import Requantise

MODULES: dict[str, type[Module]] = {module.name: module for module in (Requantise, DenseEngine, ActivationEngine)}
"""All modules by their names."""
