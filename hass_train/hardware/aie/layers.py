"""What one operation costs on an array: its cycles by where they go, and its bytes by where they move."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hass_train.hardware.aie.array import AieArray
from hass_train.hardware.aie.blocks import densities, sensitivity
from hass_train.hardware.aie.tiling import CoreLoop, Tiling, best_tiling
from hass_train.hardware.arithmetic import ceil_div
from hass_train.hardware.estimate import CannotFit
from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.workload import Operation, OperationKind

_FREE = frozenset({OperationKind.ACTIVATION, OperationKind.CONCAT, OperationKind.PAD, OperationKind.REARRANGE})
"""Operations that cost nothing: they change addresses, or each word as it is written."""
_JOINS = frozenset({OperationKind.ADD, OperationKind.MULTIPLY, OperationKind.DIVIDE})


@dataclass(frozen=True, slots=True)
class LayerCost:
    """The cycles and bytes of one operation, for one image.

    Args:
        compute, load, store: cycles in cores, which overlap (see `Tiling`).
        weights: cycles of loading weights into cores, which block.
        ddr: cycles of moving activations and weights between DDR and memory tiles, before and after the cores' loop.
        density: fraction of its skippable tiles of weights that are computed.
        imbalance: that fraction on the busiest row of cores, over `density`; 1 = balanced.
        tiling: tiles of the cores' loop; None for an operation without one.
        pieces: the pieces that a column's rows are cut into so that a memory tile holds them.
        offchip_bytes, onchip_bytes: bytes moved to or from DDR, and between memory tiles and cores.
        multiplied: multiply-accumulates, without padding.
    """

    compute: float = 0.0
    load: float = 0.0
    store: float = 0.0
    weights: float = 0.0
    ddr: float = 0.0
    density: float = 1.0
    imbalance: float = 1.0
    tiling: Tiling | None = None
    pieces: int = 1
    offchip_bytes: float = 0.0
    onchip_bytes: float = 0.0
    multiplied: float = 0.0

    @property
    def cycles(self) -> float:
        """The cycles from the first word read to the last one written."""
        return max(self.compute, self.load, self.store) + self.weights + self.ddr

    @property
    def bound(self) -> str:
        """What takes most of the cycles: `compute`, `tile` (streams into cores), `store` or `ddr`."""
        overlapped = {"compute": self.compute, "tile": self.load, "store": self.store}
        longest = max(overlapped, key=lambda name: overlapped[name])
        parts = {"ddr": self.ddr, longest: overlapped[longest]}
        parts["tile"] = parts.get("tile", 0.0) + self.weights
        return max(parts, key=lambda name: parts[name])


@dataclass(frozen=True, slots=True)
class Fusion:
    """How a layer is fused with its neighbours: which of its maps stay in the memory tiles.

    Args:
        reads_ddr: whether its input comes from DDR; else the layer before left it in the memory tiles.
        writes_ddr: whether its result goes to DDR; else it stays for the layer behind.
        rows: rows of the result that each column computes; 0 = an even share.
    """

    reads_ddr: bool = True
    writes_ddr: bool = True
    rows: int = 0


def layer_cost(
    operation: Operation,
    sparsity: LayerSparsity | None,
    array: AieArray,
    fusion: Fusion | None = None,
    blocks: tuple[float, float] | None = None,
) -> LayerCost:
    """What one operation costs for one image.

    Args:
        operation: the operation.
        sparsity: the sparsity of a convolution or linear layer; None for all others.
        array: the array that runs it.
        fusion: how it is fused with its neighbours; by default all maps go through DDR.
        blocks: fractions of skippable tiles that are computed, in the layer and on its busiest row of cores; by default
            as the sparsity has it.

    Raises:
        CannotFit: not even the smallest tile fits in a core.
    """
    array = array.of(operation)
    if operation.multiplies:
        try:
            return _multiplying_cost(operation, sparsity or LayerSparsity(), array, fusion or Fusion(), blocks)
        except CannotFit as error:
            raise CannotFit(f"{operation.name} on {array.name}: {error}") from error
    if operation.kind in _FREE:
        return LayerCost()
    words = operation.source.words if operation.kind in _JOINS else operation.source.words + operation.result.words
    moved = words * array.activation_bits / 8
    column = moved / array.columns
    return LayerCost(
        load=column / array.stream_bytes, ddr=column / array.ddr_bytes, offchip_bytes=moved, onchip_bytes=moved
    )  # fmt: skip


def rows_of(operation: Operation, array: AieArray) -> int:
    """The rows of the result that each column computes, or its tokens where the map is a single row of them."""
    along = operation.result.height if operation.result.height > 1 else operation.result.width
    return ceil_div(along, array.columns)


def _multiplying_cost(
    operation: Operation,
    sparsity: LayerSparsity,
    array: AieArray,
    fusion: Fusion,
    blocks: tuple[float, float] | None,
) -> LayerCost:
    """`layer_cost` of a convolution, linear layer or matrix product."""
    _, lanes_in, lanes_out = array.lanes
    result, groups = operation.result, operation.groups
    if array.square_kernels and operation.is_compute:
        operation = replace(operation, kernel=(max(operation.kernel),) * 2)
    kernel = operation.kernel
    height, width = result.height, result.width
    # a column computes some rows of the map, a row of cores some filters; a single pixel's filters go to all cores
    shares = array.rows
    if height > 1:
        height = fusion.rows or ceil_div(height, array.columns)
    elif width > 1:
        width = ceil_div(width, array.columns)
    else:
        shares *= array.columns
    per_group = operation.filters_per_group, operation.channels_per_group
    together = max(1, min(lanes_out // per_group[0], lanes_in // per_group[1], groups))  # groups side by side in lanes
    bundles = ceil_div(groups, together)
    filters = ceil_div(per_group[0] * together, lanes_out)
    channels = ceil_div(per_group[1] * together, lanes_in) * lanes_in
    mean, busiest, repeats = 1.0, 1.0, ceil_div(bundles, shares)
    if bundles == 1:
        mean, busiest = blocks or densities(operation, sparsity, (lanes_in, lanes_out), shares, array.balance)
        filters, repeats = ceil_div(filters, shares), 1
    loop = CoreLoop(
        height, width, filters * lanes_out, channels, kernel, operation.stride, operation.reach, max(busiest, 0.0)
    )
    tiling = best_tiling(loop, array)
    stored = mean if array.weights == "compressed" and operation.is_compute else 1.0
    window = kernel[0] * kernel[1]
    kernels = result.channels * operation.channels_per_group * window * stored * array.weight_bits / 8
    traffic = TileTraffic.of(operation, array, fusion, height if result.height > 1 else 1, width, kernels, tiling)
    cores = array.rows * array.columns
    return LayerCost(
        compute=repeats * tiling.compute, load=repeats * tiling.load, store=repeats * tiling.store,
        weights=repeats * tiling.weights, ddr=traffic.cycles, density=mean, imbalance=busiest / mean if mean else 1.0,
        tiling=tiling, pieces=traffic.pieces, offchip_bytes=traffic.offchip_bytes,
        onchip_bytes=repeats * tiling.moved_bytes * cores, multiplied=operation.macs * mean,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class TileTraffic:
    """The traffic between DDR and a column's memory tile for one layer.

    Args:
        cycles: cycles of one column's transfers.
        pieces: the pieces that a column's rows are cut into so that the tile holds them.
        offchip_bytes: bytes that all columns move to or from DDR.
    """

    cycles: float
    pieces: int
    offchip_bytes: float

    @classmethod
    def of(
        cls, operation: Operation, array: AieArray, fusion: Fusion, height: int, width: int, kernels: float,
        tiling: Tiling,
    ) -> TileTraffic:  # fmt: skip
        """The cheaper of two ways: a column's share of the weights stays in its tile while pieces of the map pass by,
        or the weights stream through once for every piece.

        Args:
            operation, array, fusion: the layer, the array, and how the layer is fused with its neighbours.
            height, width: rows and columns of the result that a column computes.
            kernels: bytes of all weights.
            tiling: tiles of the cores' loop.
        """
        source, result, byte = operation.source, operation.result, array.activation_bits / 8
        memory, share = array.tile_kb * 1024, kernels / array.columns
        streamed = 2 * share * tiling.filters * tiling.channels / max(_weights_per_position(operation), 1)
        best: TileTraffic | None = None
        for held, streams in ((share, False), (min(streamed, share), True)):
            pieces = 1
            while True:
                rows = ceil_div(height, pieces)
                seen = min((rows - 1) * operation.stride[0] + operation.reach[0], source.height)
                columns = source.width
                if result.height == 1:  # the columns of cores share the only row
                    columns = min((width - 1) * operation.stride[1] + operation.reach[1], columns)
                image, output = seen * columns * source.channels * byte, rows * width * result.channels * byte
                if image + output + held <= memory or rows == 1:
                    break
                pieces = ceil_div(height, rows - 1)
            if not streams and image + output + held > memory:
                continue  # the weights leave no room for even a single row
            reads = share * (pieces if streams else 1) + (image * pieces if fusion.reads_ddr else 0)
            writes = output * pieces if fusion.writes_ddr else 0
            found = cls((reads + writes) / array.ddr_bytes, pieces, (reads + writes) * array.columns)
            if best is None or found.cycles < best.cycles:
                best = found
        assert best is not None
        return best


def _weights_per_position(operation: Operation) -> int:
    """The weights of a layer for each kernel position."""
    return operation.result.channels * operation.channels_per_group


def price_of(
    operation: Operation, sparsity: LayerSparsity, array: AieArray, fusion: Fusion, cost: LayerCost
) -> float:  # fmt: skip
    """The price of a layer's weights in cycles: −∂ cycles/∂(weight density) ≥ 0, at the present sparsity.

    Cycles are nearly linear in the fraction of computed tiles, with another slope for every tiling. The slope is taken
    between the present fraction and 0.1 less (or none, if that is nearer), with the tiling that is best there.
    """
    step = min(0.1, cost.density)
    if step <= 0 or operation.groups > 1 or not operation.is_compute:
        return 0.0
    less = (cost.density - step, cost.density * cost.imbalance - step)
    gained = cost.cycles - layer_cost(operation, sparsity, array, fusion, less).cycles
    _, lanes_in, lanes_out = array.lanes
    return max(gained, 0.0) / step * sensitivity(operation, sparsity, (lanes_in, lanes_out))
