"""The plan of an accelerator: every instance, wire and memory of the RTL, made from a design and integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hass_train.build.errors import refused
from hass_train.build.flows import Flow, fork
from hass_train.build.layers import Given, layer
from hass_train.build.layout import Layout
from hass_train.build.netlist import Bank, Instance, Netlist, Signal, Wire
from hass_train.build.operations import OPERATIONS, Task
from hass_train.hardware.dataflow.costs.modules.parameters import Family
from hass_train.hardware.dataflow.design import Design, PartDesign
from hass_train.hardware.dataflow.simulator.results import join_name
from hass_train.hardware.dataflow.simulator.stages import StageDesign
from hass_train.hardware.workload import NETWORK_INPUT
from hass_train.precision.graph import LAYERS, Kind
from hass_train.precision.integer_network import IntegerNetwork
from hass_train.precision.operation import IntegerOperation

_STREAM = StageDesign("", "stream", {})  # of an operation that the design does not name: it takes words as they come


@dataclass(frozen=True)
class LayerPlan:
    """One operation of the network in the plan.

    Args:
        name, kind: of the operation.
        engine: the kind of its compute engines; `stream` without multipliers.
        folds: its parallelism.
        interval: cycles an image that it takes by itself, by the design; 0 if that does not name it.
        instances: the names of its instances.
        output: the stream of its result, and how the map lies in it.
    """

    name: str
    kind: str
    engine: str
    folds: Mapping[str, int]
    interval: int
    instances: tuple[str, ...] = field(repr=False)
    output: Flow = field(repr=False)


@dataclass(frozen=True)
class Plan:
    """The whole accelerator.

    Args:
        network: its name.
        instances: all modules, in the order of the pipeline.
        wires: streams that are made of bits of others, with the operation that each belongs to.
        layers: the operations.
        input, output: what the accelerator reads and writes.
        interval: cycles between two images that the design promises.
        fifos: the instances of the design's FIFOs, by the names that they have there.
        depths: the depths that the design says, in words of their readers.
    """

    network: str
    instances: tuple[Instance, ...] = field(repr=False)
    wires: tuple[tuple[str, Wire], ...] = field(repr=False)
    layers: tuple[LayerPlan, ...] = field(repr=False)
    input: Flow
    output: Flow
    interval: int
    fifos: Mapping[str, Instance] = field(repr=False)
    depths: Mapping[str, int] = field(repr=False)

    @property
    def memories(self) -> tuple[Bank, ...]:
        """The memories of all instances."""
        return tuple(bank for one in self.instances for ports in one.memories.values() for bank in ports.banks)


def plan(design: Design, network: IntegerNetwork, family: Family = "xc7") -> Plan:
    """Plan the RTL of a network.

    Args:
        design: folds and FIFOs (design.json).
        network: what it computes.
        family: what is synthesised for; it decides whether DSPs accumulate.

    Raises:
        UserError: something that cannot be built; one line that names the operation.
    """
    if len(design.parts) > 1:
        raise refused(design.network, f"its {len(design.parts)} parts need reconfiguration", "use hw.partitions=never")
    return _Planner(design.parts[0], network, family).plan()


class _Planner:
    """Places operation after operation."""

    def __init__(self, part: PartDesign, network: IntegerNetwork, family: Family) -> None:
        self.part, self.network, self.family = part, network, family
        self.net = Netlist()
        self.designs = {one.name: one for one in part.designs}
        self.waiting: dict[str, list[Flow]] = {}
        self.readers = [name for one in network.operations for name in one.inputs]

    def plan(self) -> Plan:
        """See the function `plan`."""
        first = self._input()
        self.net.layer = NETWORK_INPUT
        self._hand_out(NETWORK_INPUT, first)
        layers = [self._place(operation) for operation in self.network.operations]
        (output,) = self.waiting.pop(self.network.output)
        if left := [name for name, flows in self.waiting.items() if flows]:
            raise refused(left[0], "nothing reads what it makes", "use another network")
        roles = {one.role: one for one in self.net.instances if one.role}
        return Plan(
            self.network.name, tuple(self.net.instances), tuple(self.net.wires), tuple(layers), first, output,
            self.part.interval_cycles, roles, self.part.fifos,
        )  # fmt: skip

    def _input(self) -> Flow:
        """The images, in the widest words that any reader takes."""
        channels, height, width = self.network.input_shape
        streams, pixels = 1, 1
        for operation in self.network.operations:
            if NETWORK_INPUT in operation.inputs:
                folds = self.designs.get(operation.name, _STREAM).folds
                pixels = max(pixels, folds.get("q", 1))
                streams = max(streams, min(folds.get("i", folds.get("s", 1)) * folds.get("g", 1), channels))
        streams = channels if pixels > 1 else streams
        layout = Layout(height, width, tuple(range(channels)), streams, pixels, self.network.input)
        return Flow(Signal("in", layout.stream.width), layout)

    def _hand_out(self, name: str, flow: Flow) -> None:
        """Keep a copy of a map for each of its readers, the accelerator's output among them."""
        copies = self.readers.count(name) + (name == self.network.output)
        self.waiting[name] = fork(self.net, flow, copies)
        if not copies:
            raise refused(name, "nothing reads what it makes", "use another network")

    def _place(self, operation: IntegerOperation) -> LayerPlan:
        """Place one operation and hand out its result."""
        self.net.layer = operation.name
        before = len(self.net.instances)
        design = self.designs.get(operation.name, _STREAM)
        flows = [self.waiting[name].pop(0) for name in operation.inputs]
        made = self._made(operation, design, flows)
        if made.layout.height * made.layout.width * made.layout.channels != _size(operation):
            raise AssertionError(f"{operation.name} makes {made.layout}, not {operation.shape}")
        if made.signal == flows[0].signal:  # nothing was placed: the name alone is new
            self.net.layer = operation.name
        self._hand_out(operation.name, made)
        placed = tuple(one.name for one in self.net.instances[before:])
        interval = self.part.intervals.get(operation.name, 0)
        return LayerPlan(operation.name, operation.kind, design.engine, design.folds, interval, placed, made)

    def _made(self, operation: IntegerOperation, design: StageDesign, flows: list[Flow]) -> Flow:
        """Place one operation."""
        if operation.kind in LAYERS:
            if operation.kind is Kind.LINEAR and len(operation.shape) != 2:
                raise refused(operation.name, "a linear layer over tokens", "use another network")
            tensors = self.network.tensors_of(operation)
            busy, interval = self.part.intervals.get(operation.name, 0), self.part.interval_cycles
            given = Given(operation, tensors, design, self.part.fifos, busy, interval, self.family)
            return layer(self.net, given, flows[0])
        if operation.kind not in OPERATIONS:
            raise refused(operation.name, f"a {operation.kind} moves values between words", "use another network")
        streams, names = design.folds.get("s", 0), self._fifo_names(operation)
        task = Task(
            operation, self.network.tensors_of(operation), streams, self.part.fifos, names, self.part.interval_cycles
        )
        return OPERATIONS[operation.kind](self.net, task, flows)

    def _fifo_names(self, operation: IntegerOperation) -> tuple[str, ...]:
        """The names of the FIFOs of an operation's operands."""
        if len(operation.inputs) < 2:
            return (operation.name,)
        own = tuple(join_name(operation.name, operation.inputs, k) for k in range(len(operation.inputs)))
        known = tuple(name for name in self.part.fifos if name.startswith(f"{operation.name} <- "))
        # the design names operands by what makes them, which integers may do along with something else
        return known if len(known) == len(own) and not set(own) <= set(known) else own


def _size(operation: IntegerOperation) -> int:
    """Values of a result."""
    size = 1
    for one in operation.shape[1:]:
        size *= one
    return size
