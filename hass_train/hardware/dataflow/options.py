"""The options of the dataflow accelerator: all that a user may choose beside the device itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from hass_train.hardware.dataflow.costs.compute_engine import ComputeEngine
from hass_train.hardware.dataflow.costs.cost_model import CostModel
from hass_train.hardware.dataflow.costs.logic import Widths
from hass_train.hardware.dataflow.costs.models import CostSource, cost_model
from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.hardware.dataflow.costs.peer import PeerCosts
from hass_train.hardware.dataflow.costs.rounds import Engines
from hass_train.hardware.dataflow.costs.synthesised_engines import MOST_BITS
from hass_train.hardware.estimate import CannotFit
from hass_train.hardware.resources import LIMITS as LIMITS
from hass_train.hardware.resources import Limit as Limit
from hass_train.hardware.workload import Operation
from hass_train.runtime.errors import suggested

Folding = Literal["free", "divisors"]
Bundle = Literal["ends", "auto", "none"]
WeightStorage = Literal["dense", "compressed"]
Objective = Literal["throughput", "latency", "efficiency", "energy"]
Partitioning = Literal["needed", "never", "best"]

ROUGH, QUICK, STEERING = 5e-3, 1e-2, 2e-2
"""Tolerances from which on folds are tried a quarter apart, nothing is proved, and folds are tried a half apart."""


@dataclass(frozen=True, slots=True)
class DataflowOptions:
    """Design rules of the dataflow accelerator.

    Args:
        weight_bits, activation_bits, accumulator_bits: word widths, bits, of operations that have none of their own.
            Modules have at least 4 bits; memories may be narrower.
        folding: the folds of a dimension: `free`, or only its `divisors` (the peer's rule), those of a window's pairs
            in dense engines among them.
        bundle: input channels in one compute engine: `ends` = 1 or, in 1×1 and linear layers, all parallel channels,
            and as many as multipliers can choose among; `auto` = every divisor of the parallel channels, in all layers;
            `none` = 1 (as the peer's).
        costs: where costs come from: `synthesis` of our own modules, or the regressions of the `peer`, fpgaConvNet,
            which know `dense` and `crossbar` engines.
        weights: how crossbars of the peer keep weights: `dense`, or `compressed` to a bitmap and the non-zero ones
            where that is smaller (the decoder's logic is not counted).
        skip_all_zero: whether a window without any non-zero pair costs no cycle (t_min = 0) or one (t_min = 1).
        compute_engines: the kinds of compute engine that a layer may be built with (`ComputeEngine`); each layer gets
            whichever makes the better design. Without `dense`, a layer that has no zeros cannot be built.
        engines: how the compute engines of a layer run that skip zeros: in `lockstep`; `decoupled` by FIFOs; `auto` =
            whichever makes the better design, layer by layer; `averaged` = all take the mean, which no machine does
            (the equation of HASS and of the peer, for comparison).
        engine_fifo: rounds that a decoupled compute engine may be ahead of the slowest one.
        max_pixels: most input pixels that a layer reads per cycle, explored in powers of two; more than one only with
            all channels in parallel, since before that more channels do the same with a smaller line buffer.
        max_replicas: most copies of the pipeline on the device; 0 = as many as fit.
        limits: the resources that count; any other is taken to be unlimited.
        objective: what to aim at: `throughput`; `latency` = the shortest interval of a single copy; `efficiency` = most
            images/s per DSP; `energy` = least joules per image; the last two at no less than `min_throughput`.
        min_throughput: least throughput, images/s. A network in parts is always designed for throughput.
        buildable: whether to keep to designs of which `python -m hass_train.build` makes RTL: weights on the chip, one
            part (`partitions` is then `never`), and folds whose streams need no words in another order: several output
            columns at once only with all filters; of grouped convolutions, several groups at once only with all their
            channels and filters, or one with divisors of them.
        partitions: whether to cut the network into parts that run one after another, the device being reconfigured
            between them: `needed` = where it does not fit otherwise, `never`, `best` = also where throughput gains.
        tolerance: how far above the shortest interval a design may be, as a fraction; 0 = proved the shortest. A small
            one saves the last steps of the proof, which are most of the work where several resources bind. From 0.005
            on fewer folds are explored, and from 0.01 on nothing is proved: the answer is the best that bounds and
            repairs find.
        batch: images that each part works through before the device is reconfigured.
        max_dsp_utilization, …: usable fractions of the device.
        mac_pj: energy of one multiply-accumulate of 16×16 bits, pJ; at other widths in proportion to their product.
        onchip_pj_per_bit, offchip_pj_per_bit: energy of moving a bit to or from on-chip and off-chip memory, pJ.

    Raises:
        ValueError: a field is out of range.
    """

    weight_bits: int = 16
    activation_bits: int = 16
    accumulator_bits: int = 30
    folding: Folding = "free"
    bundle: Bundle = "ends"
    weights: WeightStorage = "compressed"
    skip_all_zero: bool = False
    compute_engines: Sequence[ComputeEngine] = tuple(ComputeEngine)
    costs: CostSource = "synthesis"
    engines: Engines = "auto"
    engine_fifo: int = 16
    max_pixels: int = 4
    max_replicas: int = 0
    limits: Sequence[Limit] = LIMITS
    objective: Objective = "throughput"
    min_throughput: float = 0.0
    partitions: Partitioning = "needed"
    buildable: bool = False
    batch: int = 256
    tolerance: float = 0.001
    max_dsp_utilization: float = 1.0
    max_bram_utilization: float = 1.0
    max_uram_utilization: float = 1.0
    max_lut_utilization: float = 0.85
    max_ff_utilization: float = 0.85
    mac_pj: float = 0.9
    onchip_pj_per_bit: float = 0.16
    offchip_pj_per_bit: float = 20.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "limits", tuple(self.limits))  # a list would make the options unhashable
        object.__setattr__(self, "compute_engines", _known_engines(self.compute_engines))
        for name, low, high in (("weight_bits", 2, 32), ("activation_bits", 2, 32), ("accumulator_bits", 4, 64)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in {low} … {high}")
        for name, choices in (
            ("engines", get_args(Engines)),
            ("costs", get_args(CostSource)),
            ("folding", get_args(Folding)),
            ("bundle", get_args(Bundle)),
            ("weights", get_args(WeightStorage)),
            ("objective", get_args(Objective)),
            ("partitions", get_args(Partitioning)),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}; choose {', '.join(choices[:-1])} or {choices[-1]}"
                )
        if self.buildable:
            if self.partitions == "best":
                raise ValueError("partitions is 'best', but buildable=true makes RTL of one part; say never, or needed")
            object.__setattr__(self, "partitions", "never")
        for limit in self.limits:
            if limit not in LIMITS:
                raise ValueError(f"limits names {limit!r}; choose from {', '.join(LIMITS)}")
        if "dsp" not in self.limits:
            raise ValueError("limits must name dsp: without a limit on multipliers there is no fastest design")
        if not 1 <= self.max_pixels <= 64:
            raise ValueError(f"max_pixels is {self.max_pixels}; it must lie in 1 … 64")
        if not 1 <= self.engine_fifo <= 1024:
            raise ValueError(f"engine_fifo is {self.engine_fifo}; it must lie in 1 … 1024")
        if self.max_replicas < 0:
            raise ValueError(f"max_replicas is {self.max_replicas}; it must be ≥ 1, or 0 for as many as fit")
        if self.batch < 1:
            raise ValueError(f"batch is {self.batch}; it must be ≥ 1")
        if not 0 <= self.min_throughput < 1e12:
            raise ValueError(f"min_throughput is {self.min_throughput}; it must be ≥ 0")
        if not 0 <= self.tolerance < 1:
            raise ValueError(f"tolerance is {self.tolerance}; it must lie in [0, 1)")
        for limit in LIMITS[:-1]:
            name = f"max_{limit.removesuffix('18')}_utilization"
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must lie in (0, 1]")
        for name in ("mac_pj", "onchip_pj_per_bit", "offchip_pj_per_bit"):
            if not 0 <= getattr(self, name) < 1e6:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be ≥ 0")
        self._check_costs()

    def _check_costs(self) -> None:
        """Refuse what the source of costs does not know.

        Raises:
            ValueError: word widths, pixels, or kinds of compute engine.
        """
        if self.costs == "peer":
            known = PeerCosts.engines
            if unknown := [engine for engine in self.compute_engines if engine not in known]:
                raise ValueError(
                    f"costs=peer knows no {unknown[0]} engines; say compute_engines=[{','.join(known)}], or "
                    "costs=synthesis"
                )
            return
        for name in ("weight_bits", "activation_bits"):
            if getattr(self, name) > MOST_BITS:
                raise ValueError(
                    f"{name} is {getattr(self, name)}; modules are synthesised for at most {MOST_BITS} bits: choose "
                    "such a width, or costs=peer"
                )
        if self.skip_all_zero:
            raise ValueError("skip_all_zero is true, but no module does that: a round takes a cycle; say costs=peer")
        if self.max_pixels not in (1, 2, 4):
            raise ValueError(
                f"max_pixels is {self.max_pixels}; windows are synthesised for 1, 2 or 4, or say costs=peer"
            )

    def of(self, operation: Operation) -> DataflowOptions:
        """The rules for an operation, whose numbers may have widths of their own."""
        weight = operation.weight_bits or self.weight_bits
        activation = operation.activation_bits or self.activation_bits
        if (weight, activation) == (self.weight_bits, self.activation_bits):
            return self
        try:
            return replace(self, weight_bits=weight, activation_bits=activation)
        except ValueError as error:
            raise CannotFit(f"{operation.name}: {error}") from error

    def cost_model(self, family: Family, unsigned: bool = False) -> CostModel:
        """What designs cost on devices of a family, of an operation whose operands may be known to be `unsigned`."""
        widths = Widths(self.activation_bits, self.weight_bits, self.accumulator_bits)
        return cost_model(self.costs, widths, family, unsigned)

    def stored_fraction(self, weight_density: float) -> float:
        """The bits that engines that skip zeros store for their weights, as a fraction of all weights uncompressed."""
        if self.weights == "dense":
            return 1.0
        return min(1.0, weight_density + 1 / self.weight_bits)

    def usable(self, resource: str) -> float:
        """The fraction of the device's `dsp`, `bram18`, … that a design may use; of its bandwidth, all."""
        return float(getattr(self, f"max_{resource.removesuffix('18')}_utilization", 1.0))

    @property
    def rough(self) -> bool:
        """Whether a quick answer is wanted, for which neighbouring folds are left out."""
        return self.tolerance >= ROUGH

    @property
    def proves(self) -> bool:
        """Whether branch and bound decides what bounds leave open."""
        return self.tolerance < QUICK or self.objective not in ("throughput", "latency")

    @property
    def step(self) -> float:
        """The ratio between the folds of the input side that are explored; filters keep all folds."""
        return 1.5 if self.tolerance >= STEERING else 1.25 if self.rough else 1.0

    @property
    def t_min(self) -> int:
        """The least cycles of an initiation of a compute engine."""
        return 0 if self.skip_all_zero else 1

    @property
    def pixel_choices(self) -> list[int]:
        """The numbers of input pixels per cycle worth exploring: powers of two, and the most allowed."""
        powers = {1 << k for k in range(self.max_pixels.bit_length())}
        return sorted({*powers, self.max_pixels})


def _known_engines(names: Sequence[str]) -> tuple[ComputeEngine, ...]:
    """The kinds of compute engine that are named, each once and in the order in which tables have them.

    Raises:
        ValueError: a name is unknown, or there is none.
    """
    known = [engine.value for engine in ComputeEngine]
    if not names:
        raise ValueError(f"compute_engines is empty; name at least one of {', '.join(known)}")
    for name in names:
        if name not in known:
            raise ValueError(f"compute_engines names {name!r}{suggested(str(name), known)}")
    return tuple(engine for engine in ComputeEngine if engine in names)
