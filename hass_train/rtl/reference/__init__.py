"""Every module's parameters, reference in numpy, cycles and cost terms."""

from hass_train.rtl.module import Module
from hass_train.rtl.reference.pointwise import Requantise
from hass_train.rtl.reference.windows import AveragePool, GlobalPool, MaxPool, Padding, SlidingWindow

MODULES: dict[str, type[Module]] = {
    module.name: module
    for module in (
        Requantise,
        AveragePool,
        GlobalPool,
        MaxPool,
        Padding,
        SlidingWindow,
    )
}
"""All modules by their names."""
