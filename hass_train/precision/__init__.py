"""The integer network: fixed-point numbers, fake quantisers for training, and what runs on the accelerator."""

from hass_train.precision.build import integer_graph
from hass_train.precision.calibration import Stage
from hass_train.precision.formats import Format
from hass_train.precision.graph import IntegerGraph
from hass_train.precision.integer_network import IntegerNetwork
from hass_train.precision.quantisers import NAME as QUANTISERS
from hass_train.precision.quantisers import Quantisers, quantise, quantisers_of, state_keys
from hass_train.precision.rules import Float, Mixed, Numbers, Precision, PrecisionRule
from hass_train.precision.widths import resolved, with_widths

__all__ = [
    "QUANTISERS",
    "Float",
    "Format",
    "IntegerGraph",
    "IntegerNetwork",
    "Mixed",
    "Numbers",
    "Precision",
    "PrecisionRule",
    "Quantisers",
    "Stage",
    "integer_graph",
    "quantise",
    "quantisers_of",
    "resolved",
    "state_keys",
    "with_widths",
]
