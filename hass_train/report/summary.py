"""The network before its search: what each of its parts computes, and what the dense design gives it."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from hass_train.hardware import Estimate, LayerEstimate, Operation, Workload


def print_summary(workload: Workload, dense: Estimate, console: Console, depth: int) -> None:
    """Print a row for each part of the network: its weights, multiply-accumulates and DSPs, and its slowest layer.

    Args:
        workload: the network.
        dense: the estimate of the dense network.
        console: to print on.
        depth: how many levels of names make a part (`blocks.2.1.se.conv_reduce` at 2 belongs to `blocks.2`); 0 = a row
            for each layer.
    """
    inside = ("slowest layer, cycles", "its tiles") if dense.sequential else ("cycles", "folds of its slowest layer")
    title = f"{workload.name}: the network and its dense design" + ("" if dense.sequential else " on one replica")
    table = Table(title=title, title_justify="left")
    for heading in ("part", "layers", "weights", "MACs", "of all", "DSPs", *inside):
        if heading == "DSPs" and dense.sequential:
            continue
        left = heading in ("part", inside[1])
        table.add_column(heading, justify="left" if left else "right", overflow="fold")
    designs = {row.name: row for row in dense.layers}
    for part, layers in parts(workload, depth).items():
        rows = [designs[layer.name] for layer in layers]
        slowest = max(rows, key=lambda row: row.interval_cycles)
        macs = sum(layer.macs for layer in layers)
        dsps = [] if dense.sequential else [f"{sum(row.resources.dsp for row in rows):,}"]
        table.add_row(
            part, str(len(layers)), f"{sum(layer.weights for layer in layers):,}", f"{macs:,}",
            f"{macs / workload.macs:.1%}", *dsps, f"{slowest.interval_cycles:,}", folds(slowest),
        )  # fmt: skip
    console.print(table)


def parts(workload: Workload, depth: int) -> dict[str, list[Operation]]:
    """The compute layers by the first levels of their names, in the order of the network."""
    found: dict[str, list[Operation]] = {}
    for layer in workload.compute_layers:
        part = ".".join(layer.name.split(".")[:depth]) if depth else layer.name
        found.setdefault(part, []).append(layer)
    return found


def folds(row: LayerEstimate) -> str:
    """Folds as `i=3 o=16 …`; those of 1 are left out."""
    wide = [f"{name}={value}" for name, value in row.folds.items() if value > 1]
    return " ".join(wide) or "1"
