"""The W&B workspace of this project's runs: its panels, in words and as an object of `wandb-workspaces`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NAME = "Sparsity and hardware"


@dataclass(frozen=True)
class Line:
    """Scalars over the steps of training."""

    title: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Scatter:
    """A point for each run: one summary against another."""

    title: str
    x: str
    y: str


@dataclass(frozen=True)
class Parallel:
    """A line for each run through settings (`search/penalty`) and summaries (`pareto/test_acc`)."""

    title: str
    settings: tuple[str, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Scalar:
    """One number: the best summary of all runs, or each one's."""

    title: str
    key: str


@dataclass(frozen=True)
class Media:
    """Pictures, pages or tables that runs have logged."""

    title: str
    keys: tuple[str, ...]


Panel = Line | Scatter | Parallel | Scalar | Media

SECTIONS: dict[str, tuple[Panel, ...]] = {
    "Pareto": (
        Scatter("Accuracy against throughput", "pareto/throughput_ips", "pareto/test_acc"),
        Scatter("Accuracy against images/s per DSP", "pareto/efficiency", "pareto/test_acc"),
        Scatter("Accuracy lost against speed-up", "pareto/speedup", "pareto/accuracy_drop"),
        Parallel(
            "What decides",
            ("model/name", "hw/name", "search/engine/_target_", "search/penalty", "search/target_speedup"),
            ("sparsity/pair", "pareto/speedup", "pareto/test_acc"),
        ),
    ),
    "Result": (
        Scalar("Validation accuracy at full sparsity", "val/acc_sparse"),
        Scalar("Throughput, images/s", "hw/throughput_ips"),
        Media("Report", ("report",)),
        Media("Layers, last epoch", ("layers",)),
        Media("Charts", ("plots/history", "plots/pipeline", "plots/layers", "plots/resources", "plots/prices")),
    ),
    "Training": (
        Line("Validation accuracy", ("val/acc", "val/acc_sparse")),
        Line("Loss", ("loss/task", "loss/penalty")),
        Line("λ: weight of the hardware penalty", ("loss/lambda",)),
        Line("Phase: 0 warm-up, 1 search, 2 recover", ("phase/index",)),
    ),
    "Hardware": (
        Line("Speed-up over the dense network", ("hw/speedup",)),
        Line("Throughput, images/s", ("hw/throughput_ips",)),
        Line("Interval, cycles", ("hw/interval_cycles",)),
        Line("Resources, of the device", tuple(f"hw/utilization_{name}" for name in
                                               ("dsp", "bram18", "uram", "lut", "ff", "bandwidth"))),
    ),
    "Sparsity": (
        Line("Sparsity", ("sparsity/pair", "sparsity/weight", "sparsity/activation")),
    ),
}  # fmt: skip
"""What the workspace holds; every key is logged by `callbacks` and `hass_train.tracking.board`."""


def described(project: str, entity: str | None) -> str:
    """The workspace in words."""
    lines = [f"workspace {NAME!r} in {f'{entity}/' if entity else ''}{project}:"]
    for section, panels in SECTIONS.items():
        lines.append(f"  {section}")
        for panel in panels:
            lines.append(f"    {type(panel).__name__.lower():<9} {panel.title}: {_content(panel)}")
    return "\n".join(lines)


def _content(panel: Panel) -> str:
    match panel:
        case Scatter(_, x, y):
            return f"{y} over {x}"
        case Parallel(_, settings, keys):
            return ", ".join((*settings, *keys))
        case Scalar(_, key):
            return key
        case Line(_, keys) | Media(_, keys):
            return ", ".join(keys)


def workspace(project: str, entity: str) -> Any:
    """The same as an object of the package `wandb-workspaces`, not yet saved."""
    from wandb_workspaces import workspaces

    sections = [
        workspaces.Section(name=name, panels=[_panel(panel) for panel in panels], is_open=True)
        for name, panels in SECTIONS.items()
    ]
    return workspaces.Workspace(entity=entity, project=project, name=NAME, sections=sections)


def _panel(panel: Panel) -> Any:
    from wandb_workspaces.reports import v2

    match panel:
        case Line(title, keys):
            return v2.LinePlot(title=title, x="epoch", y=list(keys))
        case Scatter(title, x, y):
            return v2.ScatterPlot(title=title, x=v2.SummaryMetric(x), y=v2.SummaryMetric(y))
        case Parallel(title, settings, keys):
            metrics = [*map(v2.Config, settings), *map(v2.SummaryMetric, keys)]
            return v2.ParallelCoordinatesPlot(
                title=title, columns=[v2.ParallelCoordinatesPlotColumn(metric=metric) for metric in metrics]
            )
        case Scalar(title, key):
            return v2.ScalarChart(title=title, metric=v2.SummaryMetric(key))
        case Media(_, ("layers",)):
            return v2.WeavePanelSummaryTable(table_name="layers")
        case Media(title, keys):
            return v2.MediaBrowser(title=title, media_keys=list(keys))
