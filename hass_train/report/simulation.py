"""What a simulation looks like: stalls in the terminal, and one image's way through the layers as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hass_train.report.console import print_files
from hass_train.results.simulation import DesignSimulation, PartSimulation, StageResult

_BAR = 40
_COLORS = {"busy": "#2f7d4f", "uneven": "#d08030", "starved": "#c8ccd0", "blocked": "#b3262e"}
_MEANING = {
    "busy": "computing", "uneven": "waiting for the slowest engine", "starved": "no input", "blocked": "no room",
}  # fmt: skip
_SHADES = {"busy": "█", "uneven": "▓", "starved": "░", "blocked": "▒"}
_MOST = 40  # rows of the chart


def print_simulation(found: DesignSimulation, files: Iterable[Path], console: Console) -> None:
    """Analytical against simulated interval, stalls by layer, and every file that was written."""
    for number, part in enumerate(found.parts):
        where = f", part {number + 1} of {len(found.parts)}" if len(found.parts) > 1 else ""
        console.print()
        console.print(f"[bold]{found.network} on {found.device}{where}[/], {found.images} validation images")
        console.print(_intervals(part, found.clock_mhz))
        console.print(_stalls(part))
        if part.sized is not None:
            words = {name: sum(depths.values()) for name, depths in (("rule", part.fifos), ("sized", part.sized))}
            console.print(
                f"Smallest FIFOs that keep the interval within 1 %: {words['sized']:,} entries, where the rule has "
                f"{words['rule']:,}."
            )
    print_files(files, console)


def save_simulation(folder: Path, found: DesignSimulation) -> list[Path]:
    """simulation.json and its picture; which files they are."""
    files = [folder / "simulation.json", folder / "simulation.png"]
    files[0].write_text(json.dumps(found.to_dict(), indent=1))
    save_gantt(files[1], found)
    return files


def headline(found: DesignSimulation) -> str:
    """Both numbers in one sentence."""
    part = max(found.parts, key=lambda part: abs(part.error))
    return (
        f"Simulated on {found.images} validation images: an image every {part.simulated.interval_cycles:,.0f} cycles, "
        f"{part.error:+.1%} of the analytical {part.analytical_cycles:,} ({part.unlimited_cycles:,.0f} with infinite "
        "FIFOs)"
    )


def _intervals(part: PartSimulation, clock_mhz: float) -> Table:
    table = Table()
    for heading, justify in (("", "left"), ("cycles an image", "right"), ("of analytical", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for name, cycles in (
        ("analytical model", float(part.analytical_cycles)),
        ("simulated, infinite FIFOs", part.unlimited_cycles),
        ("simulated, the design's FIFOs", part.simulated.interval_cycles),
    ):
        table.add_row(name, f"{cycles:,.0f}", f"{cycles / part.analytical_cycles:.1%}")
    latency = part.simulated.latency_cycles / clock_mhz / 1e3
    table.add_row(f"first image done after {latency:,.3f} ms", f"{part.simulated.latency_cycles:,}", "")
    return table


def _stalls(part: PartSimulation) -> Table:
    """The busiest stages, each a bar of what its time went into."""
    stages = sorted(part.simulated.stages, key=lambda stage: -(stage.busy + stage.uneven))[:_MOST]
    kept = {stage.name for stage in stages}
    legend = "  ".join(f"{_SHADES[name]} {meaning}" for name, meaning in _MEANING.items())
    left_out = len(part.simulated.stages) - len(stages)
    title = f"Where the time goes: {legend}" + (f"; the {left_out} idlest are left out" if left_out else "")
    table = Table(title=title, title_justify="left")
    for heading, justify in (("layer", "left"), ("cycles alone", "right"), ("", "left")):
        table.add_column(heading, justify=justify, no_wrap=heading == "")  # type: ignore[arg-type]
    for stage in part.simulated.stages:
        if stage.name in kept:
            table.add_row(stage.name, f"{stage.interval_cycles:,.0f}", _bar(stage))
    return table


def _bar(stage: StageResult) -> Text:
    bar, ends, filled = Text(), 0.0, 0
    for name in _COLORS:
        ends += getattr(stage, name)
        width = round(ends * _BAR) - filled
        bar.append(_SHADES[name] * width, style=_COLORS[name])
        filled += width
    return bar


def save_gantt(path: Path, found: DesignSimulation) -> None:
    """One image's way through all layers: from its first word to its first and its last result.

    Args:
        path: of the PNG.
        found: what to draw; the last image, which meets a filled pipeline.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch

    part = max(found.parts, key=lambda part: len(part.simulated.stages))
    stages = part.simulated.stages
    height = min(max(4.0, 0.16 * len(stages) + 1.6), 40.0)
    figure, axes = plt.subplots(figsize=(11, height), layout="constrained")
    start = min(stage.first[-1][0] for stage in stages)
    for row, stage in enumerate(stages):
        came, began, done = stage.first[-1]
        axes.barh(row, began - came, left=came - start, height=0.75, color="#d5d9de")
        axes.barh(row, done - began, left=began - start, height=0.75, color="#2f6f9f")
    interval = part.simulated.interval_cycles
    span = max(stage.first[-1][2] for stage in stages) - start
    for k in range(1, int(span / interval) + 1):
        axes.axvline(k * interval, color="#b3262e", linewidth=0.6, linestyle="dashed")
    axes.set_yticks(range(len(stages)), [stage.name for stage in stages], fontsize=6)
    axes.set_ylim(len(stages) - 0.5, -0.5)
    axes.set_xlim(0, span * 1.01)
    axes.set_xlabel("cycles since the image's first word")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_title(
        f"{found.network} on {found.device}: one image in a filled pipeline, an image every {interval:,.0f} cycles "
        f"(dashed; analytical {part.analytical_cycles:,})",
        fontsize=9, loc="left",
    )  # fmt: skip
    handles = [Patch(color="#d5d9de"), Patch(color="#2f6f9f")]
    axes.legend(handles, ["waits for its window", "results leave"], fontsize=8, loc="lower left")
    axes.grid(axis="x", linewidth=0.3)
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
