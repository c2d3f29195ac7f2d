"""Many runs on one page, and the same as a table."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import altair as alt

from hass_train.report.look import (
    SHAPES,
    Axis,
    Chart,
    axis_of,
    dots,
    hits,
    layered,
    log_axis,
    log_domain,
    rows,
    tip,
)  # fmt: skip
from hass_train.report.page import Card, Cell, Page, Sheet, save_page
from hass_train.report.panels import Panel
from hass_train.results.comparison import Comparison, Run
from hass_train.runtime.files import replacing

PAGE, TABLE = "compare.html", "compare.csv"
_HUES = ("#2f80c2", "#c8443c", "#3d9a6b", "#e08a1e", "#7a4fb5", "#12a3a8", "#a0522d", "#d64f9b")


def save_comparison(folder: Path, compared: Comparison) -> list[Path]:
    """Write the page and the table; which files they are."""
    _save_table(folder / TABLE, compared)
    save_page(folder / PAGE, _page(compared))
    return [folder / PAGE, folder / TABLE]


def _save_table(path: Path, compared: Comparison) -> None:
    names = list(compared.runs[0].numbers)
    fronts = {by: _on_front(compared, by) for by in ("throughput_ips", "efficiency")}
    with replacing(path) as partly, partly.open("w", newline="") as stream:
        writer = csv.writer(stream)
        heads = ["run", "network", "data", "device", "engine", "goal", "goal_met", *names]
        writer.writerow([*heads, *(f"pareto_{by}" for by in fronts), *compared.differing])
        for run in compared.runs:
            goal = run.result.goal
            writer.writerow([
                os.path.relpath(run.folder, path.parent), run.network, run.data, run.device, run.engine,
                goal.words, "" if goal.met is None else goal.met,
                *run.numbers.values(), *(run.folder in on for on in fronts.values()),
                *(run.settings.get(key) for key in compared.differing),
            ])  # fmt: skip


def _on_front(compared: Comparison, by: str) -> set[Path]:
    return {run.folder for data in compared.data for run in compared.front(data, by)}


def _page(compared: Comparison) -> Page:
    runs = compared.runs
    devices, networks = ({getattr(run, name) for run in runs} for name in ("device", "network"))
    cards = [
        Card(f"{network} on {device}" + (f", {data}" if len(compared.data) > 1 else ""),
             f"{run.numbers['speedup']:.2f}×",
             f"{run.engine}: {run.numbers['throughput_ips']:,.0f} images/s, test accuracy "
             f"{run.numbers['test_acc']:.4f} ({-100 * run.numbers['accuracy_drop']:+.2f} points)")
        for (data, device, network), run in compared.best.items()
    ]  # fmt: skip
    return Page(
        f"{len(runs)} runs compared",
        f"{_some(networks, 'network')}, {_some(devices, 'device')}, {_some(set(compared.data), 'data set')}. First the "
        "best of each: the fastest that lost at most one point of test accuracy, or else what lost least.",
        cards,
        [
            panel for data in compared.data
            for panel in (
                _plane(compared, data, "throughput_ips", "throughput", "images/s"),
                _plane(compared, data, "efficiency", "efficiency", "images/s per DSP (of arrays, core)"),
            )
        ],
        [_volumes(compared), _table(compared)],
    )  # fmt: skip


def _some(names: set[str], kind: str) -> str:
    return f"{len(names)} {kind}s" if len(names) > 1 else next(iter(names))


def _plane(compared: Comparison, data: str, by: str, name: str, unit: str) -> Panel:
    """Test accuracy against one of the other figures, with the Pareto front."""
    of = f" on {data}" if len(compared.data) > 1 else ""
    caption = (
        "Colours are networks on devices, shapes are engines; runs on the line are beaten by no other in both. "
        "Dragging moves the chart, the wheel with the shift key zooms, a double click resets."
    )
    return Panel(f"{name}-{data}", f"Accuracy against {name}{of}", caption, _scattered(compared, data, by, unit))


def _scattered(compared: Comparison, data: str, by: str, unit: str) -> Chart:
    """A point for each run, and the front as a line."""
    runs, front = [run for run in compared.runs if run.data == data], compared.front(data, by)
    points = [
        {"run": compared.names[run.folder], "network": _where(run), "engine": run.engine, "x": run.numbers[by],
         "accuracy": run.numbers["test_acc"], "speedup": run.numbers["speedup"],
         "lost": 100 * run.numbers["accuracy_drop"], "best": run in front} for run in runs
    ]  # fmt: skip
    networks, engines = list(dict.fromkeys(map(_where, runs))), list(dict.fromkeys(one.engine for one in runs))
    x = _axis(unit, [run.numbers[by] for run in runs])("x:Q")
    y = alt.Y("accuracy:Q", axis=alt.Axis(title="test accuracy"), scale=_LOOSE)
    hues = alt.Scale(domain=networks, range=list(islice(cycle(_HUES), len(networks))))
    forms = alt.Scale(domain=engines, range=list(islice(cycle(SHAPES), len(engines))))
    below = alt.Legend(orient="bottom", direction="vertical", columns=1)  # names may be long
    color = alt.Color("network:N", scale=hues, legend=below)
    tips = [
        tip("run:N", "run"), tip("engine:N", "engine"), tip("network:N", "network"), tip("x:Q", unit, ",.4~g"),
        tip("accuracy:Q", "test accuracy", ".4f"), tip("speedup:Q", "times as fast as dense", ".2f"),
        tip("lost:Q", "points lost", ".2f"),
    ]  # fmt: skip
    table = rows(points).encode(x=x, y=y, color=color, shape=alt.Shape("engine:N", scale=forms), tooltip=tips)
    line = rows([point for point in points if point["best"]]).encode(x=x, y=y)
    steps = line.mark_line(interpolate="step-before", color="rgba(128,128,128,0.8)", strokeWidth=1.5)
    zoom = alt.selection_interval(name="zoom", bind="scales", zoom="wheel![event.shiftKey]")
    return layered(steps.add_params(zoom), dots(table, 90), hits(table), height=360)


def _where(run: Run) -> str:
    return f"{run.network} on {run.device}"


_LOOSE = alt.Scale(zero=False, padding=14)


def _axis(unit: str, values: Sequence[float]) -> Axis:
    """Logarithmic where the values differ much."""
    if max(values) > 8 * max(min(values), 1e-12):
        return log_axis(unit, *log_domain(values))
    return axis_of(unit, _LOOSE, tickCount=6, format=",~r")


def _volumes(compared: Comparison) -> Sheet:
    rows = [
        [Cell(network), Cell(device), Cell(data), Cell(engine), Cell(f"{volume:.2f}", volume)]
        for (data, network, device, engine), volume in sorted(compared.volumes.items(), key=lambda one: -one[1])
    ]
    caption = (
        "Area of the plane of speed-up and test accuracy that an engine's runs dominate, beyond the dense network's "
        "speed and five points below its accuracy. It grows with the number of runs: compare engines with equally many."
    )
    return Sheet("volumes", "Hyper-volume", caption, ["network", "device", "data", "engine", "speed-up × points"], rows,
                 (0, 1, 2, 3), True)  # fmt: skip


def _table(compared: Comparison) -> Sheet:
    heads = ["run", "network", "device", "engine", "goal", "met", "test accuracy", "points lost", "speed-up",
             "images/s", "images/s per DSP", "pair sparsity", "Pareto", *compared.differing]  # fmt: skip
    fast, lean = (_on_front(compared, by) for by in ("throughput_ips", "efficiency"))
    rows = []
    for run in compared.runs:
        numbers, goal = run.numbers, run.result.goal
        on = ", ".join(name for name, best in (("throughput", fast), ("efficiency", lean)) if run.folder in best)
        met = "–" if goal.met is None else "yes" if goal.met else "no"
        shown = (("test_acc", ".4f", 1), ("accuracy_drop", ".2f", 100), ("speedup", ".2f", 1),
                 ("throughput_ips", ",.0f", 1), ("efficiency", ".2f", 1), ("pair_sparsity", ".3f", 1))  # fmt: skip
        rows.append([
            Cell(compared.names[run.folder]), Cell(run.network), Cell(run.device), Cell(run.engine),
            Cell(goal.words), Cell(met),
            *(Cell(format(scale * numbers[key], form), numbers[key]) for key, form, scale in shown),
            Cell(on), *(Cell(_said(run.settings.get(key))) for key in compared.differing),
        ])  # fmt: skip
    words = {0, 1, 2, 3, 4, 5, *range(12, len(heads))}
    caption = "After the column Pareto: the settings in which the runs differ. Click a head to sort."
    return Sheet("runs", "All runs", caption, heads, rows, words, True)


def _said(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 60 else f"…{text[-58:]}"
