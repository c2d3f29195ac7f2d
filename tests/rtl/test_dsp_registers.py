"""Registers that move into an ECP5's multipliers: the same products in the same cycles."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hass_train.rtl.dsp_registers import absorb_registers

Array = np.ndarray[Any, Any]
CLOCK, ENABLE = 2, 3
BITS = 4


def register(data: int | str, made: int, **more: Any) -> dict[str, Any]:
    ports = {"CE": [ENABLE], "CLK": [CLOCK], "DI": [data], "LSR": ["0"], "Q": [made]} | more
    return {
        "type": "TRELLIS_FF", "parameters": {"CEMUX": "CE", "CLKMUX": "CLK", "REGSET": "RESET"}, "connections": ports,
        "port_directions": {port: "output" if port == "Q" else "input" for port in ports},
    }  # fmt: skip


def multiplied() -> dict[str, Any]:
    """A flat module: inputs a and b, registers, a multiplier of unsigned values, registers, and output p."""
    numbers = iter(range(10, 1000))
    a, b, held_a, held_b = ([next(numbers) for _ in range(BITS)] for _ in range(4))
    product, held = ([next(numbers) for _ in range(2 * BITS)] for _ in range(2))
    ports: dict[str, list[int | str]] = {
        **{f"A{bit}": [held_a[bit] if bit < BITS else "0"] for bit in range(18)},
        **{f"B{bit}": [held_b[bit] if bit < BITS else "0"] for bit in range(18)},
        **{f"P{bit}": [product[bit] if bit < 2 * BITS else 900 + bit] for bit in range(36)},
        "SIGNEDA": ["0"], "SIGNEDB": ["0"],
    }  # fmt: skip
    multiplier = {
        "type": "MULT18X18D", "parameters": {}, "connections": ports,
        "port_directions": {port: "output" if port[0] == "P" else "input" for port in ports},
    }  # fmt: skip
    pairs = [*zip(a + b, held_a + held_b, strict=True), *zip(product, held, strict=True)]
    cells = {"mult": multiplier} | {f"r{made}": register(data, made) for data, made in pairs}
    directions = {"clock": [CLOCK], "enable": [ENABLE], "a": a, "b": b}
    module_ports = {name: {"direction": "input", "bits": bits} for name, bits in directions.items()}
    return {"ports": module_ports | {"p": {"direction": "output", "bits": held}}, "cells": cells}


def played(
    module: dict[str, Any], operands: np.ndarray[Any, Any], enables: np.ndarray[Any, Any]
) -> Iterator[list[int]]:
    """The output of a module in every cycle, by the registers of the fabric and those that the multiplier has."""
    state: dict[int | str, int] = {}
    for (a, b), enabled in zip(operands, enables, strict=True):
        level: dict[int | str, int] = {"0": 0, ENABLE: int(enabled)} | state
        for name, value in (("a", int(a)), ("b", int(b))):
            level |= {bit: value >> place & 1 for place, bit in enumerate(module["ports"][name]["bits"])}
        ports, options = module["cells"]["mult"]["connections"], module["cells"]["mult"]["parameters"]
        assert {options.get(f"REG_{one}_CE", "CE0") for one in ("INPUTA", "INPUTB", "OUTPUT")} == {"CE0"}
        read = {side: [level.get(ports[f"{side}{bit}"][0], 0) for bit in range(18)] for side in "AB"}
        used = {
            side: state.get(f"held {side}", 0) if f"REG_INPUT{side}_CLK" in options else number(read[side])
            for side in "AB"
        }
        bits = {ports[f"P{bit}"][0]: used["A"] * used["B"] >> bit & 1 for bit in range(36)}
        if "REG_OUTPUT_CLK" not in options:
            level |= bits
        yield [level.get(bit, 0) for bit in module["ports"]["p"]["bits"]]
        if not enabled:
            continue
        for cell in module["cells"].values():
            if cell["type"] == "TRELLIS_FF":
                state[cell["connections"]["Q"][0]] = level.get(cell["connections"]["DI"][0], 0)
        state |= {f"held {side}": number(read[side]) for side in "AB"}
        if "REG_OUTPUT_CLK" in options:
            state |= bits


def number(bits: list[int]) -> int:
    return sum(bit << place for place, bit in enumerate(bits))


@pytest.fixture
def stimulus() -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 1 << BITS, (200, 2)), rng.random(200) < 0.7


def check(before: dict[str, Any], gone: int, stimulus: Any, **registers: bool) -> None:
    after = copy.deepcopy(before)
    assert absorb_registers(after) == gone
    assert list(played(after, *stimulus)) == list(played(before, *stimulus))
    options = after["cells"]["mult"]["parameters"]
    for name, there in registers.items():
        assert (options.get(f"REG_{name.upper()}_CLK") == "CLK0") == there
    if any(registers.values()):
        assert after["cells"]["mult"]["connections"]["CE0"] == [ENABLE]


def test_all_registers_of_a_multiplier_move_into_it(stimulus: Any) -> None:
    check(multiplied(), 4 * BITS, stimulus, inputa=True, inputb=True, output=True)


def test_a_register_that_others_read_stays_for_them(stimulus: Any) -> None:
    module = multiplied()
    read = module["cells"]["mult"]["connections"]["A0"]
    module["cells"]["other"] = register(read[0], 800)
    check(module, 4 * BITS - 1, stimulus, inputa=True, inputb=True, output=True)


@pytest.mark.parametrize("change", [{"LSR": [77]}, {"CE": [78]}, {"CLK": [79]}])
@pytest.mark.parametrize("bits", [1, BITS])
def test_registers_that_work_otherwise_stay(bits: int, change: dict[str, list[int]]) -> None:
    """Those of the other operand stay with them: nextpnr times a multiplier with one as if it had none."""
    module = multiplied()
    if bits == BITS and "CE" in change:
        return  # an enable of their own is no hindrance
    for bit in range(bits):
        held = module["cells"]["mult"]["connections"][f"A{bit}"][0]
        module["cells"][f"r{held}"]["connections"] |= change
    assert absorb_registers(module) == 2 * BITS
    options = module["cells"]["mult"]["parameters"]
    assert "REG_OUTPUT_CLK" in options
    assert not {"REG_INPUTA_CLK", "REG_INPUTB_CLK"} & set(options)


def test_enables_of_their_own_come_by_ports_of_their_own() -> None:
    module = multiplied()
    for bit in range(BITS):
        held = module["cells"]["mult"]["connections"][f"A{bit}"][0]
        module["cells"][f"r{held}"]["connections"]["CE"] = [78]
    assert absorb_registers(module) == 4 * BITS
    mult = module["cells"]["mult"]
    enables = [mult["connections"][mult["parameters"][f"REG_{one}_CE"]] for one in ("INPUTA", "INPUTB", "OUTPUT")]
    assert enables == [[78], [ENABLE], [ENABLE]]


def test_a_sign_that_several_bits_repeat_moves_once(stimulus: Any) -> None:
    module = multiplied()
    ports = module["cells"]["mult"]["connections"]
    ports |= {f"A{bit}": ports[f"A{BITS - 1}"] for bit in range(BITS, 18)}
    check(module, 4 * BITS, stimulus, inputa=True, inputb=True, output=True)


@pytest.mark.parametrize("leaves", [False, True])
def test_a_product_that_leaves_the_module_keeps_its_registers_outside(leaves: bool) -> None:
    module = multiplied()
    module["ports"]["q"] = {"direction": "output", "bits": [900 + 35] if leaves else []}
    assert absorb_registers(module) == (2 if leaves else 4) * BITS


def test_a_product_that_is_read_at_once_keeps_its_registers_outside(stimulus: Any) -> None:
    module = multiplied()
    module["cells"]["other"] = register(module["cells"]["mult"]["connections"]["P0"][0], 800)
    check(module, 2 * BITS, stimulus, inputa=True, inputb=True, output=False)


def test_a_register_behind_a_block_ram_stays_there(stimulus: Any) -> None:
    module = multiplied()
    row = module["cells"]["ram"] = {"type": "DP16KD", "parameters": {}, "connections": {}, "port_directions": {}}
    row["connections"] |= {"DOA0": [module["ports"]["a"]["bits"][0]]}
    row["port_directions"] |= {"DOA0": "output"}
    check(module, 2 * BITS, stimulus, inputa=False, inputb=False, output=True)
