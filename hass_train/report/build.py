"""What was built of a design, beside what was estimated: in the terminal, in a report's table, and layer by layer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from hass_train.hardware.estimate import Resources
from hass_train.report.console import print_files
from hass_train.results.build import BUILD, RTL, Build

if TYPE_CHECKING:  # it brings altair
    from hass_train.report.look import Chart

COLUMNS = ("estimated", "simulated", "verified", "synthesised", "placed")
NONE = "–"
_PLACED = {"lut": "TRELLIS_COMB", "ff": "TRELLIS_FF", "dsp": "MULT18X18D", "bram18": "DP16KD"}
LABELS = {"lut": "LUTs", "ff": "flip-flops", "dsp": "DSPs", "bram18": "block RAMs"}
"""What is compared of a layer, and what it is called."""
_ESTIMATED = "estimated"


def built_rows(build: Build) -> list[tuple[str, list[str]]]:
    """A label and a cell for each of `COLUMNS`, for each row of the comparison."""
    generated, verified, synthesised, placed = build.generate, build.verify, build.synthesise, build.place
    if generated is None:
        return []
    cycles: list[float | None] = [
        generated.estimated_cycles, generated.simulated_cycles, verified.interval_cycles if verified else None, None,
        build.interval_cycles if placed else None,
    ]  # fmt: skip
    measured = verified.latency_cycles if verified else None
    latency = [generated.estimated_latency, generated.simulated_latency, measured, None, None]
    clocks = [build.clock_mhz] * 4 + [placed.mhz if placed else None]
    rates = [c and build.throughput_ips(c, mhz) for c, mhz in zip(cycles, clocks, strict=True)]
    rows = [
        ("interval, cycles", _shown(cycles[:4] + [None], ",.0f")), ("latency, cycles", _shown(latency, ",.0f")),
        ("clock, MHz", _shown([build.clock_mhz, None, None, None, placed.mhz if placed else None], ",.1f")),
        ("images/s of a replica", _shown(rates, ",.0f")),
    ]  # fmt: skip
    for name, label in LABELS.items():
        taken = getattr(synthesised.total, name) if synthesised else None
        used = placed.used.get(_PLACED[name], 0) if placed else None
        rows.append((label, _shown([getattr(build.estimated, name), None, None, taken, used], ",.0f")))
    return rows


def _shown(numbers: Iterable[float | None], form: str) -> list[str]:
    return [NONE if number is None else format(number, form) for number in numbers]


def verdict(build: Build) -> str:
    """How the verification went, in a sentence; empty before it."""
    found = build.verify
    if found is None:
        return ""
    if found.mismatch:
        where = "" if found.probed else "; --probe names the first layer that differs"
        return f"Words differ from the integer network's: {found.mismatch}{where}."
    return f"All {found.words:,} output words of {found.images} images equal the integer network's."


def limit(build: Build) -> str:
    """What limits the clock that was reached, in a sentence; empty before it is known."""
    slow = build.place.slowest if build.place else None
    if slow is None:
        return ""
    within = f"within {slow.start}" if slow.start == slow.end else f"from {slow.start} to {slow.end}"
    return f"The slowest path, {within}, takes {slow.logic_ns:.1f} ns in cells and {slow.wires_ns:.1f} ns in wires."


def print_build(build: Build, folder: Path, console: Console) -> None:
    """Print what is known of an accelerator, and where its files are.

    Args:
        build: what is known.
        folder: the run's directory.
        console: to print on.
    """
    table = Table(title=f"{build.network} on {build.device}", title_justify="left")
    for place, heading in enumerate(("", *COLUMNS)):
        table.add_column(heading, justify="right" if place else "left")
    for label, cells in built_rows(build):
        table.add_row(label, *cells)
    console.print()
    console.print(table)
    for told in filter(None, (verdict(build), limit(build))):
        console.print(told, soft_wrap=True)
    files = [folder / RTL, folder / BUILD, *([folder / build.place.bitstream] if build.place else [])]
    print_files(files, console)


def by_layer(build: Build) -> list[tuple[str, Resources, Resources]]:
    """Every layer that takes anything with what was estimated and what was synthesised; none before synthesis."""
    if build.generate is None or build.synthesise is None:
        return []
    known = {layer.name: layer.estimated for layer in build.generate.layers}
    return [(name, known.get(name, Resources()), taken) for name, taken in build.synthesise.layers.items()]


def layers_chart(build: Build) -> Chart:
    """LUTs and flip-flops of every layer: bars as synthesised, rings as estimated."""
    import altair as alt

    from hass_train.report import look

    found = by_layer(build)
    plots = []
    for number, name in enumerate(("lut", "ff")):
        data = [
            {"layer": layer, "synthesised": getattr(taken, name), _ESTIMATED: getattr(guess, name)}
            for layer, guess, taken in found
        ]
        most = max(1, *(getattr(one, name) for _, *both in found for one in both))
        x = look.axis_of(LABELS[name], alt.Scale(domain=[0, most * 1.05], nice=False), format=",.0f", tickCount=3)
        tips = [look.tip("layer:N", "layer")]
        tips += [look.tip(f"{key}:Q", key, ",.0f") for key in ("synthesised", _ESTIMATED)]
        table = look.rows(data).encode(y=look.by_layer(names=not number), tooltip=tips)
        names = {"synthesised": look.COLORS["searched"], _ESTIMATED: look.COLORS["dense"]}
        colors, shapes = look.series(names, ["square", look.RING])
        legend = alt.Legend(title=None)
        bars = table.transform_calculate(what="'synthesised'").mark_bar().encode(
            x=x("synthesised:Q"), color=alt.Color("what:N", scale=colors, legend=legend)
        )  # fmt: skip
        rings = look.dots(table.transform_calculate(what=f"'{_ESTIMATED}'")).encode(
            x=x(f"{_ESTIMATED}:Q"), color=alt.Color("what:N", scale=colors, legend=legend),
            shape=alt.Shape("what:N", scale=shapes, legend=legend),
        )  # fmt: skip
        width = (look.WIDTH - 250) // 2
        plots.append(alt.layer(bars, rings, width=width, height=look.ROW * len(found)))
    return look.styled(alt.hconcat(*plots, spacing=14))
