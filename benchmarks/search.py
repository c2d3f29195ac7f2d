"""Search engines at equal wall clock: what accuracy each keeps for what throughput.

    python benchmarks/search.py --quick     # digits, MobileNetV3-Small: about 15 minutes on two cores
    python benchmarks/search.py             # Fashion-MNIST, 20,000 images, MobileNetV3-Small (3 seeds) and ResNet-18
    python benchmarks/search.py --full      # 60,000 images, 3 seeds: for a machine with a GPU
    python benchmarks/search.py --ablation  # the same searches, priced by multiply-accumulates, or all layers alike

For every network, device and seed a dense network is trained once. `learned` searches from it for some goals; each
other engine then gets as many seconds as all these searches took together, and recovers its choice just as long. Only
validation images decide; the test split is read once a run. Hyper-volumes are of throughput gain beyond 1 times
validation accuracy beyond 5 points below the dense network's. As searched networks train on, so does a dense one, for
as many epochs, to say what of their accuracy is but longer training. Runs lie in runs/search-benchmark/ and are not
repeated; `--engines tpe` runs some of the others; `--jobs 2` does two networks or seeds at once, each with half of the
cores; `--table` runs nothing and writes the table of the networks and seeds that are complete.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from once import RESULTS, ROOT, ended, run_once
from search_report import LOST, OTHERS, ablation_table, picture, table

from hass_train.results.result import Result
from hass_train.search.front import hypervolume

RUNS = ROOT / "runs" / "search-benchmark"
NUMBERS = "precision=int8"
"""Networks are of integers, and designs of 8 bits; all limits count, and the dense design has two products in a DSP."""


@dataclass(frozen=True)
class Case:
    """One network on one device.

    Args:
        epochs: of warm-up, search and recovery.
        goals: what `learned` is asked for, one run each; other engines search for the fastest network within `LOST`.
    """

    model: str
    device: str
    seeds: tuple[int, ...]
    epochs: tuple[int, int, int]
    goals: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What one mode of the benchmark runs.

    Args:
        data: overrides of the data.
        trainer: `trainer=`.
    """

    name: str
    data: tuple[str, ...]
    cases: tuple[Case, ...]
    trainer: str = "cpu"


def _faster(*speedups: float) -> tuple[str, ...]:
    """Goals of some speed-ups."""
    return tuple(f"target_speedup={speedup:g}" for speedup in speedups)


FASHION = "data=fashion_mnist"
PLANS = {
    "quick": Plan("quick", ("data=digits",), (Case("mobilenetv3", "zcu104", (0,), (40, 10, 8), _faster(1.5, 2)),)),
    "default": Plan(
        "default", (FASHION, "data.train_images=20000"),
        (
            Case("resnet18", "zcu104", (0,), (8, 4, 2), (*_faster(12), "max_accuracy_drop=0.01")),
            Case("mobilenetv3", "zcu104", (0, 1, 2), (20, 5, 4), _faster(1.5, 2)),
        ),
    ),
    "full": Plan(
        "full", (FASHION,),
        tuple(
            Case(model, device, (0, 1, 2), (12, 10, 8), _faster(2, 3, 4, 6, 8))
            for model in ("mobilenetv3", "resnet18") for device in ("zedboard", "zcu104")
        ), "gpu",
    ),
}  # fmt: skip


class IncompleteError(Exception):
    """A run that the table needs has not ended."""


def run(script: str, folder: Path, overrides: list[str], threads: int) -> None:
    """Run a command into a folder, unless it has ended there before; with no threads, only look.

    Raises:
        IncompleteError: it has not ended, and there are no threads.
    """
    if not threads and not ended(folder):
        raise IncompleteError(folder)
    run_once(script, folder, overrides, threads)


def trained(plan: Plan, case: Case, seed: int, threads: int) -> list[str]:
    """Train the dense network once; the overrides that every engine begins from."""
    warmup, _, recover = case.epochs
    same = [f"model={case.model}", *plan.data, f"seed={seed}", f"trainer={plan.trainer}"]
    folder = RUNS / plan.name / f"{case.model}-{seed}"
    run("train.py", folder, [*same, f"search.warmup.epochs={warmup}"], threads)
    same += [f"init_from={folder / 'model.safetensors'}"]
    longer = [f"search.warmup.epochs={case.epochs[1] + recover}", "search.warmup.lr=1e-3"]
    run("train.py", folder.with_name(f"{folder.name}-longer"), [*same, *longer], threads)
    return [*same, f"hw={case.device}", NUMBERS, "search.warmup.epochs=0", f"search.recover.epochs={recover}"]


def engines(plan: Plan, case: Case, seed: int, threads: int, others: Sequence[str] = OTHERS) -> list[dict[str, Any]]:
    """`learned` and other engines on one network, device and seed: one row each."""
    folder = RUNS / plan.name / f"{case.model}-{case.device}-{seed}"
    same = trained(plan, case, seed, threads)
    learned = []
    for goal in case.goals:
        place = folder / f"learned-{goal.replace('=', '-')}"
        run("search.py", place, [*same, *asked(case, goal)], threads)
        learned.append(Result.load(place))
    seconds = sum(one.spent.seconds for one in learned)
    rows = [row("learned", learned)]
    for engine in others:
        place = folder / engine
        budget = [f"search={engine}", f"search.seconds={seconds:.0f}", "search.trials=100000"]
        run("search.py", place, [*same, *budget, f"search.max_accuracy_drop={LOST}"], threads)
        rows.append(row(engine, [Result.load(place)]))
    longer = json.loads((RUNS / plan.name / f"{case.model}-{seed}-longer" / "accuracy.json").read_text())["test_acc"]
    where = {"model": case.model, "device": case.device, "seed": seed, "dense_longer_test_acc": longer}
    return [{**where, **one} for one in rows]


def asked(case: Case, goal: str) -> list[str]:
    """Overrides of a learned search for a goal."""
    return [f"search.search.epochs={case.epochs[1]}", f"search.{goal}"]


def priced(plan: Plan, case: Case, seed: int, threads: int) -> list[dict[str, Any]]:
    """`learned` for the last speed-up under the hardware's prices and under the two controls: one row each."""
    goal = next(one for one in reversed(case.goals) if one.startswith("target_speedup"))
    same, rows = trained(plan, case, seed, threads), list[dict[str, Any]]()
    for prices in ("hardware", "macs", "ones"):
        name = f"learned-{goal.replace('=', '-')}" + ("" if prices == "hardware" else f"-{prices}")
        place = RUNS / plan.name / f"{case.model}-{case.device}-{seed}" / name
        run("search.py", place, [*same, *asked(case, goal), f"search.prices={prices}"], threads)
        found = Result.load(place)
        rows.append(
            {
                "model": case.model, "device": case.device, "seed": seed, "goal": found.goal.words, "prices": prices,
                "speedup": found.gain.throughput, "points_lost": 100 * found.gain.accuracy_drop,
                "pair_sparsity": found.sparse.pair_sparsity,
            }
        )  # fmt: skip
    return rows


def row(engine: str, results: list[Result]) -> dict[str, Any]:
    """Points (speed-up, validation accuracy) of an engine: its recovered networks, and the front of its trials."""
    dense = results[0].dense
    ips = dense.estimate.throughput_ips
    recovered = [(one.gain.throughput, one.sparse.val_acc) for one in results]
    points = recovered + [(point.throughput_ips / ips, point.val_acc) for one in results for point in one.spent.front]
    within = [
        one.gain.throughput for one in results if one.gain.accuracy_drop <= 0.01
    ]  # of the test split, read at the end
    return {
        "engine": engine,
        "dense_test_acc": dense.test_acc,
        "points": points,
        "recovered": recovered,
        "best_within_a_point": max(within, default=1.0),
        "hypervolume": hypervolume(points, (1.0, dense.val_acc - LOST)),
        "floor": dense.val_acc - LOST,
        "seconds": sum(one.spent.seconds for one in results),
        "trials": sum(one.spent.trials for one in results),
        "images": sum(one.spent.images for one in results),
        "goals": [(one.goal.words, one.gain.throughput, one.gain.accuracy_drop) for one in results],
    }


def main() -> None:
    """Run what is missing, and write table, picture and figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for mode in ("quick", "full"):
        parser.add_argument(f"--{mode}", action="store_const", dest="mode", const=mode, default="default")
    parser.add_argument("--jobs", type=int, default=1, help="networks and seeds at once")
    parser.add_argument("--ablation", action="store_true", help="what the hardware's prices are worth")
    parser.add_argument("--engines", nargs="+", choices=OTHERS, default=OTHERS, help="beside learned; all by default")
    parser.add_argument("--table", action="store_true", help="only write what is complete")
    given = parser.parse_args()
    plan, jobs = PLANS[given.mode], given.jobs
    threads = 0 if given.table else (os.cpu_count() or jobs) // jobs
    rows = []
    with ThreadPoolExecutor(jobs) as pool:  # each waits for its own processes
        task = priced if given.ablation else partial(engines, others=given.engines)
        tasks = [pool.submit(task, plan, case, seed, threads) for case in plan.cases for seed in case.seeds]
        for each in tasks:
            try:
                rows += each.result()
            except IncompleteError as missing:
                print(f"left out: {missing.args[0].relative_to(RUNS)} has not ended")
    if not rows:
        raise SystemExit("nothing is complete yet")
    name = RESULTS / f"search-{plan.name}{'-ablation' if given.ablation else ''}"
    some = "" if given.ablation or given.engines == OTHERS else f" --engines {' '.join(given.engines)}"
    switches = some + ("" if plan.name == "default" else f" --{plan.name}") + (" --ablation" if given.ablation else "")
    text = (
        f"Made by `python benchmarks/search.py{switches}`; two noisy cores. `{NUMBERS}`, all limits, on both sides.\n\n"
    )
    if given.ablation:
        text += ablation_table(rows)
    else:
        text += table(rows) + f"\n![Pareto plot]({name.name}.png)\n"
        picture(rows, name.with_suffix(".png"))
    name.with_suffix(".md").write_text(text)
    name.with_suffix(".json").write_text(json.dumps(rows, indent=1))
    print(text)


if __name__ == "__main__":
    main()
