"""The tables that a run prints when it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from hass_train.hardware import Estimate, LayerEstimate
from hass_train.report import columns
from hass_train.results.result import Result

if TYPE_CHECKING:  # it brings altair
    from hass_train.results.comparison import Comparison


def report_console() -> Console:
    """The terminal, or 110 columns where there is none (a file, a pipe)."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=110)


def print_result(result: Result, files: Iterable[Path], console: Console, note: str = "") -> None:
    """Print the three designs side by side, the goal, the slowest layers and every file that was written.

    Args:
        result: of the search.
        files: the files that were written.
        console: to print on.
        note: what a simulation found, in a sentence; empty without one.
    """
    console.print()
    console.print(_columns(result))
    gain, goal = result.gain, result.goal
    met = {None: "", True: ", [green]met[/]", False: ", [red]not met[/]"}[goal.met]
    drop = 100 * gain.accuracy_drop
    accuracy = f"loses {drop:.2f}" if drop >= 0 else f"gains {-drop:.2f}"
    console.print(
        f"Goal {goal.words}{met}: {gain.throughput:.2f}× the dense throughput, {accuracy} points of test accuracy."
    )
    if note:
        console.print(f"{note}.")
    console.print(f"Why not faster: {result.sparse.estimate.bottleneck.reason} (binds: {goal.binding}).")
    if len(counts := weight_widths(result.sparse.estimate)) > 1:
        console.print(f"Bits of weights: {', '.join(f'{bits} in {count}' for bits, count in counts.items())} layers.")
    console.print()
    print_slowest("Slowest layers of the searched network", result.sparse.estimate, console)
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in result.wall_s.items())
    console.print(f"Time: {seconds}.")
    print_files(files, console)


def weight_widths(estimate: Estimate) -> dict[int, int]:
    """How many layers have weights of so many bits, the most bits first."""
    return dict(sorted(Counter(row.weight_bits for row in estimate.layers if row.weight_bits).items(), reverse=True))


def print_files(files: Iterable[Path], console: Console) -> None:
    """Print the path of every file that was written, relative to the working directory where it lies below it."""
    console.print("Written:")
    here = Path.cwd()
    for path in files:
        shown = path.relative_to(here) if path.is_relative_to(here) else path
        console.print(f"  {shown}", soft_wrap=True)


def print_comparison(compared: Comparison, console: Console) -> None:
    """Print, for each data set, the runs on its Pareto front, the fastest first."""
    for data in compared.data:
        title = f"{len(compared.runs)} runs; on {data} no other is as accurate and as fast as these"
        table = Table(title=title, title_justify="left")
        for heading in ("run", "network", "device", "engine", "images/s", "speed-up", "test acc", "lost, points"):
            left = heading in ("run", "network", "device", "engine")
            table.add_column(heading, justify="left" if left else "right", overflow="fold")
        for run in compared.front(data, "throughput_ips"):
            numbers = run.numbers
            table.add_row(
                compared.names[run.folder], run.network, run.device, run.engine, f"{numbers['throughput_ips']:,.0f}",
                f"{numbers['speedup']:.2f}×", f"{numbers['test_acc']:.4f}", f"{100 * numbers['accuracy_drop']:.2f}",
            )  # fmt: skip
        console.print(table)


def _columns(result: Result) -> Table:
    table = Table(title=result.title, title_justify="left")
    table.add_column("")
    for heading in columns.COLUMNS:
        table.add_column(heading, justify="right")
    for label, cells in columns.rows(result):
        table.add_row(label, *cells)
    return table


def print_slowest(title: str, estimate: Estimate, console: Console) -> None:
    """Print a table of the five operations with the longest intervals, and why they have their compute engines."""
    table = Table(title=title, title_justify="left")
    blocks = any(layer.block_density is not None for layer in estimate.layers)
    density = "block density" if blocks else "pair density"
    for heading in ("layer", "kind", "bits", "cycles", "bound by", "engine", density, "folds", "weights in"):
        right = heading in ("cycles", density)
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    slowest = estimate.slowest(5)
    for layer in slowest:
        table.add_row(*_cells(layer))
    console.print(table)
    reasons = Table.grid(padding=(0, 2))
    for layer in slowest:
        if layer.reason:
            reasons.add_row(f"  {layer.name}", layer.reason)
    if reasons.row_count:
        console.print("Their engines:", reasons, sep="\n")


def _bits(layer: LayerEstimate) -> str:
    """Bits of weights × activations, as far as they are known."""
    return "×".join(str(bits) for bits in (layer.weight_bits, layer.activation_bits) if bits) or "–"


def _cells(layer: LayerEstimate) -> list[str]:
    folds = " ".join(f"{name}={value}" for name, value in layer.folds.items())
    density = layer.pair_density if layer.block_density is None else layer.block_density
    return [
        layer.name, layer.kind, _bits(layer), f"{layer.interval_cycles:,}", layer.bound, layer.engine,
        f"{density:.3f}" if layer.macs else "–", folds,
        layer.weights_in.replace("_", "-") or "–",
    ]  # fmt: skip
