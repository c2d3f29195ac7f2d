"""What modules cost by synthesis, beside what a peer's regression says of the same: `benchmarks/results/rtl-costs.md`.

    python -m benchmarks.rtl_costs

The regression is `hass_train/hardware/dataflow/costs/logic.py`, of the fpgaConvNet-model repository. It lacks some
kinds of modules. Synthesis is for Xilinx LUTs of six inputs; weight memories are not counted on either side.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from hass_train.hardware.dataflow.costs import logic
from hass_train.hardware.dataflow.costs.formulas import Costs
from hass_train.hardware.dataflow.costs.logic import Logic, Widths
from hass_train.rtl.module import Module
from hass_train.rtl.reference import MODULES
from hass_train.rtl.synthesise import synthesise, yosys_version

RESULT = Path(__file__).resolve().parent / "results" / "rtl-costs.md"
FILTERS = 16
ENGINES = ("dense_engine", "activation_engine", "weight_engine", "pair_engine", "crossbar_engine")
TARGETS = {  # LUTs per multiplier with 16 filters at 8 bits (M = 9, N = 3; M = 16, N = 4) and at 16 bits (M = 9, N = 3)
    "dense_engine": (7.4, 5.8, 13.0), "activation_engine": (7.6, 6.1, 13.0), "weight_engine": (39.0, 39.0, 76.0),
    "pair_engine": (26.0, 30.0, 38.0), "crossbar_engine": (60.0, 80.0, 98.0),
}  # fmt: skip
SHAPES = ((9, 3, 8), (16, 4, 8), (9, 3, 16))
PARTS: dict[str, dict[str, int]] = {
    "sliding_window": {
        "streams": 1, "pixels": 1, "bits": 8, "depth": 1, "height": 33, "width": 33, "kernel_height": 3,
        "kernel_width": 3, "stride_height": 1, "stride_width": 1, "dilation_height": 1, "dilation_width": 1,
        "top": 1, "left": 1, "value": 0,
    },
    "padding": {
        "streams": 1, "pixels": 1, "bits": 8, "depth": 1, "height": 32, "width": 32, "top": 1, "bottom": 1, "left": 1,
        "right": 1, "value": 0,
    },
    "max_pool": {"streams": 1, "columns": 1, "positions": 9, "bits": 8, "signed": 1},
    "average_pool": {
        "streams": 1, "bits": 8, "signed": 1, "multiplier": 29127, "shift": 18, "columns": 1, "positions": 9,
    },
    "global_pool": {
        "streams": 1, "bits": 8, "signed": 1, "multiplier": 21399, "shift": 20, "depth": 16, "pixels_of_map": 49,
        "operation": 0,
    },
    "adder_tree": {"addends": 4, "streams": 1, "in_bits": 24},
    "accumulator": {
        "streams": 16, "passes": 4, "rounds": 4, "groups": 1, "in_bits": 20, "bias_bits": 16, "out_bits": 24,
    },
    "requantise": {"streams": 1, "in_bits": 20, "out_bits": 8, "shift": 7, "signed_out": 1},
    "threshold": {"streams": 1, "bits": 8, "threshold": 3, "signed": 1},
    "lookup_table": {"streams": 1, "in_bits": 8, "out_bits": 8},
    "stream_add": {
        "streams": 1, "a_bits": 8, "b_bits": 8, "signed_a": 1, "signed_b": 1, "shift_a": 0, "shift_b": 0, "shift": 0,
        "out_bits": 8, "signed_out": 1,
    },
    "stream_multiply": {
        "streams": 1, "a_bits": 8, "b_bits": 8, "signed_a": 1, "signed_b": 0, "depth": 16, "pixels": 49, "shift": 8,
        "out_bits": 8, "signed_out": 1, "block": 0,
    },
    "stream_fork": {"width": 72, "copies": 2},
    "register_fifo": {"width": 8, "depth": 2},
    "lutram_fifo": {"width": 8, "depth": 16, "shift_registers": 0},
    "block_fifo": {"width": 8, "depth": 2048},
    "width_converter": {"bits": 8, "in_values": 9, "out_values": 3, "total": 9},
    "concatenate": {"width": 8, "depth_a": 4, "depth_b": 4},
}  # fmt: skip
BITS = Widths(8, 8, 24)


def one(value: float) -> Any:
    return np.array([value])


REGRESSION: dict[str, Callable[[], Logic]] = {
    "sliding_window": lambda: logic.sliding_window(1, (3, 3), 1, BITS),
    "padding": lambda: logic.PAD,
    "max_pool": lambda: logic.max_pool(1, 9, BITS),
    "global_pool": lambda: logic.global_pool(1, 16, BITS),
    "adder_tree": lambda: logic.glue(1, one(4), BITS),
    "accumulator": lambda: logic.accumulate(one(16), one(16), one(4), BITS),
    "threshold": lambda: logic.PAD,
    "lookup_table": lambda: logic.PAD,
    "stream_add": lambda: logic.ELEMENTWISE,
    "stream_multiply": lambda: logic.ELEMENTWISE,
    "stream_fork": lambda: logic.fork(1, 9, BITS),
    "register_fifo": lambda: Logic(logic.LUTS_PER_SLICE * logic.queue(2, 8), one(0)),
    "lutram_fifo": lambda: Logic(logic.LUTS_PER_SLICE * logic.queue(16, 8), one(0)),
    "width_converter": lambda: logic.squeeze(1, one(9), one(3), BITS),
}


def regression_of_engine(name: str, positions: int, multipliers: int, bits: int) -> Logic | None:
    """The peer's dot products of an engine's filters; a dense one's operands come from a squeeze and a fork."""
    widths = Widths(bits, bits, 2 * bits + 8)
    n, m = one(multipliers), one(positions)
    if name == "dense_engine":
        whole = logic.vector_dot(n, one(FILTERS), widths) + logic.fork(1, n, widths)
        return whole + logic.squeeze(1, m, n, widths) + logic.accumulate(one(FILTERS), one(3), one(1), widths)
    if name in ("pair_engine", "crossbar_engine"):
        return logic.sparse_vector_dot(n, m, one(1), one(1), widths).times(FILTERS)
    return None


def engine(name: str, positions: int, multipliers: int, bits: int, filters: int = FILTERS, **more: int) -> Module:
    """An engine of one bundle with some filters; parameters that it lacks are left out."""
    rounds = {"rounds": 4, "passes": 4, "rows": 48}
    wanted: dict[str, int] = {
        "positions": positions, "multipliers": multipliers, "filters": filters, "bundles": 1, "columns": 1,
        "data_bits": bits, "weight_bits": bits, "products": 1, "in_dsp": 0, "lanes": 0, **rounds, **more,
    }  # fmt: skip
    known = MODULES[name].__dataclass_fields__
    return MODULES[name](**{key: value for key, value in wanted.items() if key in known})


def synthesised(modules: list[Module]) -> list[Costs]:
    """The costs of some modules, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda module: synthesise([module])[0], modules))


def engine_rows() -> list[str]:
    """A row of the table for each engine and variant."""
    variants: list[tuple[str, dict[str, int]]] = [(name, {}) for name in ENGINES]
    variants += [
        ("dense_engine", {"products": 2}),
        ("activation_engine", {"products": 2}),
        ("dense_engine", {"in_dsp": 1}),
    ]
    variants += [("weight_engine", {"lanes": 1}), ("weight_engine", {"columns": 2, "products": 2})]
    wanted = {
        (k, shape): engine(name, *shape, **more)
        for k, (name, more) in enumerate(variants)
        for shape in SHAPES
        if shape[2] <= 8 or more.get("products", 1) == 1
    }
    found = dict(zip(wanted, synthesised(list(wanted.values())), strict=True))
    rows = []
    for k, (name, more) in enumerate(variants):
        cells = [f"`{name}` " + ", ".join(f"{key}={value}" for key, value in more.items())]
        for shape, target in zip(SHAPES, TARGETS[name], strict=True):
            costs = found.get((k, shape))
            if costs is None:
                cells.append("–")
                continue
            count = FILTERS * shape[1] * more.get("columns", 1)
            said = regression_of_engine(name, *shape) if not more else None
            peer = f"{float(np.max(said.lut)) / count:.1f}" if said else "–"
            told = "" if more else f", target {target:g}, regression {peer}"
            cells.append(f"{costs.lut / count:.1f}{told}; {costs.ff / count:.1f} FF, {costs.dsp} DSP")
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def part_rows() -> list[str]:
    """A row of the table for each other module."""
    rows = []
    modules = [MODULES[name](**parameters) for name, parameters in PARTS.items()]
    for (name, parameters), found in zip(PARTS.items(), synthesised(modules), strict=True):
        said = REGRESSION[name]() if name in REGRESSION else None
        lut, ff = (f"{float(np.max(value)):.0f}" for value in said) if said else ("–", "–")
        told = " ".join(f"{key}={value}" for key, value in parameters.items())
        rows.append(f"| `{name}` | {told} | {found.lut} / {lut} | {found.ff} / {ff} | {found.dsp} | {found.bram} |")
    return rows


def main() -> None:
    shapes = " | ".join(f"M = {m}, N = {n}, {bits} bits" for m, n, bits in SHAPES)
    text = [
        f"Made by `python -m benchmarks.rtl_costs`; {yosys_version()}, Xilinx LUTs of six inputs (xc7).",
        "",
        f"## Compute engines: LUTs per multiplier, {FILTERS} filters",
        "",
        "Everything inside the engine, control and stall logic included, without weight memories. Targets are those of",
        "prototypes. The regression has no term in M for engines that skip pairs.",
        "",
        f"| engine | {shapes} |",
        "|---|---|---|---|",
        *engine_rows(),
        "",
        "## Other modules",
        "",
        "| module | parameters | LUT, ours / regression | FF, ours / regression | DSP | 18-kbit block RAM |",
        "|---|---|---|---|---|---|",
        *part_rows(),
    ]
    RESULT.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
