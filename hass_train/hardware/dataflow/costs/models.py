"""The models of costs by name."""

from __future__ import annotations

from typing import Literal

from hass_train.hardware.dataflow.costs.cost_model import CostModel
from hass_train.hardware.dataflow.costs.logic import Widths
from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.hardware.dataflow.costs.peer import PeerCosts
from hass_train.hardware.dataflow.costs.synthesised import SynthesisedCosts

CostSource = Literal["synthesis", "peer"]
"""Where costs come from: the synthesis of our own modules, or the peer's regressions."""


def cost_model(source: CostSource, bits: Widths, family: Family, unsigned: bool = False) -> CostModel:
    """The costs of designs from a source.

    Args:
        source: `synthesis` or `peer`.
        bits: word widths.
        family: what is synthesised for; the peer knows Xilinx devices only.
        unsigned: whether what is read is never negative; the peer makes no difference.
    """
    return SynthesisedCosts(bits, family, unsigned) if source == "synthesis" else PeerCosts(bits)
