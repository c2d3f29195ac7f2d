"""The energy of an image, estimated from constants per operation and per bit moved (hardware-model, section 8).

The defaults are orders of magnitude for 45 nm silicon after M. Horowitz, "Computing's energy problem" (ISSCC 2014): an
8-bit product 0.2 pJ and a 32-bit one 3.1 pJ with their additions, 10 pJ for 64 bits from an 8-KB memory, 1.3–2.6 nJ for
64 bits from DRAM. An FPGA's fabric takes more of each. Ratios between designs of one network say more than joules.
"""

from __future__ import annotations

from collections.abc import Iterable

from hass_train.hardware.dataflow.costs.engine_kinds import KINDS
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.estimate import Energy, LayerEstimate
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.workload import Operation, OperationKind


def image_energy(
    operations: Iterable[tuple[Operation, LayerEstimate, LayerSparsity]],
    options: DataflowOptions,
    offchip_bits: float,
    seconds: float,
    static_w: float,
) -> Energy:
    """The energy that a design spends on one image, in joules.

    Args:
        operations: every operation with its design and its sparsity.
        options: word widths and the energy constants.
        offchip_bits: bits of images, results and weights that cross the memory bus for one image.
        seconds: time between two images, all replicas together.
        static_w: static power of the device, W.
    """
    products = bits = 0.0  # bits of both operands of products
    for operation, row, sparsity in operations:
        own = options.of(operation)
        if kind := KINDS.get(row.engine):
            computed = kind.computed_fraction(sparsity)
            products += operation.macs * computed * own.weight_bits * own.activation_bits
            # a weight is read for each product, but the columns computed at once share it
            bits += operation.macs * own.weight_bits * computed / row.folds.get("p", 1)
        bits += (_words_read(operation) + operation.result.words) * own.activation_bits
    return Energy(
        compute_j=products * options.mac_pj / 256 * 1e-12,
        onchip_j=bits * options.onchip_pj_per_bit * 1e-12,
        offchip_j=offchip_bits * options.offchip_pj_per_bit * 1e-12,
        static_j=static_w * seconds,
    )


def _words_read(operation: Operation) -> int:
    """How many words an operation reads for one image, all operands together."""
    if operation.kind is OperationKind.CONCAT:
        return operation.result.words
    if operation.kind is OperationKind.ADD:
        return operation.source.words * len(operation.inputs)
    return operation.source.words + operation.operand_words
