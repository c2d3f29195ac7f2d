"""How an estimate is shown: the tables in the terminal, and the picture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table

from hass_train.hardware import Estimate, SparsityProfile, Workload
from hass_train.report.columns import ARRAY_LABELS, RESOURCE_LABELS
from hass_train.report.console import print_files, print_slowest

if TYPE_CHECKING:
    from hass_train.report.look import Chart

_BAR = 30


def print_estimate(
    workload: Workload,
    profile: SparsityProfile,
    estimate: Estimate,
    name: str,
    seconds: float,
    files: Iterable[Path],
    console: Console,
) -> None:
    """Print the network, what its best design reaches and takes, its slowest layers, and why it is not faster.

    Args:
        workload, profile: the network and its sparsity, which were asked about.
        estimate: the answer.
        name: of the accelerator, as `hw=` names it.
        seconds: that the answer took.
        files: the files that were written.
        console: to print on.
    """
    shape = "×".join(map(str, workload.input_shape))
    console.print()
    console.print(
        f"[bold]{workload.name}[/] {shape} on [bold]{name}[/] at {estimate.clock_mhz:g} MHz: "
        f"{workload.macs / 1e6:,.1f} M multiply-accumulates, {workload.weights / 1e6:,.2f} M weights, "
        f"pair sparsity {profile.pair_sparsity(workload):.1%}"
    )
    console.print(_headline(estimate))
    console.print()
    console.print(_resources(estimate) if estimate.available else _shares(estimate))
    console.print()
    if len(estimate.parts) > 1:
        console.print(_parts(estimate))
        console.print()
    print_slowest("Slowest layers", estimate, console)
    console.print(f"Why not faster: {estimate.bottleneck.reason}.")
    if estimate.bottleneck.hint:
        console.print(f"{estimate.bottleneck.hint}.")
    if estimate.slack > 0.001:
        console.print(f"A design up to {estimate.slack:.1%} faster was not ruled out.")
    energy = estimate.energy
    console.print(
        f"Energy, an estimate of which only ratios should be trusted: {energy.total_j * 1e3:.3g} mJ an image "
        f"(compute {energy.compute_j / energy.total_j:.0%}, on-chip {energy.onchip_j / energy.total_j:.0%}, "
        f"off-chip {energy.offchip_j / energy.total_j:.0%}, static {energy.static_j / energy.total_j:.0%})."
    )
    console.print(f"Time: {seconds:.2f} s.")
    print_files(files, console)


def _headline(estimate: Estimate) -> str:
    copies = f" in {estimate.replicas} copies" if estimate.replicas > 1 else ""
    parts = f" in {len(estimate.parts)} parts, one after another" if len(estimate.parts) > 1 else ""
    chosen = "" if estimate.objective == "throughput" else f" (best {estimate.objective})"
    return (
        f"[bold green]{estimate.throughput_ips:,.1f} images/s[/]{chosen}: an image every {estimate.interval_cycles:,} "
        f"cycles{copies}{parts}, latency {estimate.latency_ms:,.3f} ms, {estimate.efficiency:.2f} images/s per "
        f"{'core' if estimate.cores else 'DSP'}"
    )


def _resources(estimate: Estimate) -> Table:
    """What the design takes of every resource; of what does not count, against all that the device has."""
    table = Table(title="Resources", title_justify="left")
    for heading, justify in (("", "left"), ("used", "right"), ("of usable", "right"), ("", "right"), ("", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    limits = estimate.limits
    for name, label in RESOURCE_LABELS.items():
        there, part = estimate.available[name], limits.get(name, 1.0)
        used, usable = getattr(estimate.resources, name), there * part
        counts = "" if name in limits else " (not limited)"
        of = "" if part == 1 else f" ({part:.0%} of {there:,.0f})"
        share = used / max(usable, 1)
        table.add_row(label + counts, f"{used:,}", f"{usable:,.0f}{of}", f"{share:.0%}", _bar(share))
    share, rate = estimate.utilization["bandwidth"], estimate.available["bandwidth"]
    counts = "" if "bandwidth" in limits else " (not limited)"
    table.add_row(f"off-chip Gbit/s{counts}", f"{share * rate:,.1f}", f"{rate:,g}", f"{share:.0%}", _bar(share))
    return table


def _shares(estimate: Estimate) -> Table:
    """What an accelerator that runs layer after layer makes use of, as fractions of what it could do."""
    table = Table(title="In use", title_justify="left")
    for heading, justify in (("", "left"), ("", "right"), ("", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for name, share in estimate.utilization.items():
        table.add_row(ARRAY_LABELS.get(name, name), f"{share:.0%}", _bar(share))
    return table


def _bar(share: float) -> ProgressBar:
    return ProgressBar(
        total=1.0, completed=min(share, 1.0), width=_BAR, complete_style="red" if share > 0.9 else "cyan"
    )


def _parts(estimate: Estimate) -> Table:
    table = Table(title="Parts, the device reconfigured between them", title_justify="left")
    for heading in ("from", "to", "cycles", "copies", "DSPs", "block RAMs", "LUTs"):
        table.add_column(heading, justify="left" if heading in ("from", "to") else "right")
    for part in estimate.parts:
        used = part.resources
        counts = (part.interval_cycles, part.replicas, used.dsp, used.bram18, used.lut)
        table.add_row(part.first, part.last, *(f"{count:,}" for count in counts))
    return table


def save_estimate_picture(path: Path, estimate: Estimate, title: str) -> None:
    """Interval and DSPs of every operation with multipliers, in the order of the network.

    Args:
        path: of the PNG.
        estimate: what to draw.
        title: above it.
    """
    from hass_train.report.figures import save_chart  # late: altair takes a third of a second

    save_chart(_picture(estimate, title), path.with_suffix(""))


def _picture(estimate: Estimate, title: str) -> Chart:
    import altair as alt

    from hass_train.report.look import (
        ROW,
        WIDTH,
        axis_of,
        by_layer,
        kind_colors,
        kind_name,
        log_axis,
        log_domain,
        rows,
        series,
        styled,
    )

    array = estimate.sequential
    layers = [row for row in estimate.layers if row.engine != "stream"]
    limits = [] if array else [estimate.parts[row.part].interval_cycles for row in layers]
    data = [
        {"layer": row.name, "engine": kind_name(row.engine), "cycles": row.interval_cycles,
         "cost": row.resources.offchip_bits / 8e6 if array else row.resources.dsp} for row in layers
    ]  # fmt: skip
    low, high = log_domain([*limits, *(row.interval_cycles for row in layers)])
    cycles = log_axis("cycles an image" + ("" if array else " (line: the pipeline's interval)"), low, high)
    cost = axis_of("MB to and from DDR" if array else "DSPs of one copy", alt.Scale(), tickCount=5)
    colors, _ = series(kind_colors(row.engine for row in layers), ())
    color = alt.Color("engine:N", scale=colors, legend=None if array else alt.Legend(title=None))
    first, second = (rows(data).encode(y=by_layer(names=names), color=color) for names in (True, False))
    ticks = rows([{"layer": row.name, "limit": limit} for row, limit in zip(layers, limits, strict=not array)])
    line = ticks.mark_tick(size=ROW, thickness=1.2, opacity=1, color="black").encode(x=cycles("limit:Q"), y=by_layer())
    bars = first.mark_bar().encode(x=cycles("cycles:Q"), x2=alt.X2Datum(low))
    plots = (
        alt.layer(bars, line, width=WIDTH // 2, height=ROW * len(data)),
        alt.layer(second.mark_bar().encode(x=cost("cost:Q")), width=WIDTH // 4, height=ROW * len(data)),
    )
    copies = f", {estimate.replicas} copies" if estimate.replicas > 1 else ""
    one_by_one = ", layer after layer" if array else ""
    above = f"{title}: {estimate.throughput_ips:,.0f} images/s{copies}{one_by_one}"
    return styled(alt.hconcat(*plots, spacing=12, title=above))
