"""What patterns cost in accuracy, and what a search for blocks gains over taking as many everywhere.

    python benchmarks/patterns.py           # ResNet-18 on 20,000 images of Fashion-MNIST: about two hours on two cores
    python benchmarks/patterns.py --table   # runs nothing: the table of what has ended

A dense network is trained once. Every pattern then takes half and three quarters of every layer's weights at once
(`search=one_shot`) and recovers for as many epochs; a dense network that trains on for as long says what of the
accuracy is but longer training. On the AI-engine array `hw=aie2_4x4` a learned search for blocks (`sparsity=block`) is
asked for speed-ups; uniform 50 % blocks recover there for as many epochs as it searches and recovers.
Runs lie in runs/patterns/ and are not repeated.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from once import RESULTS, ROOT, ended, run_once

from hass_train.results.result import Result

RUNS = ROOT / "runs" / "patterns"
TABLE = RESULTS / "patterns.md"
COMMON = ["model=resnet18", "data=fashion_mnist", "data.train_images=20000", "data.batch_size=128"]
DENSE, RECOVER = 10, 6  # epochs
SEARCHED = 4, 4  # epochs of search and recovery on the array
PATTERNS = {
    "unstructured": ["sparsity=unstructured"],
    "8×8 blocks": ["sparsity=block"],
    "N:M": ["sparsity=nm"],
    "balanced": ["sparsity=balanced", "sparsity.pattern.window_channels=4"],  # 36 weights, of which a half is whole
    "channels": ["sparsity=channel"],
}
SPARSITIES = (0.5, 0.75)
SPEEDUPS = (2.5, 3.2)
ARRAY = ["hw=aie2_4x4", "sparsity=block"]


def run(script: str, name: str, overrides: list[str], only_look: bool) -> Path | None:
    """The directory of a run that has ended, after running it unless it has or `only_look`."""
    folder = RUNS / name
    if not only_look:
        run_once(script, folder, [*COMMON, *overrides])
    return folder if ended(folder) else None


def recipe(label: str, sparsity: float, dense: Path, only_look: bool) -> Result | None:
    """The result of a pattern at a sparsity."""
    overrides = [*PATTERNS[label], "search=one_shot", f"search.sparsity={sparsity}", *_after(dense, 0, RECOVER)]
    overrides += ["hw=zcu104", "hw.tolerance=0.02", "report=false"]
    if label == "N:M" and sparsity > 0.5:
        overrides.append("sparsity.pattern.n=1")
    name = f"{label.replace('×', 'x').replace(' ', '-').replace(':', '')}-{sparsity}"
    return _result(run("search.py", name, overrides, only_look))


def _after(dense: Path, search: int, recover: int) -> list[str]:
    epochs = {"warmup": 0, "search": search, "recover": recover}
    given = [f"search.{phase}.epochs={count}" for phase, count in epochs.items()]
    return [f"init_from={dense / 'model.safetensors'}", *given]


def _result(folder: Path | None) -> Result | None:
    return Result.load(folder) if folder else None


def accuracy_table(dense: Path, only_look: bool) -> list[str]:
    """Accuracy of all patterns."""
    on = [f"init_from={dense / 'model.safetensors'}", f"search.warmup.epochs={RECOVER}", "search.warmup.lr=1e-3"]
    longer = run("train.py", "dense-longer", on, only_look)
    base = json.loads((dense / "accuracy.json").read_text())["test_acc"]
    lines = [
        "| pattern | sparsity asked | weights that are zero | test accuracy | points lost |",
        "|---|---|---|---|---|",
        f"| dense, {DENSE} epochs | – | – | {base:.4f} | – |",
    ]
    if longer:
        accuracy = json.loads((longer / "accuracy.json").read_text())["test_acc"]
        lines.append(f"| dense, {RECOVER} epochs more | – | – | {accuracy:.4f} | {100 * (base - accuracy):+.2f} |")
    for sparsity in SPARSITIES:
        for label in PATTERNS:
            found = recipe(label, sparsity, dense, only_look)
            if found is None:
                continue
            shown = {0.5: "2:4", 0.75: "1:4"}[sparsity] if label == "N:M" else label
            sparse = found.sparse
            lines.append(
                f"| {shown} | {sparsity:.0%} | {sparse.weight_sparsity:.1%} | {sparse.test_acc:.4f} "
                f"| {100 * (base - sparse.test_acc):+.2f} |"
            )
    return lines


def block_table(dense: Path, only_look: bool) -> list[str]:
    """Learned blocks against uniform ones on the array, after as many epochs."""
    uniform = ["search=one_shot", "search.sparsity=0.5", *_after(dense, 0, sum(SEARCHED))]
    runs = {"50 % of every layer": ("aie-uniform", uniform)} | {
        f"learned, {target:g}× asked": (
            f"aie-learned-{target}",
            [f"search.target_speedup={target}", *_after(dense, *SEARCHED)],
        )
        for target in SPEEDUPS
    }
    lines = ["| search | speed-up | images/s | test accuracy | blocks that are zero |", "|---|---|---|---|---|"]
    for label, (name, overrides) in runs.items():
        found = _result(run("search.py", name, [*ARRAY, *overrides, "report=false"], only_look))
        if found is not None:
            sparse = found.sparse
            lines.append(
                f"| {label} | {found.gain.throughput:.2f}× | {sparse.estimate.throughput_ips:,.0f} "
                f"| {sparse.test_acc:.4f} | {sparse.weight_sparsity:.1%} |"
            )
    return lines


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--only", choices=("accuracy", "blocks"), help="one of the two parts")
    arguments = parser.parse_args()
    RUNS.mkdir(parents=True, exist_ok=True)
    dense = run("train.py", "dense", [f"search.warmup.epochs={DENSE}"], arguments.table)
    if dense is None:
        raise SystemExit("no dense network has been trained yet; leave out --table")
    for name, part in {"accuracy": accuracy_table, "blocks": block_table}.items():
        part(dense, arguments.table or arguments.only not in (None, name))
    text = "Made by `python benchmarks/patterns.py`: ResNet-18, 20,000 images of Fashion-MNIST at 32×32, one seed.\n\n"
    text += "\n".join(accuracy_table(dense, True))
    text += f"\n\nOn `hw=aie2_4x4`, 8×8 blocks, {sum(SEARCHED)} epochs after the dense network each:\n\n"
    text += "\n".join(block_table(dense, True)) + "\n"
    TABLE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
