"""Every module's parameters, reference in numpy, cycles and cost terms."""

from hass_train.rtl.module import Module
from hass_train.rtl.reference.dense import ActivationEngine, DenseEngine
from hass_train.rtl.reference.fifos import BlockFifo, LutramFifo, RegisterFifo
from hass_train.rtl.reference.plumbing import Concatenate, Reorder, StreamFork, StreamJoin, WidthConverter
from hass_train.rtl.reference.pointwise import LookupTable, Requantise, StreamAdd, StreamMultiply, Threshold
from hass_train.rtl.reference.pools import AveragePool, GlobalPool, MaxPool
from hass_train.rtl.reference.sparse import CrossbarEngine, PairEngine, WeightEngine
from hass_train.rtl.reference.sums import Accumulator, AdderTree, Align
from hass_train.rtl.reference.windows import Padding, SlidingWindow

MODULES: dict[str, type[Module]] = {
    module.name: module
    for module in (
        Padding, SlidingWindow,
        DenseEngine, ActivationEngine, WeightEngine, PairEngine, CrossbarEngine,
        AdderTree, Accumulator, Align, Requantise, Threshold, LookupTable,
        StreamAdd, StreamMultiply, MaxPool, AveragePool, GlobalPool,
        StreamFork, StreamJoin, Reorder, RegisterFifo, LutramFifo, BlockFifo, WidthConverter, Concatenate,
    )
}  # fmt: skip
"""All modules by their names."""
