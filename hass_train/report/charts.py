"""The report's interactive charts, as plotly figures; `panels` says what to see in them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hass_train.hardware.resources import LABELS, LIMITS
from hass_train.report.stacks import MOST_SHOWN, Stack, stacks
from hass_train.results.record import Column, Layer, Record

COLORS = {
    "dense": "#8a94a0", "searched": "#c8443c", "weights": "#2f80c2", "activations": "#e08a1e", "pairs": "#7a4fb5",
    "compute": "#2f80c2", "input": "#e0a11e", "output": "#3d9a6b", "stream": "#8a94a0", "limit": "#c8443c",
    "tile": "#e0a11e", "store": "#3d9a6b", "ddr": "#7a4fb5",
}  # fmt: skip
"""Readable on white and on black."""
BANDS = {"warmup": "rgba(128,128,128,0.10)", "search": "rgba(224,138,30,0.14)", "recover": "rgba(61,154,107,0.14)"}
GRID = "rgba(128,128,128,0.25)"
_ROW = 17  # pixels that a layer's row takes


def color_of(bound: str) -> str:
    """Of what binds a layer; accelerators of one's own may have other words for it."""
    return COLORS.get(bound, "#b05fa0")


def history(record: Record) -> go.Figure:
    """Accuracy, speed-up and λ by epoch (without one, pair sparsity), with the phases as bands."""
    log, result = record.history, record.result
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.045, row_heights=[0.4, 0.36, 0.24])
    for row, (key, title, color) in enumerate(record.curves, 1):
        figure.add_trace(_line(*log.series(key), title, COLORS[color]), row, 1)
        figure.update_yaxes(title_text=title, title_standoff=4, row=row, col=1)
    _level(figure, result.dense.val_acc, "dense", 1)
    last = max(log.epochs)
    gain = result.gain.throughput
    figure.add_trace(_marker([last], [gain], "final speed-up", COLORS["searched"], "diamond"), 2, 1)
    goal = record.wanted_speedup
    if goal is not None:
        _level(figure, goal, "goal", 2)
    for stretch in log.stretches:
        figure.add_vrect(
            stretch.first - 0.5, stretch.last + 0.5, row="all", col=1, line_width=0,  # type: ignore[arg-type]
            fillcolor=BANDS[stretch.phase], layer="below",
        )  # fmt: skip
        figure.add_annotation(
            x=(stretch.first + stretch.last) / 2, xref="x", y=1.0, yref="paper", yanchor="bottom", showarrow=False,
            text=f"{stretch.phase}", font_size=11,
        )  # fmt: skip
    figure.update_xaxes(title_text="epoch", row=3, col=1)
    figure.update_xaxes(range=[0.5, last + 0.7])
    return finished(figure, 560, top=28)


def trials(record: Record) -> go.Figure:
    """The front of a search by trials, the one it chose, and the dense and the final network."""
    result, spent = record.result, record.result.spent
    figure = go.Figure()
    points = sorted(spent.front, key=lambda point: point.throughput_ips)
    xs, ys = [point.throughput_ips for point in points], [point.val_acc for point in points]
    figure.add_trace(go.Scatter(
        x=xs, y=ys, mode="lines+markers", name="trials", line={"shape": "vh", "color": COLORS["weights"]},
        text=[f"trial {point.number}" for point in points],
        hovertemplate="%{text}: %{x:,.0f} images/s, %{y:.4f}<extra></extra>",
    ))  # fmt: skip
    chosen = [point for point in points if point.number == spent.chosen]
    x, y = [point.throughput_ips for point in chosen], [point.val_acc for point in chosen]
    figure.add_trace(_marker(x, y, "chosen", COLORS["activations"], "star"))
    for column, label, color, symbol in (
        (result.dense, "dense", "dense", "circle"), (result.sparse, "recovered", "searched", "diamond")
    ):  # fmt: skip
        figure.add_trace(_marker([column.estimate.throughput_ips], [column.val_acc], label, COLORS[color], symbol))
    figure.update_xaxes(title_text="images/s")
    figure.update_yaxes(title_text="validation accuracy", title_standoff=4)
    return finished(figure, 420, legend=-0.28)


def pipeline(record: Record) -> go.Figure:
    """Each layer's interval against the pipeline's, searched and dense."""
    layers = record.layers
    figure = go.Figure()
    for bound in dict.fromkeys(layer.bound for layer in layers):
        some = [layer for layer in layers if layer.bound == bound]
        figure.add_trace(go.Bar(
            y=[layer.name for layer in some], x=[layer.cycles for layer in some], orientation="h",
            name=f"bound by {bound}", marker_color=color_of(bound),
            customdata=[f", {layer.urgency} times faster than the rest" if layer.urgency > 1 else "" for layer in some],
            hovertemplate="%{y}: %{x:,.0f} cycles%{customdata}<extra></extra>",
        ))  # fmt: skip
    figure.add_trace(go.Scatter(
        y=[layer.name for layer in layers], x=[layer.dense_cycles for layer in layers], mode="markers", name="dense",
        marker={"color": COLORS["dense"], "size": 7, "symbol": "circle-open"},
        hovertemplate="%{y}, dense: %{x:,.0f} cycles<extra></extra>",
    ))  # fmt: skip
    designs: tuple[tuple[Column, str], ...] = (("dense", "dense"), ("sparse", "limit"))
    for column, color in designs:
        if record.parts(column) == 1 and not record.sequential:
            figure.add_vline(record.interval(column), line=_dashed(color))  # type: ignore[arg-type]
    every = [cycles for layer in layers for cycles in (layer.cycles, layer.dense_cycles)]
    ticks = "D2" if max(every) < 50 * min(every) else 1
    figure.update_xaxes(title_text="cycles an image", type="log", dtick=ticks)
    return _by_layer(figure, layers)


def densities(record: Record) -> go.Figure:
    """Densities of weights, activations and pairs, over the layer's share of the interval."""
    layers = record.layers
    names = [layer.name for layer in layers]
    figure = go.Figure(go.Bar(
        y=names, x=[layer.share for layer in layers], orientation="h", name="share of the interval",
        marker_color="rgba(128,128,128,0.35)", hovertemplate="%{y}: %{x:.1%} of the interval<extra></extra>",
    ))  # fmt: skip
    for kind, name, symbol in (
        ("weight_density", "weights", "square"), ("activation_density", "activations", "circle"),
        ("pair_density", "pairs", "diamond"),
    ):  # fmt: skip
        figure.add_trace(go.Scatter(
            y=names, x=[getattr(layer, kind) for layer in layers], mode="markers", name=name,
            marker={"color": COLORS[name], "size": 7, "symbol": symbol},
            hovertemplate=f"%{{y}}: %{{x:.3f}} of {name}<extra></extra>",
        ))  # fmt: skip
    figure.update_xaxes(title_text="fraction", range=[0, 1.03])
    return _by_layer(figure, layers)


def resources(record: Record) -> go.Figure:
    """Every resource of both designs, stacked from the layers, with the limit."""
    figure = go.Figure()
    both = {"dense": stacks(record, "dense"), "searched": stacks(record, "sparse")}
    rows = [(resource, label) for resource in LIMITS for label in both]
    names = [f"{LABELS[resource]}, {label}" for resource, label in rows]
    for piece in range(len(next(iter(both.values()))["dsp"].pieces)):
        shown: list[Stack] = [both[label][resource] for resource, label in rows]
        figure.add_trace(go.Bar(
            y=names, x=[stack.upto(MOST_SHOWN)[piece] for stack in shown], orientation="h", showlegend=False,
            marker={"color": [stack.color(piece) for stack in shown], "line": {"width": 0}},
            customdata=[[stack.pieces[piece], stack.shares[piece]] for stack in shown],
            hovertemplate="%{customdata[0]}: %{customdata[1]:.2%}<extra>%{y}</extra>",
        ))  # fmt: skip
    limits = record.limits
    for place, (resource, label) in enumerate(rows):
        whole = sum(both[label][resource].shares)
        note = "" if resource in limits else " *"
        figure.add_annotation(
            x=min(whole, MOST_SHOWN), y=place, text=f"{whole:.0%}{note}", showarrow=False, xanchor="left",
            xshift=3, font={"size": 10},
        )  # fmt: skip
        if resource in limits:
            figure.add_shape(
                type="line", x0=limits[resource], x1=limits[resource], y0=place - 0.5, y1=place + 0.5,
                line={"color": COLORS["limit"], "width": 2},
            )  # fmt: skip
    figure.update_layout(barmode="stack", bargap=0.25)
    figure.update_xaxes(title_text="of the device", tickformat=".0%", range=[0, 1.65], tickvals=[0, 0.5, 1.0])
    figure.update_yaxes(autorange="reversed", automargin=True, tickfont_size=11)
    return finished(figure, 26 * len(rows) + 90)


def prices(record: Record) -> go.Figure:
    """Prices by layer and epoch as a heat map."""
    names = [layer.name for layer in record.layers]
    epochs, grid, least = record.prices
    decades = range(math.ceil(math.log10(least)), math.floor(math.log10(1000 * least)) + 1)
    figure = go.Figure(go.Heatmap(
        x=epochs, y=names, z=[[math.log10(max(price, least)) for price in row] for row in grid], customdata=grid,
        colorscale="Viridis", hovertemplate="%{y}, epoch %{x}: %{customdata:.4f}<extra></extra>",
        colorbar={"title": {"text": "price"}, "thickness": 10, "outlinewidth": 0, "lenmode": "pixels", "len": 160,
                  "y": 1, "yanchor": "top", "tickvals": list(decades), "ticktext": [f"{10**d:g}" for d in decades]},
    ))  # fmt: skip
    figure.update_xaxes(title_text="epoch", dtick=max(1, len(epochs) // 10))
    return _by_layer(figure, record.layers, legend=False)


# ---- what they share ---------------------------------------------------------------------------------------------


def _level(figure: go.Figure, value: float, name: str, row: int) -> None:
    """A dashed line across a subplot, with its name at the left end."""
    figure.add_hline(
        value, row=row, col=1, line=_dashed("limit" if name == "goal" else "dense"),  # type: ignore[arg-type]
        annotation={"text": name, "xanchor": "left", "font": {"size": 11}}, annotation_position="top left",
    )  # fmt: skip


def _line(x: Sequence[float], y: Sequence[float], name: str, color: str) -> go.Scatter:
    return go.Scatter(x=x, y=y, name=name, mode="lines+markers", line={"color": color}, marker={"size": 5})


def _marker(x: Sequence[float], y: Sequence[float], name: str, color: str, symbol: str) -> go.Scatter:
    return go.Scatter(x=x, y=y, name=name, mode="markers", marker={"color": color, "size": 11, "symbol": symbol})


def _dashed(color: str) -> dict[str, object]:
    return {"color": COLORS[color], "dash": "dash", "width": 1.3}


def _by_layer(figure: go.Figure, layers: Sequence[Layer], legend: bool = True) -> go.Figure:
    """A row for each layer, the first on top."""
    names = [layer.name for layer in layers]
    figure.update_yaxes(
        categoryorder="array", categoryarray=names, range=[len(names) - 0.5, -0.5], automargin=True, tickfont_size=10,
        tickmode="array", tickvals=names,
    )  # fmt: skip
    figure.update_layout(barmode="overlay", bargap=0.25)
    return finished(figure, _ROW * len(names) + 130, top=52 if legend else 16, legend=None if not legend else 1.0)


def finished(figure: go.Figure, height: int, top: int = 16, legend: float | None = None) -> go.Figure:
    """Transparent, of a fixed height, as wide as the page; the page sets the colour of the text."""
    figure.update_layout(
        template=go.layout.Template(), height=height, margin={"l": 8, "r": 12, "t": top, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)", showlegend=legend is not None,
        hoverlabel={"font": {"size": 12}}, hovermode="closest", dragmode=False,
    )  # fmt: skip
    if legend is not None:
        anchor = "bottom" if legend >= 1 else "top"
        figure.update_layout(legend={"orientation": "h", "x": 0, "y": legend, "yanchor": anchor, "font": {"size": 11}})
    figure.update_xaxes(gridcolor=GRID, zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, automargin=True)
    return figure
