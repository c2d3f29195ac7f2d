"""The netlist that grows while a plan is made: instances of our modules, wires between them, and memories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hass_train.rtl.module import Module
from hass_train.rtl.streams import Ints, Stream


@dataclass(frozen=True, slots=True)
class Signal:
    """A stream between instances: NAME_valid, NAME_ready and NAME_data of `width` bits."""

    name: str
    width: int


@dataclass(frozen=True, slots=True)
class Wire:
    """A stream that is another one with its bits in another order, or some of them.

    Args:
        signal: the stream.
        source: what it is made from.
        bits: of every bit, from the lowest up, which bit of the source it is; −1 = a zero.
    """

    signal: Signal
    source: Signal
    bits: tuple[int, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bank:
    """One memory of those behind a port of an instance.

    Args:
        name: its own, and that of its file.
        first, ports: the addresses that read it.
        slices: (lowest bit, bits) of a row of the port, which it holds side by side.
        word: what one of its rows holds.
        rows: the content, (rows, values).
    """

    name: str
    first: int
    ports: int
    slices: tuple[tuple[int, int], ...]
    word: Stream
    rows: Ints = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ports:
    """The memories behind one memory port of an instance.

    Args:
        ports: addresses of the port.
        row: bits of a row as each address gets it.
        depth: rows.
        banks: the memories; bits of rows that are in none are zero.
    """

    ports: int
    row: int
    depth: int
    banks: tuple[Bank, ...]


@dataclass(frozen=True, slots=True)
class Instance:
    """One module in its place.

    Args:
        name: of the instance.
        layer: the operation that it belongs to.
        module: which one, with its parameters.
        streams: the signals of its streams, by the prefix in its port list; several where a port carries several.
        memories: the memories of its memory ports, likewise.
        role: what it is for, where that is not plain: the name of a FIFO of the design.
        cycles: of an image for which it is busy, where the design does not tell.
    """

    name: str
    layer: str
    module: Module
    streams: Mapping[str, tuple[Signal, ...]] = field(repr=False)
    memories: Mapping[str, Ports] = field(repr=False)
    role: str = ""
    cycles: int = 0


class Netlist:
    """What has been placed so far.

    Attributes:
        layer: the operation that what is added belongs to.
        instances, wires: in the order in which they were added; wires with the operations that they belong to.
    """

    def __init__(self) -> None:
        self.layer = ""
        self.instances: list[Instance] = []
        self.wires: list[tuple[str, Wire]] = []
        self._taken: set[str] = set()

    def name(self, what: str) -> str:
        """A name for something of the present layer that nothing else has."""
        plain = "".join(letter if letter.isalnum() else "_" for letter in f"{self.layer}_{what}")
        plain = plain if plain[0].isalpha() else f"x{plain}"
        name, number = plain, 2
        while name in self._taken:
            name, number = f"{plain}_{number}", number + 1
        self._taken.add(name)
        return name

    def add(
        self,
        what: str,
        module: Module,
        sources: Mapping[str, Signal],
        memories: Mapping[str, Ports] | None = None,
        role: str = "",
        cycles: int = 0,
    ) -> dict[str, Signal]:
        """Place a module.

        Args:
            what: a word for the instance's name.
            module: the module.
            sources: what its input streams read.
            memories: what its memory ports read.
            role: the name of a FIFO of the design that it is.
            cycles: of an image for which it is busy, where the design does not tell.

        Returns:
            The signals of its output streams.
        """
        for port, stream in module.inputs.items():
            assert sources[port].width == stream.width, (self.layer, str(module), sources[port], stream)
        name = self.name(what)
        made = {
            port: Signal(name if port == "out" else f"{name}_{port}", stream.width)
            for port, stream in module.outputs.items()
        }
        together = {port: group for group, ports in module.vectors.items() for port in ports}
        streams: dict[str, tuple[Signal, ...]] = {}
        for port, signal in {**sources, **made}.items():
            group = together.get(port, port)
            streams[group] = (*streams.get(group, ()), signal)
        self.instances.append(Instance(name, self.layer, module, streams, memories or {}, role, cycles))
        return made

    def wire(self, what: str, source: Signal, bits: Sequence[int]) -> Signal:
        """Make a stream of another one's bits; −1 is a zero. The same bits in the same order need no wire."""
        if list(bits) == list(range(source.width)):
            return source
        made = Signal(self.name(what), len(bits))
        self.wires.append((self.layer, Wire(made, source, tuple(bits))))
        return made

    def values(self, what: str, source: Signal, stream: Stream, chosen: Sequence[int], to: int, signed: bool) -> Signal:
        """Make a stream of another one's values, each widened or cut to some bits.

        Args:
            what: a word for its name.
            source, stream: what it is made from.
            chosen: the value at every place, in the order of words; −1 = zero.
            to: bits of a value.
            signed: whether wider values repeat the sign.
        """
        bits: list[int] = []
        for value in chosen:
            low = value * stream.bits
            kept = min(to, stream.bits)
            top = low + stream.bits - 1 if signed else -1
            bits += [-1] * to if value < 0 else [*range(low, low + kept), *[top] * (to - kept)]
        return self.wire(what, source, bits)


def whole(net: Netlist, what: str, word: Stream, rows: Ints, ports: int = 1) -> Ports:
    """One memory for all ports of a module."""
    bank = Bank(net.name(what), 0, ports, ((0, word.width),), word, rows)
    return Ports(ports, word.width, len(rows), (bank,))
