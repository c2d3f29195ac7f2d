"""The published times of Weight Block Sparsity beside the model's.

    python benchmarks/aie.py               # the table, in seconds
    python benchmarks/aie.py --calibrate   # how well each efficiency fits the 2×2 and 4×4 rows

All convolutions but the first, INT8, one image; dense, and with half of the 8×8 blocks of every layer zero. One number
is fitted, on the 12 cells of the 2×2 and 4×4 arrays: the fraction of their peak that cores, streams and DDR reach, the
same for all three. The other cells are held out.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from hass_train.hardware import AieArray, LayerSparsity, Operation, Structure, trace
from hass_train.hardware.aie.layers import layer_cost

# isort: split
import timm  # after hass_train, which makes a torchvision without its operators importable

RESULT = Path(__file__).resolve().parent / "results" / "aie.md"
# ms, dense and half of the blocks (arXiv 2407.09453, its drafts of November 2023 to March 2024); None = not printed
PUBLISHED: dict[str, dict[int, tuple[float | None, float | None]]] = {
    "resnet50": {
        2: (24.92, 15.83), 3: (12.70, 8.66), 4: (10.77, 7.06), 6: (5.71, 4.49), 7: (4.21, 3.21), 8: (6.38, 4.60),
    },
    "inception_v3": {
        2: (42.84, 24.41), 3: (23.87, 14.22), 4: (17.41, 10.13), 6: (10.64, 6.44), 7: (8.73, None), 8: (9.09, 5.67),
    },
    "vgg16": {
        2: (44.76, 26.09), 3: (25.33, 10.02), 4: (13.71, 8.85), 6: (None, 5.77), 7: (7.46, 5.29), 8: (9.20, 6.50),
    },
}  # fmt: skip
SIZES = {"resnet50": 224, "inception_v3": 299, "vgg16": 224}
CALIBRATED = (2, 4)
PROFILES = (LayerSparsity(), LayerSparsity(0.5, 1.0, 0.5, structure=Structure(block=(8, 8))))
FITTED = ("kernel_efficiency", "stream_efficiency", "ddr_efficiency")


@cache
def layers(network: str) -> tuple[Operation, ...]:
    """All convolutions but the first; VGG-16's linear layers, which timm writes as convolutions of one pixel, are left
    out as in the paper."""
    size = SIZES[network]
    found = trace(timm.create_model(network), (3, size, size)).compute_layers
    return tuple(one for one in found[1:] if one.kind == "conv" and one.result.height > 1)


def milliseconds(network: str, array: AieArray, profile: LayerSparsity) -> float:
    """Time of a network's convolutions."""
    return sum(layer_cost(one, profile, array).cycles for one in layers(network)) / array.clock_mhz / 1e3


def cells(array: AieArray) -> list[tuple[str, int, int, float, float]]:
    """Network, n, 0 = dense or 1 = half, published and our ms, of every cell that is printed."""
    return [
        (network, n, half, ms, milliseconds(network, replace(array, rows=n, columns=n), PROFILES[half]))
        for network, rows in PUBLISHED.items() for n, row in rows.items()
        for half, ms in enumerate(row) if ms is not None
    ]  # fmt: skip


def calibrate() -> list[tuple[float, float]]:
    """Efficiencies, one for cores, streams and DDR alike, and the root mean square of log(ours/published) on the
    calibrated rows."""
    found = []
    for percent in range(30, 71, 5):
        alike = AieArray("fit", 2, 2, **dict.fromkeys(FITTED, percent / 100))
        errors = [np.log(ms / published) for _, n, _, published, ms in cells(alike) if n in CALIBRATED]
        found.append((percent / 100, float(np.sqrt(np.mean(np.square(errors))))))
    return found


def tables(array: AieArray) -> str:
    """Cells and pairs side by side, and what acceptance asks."""
    found = cells(array)
    ours = {(network, n, half): (published, ms) for network, n, half, published, ms in found}
    head = ["array", "network", "dense: published", "ours", "ratio", "half: published", "ours", "ratio"]
    lines = [_row([*head, "speed-up: published", "ours"]), _row(["---"] * 10)]
    near, pairs = 0, 0
    for n in (2, 3, 4, 6, 7, 8):
        for network in PUBLISHED:
            cell = [ours.get((network, n, half)) for half in (0, 1)]
            shown = [f"{one[0]:.2f} | {one[1]:.2f} | {one[1] / one[0]:.2f}" if one else "– | – | –" for one in cell]
            gains = "– | –"
            if cell[0] and cell[1]:
                theirs, own = cell[0][0] / cell[1][0], cell[0][1] / cell[1][1]
                near, pairs, gains = near + (abs(theirs - own) <= 0.25), pairs + 1, f"{theirs:.2f}× | {own:.2f}×"
            fitted = " (fitted)" if n in CALIBRATED else ""
            lines.append(_row([f"{n}×{n}{fitted}", network, *shown, gains]))
    errors = [abs(ms / published - 1) for _, n, _, published, ms in found if n not in CALIBRATED]
    rank = spearmanr([one[3] for one in found], [one[4] for one in found])[0]
    lines += [
        "",
        f"Held-out rows: median absolute error **{np.median(errors):.1%}** (largest {max(errors):.0%}). Rank "
        f"correlation over all {len(found)} cells: **{rank:.3f}**. Speed-ups within 0.25×: **{near} of {pairs}**.",
    ]
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calibrate", action="store_true", help="only print how well efficiencies fit")
    if parser.parse_args().calibrate:
        for efficiency, error in calibrate():
            print(f"{efficiency:.2f}  {error:.3f}")
        return
    array = AieArray("published", 2, 2)
    text = "Made by `python benchmarks/aie.py`. Milliseconds for one image: " + ", ".join(
        f"{name.replace('_', ' ')} {getattr(array, name)}" for name in FITTED
    )
    text += f" for all cells.\n\n{tables(array)}\n\nWith kernels padded to squares (`hw.square_kernels=true`):\n\n"
    text += tables(replace(array, square_kernels=True)) + "\n"
    RESULT.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
