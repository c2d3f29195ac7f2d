"""What a simulation looks like: stalls in the terminal, and one image's way through the layers as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hass_train.report.console import print_files
from hass_train.results.simulation import DesignSimulation, PartSimulation
from hass_train.runtime.files import write_text

if TYPE_CHECKING:
    from hass_train.report.look import Chart

_BAR = 40
_COLORS = {"busy": "#2f7d4f", "uneven": "#d08030", "starved": "#c8ccd0", "blocked": "#b3262e"}
_MEANING = {
    "busy": "computing", "uneven": "waiting for the slowest engine", "starved": "no input", "blocked": "no room",
}  # fmt: skip
_SHADES = {"busy": "█", "uneven": "▓", "starved": "░", "blocked": "▒"}
_WAY = {"waits for its window": "#c8ccd0", "results leave": "#2f6f9f"}
_MOST = 40  # rows of the chart


def print_simulation(found: DesignSimulation, files: Iterable[Path], console: Console) -> None:
    """Print analytical against simulated intervals, stalls by layer, and every file that was written."""
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
    """Write simulation.json and its picture into a run's directory.

    Returns:
        Their paths.
    """
    files = [folder / "simulation.json", folder / "simulation.png"]
    write_text(files[0], json.dumps(found.to_dict(), indent=1))
    save_gantt(files[1], found)
    return files


def headline(found: DesignSimulation) -> str:
    """The simulated interval against the analytical one, in a sentence."""
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
            table.add_row(
                stage.name, f"{stage.interval_cycles:,.0f}", _bar({name: getattr(stage, name) for name in _COLORS})
            )
    return table


def _bar(shares: Mapping[str, float]) -> Text:
    """A bar of what a stage spent its time on; the shares are fractions that add up to 1."""
    bar, ends, filled = Text(), 0.0, 0
    for name in _COLORS:
        ends += shares[name]
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
    from hass_train.report.figures import save_chart  # late: altair takes a third of a second

    save_chart(_gantt(found), path.with_suffix(""))


def _gantt(found: DesignSimulation) -> Chart:
    import altair as alt

    from hass_train.report.look import ROW, axis_of, by_layer, dashed, layered, rows, series

    part = max(found.parts, key=lambda part: len(part.simulated.stages))
    stages, interval = part.simulated.stages, part.simulated.interval_cycles
    start = min(stage.first[-1][0] for stage in stages)
    span = max(stage.first[-1][2] for stage in stages) - start
    colors, _ = series(_WAY, ())
    data = [
        {"layer": stage.name, "does": does, "from": begun - start, "to": done - start}
        for stage in stages for does, (begun, done) in zip(_WAY, pairwise(stage.first[-1]), strict=True)
    ]  # fmt: skip
    x = axis_of("cycles since the image's first word", alt.Scale(domain=[0, span * 1.01], nice=False), format=",.0f")
    images = rows([{"at": number * interval} for number in range(1, int(span / interval) + 1)])
    title = (
        f"{found.network} on {found.device}: one image in a filled pipeline, an image every {interval:,.0f} cycles "
        f"(dashed; analytical {part.analytical_cycles:,})"
    )
    bars = rows(data).mark_bar().encode(x=x("from:Q"), x2="to:Q", y=by_layer(), color=alt.Color("does:N", scale=colors))
    lines = dashed(images, color="#b3262e").encode(x=x("at:Q"))
    return layered(bars, lines, height=ROW * len(stages)).properties(title=title)
