"""The network as hardware sees it: a graph of operations with shapes, without anything of torch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import cached_property

from hass_train.hardware.border import streamed

NETWORK_INPUT = "input"
"""Name of the node that stands for the images entering the accelerator."""


class OperationKind(StrEnum):
    """What an operation does.

    Convolutions and linear layers are compute layers, which have weights. A matmul multiplies two streams. All others
    move or combine streams: a reduction makes one word of many (a sum, mean, maximum or norm over some axes), an unfold
    writes the windows of a map one after another and a fold adds them up again, and a rearrangement keeps words until
    they can leave in another order.
    """

    CONV = "conv"
    LINEAR = "linear"
    MATMUL = "matmul"
    MAX_POOL = "max_pool"
    AVERAGE_POOL = "average_pool"
    GLOBAL_POOL = "global_pool"
    ADD = "add"
    MULTIPLY = "multiply"
    CONCAT = "concat"
    PAD = "pad"
    LAYER_NORM = "layer_norm"
    SOFTMAX = "softmax"
    ACTIVATION = "activation"
    DIVIDE = "divide"
    REDUCE = "reduce"
    RESIZE = "resize"
    UNFOLD = "unfold"
    FOLD = "fold"
    REARRANGE = "rearrange"


COMPUTE_KINDS = frozenset({OperationKind.CONV, OperationKind.LINEAR})
WINDOW_KINDS = frozenset({OperationKind.CONV, OperationKind.MAX_POOL, OperationKind.AVERAGE_POOL})
_NAMES = ("name", "inputs", "layer")  # what an operation, its operands and its weights are called: no costs


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """Shape of one image's feature map: height × width pixels of `channels` words each."""

    height: int
    width: int
    channels: int

    @property
    def pixels(self) -> int:
        """Number of pixels, height × width."""
        return self.height * self.width

    @property
    def words(self) -> int:
        """Number of words, height × width × channels."""
        return self.pixels * self.channels


@dataclass(frozen=True, slots=True)
class Operation:
    """One node of the network.

    Args:
        name: module path in the torch model (for a functional operation the path of the module that calls it, then the
            operation); unique within a workload.
        kind: what it does.
        inputs: names of the operations (or `NETWORK_INPUT`) whose results it reads, each once and without constants. A
            matmul always has two, the producers of its left and its right operand, which may be the same.
        source: the largest feature map it reads, that of the operand that streams (H×W×C of hardware-model, section
            2); for a matmul the left operand, whose rows are the pixels.
        result: the feature map it writes (H'×W'×F).
        kernel, stride, padding, dilation: (rows, columns); padding is of zeros, and as much on either side.
        groups: groups of channels of a convolution; heads of a matmul; for layer norm and softmax, the groups of
            channels that are normalised separately.
        bias: whether a bias is added (batch norm folds into one).
        function: the name of an activation function (`relu`, `hardswish`, …); `constant` for a product with a constant;
            how a padding pads (`reflect`, `replicate`, or `constant` with another value), if not with zeros; what a
            reduction computes (`sum`, `mean`, `max`, `norm`, `moments`); how a map is resized (`nearest`, `bilinear`,
            `bicubic`); `adaptive` for a pool whose windows differ in size, of which `kernel` is the largest.
        block: words of the source that a reduction or rearrangement takes in before the results of these words leave; a
            pixel's channels, some rows, or the whole map. 0 for operations that do not wait in blocks.
        windows: equal maps that lie below each other in the source, and in the result; no kernel reaches from one into
            the next. They have no `padding`, since each is padded for itself before.
        layer: path of the module whose weights a convolution or linear layer uses, if that is not its name: a module
            that is called n times is one layer and n operations.
        fixed: whether its weights are no layer's own (a constant filter, or weights that another module reads).
            Hardware computes it as it is; profiles do not cover it.
        weight_bits, activation_bits: bits of its weights and of what it reads; 0 = the accelerator's own widths.
    """

    name: str
    kind: OperationKind
    inputs: tuple[str, ...]
    source: FeatureMap
    result: FeatureMap
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    bias: bool = False
    function: str = ""
    layer: str = ""
    fixed: bool = False
    block: int = 0
    windows: int = 1
    weight_bits: int = 0
    activation_bits: int = 0

    @property
    def has_weights(self) -> bool:
        """Whether it is a convolution or a linear layer; a matmul has no weights, though it `multiplies`."""
        return self.kind in COMPUTE_KINDS

    @property
    def is_compute(self) -> bool:
        """Whether it is a compute layer: one with weights of its own, which sparsity profiles cover."""
        return self.has_weights and not self.fixed

    @property
    def owner(self) -> str:
        """The path of the module whose weights it uses."""
        return self.layer or self.name

    @property
    def multiplies(self) -> bool:
        """Whether it spends multiply-accumulates: convolutions, linear layers and matmul."""
        return self.has_weights or self.kind is OperationKind.MATMUL

    @property
    def window(self) -> int:
        """Kh·Kw: weights that meet one input channel in one dot product."""
        return self.kernel[0] * self.kernel[1]

    @property
    def slides(self) -> bool:
        """Whether it reads windows of several pixels, for which it has line memories."""
        return self.window > 1 and self.kind is not OperationKind.FOLD

    @property
    def reach(self) -> tuple[int, int]:
        """(rows, columns) of the map that a window spans: (kernel − 1)·dilation + 1."""
        rows, columns = ((size - 1) * step + 1 for size, step in zip(self.kernel, self.dilation, strict=True))
        return rows, columns

    @property
    def channels_per_group(self) -> int:
        """Cg: input channels of each group."""
        return self.source.channels // self.groups

    @property
    def filters_per_group(self) -> int:
        """Fg: filters of each group."""
        return self.result.channels // self.groups

    @property
    def weights(self) -> int:
        """Number of weights, without biases; 0 for an operation that has none."""
        return self.result.channels * self.channels_per_group * self.window if self.has_weights else 0

    @property
    def operand_words(self) -> int:
        """Words of a matmul's second operand that meet each pixel of the first (heads·d·T'); 0 for other operations.

        In windowed attention these are the words of one window.
        """
        return self.result.channels * self.channels_per_group if self.kind is OperationKind.MATMUL else 0

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image, without sparsity."""
        return self.result.pixels * (self.weights + self.operand_words)

    @property
    def blocks(self) -> int:
        """The number of blocks that a reduction or rearrangement takes its source in; 1 for other operations."""
        return max(self.source.words // self.block, 1) if self.block else 1

    @property
    def kept(self) -> int:
        """Words in a buffer of the operation's own, beyond windows and FIFOs, twice: one block forms as one leaves.

        A rearrangement keeps the words of a block, a reduction its results. A fold keeps the rows that a row of windows
        adds to, and those that leave meanwhile.
        """
        if not self.block:
            return 0
        if self.kind is OperationKind.FOLD:
            return (self.kernel[0] + self.stride[0]) * self.result.width * self.result.channels
        return 2 * (self.block if self.kind is OperationKind.REARRANGE else -(-self.result.words // self.blocks))

    @property
    def joins_end_to_end(self) -> bool:
        """Whether it is a concatenation of whole maps, one behind the other, rather than of the channels of pixels."""
        return (
            self.kind is OperationKind.CONCAT and len(self.inputs) > 1 and self.source.channels == self.result.channels
        )

    @property
    def border(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """What of the padding is streamed in, ((above, below), (left, right)); see `hass_train.hardware.border`."""
        sizes = zip((self.source.height, self.source.width), self.padding, self.reach, self.stride, strict=True)
        rows, columns = (
            streamed(size, pad, pad, reach, stride) if self.kind in WINDOW_KINDS else (pad, pad)
            for size, pad, reach, stride in sizes
        )
        return rows, columns

    @property
    def lead(self) -> tuple[int, int]:
        """Rows above the map and columns on its left that windows see, though they are not streamed in."""
        (above, _), (left, _) = self.border
        return self.padding[0] - above, self.padding[1] - left

    @property
    def rows_read(self) -> tuple[int, int]:
        """Rows of the map that is read, its border included, and pixels of a row; tokens lie as in the result."""
        if self.kind in (OperationKind.LINEAR, OperationKind.MATMUL):
            return self.result.height, self.result.width
        rows, columns = self.border
        return self.source.height + sum(rows), self.source.width + sum(columns)

    @property
    def pixels_read(self) -> int:
        """Number of pixels of the input map, its border included, which the sliding window reads."""
        rows, columns = self.border
        return (self.source.height + sum(rows)) * (self.source.width + sum(columns))

    @property
    def geometry(self) -> tuple[object, ...]:
        """Everything on which cycles and resources depend; operations of equal geometry share one design table."""
        return tuple(getattr(self, one.name) for one in fields(self) if one.name not in _NAMES) + (len(self.inputs),)


@dataclass(frozen=True)
class Workload:
    """A network traced once: its operations in topological order.

    Args:
        name: name of the network.
        input_shape: (channels, height, width) of one image.
        operations: its operations, each after those that it reads.

    Raises:
        ValueError: a name occurs twice, or an input is not an earlier operation.
    """

    name: str
    input_shape: tuple[int, int, int]
    operations: tuple[Operation, ...] = field(repr=False)

    def __post_init__(self) -> None:
        seen = {NETWORK_INPUT}
        for operation in self.operations:
            missing = [name for name in operation.inputs if name not in seen]
            if missing:
                raise ValueError(f"operation {operation.name!r} reads {missing[0]!r}, which no earlier operation makes")
            if operation.name in seen:
                raise ValueError(f"operation name {operation.name!r} occurs twice")
            seen.add(operation.name)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __getitem__(self, name: str) -> Operation:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Operation]:
        return {operation.name: operation for operation in self.operations}

    @cached_property
    def maps(self) -> dict[str, FeatureMap]:
        """All feature maps by the name of what makes them, the input under `NETWORK_INPUT`."""
        channels, height, width = self.input_shape
        made = {operation.name: operation.result for operation in self.operations}
        return {NETWORK_INPUT: FeatureMap(height, width, channels)} | made

    @cached_property
    def compute_layers(self) -> tuple[Operation, ...]:
        """The convolutions and linear layers with weights of their own."""
        return tuple(operation for operation in self.operations if operation.is_compute)

    @cached_property
    def uses(self) -> dict[str, tuple[str, ...]]:
        """The compute layers' operations by the path of the module that is called, in the order of its calls."""
        found: dict[str, tuple[str, ...]] = {}
        for operation in self.compute_layers:
            found[operation.owner] = (*found.get(operation.owner, ()), operation.name)
        return found

    @cached_property
    def first_layers(self) -> frozenset[str]:
        """The modules that read the image: no other compute layer lies between."""
        near, found = {NETWORK_INPUT}, set()
        for operation in self.operations:
            if near.intersection(operation.inputs):
                found |= {operation.owner} if operation.is_compute else set()
                near |= set() if operation.is_compute else {operation.name}
        return frozenset(found)

    @cached_property
    def last_layers(self) -> frozenset[str]:
        """The modules that make the answer, whose filters are classes: no other compute layer follows. A network may
        have several, such as a distilled DeiT."""
        read = {name for operation in self.operations for name in operation.inputs}
        near, found = {one.name for one in self.operations} - read, set()
        for operation in reversed(self.operations):
            if operation.name in near:
                found |= {operation.owner} if operation.is_compute else set()
                near |= set() if operation.is_compute else {*operation.inputs}
        return frozenset(found)

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates for one image, without sparsity."""
        return sum(operation.macs for operation in self.operations)

    @cached_property
    def weights(self) -> int:
        """Number of weights of all layers; those that several operations share count once."""
        return sum({operation.owner: operation.weights for operation in self.operations}.values())

    def cuts(self) -> list[int]:
        """The legal cuts: each k for which exactly one value crosses from operations[:k] to operations[k:].

        A value is an operation's result or the network's input, and it crosses if an operation from k on reads it.

        Returns:
            The cuts in ascending order, 1 ≤ k < number of operations.
        """
        last_read: dict[str, int] = {}
        for place, operation in enumerate(self.operations):
            last_read.update(dict.fromkeys(operation.inputs, place))
        made = {operation.name: place + 1 for place, operation in enumerate(self.operations)}
        crossing = [0] * (len(self.operations) + 1)  # first as differences: +1 where a value is made, -1 after its use
        for name, place in last_read.items():
            crossing[made.get(name, 0)] += 1
            crossing[place + 1] -= 1
        totals = list(itertools.accumulate(crossing))
        return [k for k in range(1, len(self.operations)) if totals[k] == 1]

    def with_bits(self, weights: Mapping[str, int], activations: Mapping[str, int]) -> Workload:
        """The network with other widths of its numbers.

        Args:
            weights, activations: bits of the weights of operations, and of what they read, by name; those that are not
                named keep theirs.
        """
        operations = (
            replace(
                one, weight_bits=weights.get(one.name, one.weight_bits),
                activation_bits=activations.get(one.name, one.activation_bits),
            )
            for one in self.operations
        )  # fmt: skip
        return Workload(self.name, self.input_shape, tuple(operations))

    def crossing_bits(self, cut: int, bits: int) -> int:
        """The bits of the feature map that crosses a cut.

        Args:
            cut: as of `crossing`.
            bits: bits of a word that no operation with a width of its own reads.
        """
        before = {operation.name for operation in self.operations[:cut]} or {NETWORK_INPUT}
        readers = [one for one in self.operations[cut:] if before.intersection(one.inputs)]
        return self.crossing(cut).words * max((one.activation_bits or bits for one in readers), default=bits)

    def crossing(self, cut: int) -> FeatureMap:
        """The feature map that crosses a cut: the network's input at 0, its result at the end.

        Where several cross it is the largest.
        """
        if cut == 0:
            channels, height, width = self.input_shape
            return FeatureMap(height, width, channels)
        if cut == len(self.operations):
            return self.operations[-1].result
        before = {operation.name: operation.result for operation in self.operations[:cut]}
        read = {name for operation in self.operations[cut:] for name in operation.inputs if name in before}
        return max((before[name] for name in read), key=lambda feature_map: feature_map.words)

    def part(self, start: int, end: int) -> Workload:
        """The operations[start:end] as a network of its own, named `name[start:end]`.

        Its input is the one value that it reads from outside.

        Raises:
            ValueError: the range is empty or impossible, or other than one value enters the part.
        """
        if not 0 <= start < end <= len(self.operations):
            raise ValueError(f"no part [{start}:{end}] in a network of {len(self.operations)} operations")
        chosen = self.operations[start:end]
        inside = {operation.name for operation in chosen}
        entering = list(dict.fromkeys(name for operation in chosen for name in operation.inputs if name not in inside))
        if len(entering) != 1:
            raise ValueError(f"{len(entering)} values enter part [{start}:{end}] of {self.name}: {', '.join(entering)}")
        shape = self.input_shape
        if entering[0] != NETWORK_INPUT:
            value = self[entering[0]].result
            shape = (value.channels, value.height, value.width)
        operations = (
            replace(operation, inputs=tuple(name if name in inside else NETWORK_INPUT for name in operation.inputs))
            for operation in chosen
        )
        return Workload(f"{self.name}[{start}:{end}]", shape, tuple(operations))
