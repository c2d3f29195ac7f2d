"""Whether goals are met: the speed-up that a search reaches beside what it was asked for.

    python benchmarks/goals.py          # digits, ResNet-18: about a quarter of an hour a goal on one core
    python benchmarks/goals.py --table  # only write what is complete

One dense network is trained; the searches for all goals begin with it. Memory and bandwidth bind a ZedBoard and a
ZCU104 there, so throughput has steps: where a layer's weights fit on the chip, and where banks lose a weight. Writes
benchmarks/results/goals.md; runs lie in runs/goals/ and are not repeated.
"""

from __future__ import annotations

import argparse

from once import RESULTS, ROOT, ended, run_once

from hass_train.results.result import Result

RUNS = ROOT / "runs" / "goals"
GOALS = {"zedboard": (2.0, 3.0, 4.0, 6.0), "zcu104": (6.0,)}
"""By device; zeros that training leaves by itself, such as weights that round to zero, take the latter beyond 4×."""
DENSE = ("model=resnet18", "search.warmup.epochs=12")
SEARCH = ("precision=int8", "search.warmup.epochs=0", "search.search.epochs=8", "search.recover.epochs=4")


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="only write what is complete")
    given, dense = parser.parse_args(), RUNS / "dense"
    start = ("model=resnet18", *SEARCH, f"init_from={dense / 'model.safetensors'}", "report=false")
    if not given.table:
        run_once("train.py", dense, DENSE, 1)
    lines = [
        f"Made by `python benchmarks/goals.py`; digits, ResNet-18, `{' '.join(SEARCH)}`, all limits, one thread.", "",
        "| device | goal | reached | beyond it | points lost | pairs left | weights left |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for device, goals in GOALS.items():
        for goal in goals:
            folder = RUNS / f"{device}-{goal:g}"
            if not given.table:
                run_once("search.py", folder, (*start, f"hw={device}", f"search.target_speedup={goal:g}"), 1)
            if not ended(folder):
                continue
            found = Result.load(folder)
            reached, lost = found.gain.throughput, 100 * found.gain.accuracy_drop
            lines.append(
                f"| {device} | {goal:g}× | {reached:.2f}× | {reached / goal - 1:+.1%} | {lost:.2f} "
                f"| {1 - found.sparse.pair_sparsity:.1%} | {1 - found.sparse.weight_sparsity:.1%} |"
            )
    text = "\n".join(lines) + "\n"
    (RESULTS / "goals.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
