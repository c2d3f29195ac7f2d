"""What integers cost in accuracy, and what bits by layer are worth.

    python benchmarks/precision.py            # Fashion-MNIST; MobileNetV3-Small and a narrow ResNet-18, three seeds
    python benchmarks/precision.py ResNet-18  # the network whose name begins so: one process for each may run

For every network and seed a dense network is trained once, with floating-point numbers. The same search then starts
from it in every precision, for the same speed-up on the same device, whose words have 8 bits for all: so it asks for
about the same density of weight–activation pairs. A second table, of the first seed, lets the device's words follow
the precision: int4 and mixed are searched for the throughput that was asked of int8, which they may reach by bits
instead of zeros. Accuracies are of all 10,000 test images; those of integers are the integer network's. Runs lie in
runs/precision-benchmark/ and are not repeated; `--table` runs nothing and writes the table of those that are complete.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from once import RESULTS, ROOT, ended, run_once

from hass_train.results.result import Result

TABLE = RESULTS / "precision.md"
RUNS = ROOT / "runs" / "precision-benchmark"
PRECISIONS, SEEDS = ("float", "int8", "int4"), (0, 1, 2)
FOLLOWED = ("int4", "mixed")  # by the device's words
IMAGES = 12_800  # of training
DATA = (
    "data=fashion_mnist",
    f"data.train_images={IMAGES}",
    "trainer=cpu",
    "+trainer.limit_val_batches=16",
    "report=false",
)
HARDWARE = ("hw=zcu104", "hw.weight_bits=8", "hw.activation_bits=8")


@dataclass(frozen=True)
class Case:
    """A network, and what is asked of it.

    Args:
        model: overrides that name it, and say how its images come.
        epochs: of dense training, search and recovery.
        speedup: `search.target_speedup`.
        dense_images: number of training images of the dense network.
    """

    name: str
    model: tuple[str, ...]
    epochs: tuple[int, int, int]
    speedup: float
    dense_images: int = IMAGES

    @property
    def phases(self) -> tuple[str, ...]:
        """Overrides of a search: its epochs."""
        _, search, recover = self.epochs
        return ("search.warmup.epochs=0", f"search.search.epochs={search}", f"search.recover.epochs={recover}")

    @property
    def goal(self) -> tuple[str, ...]:
        """Overrides of a search whose device has words of 8 bits."""
        return (*self.phases, f"search.target_speedup={self.speedup:g}")


CASES = (
    # benchmarks/results/precision-causes.md says how its dense network came to be trained so
    Case(
        "MobileNetV3-Small", ("model=mobilenetv3", "data.augment=false", "data.batch_size=64"), (5, 2, 6), 1.5,
        dense_images=25600,
    ),
    Case(
        "ResNet-18, a quarter of the width", ("model=resnet18", "+model.kwargs.channels=[16,32,64,128]"), (8, 3, 4), 2.0
    ),
)  # fmt: skip


def place(case: Case, seed: int, what: str) -> Path:
    """The folder of a run."""
    return RUNS / f"{case.model[0].partition('=')[2]}-{seed}-{what}"


def search(case: Case, seed: int, precision: str) -> None:
    """Search in a precision, from a dense network that all share."""
    same, dense = (*case.model, *DATA, f"seed={seed}"), place(case, seed, "dense")
    more = (f"data.train_images={case.dense_images}", f"search.warmup.epochs={case.epochs[0]}")
    run_once("train.py", dense, (*same, *more))
    start = (f"init_from={dense / 'model.safetensors'}", f"precision={precision}")
    run_once("search.py", place(case, seed, precision), (*same, *start, *HARDWARE, *case.goal))


def search_followed(case: Case, seed: int, precision: str) -> None:
    """Search for what was asked of int8, in images/s, on a device whose words follow the precision."""
    int8, dense = Result.load(place(case, seed, "int8")), place(case, seed, "dense")
    asked = f"search.target_throughput={case.speedup * int8.dense.estimate.throughput_ips:.0f}"
    start = (f"init_from={dense / 'model.safetensors'}", f"precision={precision}", f"seed={seed}")
    run_once("search.py", place(case, seed, f"{precision}-followed"), (
        *case.model, *DATA, *start, HARDWARE[0], *case.phases, asked,
    ))  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A search that has ended."""

    case: Case
    precision: str
    seed: int
    result: Result


def complete(precisions: tuple[str, ...], suffix: str = "") -> Iterator[Found]:
    """All searches that have ended."""
    for case, seed, precision in product(CASES, SEEDS, precisions):
        folder = place(case, seed, precision + suffix)
        if ended(folder):
            yield Found(case, precision, seed, Result.load(folder))


def _headed(*columns: str) -> list[str]:
    """The first two rows of a table."""
    return ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]


def table(found: list[Found]) -> str:
    """A row for every search."""
    rows = _headed(
        "network", "seed", "precision", "dense, float", "sparse", "images/s", "speed-up", "pairs left", "weights left"
    )
    for one in found:
        dense, sparse = one.result.dense, one.result.sparse
        cells = (
            one.case.name, str(one.seed), one.precision, f"{dense.test_acc:.4f}", f"{sparse.test_acc:.4f}",
            f"{sparse.estimate.throughput_ips:,.0f}", f"{one.result.gain.throughput:.2f}×",
            f"{1 - sparse.pair_sparsity:.1%}", f"{1 - sparse.weight_sparsity:.1%}",
        )  # fmt: skip
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


def differences(found: list[Found]) -> str:
    """For every network and precision of integers, points of accuracy and of pair density less those of floats."""
    rows = _headed(
        "network", "precision", "test accuracy less float's, points", "each seed", "pairs left less float's, points"
    )
    for case in CASES:
        floats = {one.seed: one.result.sparse for one in found if one.case is case and one.precision == "float"}
        for precision in PRECISIONS[1:]:
            pairs = [
                (one.result.sparse, floats[one.seed])
                for one in found if one.case is case and one.precision == precision and one.seed in floats
            ]  # fmt: skip
            if pairs:
                points = [100 * (own.test_acc - other.test_acc) for own, other in pairs]
                density = statistics.fmean(100 * (other.pair_sparsity - own.pair_sparsity) for own, other in pairs)
                spread = f" ± {statistics.stdev(points):.2f}" if len(points) > 1 else ""
                each = ", ".join(f"{one:+.2f}" for one in points)
                mean = f"{statistics.fmean(points):+.2f}{spread}"
                rows.append(f"| {case.name} | {precision} | {mean} | {each} | {density:+.1f} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Run what is missing, and write the tables after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="only write what is complete")
    parser.add_argument("network", nargs="?", default="", help="the beginning of its name")
    given = parser.parse_args()
    if not any(case.name.startswith(given.network) for case in CASES):
        parser.error(f"no network begins with {given.network!r}; known are {', '.join(case.name for case in CASES)}")
    cases = [] if given.table else [case for case in CASES if case.name.startswith(given.network)]
    for case, seed, precision in product(cases, SEEDS, PRECISIONS):
        search(case, seed, precision)
        write()
    for case, precision in product(cases, FOLLOWED):
        search_followed(case, SEEDS[0], precision)
        write()
    write()


def write() -> None:
    """Write the tables of what is complete."""
    found = list(complete(PRECISIONS))
    followed = [one for one in complete(("int8",)) if ended(place(one.case, one.seed, "mixed-followed"))]
    followed += complete(FOLLOWED, "-followed")
    if not found:
        return
    asked = "; ".join(
        f"{case.name}: {case.epochs[0]} epochs of dense training on {case.dense_images:,} images, "
        f"{case.epochs[1]} of search, {case.epochs[2]} of "
        f"recovery, `{' '.join((*case.model, *case.goal))}`" for case in CASES
    )  # fmt: skip
    text = (
        "# What integers cost in accuracy\n\n"
        f"`python benchmarks/precision.py`; Fashion-MNIST, {IMAGES:,} training images of 32 pixels, in batches of 128 "
        f"where nothing else is said, all 10,000 test images. {asked}; `{' '.join(HARDWARE)}` "
        "for all. Accuracies of int8 and int4 are the integer "
        f"network's. {len(found)} of {len(CASES) * len(SEEDS) * len(PRECISIONS)} searches have ended.\n\n"
    )
    own = ""
    if followed:
        own = (
            "\nThe device's words as wide as the layer's numbers, the throughput that int8 was asked for:\n\n"
            f"{table(sorted(followed, key=lambda one: (CASES.index(one.case), one.seed)))}"
        )
    TABLE.write_text(f"{text}{differences(found)}\n± is the standard deviation of the seeds.\n\n{table(found)}{own}")


if __name__ == "__main__":
    main()
