"""The tables that a run ends with."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hass_train.hardware import Estimate, LayerEstimate
from hass_train.result import Result

RESOURCE_LABELS = {
    "dsp": "DSPs",
    "bram18": "block RAMs (18 kbit)",
    "uram": "UltraRAMs",
    "lut": "LUTs",
    "ff": "flip-flops",
}


def report_console() -> Console:
    """The terminal, or 110 columns where there is none (a file, a pipe)."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=110)


def print_result(result: Result, files: Iterable[Path], console: Console, note: str = "") -> None:
    """Three columns, the goal, what a simulation found, the slowest layers and every file that was written."""
    console.print()
    console.print(_columns(result))
    gain, goal = result.gain, result.goal
    wanted = {
        "target_speedup": f"{goal.value:g}× throughput",
        "target_throughput": f"{goal.value:,.0f} images/s",
        "max_accuracy_drop": f"at most {100 * goal.value:g} points of validation accuracy lost",
        "penalty": f"penalty λ = {goal.value:g}",
    }[goal.kind]
    verdict = ", [green]met[/]" if goal.met else ", [red]not met[/]"
    drop = 100 * gain["accuracy_drop"]
    accuracy = f"loses {drop:.2f}" if drop >= 0 else f"gains {-drop:.2f}"
    met = "" if goal.kind == "penalty" else verdict
    console.print(
        f"Goal {wanted}{met}: {gain['throughput']:.2f}× the dense throughput, {accuracy} points of test accuracy."
    )
    if note:
        console.print(f"{note}.")
    console.print(f"Why not faster: {result.sparse.estimate.bottleneck.reason} (binds: {goal.binding}).")
    console.print()
    console.print(slowest_table("Slowest layers of the searched network", result.sparse.estimate))
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in result.wall_s.items())
    console.print(f"Time: {seconds}.")
    print_files(files, console)


def print_files(files: Iterable[Path], console: Console) -> None:
    """Every file that was written."""
    console.print("Written:")
    here = Path.cwd()
    for path in files:
        shown = path.relative_to(here) if path.is_relative_to(here) else path
        console.print(f"  {shown}", soft_wrap=True)


def _columns(result: Result) -> Table:
    title = f"{result.model['name']} · {result.data['name']} · {result.hw['name']}"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for heading in ("dense\ndense engines", "dense\nsparse engines", "searched\nsparse engines"):
        table.add_column(heading, justify="right")
    dense, natural, sparse = result.dense, result.natural, result.sparse
    estimates = (dense.estimate, natural.estimate, sparse.estimate)
    base, base_j = dense.estimate.throughput_ips, dense.estimate.energy.total_j

    def row(label: str, *values: str) -> None:
        table.add_row(label, *values)

    row("test accuracy", f"{dense.test_acc:.4f}", f"{dense.test_acc:.4f}", f"{sparse.test_acc:.4f}")
    row("validation accuracy", f"{dense.val_acc:.4f}", f"{dense.val_acc:.4f}", f"{sparse.val_acc:.4f}")
    row("pair sparsity", "–", f"{natural.pair_sparsity:.1%}", f"{sparse.pair_sparsity:.1%}")
    row("weight sparsity", "–", "–", f"{sparse.weight_sparsity:.1%}")
    row("throughput, images/s", *(f"{e.throughput_ips:,.0f}" for e in estimates))
    row("speed-up", *(f"{e.throughput_ips / base:.2f}×" for e in estimates))
    row("interval, cycles", *(f"{e.interval_cycles:,}" for e in estimates))
    row("latency, ms", *(f"{e.latency_ms:.3f}" for e in estimates))
    row("replicas", *(str(e.replicas) for e in estimates))
    for name, label in RESOURCE_LABELS.items():
        row(label, *(f"{getattr(e.resources, name):,} ({e.utilization[name]:.0%})" for e in estimates))
    row("off-chip bandwidth", *(f"{e.utilization['bandwidth']:.0%}" for e in estimates))
    row("images/s per DSP", *(f"{e.efficiency:.2f}" for e in estimates))
    row("energy an image, of dense (estimate)", *(f"{e.energy.total_j / base_j:.0%}" for e in estimates))
    return table


def slowest_table(title: str, estimate: Estimate) -> Table:
    """The five operations with the longest intervals."""
    table = Table(title=title, title_justify="left")
    for heading in ("layer", "kind", "cycles", "bound by", "engine", "pair density", "folds", "weights in"):
        right = heading in ("cycles", "pair density")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for layer in estimate.slowest(5):
        table.add_row(*_cells(layer))
    return table


def _cells(layer: LayerEstimate) -> list[str]:
    folds = " ".join(f"{name}={value}" for name, value in layer.folds.items())
    density = f"{layer.pair_density:.3f}" if layer.macs else "–"
    return [
        layer.name, layer.kind, f"{layer.interval_cycles:,}", layer.bound, layer.engine, density, folds,
        layer.weights_in.replace("_", "-") or "–",
    ]  # fmt: skip
