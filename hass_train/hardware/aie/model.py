"""The AI-engine array as a hardware model: how long a network takes, one layer after another."""

from __future__ import annotations

from collections.abc import Sequence

from hass_train.hardware.accelerator import Accelerator
from hass_train.hardware.aie.array import AieArray
from hass_train.hardware.aie.depth import fusions
from hass_train.hardware.aie.layers import Fusion, LayerCost, layer_cost, price_of
from hass_train.hardware.channels import prices_asked, without_dead_channels
from hass_train.hardware.estimate import Bottleneck, Energy, Estimate, LayerEstimate, Resources
from hass_train.hardware.profile import LayerSparsity, SparsityProfile
from hass_train.hardware.workload import Operation, Workload

_WAYS = {
    "compute": "its multiplications take longest: fewer blocks make it faster",
    "tile": "streams from the memory tiles into its cores take longest, weights among them",
    "store": "writing its results takes longest: no sparsity of weights helps",
    "ddr": "DDR takes longest, before and after its cores run",
}


class AieAccelerator(Accelerator):
    """A network on an AI-engine array, one layer after the other, one image at a time.

    A layer takes iterations × max(load, compute, store) of its cores' loop, the loading of weights in between, and what
    goes to and from DDR before and after (Weight Block Sparsity; what is assumed beyond its words is in
    docs/aie.md). Blocks of zeros are neither multiplied nor moved; zeros among activations gain nothing.

    Args:
        array: cores, memories, bandwidths and rules.
    """

    uses_activations = False

    def __init__(self, array: AieArray) -> None:
        self.array, self.name = array, array.name

    def estimate(self, workload: Workload, profile: SparsityProfile) -> Estimate:
        """The time, bound and prices of a network at this sparsity.

        Raises:
            CannotFit: a layer has no tile that fits in a core.
            ValueError: the profile's layers do not match the workload's.
        """
        profile.check_covers(workload)
        asked = profile
        workload, profile = without_dead_channels(workload, profile)
        array, layers = self.array, profile.layers
        operations = list(workload)
        plan = fusions(workload, profile, array)
        costs = [layer_cost(one, layers.get(one.name), array, plan[one.name]) for one in operations]
        cycles = sum(cost.cycles for cost in costs)
        prices = {
            one.name: price_of(one, layers[one.name], array, plan[one.name], cost) / cycles
            for one, cost in zip(operations, costs, strict=True) if one.is_compute
        }  # fmt: skip
        hz = 1e6 * array.clock_mhz
        return Estimate.of_layers(
            [
                _row(one, cost, plan[one.name], layers.get(one.name), array)
                for one, cost in zip(operations, costs, strict=True)
            ],
            array.clock_mhz,
            dict.fromkeys(prices, 0.0),  # zeros among activations gain nothing
            prices_asked(prices, "weight_density", profile, asked),
            self._energy(operations, costs, cycles / hz),
            self._utilization(operations, costs, cycles),
            _bottleneck(operations, costs, cycles),
            array.rows * array.columns,
        )

    def _products(self, operations: Sequence[Operation], costs: Sequence[LayerCost]) -> float:
        """The multiply-accumulates of an image, in those of 8×8 bits that take as long."""
        each = zip(map(self.array.of, operations), costs, strict=True)
        return sum(cost.multiplied * own.weight_bits * own.activation_bits / 64 for own, cost in each)

    def _utilization(
        self, operations: Sequence[Operation], costs: Sequence[LayerCost], cycles: float
    ) -> dict[str, float]:
        """The fractions of all cores' multiplications, of DDR and of the streams into cores that are made use of."""
        peak = self.array.macs_per_cycle * self.array.rows * self.array.columns
        return {
            "cores": self._products(operations, costs) / (peak * cycles),
            "ddr": sum(cost.ddr for cost in costs) / cycles,
            "streams": sum(cost.load + cost.weights for cost in costs) / cycles,
        }

    def _energy(self, operations: Sequence[Operation], costs: Sequence[LayerCost], seconds: float) -> Energy:
        """The energy of an image that takes so many seconds."""
        array = self.array
        return Energy(
            compute_j=1e-12 * array.mac_pj * self._products(operations, costs),
            onchip_j=1e-12 * 8 * array.onchip_pj_per_bit * sum(cost.onchip_bytes for cost in costs),
            offchip_j=1e-12 * 8 * array.offchip_pj_per_bit * sum(cost.offchip_bytes for cost in costs),
            static_j=array.static_w * seconds,
        )


def _bottleneck(operations: Sequence[Operation], costs: Sequence[LayerCost], cycles: float) -> Bottleneck:
    """The layer that takes longest, and what takes most of the time of all layers together."""
    place = max(range(len(costs)), key=lambda k: costs[k].cycles)
    slowest, cost = operations[place].name, costs[place]
    by_bound: dict[str, float] = {}
    for one in costs:
        by_bound[one.bound] = by_bound.get(one.bound, 0.0) + one.cycles
    binds = max(by_bound, key=lambda name: by_bound[name])
    reason = (
        f"{slowest} takes {cost.cycles / cycles:.0%} of the time, and {_WAYS[cost.bound]}; layers bound by {binds} "
        f"take {by_bound[binds] / cycles:.0%} of all"
    )
    return Bottleneck(slowest, binds, reason)


def _row(
    operation: Operation, cost: LayerCost, fusion: Fusion, sparsity: LayerSparsity | None, array: AieArray
) -> LayerEstimate:
    """The row of the estimate for one operation."""
    tiling = cost.tiling
    folds = {}
    if tiling is not None:
        folds = {
            "rows": tiling.rows, "columns": tiling.columns, "channels": tiling.channels, "filters": tiling.filters,
            "pieces": cost.pieces,
        }  # fmt: skip
    fused = not (fusion.reads_ddr and fusion.writes_ddr)
    return LayerEstimate(
        name=operation.name,
        kind=str(operation.kind),
        interval_cycles=round(cost.cycles),
        bound=cost.bound,
        engine="array" if operation.multiplies else "stream",
        folds=folds,
        resources=Resources(offchip_bits=round(8 * cost.offchip_bytes)),
        weights_in="tile" if fused else "off_chip" if operation.has_weights else "",
        macs=operation.macs,
        pair_density=sparsity.pair_density if sparsity else 1.0,
        block_density=cost.density if operation.multiplies else None,
        block_imbalance=cost.imbalance if operation.multiplies else None,
        weight_bits=(operation.weight_bits or array.weight_bits) if operation.has_weights else 0,
        activation_bits=operation.activation_bits or array.activation_bits,
    )
