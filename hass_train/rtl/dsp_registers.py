"""Puts registers around the multipliers of an ECP5 into them, which Yosys leaves in the fabric.

A MULT18X18D has registers for both operands and for the product. With registers of the fabric instead, a path leads
across the chip to the multiplier, through it and across the chip again, all in one cycle: multipliers lie in few rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Cells = dict[str, Any]
_MULTIPLIER, _REGISTER, _BLOCK_RAMS = "MULT18X18D", "TRELLIS_FF", ("DP16KD", "PDPW16KD")
_OPERANDS = {"INPUTA": [f"A{bit}" for bit in range(18)], "INPUTB": [f"B{bit}" for bit in range(18)]}
_PRODUCT = [f"P{bit}" for bit in range(36)]


class _Control(NamedTuple):
    """What a register without a reset works by: nets, or "1" for an enable that always is."""

    clock: int
    enable: int | str


class _Net:
    """Who drives a net, and who reads it: pairs of a cell's name and a port."""

    def __init__(self) -> None:
        self.driver: tuple[str, str] | None = None
        self.readers: set[tuple[str, str]] = set()
        self.leaves = False  # through a port of the module


def absorb_registers(module: Mapping[str, Any]) -> int:
    """Move registers into multipliers, as far as all bits of both operands, or of a product, have them.

    Registers that others read stay for them; those with a reset stay, since the multipliers' own resets are others. So
    do those that read a block RAM, which is slow itself: they halve its way to the multiplier.

    Args:
        module: a flat module as Yosys' `write_json` has it; it is changed.

    Returns:
        How many registers have gone.
    """
    cells: Cells = module["cells"]
    nets = _nets(module)
    before = len(cells)
    for name in [name for name, cell in cells.items() if cell["type"] == _MULTIPLIER]:
        ports = cells[name]["connections"]
        bits = {register: [ports[port][0] for port in own] for register, own in _OPERANDS.items()}
        before_them = {
            register: _common(_driving(cells, nets, bit) for bit in own if bit != "0") for register, own in bits.items()
        }
        # nextpnr times a multiplier as if neither operand had a register where only one has
        clocks = {control.clock for control in before_them.values() if control is not None}
        absorbed = before_them if None not in before_them.values() and len(clocks) == 1 else {}
        used = [ports[port][0] for port in _PRODUCT if not _constant(ports[port][0])]
        behind = _common(_reading(cells, nets, bit) for bit in used if nets[bit].readers or nets[bit].leaves)
        if behind is not None and (not absorbed or clocks == {behind.clock}):
            absorbed = absorbed | {"OUTPUT": behind}
        enables: list[int | str] = []
        for register, control in absorbed.items():
            assert control is not None
            _register(cells[name], register, control, enables)
            for port in _OPERANDS.get(register, ()):
                _read_earlier(cells, nets, name, port)
        for port in _PRODUCT if "OUTPUT" in absorbed else ():
            _write_later(cells, nets, name, port)
        for number, enable in enumerate(enables):
            _connect(cells[name], f"CE{number}", enable)
    return before - len(cells)


def _nets(module: Mapping[str, Any]) -> defaultdict[int | str, _Net]:
    """All nets of a module, by their numbers."""
    nets: defaultdict[int | str, _Net] = defaultdict(_Net)
    for name, cell in module["cells"].items():
        for port, bits in cell["connections"].items():
            for bit in bits:
                if cell["port_directions"][port] == "output":
                    nets[bit].driver = name, port
                else:
                    nets[bit].readers.add((name, port))
    for port in module["ports"].values():
        for bit in port["bits"]:
            nets[bit].leaves = True
    return nets


def _constant(bit: int | str) -> bool:
    """Whether a bit is 0, 1 or anything, not a net."""
    return isinstance(bit, str)


def _control(cell: Mapping[str, Any]) -> _Control | None:
    """How a register works; None if a multiplier's could not stand for it."""
    options, ports = cell["parameters"], cell["connections"]
    enabled = str(options.get("CEMUX", "1")).strip()
    known = options.get("CLKMUX") == "CLK" and options.get("REGSET") == "RESET" and enabled in ("CE", "1")
    if cell["type"] != _REGISTER or not known or ports["LSR"] != ["0"]:
        return None
    return _Control(ports["CLK"][0], ports["CE"][0] if enabled == "CE" else "1")


def _common(controls: Iterable[_Control | None]) -> _Control | None:
    """The control that all have, at least one; else None."""
    found = set(controls)
    return found.pop() if len(found) == 1 else None


def _driving(cells: Cells, nets: Mapping[int | str, _Net], bit: int | str) -> _Control | None:
    """The control of the register that drives a net; None if none does, or one that reads a block RAM."""
    driver = None if _constant(bit) else nets[bit].driver
    if driver is None or driver[1] != "Q":
        return None
    source = nets[cells[driver[0]]["connections"]["DI"][0]].driver
    slow = source is not None and source[0] in cells and cells[source[0]]["type"] in _BLOCK_RAMS
    return None if slow else _control(cells[driver[0]])


def _reading(cells: Cells, nets: Mapping[int | str, _Net], bit: int | str) -> _Control | None:
    """The control of the register that alone reads a net; None if others read it too."""
    net = nets[bit]
    if net.leaves or len(net.readers) != 1:
        return None
    ((name, port),) = net.readers
    return _control(cells[name]) if port == "DI" else None


def _register(cell: dict[str, Any], register: str, control: _Control, enables: list[int | str]) -> None:
    """Turn on a register of a multiplier."""
    if control.enable not in enables:
        enables.append(control.enable)
    options = {"CLK": "CLK0", "CE": f"CE{enables.index(control.enable)}", "RST": "RST0"}
    cell["parameters"] |= {f"REG_{register}_{name}": value for name, value in options.items()}
    _connect(cell, "CLK0", control.clock)
    _connect(cell, "RST0", "0")


def _connect(cell: dict[str, Any], port: str, bit: int | str) -> None:
    """Connect an input that a cell did not have."""
    cell["connections"][port] = [bit]
    cell["port_directions"][port] = "input"


def _read_earlier(cells: Cells, nets: defaultdict[int | str, _Net], name: str, port: str) -> None:
    """Let an operand's bit come from before its register, which goes if nobody else reads it."""
    ports = cells[name]["connections"]
    bit = ports[port][0]
    if _constant(bit):
        return
    net = nets[bit]
    assert net.driver is not None
    register = net.driver[0]
    net.readers.discard((name, port))
    ports[port] = cells[register]["connections"]["DI"]
    nets[ports[port][0]].readers.add((name, port))
    if not net.readers and not net.leaves:
        _remove(cells, nets, register)


def _write_later(cells: Cells, nets: defaultdict[int | str, _Net], name: str, port: str) -> None:
    """Let a product's bit stand for what its register makes of it."""
    ports = cells[name]["connections"]
    if _constant(ports[port][0]) or not nets[ports[port][0]].readers:
        return
    ((register, _),) = nets[ports[port][0]].readers
    ports[port] = cells[register]["connections"]["Q"]
    _remove(cells, nets, register)
    nets[ports[port][0]].driver = name, port


def _remove(cells: Cells, nets: Mapping[int | str, _Net], register: str) -> None:
    """Take out a register, which then reads none of its nets; whoever calls says who drives what it drove."""
    for port, bits in cells.pop(register)["connections"].items():
        for bit in bits:
            nets[bit].readers.discard((register, port))
