"""One instance of 16 multipliers of each compute engine, placed and routed for an ECP5-85k by open tools.

    python -m benchmarks.rtl_ecp5

writes `benchmarks/results/rtl-ecp5.md`. Each engine lies with its memories between registers (hass_train/rtl/place.py).
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.rtl_costs import ENGINES, engine
from hass_train.rtl.place import place
from hass_train.rtl.synthesise import synthesise, yosys_version

RESULT = Path(__file__).resolve().parent / "results" / "rtl-ecp5.md"
POSITIONS, MULTIPLIERS, BITS, FILTERS = 9, 4, 8, 4
SEEDS = (1, 2, 3)  # of the placer, whose luck is worth a tenth of the clock


def main() -> None:
    rows = []
    for name in ENGINES:
        module = engine(name, POSITIONS, MULTIPLIERS, BITS, FILTERS)
        alone = synthesise([module], "ecp5")[0]
        placings = [place(module, seed) for seed in SEEDS]
        placed = max(placings, key=lambda one: one.mhz)
        clocks = ", ".join(f"{one.mhz:.0f}" for one in placings)
        multipliers = placed.used.get("MULT18X18D", 0)
        whole = f"{placed.used['TRELLIS_COMB']} / {placed.used['TRELLIS_FF']} / {placed.used.get('DP16KD', 0)}"
        rows.append(f"| `{name}` | {alone.lut} | {alone.ff} | {multipliers} | {whole} | {placed.mhz:.0f} ({clocks}) |")
        print(rows[-1], flush=True)
    text = [
        f"Made by `python -m benchmarks.rtl_ecp5`; {yosys_version()}, nextpnr, LFE5U-85F; M = {POSITIONS},",
        f"N = {MULTIPLIERS}, {FILTERS} filters, {BITS} bits. The first columns are the engine alone as synthesised,",
        "the placed ones have its memories and the registers around it too. The clock is the best of three placements,",
        "which are in brackets.",
        "",
        "| engine | LUT4 | FF | MULT18X18D | placed: LUT4 / FF / block RAM | MHz |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
    RESULT.write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    main()
