"""The report's panels: a chart each, and what to see in it. docs/report.md says more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hass_train.report import charts
from hass_train.report.build import layers_chart
from hass_train.report.look import Chart
from hass_train.report.stacks import MOST_SHOWN
from hass_train.results.record import Column, Record


@dataclass(frozen=True)
class Panel:
    """One chart of a report.

    Args:
        name: for anchors and file names.
        title: above it.
        caption: what to see in it.
        chart: to draw.
    """

    name: str
    title: str
    caption: str
    chart: Chart


def panels(record: Record) -> list[Panel]:
    """All charts that a run has something to show in."""
    return [Panel(name, _TITLES[name], _caption(record, name), _DRAWN[name](record)) for name in record.charts]


def _built(record: Record) -> Chart:
    assert record.build is not None
    return layers_chart(record.build)


_TITLES = {
    "history": "How the search went", "trials": "The trials' Pareto front", "pipeline": "Why it is not faster",
    "layers": "Where the zeros are", "resources": "What the design takes", "prices": "What the hardware asked for",
    "built": "Estimated and synthesised",
}  # fmt: skip
_DRAWN: dict[str, Callable[[Record], Chart]] = {
    "history": charts.history, "trials": charts.trials, "pipeline": charts.pipeline, "layers": charts.densities,
    "resources": charts.resources, "prices": charts.prices, "built": _built,
}  # fmt: skip
_CAPTIONS = {
    "history": "Accuracy is of the validation split. Speed-up is the best design's, over the dense one's, asked of the "
    "hardware model in every search epoch; the diamond is the final network's, measured exactly. λ is the weight of "
    "the hardware penalty in the loss.",
    "trials": "Trials that no other one beats in both validation accuracy and throughput, before any recovery.",
    "pipeline": "Bars are the cycles that each layer of the searched design needs for an image, circles those of the "
    "dense one, divided by the number of replicas. Layers that whole maps wait for, such as those of "
    "squeeze-and-excitation, have to be so many times faster, and count as so much longer. Colours are kinds of "
    "compute engine; pale bars wait for their input or output, and no engine would make them shorter.",
    "layers": "Density is the fraction that is not zero; a weight–activation pair counts if neither is. The bar is the "
    "layer's share of the pipeline's interval: zeros are worth something where it is long.",
    "resources": "Each bar is stacked from all layers, those of a kind of compute engine side by side, all replicas "
    "together; tap a piece for its name. The red line is the limit that designs must keep; what bears a star does not "
    f"count. Bars end at {MOST_SHOWN:.0%}.",
    "prices": "A layer's price is −∂ log(throughput)/∂ density of its pairs, weights and activations: how much faster "
    "the accelerator would get with fewer of them. The search pays it in the loss. Prices wander as layers take turns "
    "in binding.",
    "built": "What each layer of the generated accelerator takes: bars as Yosys synthesised it, rings as the design "
    "says. Layers that another one computes along with itself take nothing of their own.",
}


_SEQUENTIAL = (
    "Bars are the cycles of each layer of the searched network, circles those of the dense one; colours say where "
    "most of them go: `compute` in cores, `tile` in streams into cores, `store` in results, `ddr` before and after."
)


def _caption(record: Record, name: str) -> str:
    caption = _CAPTIONS[name]
    if name == "pipeline":
        binds = record.result.sparse.estimate.bottleneck
        if record.sequential:
            return f"Layers run one after another, and their cycles add up. Here: {binds.reason}. {_SEQUENTIAL}"
        first = "The pipeline (dashed) runs at its slowest layer."
        return f"{first} Here: {binds.reason} (binds: {binds.resource}). {caption}{_cut(record)}"
    if name == "resources" and record.parts("sparse") > 1:
        return f"{caption} Of a design in parts, the part that takes most of a resource."
    return caption


_DESIGNS: tuple[tuple[str, Column], ...] = (("searched", "sparse"), ("dense", "dense"))


def _cut(record: Record) -> str:
    """What to know of designs that do not fit the device whole."""
    words = [
        f" The {name} design is in {record.parts(column)} parts between which the device is reconfigured; each runs at "
        "its own slowest layer, and there is no line."
        for name, column in _DESIGNS if record.parts(column) > 1
    ]  # fmt: skip
    return "".join(words)
