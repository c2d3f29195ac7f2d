"""The report's charts for papers: one PNG and one PDF each, in vectors, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hass_train.hardware.resources import LABELS, LIMITS
from hass_train.report.charts import COLORS, color_of
from hass_train.report.stacks import MOST_SHOWN, stacks
from hass_train.results.record import Column, Record
from hass_train.runtime.files import replacing

FOLDER = "figures"
_BANDS = {"warmup": "#eceef0", "search": "#f9e8d2", "recover": "#dcefe5"}
_WIDTH = 7.2  # inches, the width of a page of two columns
_MARKS = {
    "weight_density": ("weights", "s"),
    "activation_density": ("activations", "o"),
    "pair_density": ("pairs", "D"),
}


def save_figures(record: Record) -> list[Path]:
    """Draw every chart that the run has something to show in into its folder of figures; which files they are."""
    found = []
    for name in record.charts:
        with plt.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "pdf.fonttype": 42}):
            figure = _DRAWN[name](record)
            for ending in ("png", "pdf"):
                path = record.folder / FOLDER / f"{name}.{ending}"
                with replacing(path) as partly:
                    # a date in the file would make equal figures differ
                    figure.savefig(partly, dpi=150, metadata={"CreationDate": None} if ending == "pdf" else None)
                found.append(path)
            plt.close(figure)
    return found


def history(record: Record) -> Figure:
    """As the panel of the same name."""
    log, result = record.history, record.result
    figure, axes = plt.subplots(3, 1, sharex=True, figsize=(_WIDTH, 5.2), layout="constrained")
    last = max(log.epochs)
    for axis, (key, label, color) in zip(axes, record.curves, strict=True):
        axis.plot(*log.series(key), "o-", markersize=3, linewidth=1.2, color=COLORS[color])
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
        for stretch in log.stretches:
            axis.axvspan(stretch.first - 0.5, stretch.last + 0.5, color=_BANDS[stretch.phase], linewidth=0, zorder=0)
    axes[0].axhline(result.dense.val_acc, color=COLORS["dense"], linestyle="dashed", linewidth=1)
    axes[0].text(0.6, result.dense.val_acc, "dense", fontsize=7, va="bottom")
    axes[1].plot([last], [result.gain.throughput], "D", color=COLORS["searched"], markersize=5)
    wanted = record.wanted_speedup
    if wanted is not None:
        axes[1].axhline(wanted, color=COLORS["limit"], linestyle="dashed", linewidth=1)
        axes[1].text(0.6, wanted, "goal", fontsize=7, va="bottom")
    for stretch in log.stretches:
        axes[0].text((stretch.first + stretch.last) / 2, 1.02, str(stretch.phase), ha="center", fontsize=7,
                     transform=axes[0].get_xaxis_transform())  # fmt: skip
    axes[2].set_xlabel("epoch")
    axes[2].set_xlim(0.5, last + 0.7)
    return figure


def pipeline(record: Record) -> Figure:
    """As the panel of the same name."""
    figure, axis = _by_layer(record)
    layers = record.layers
    axis.barh(range(len(layers)), [one.cycles for one in layers], 0.75, color=[color_of(one.bound) for one in layers])
    axis.plot([one.dense_cycles for one in layers], range(len(layers)), "o", markersize=3.5, markerfacecolor="none",
              color=COLORS["dense"])  # fmt: skip
    designs: tuple[tuple[Column, str], ...] = (("dense", "dense"), ("sparse", "limit"))
    for column, color in designs:
        if record.parts(column) == 1 and not record.sequential:
            axis.axvline(record.interval(column), color=COLORS[color], linestyle="dashed", linewidth=1)
    axis.set_xscale("log")
    axis.set_xlabel("cycles an image" if record.sequential else "cycles an image (dashed: the whole pipeline)")
    handles: list[Patch | Line2D] = [
        Patch(color=color_of(bound), label=f"bound by {bound}") for bound in dict.fromkeys(one.bound for one in layers)
    ]
    handles.append(
        Line2D([], [], marker="o", linestyle="", markerfacecolor="none", color=COLORS["dense"], label="dense")
    )
    _legend(axis, handles)
    return figure


def densities(record: Record) -> Figure:
    """As the panel `layers`."""
    figure, axis = _by_layer(record)
    layers = record.layers
    axis.barh(range(len(layers)), [one.share for one in layers], 0.75, color="#d8dce0")
    handles: list[Patch | Line2D] = [Patch(color="#d8dce0", label="share of the interval")]
    for key, (name, marker) in _MARKS.items():
        axis.plot([getattr(one, key) for one in layers], range(len(layers)), marker, markersize=3.5, color=COLORS[name])
        handles.append(Line2D([], [], marker=marker, linestyle="", color=COLORS[name], markersize=4, label=name))
    axis.set_xlim(0, 1.02)
    whole = "time" if record.sequential else "pipeline's interval"
    axis.set_xlabel(f"fraction that is not zero; share of the {whole}")
    _legend(axis, handles)
    return figure


def resources(record: Record) -> Figure:
    """As the panel of the same name."""
    both = {"dense": stacks(record, "dense"), "searched": stacks(record, "sparse")}
    rows = [(resource, label) for resource in LIMITS for label in both]
    limits, most = record.limits, MOST_SHOWN
    figure, axis = plt.subplots(figsize=(_WIDTH, 3.4), layout="constrained")
    for place, (resource, label) in enumerate(rows):
        stack, left = both[label][resource], 0.0
        for piece, share in enumerate(stack.upto(most)):
            axis.barh(place, share, 0.72, left=left, color=stack.color(piece), linewidth=0)
            left += share
        note = "" if resource in limits else " (does not count)"
        axis.text(left + 0.01, place, f"{sum(stack.shares):.0%}{note}", va="center", fontsize=7)
        if resource in limits:
            axis.plot([limits[resource]] * 2, [place - 0.5, place + 0.5], color=COLORS["limit"], linewidth=1.5)
    axis.set_yticks(range(len(rows)), [f"{LABELS[name]}, {label}" for name, label in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlim(0, most + 0.25)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.set_xlabel("of the device, stacked from the first layer (dark) to the last (light); grey: streams")
    return figure


def prices(record: Record) -> Figure:
    """As the panel of the same name."""
    figure, axis = _by_layer(record)
    epochs, grid, least = record.prices
    picture = axis.imshow(
        [[max(price, least) for price in row] for row in grid], aspect="auto", cmap="viridis",
        norm=LogNorm(least, 1000 * least), extent=(epochs[0] - 0.5, epochs[-1] + 0.5, len(grid) - 0.5, -0.5),
    )  # fmt: skip
    axis.set_xlabel("epoch")
    figure.colorbar(picture, ax=axis, label="price: −∂ log(throughput)/∂ density", shrink=0.5)
    return figure


def trials(record: Record) -> Figure:
    """As the panel of the same name."""
    result, spent = record.result, record.result.spent
    figure, axis = plt.subplots(figsize=(_WIDTH / 1.4, 3.4), layout="constrained")
    points = sorted(spent.front, key=lambda point: point.throughput_ips)
    xs, ys = [point.throughput_ips for point in points], [point.val_acc for point in points]
    axis.step(xs, ys, "o-", where="pre", markersize=3.5, color=COLORS["weights"], label="trials")
    for column, label, color, marker in (
        (result.dense, "dense", "dense", "o"), (result.sparse, "recovered", "searched", "D")
    ):  # fmt: skip
        axis.plot(column.estimate.throughput_ips, column.val_acc, marker, color=COLORS[color], label=label)
    axis.set_xlabel("images/s")
    axis.set_ylabel("validation accuracy")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=7)
    return figure


_DRAWN: dict[str, Callable[[Record], Figure]] = {
    "history": history, "trials": trials, "pipeline": pipeline, "layers": densities, "resources": resources,
    "prices": prices,
}  # fmt: skip


def _by_layer(record: Record) -> tuple[Figure, Axes]:
    """Axes with a row for each layer, the first on top."""
    names = [layer.name for layer in record.layers]
    figure, axis = plt.subplots(figsize=(_WIDTH, max(2.2, 0.125 * len(names) + 1.0)), layout="constrained")
    axis.set_yticks(range(len(names)), names, fontsize=6)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    return figure, axis


def _legend(axis: Axes, handles: list[Patch | Line2D]) -> None:
    axis.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncol=4, frameon=False, fontsize=7)
