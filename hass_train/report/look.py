"""What all charts share: colours, type, sizes and a few parts, as Altair (Vega-Lite) specifications.

Text is drawn in `currentColor`, so that a page's style sheet decides its colour by day and by night; in a picture it
is black.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import altair as alt

COLORS = {
    "dense": "#8a94a0", "searched": "#c8443c", "weights": "#2f80c2", "activations": "#e08a1e", "pairs": "#7a4fb5",
    "compute": "#2f80c2", "input": "#e0a11e", "output": "#3d9a6b", "stream": "#8a94a0", "limit": "#c8443c",
    "tile": "#e0a11e", "store": "#3d9a6b", "ddr": "#7a4fb5",
}  # fmt: skip
"""Readable on white and on black."""
KINDS = {
    "dense": "#716e75", "activation": "#e9a13b", "weight": "#1d85bc", "pair": "#4f44b6", "crossbar": "#00cc82",
    "stream": "#bebece", "array": "#2f80c2",
}  # fmt: skip
"""Of kinds of compute engine, and of operations without any; the colour-blind tell them apart, too."""
BANDS = {"warmup": "rgba(128,128,128,0.10)", "search": "rgba(224,138,30,0.14)", "recover": "rgba(61,154,107,0.14)"}
GRAY = "rgba(128,128,128,0.35)"
INK = "currentColor"
WIDTH = 920
"""Of a picture, pixels; a page sets its own width."""
ROW = 17
"""Height of a layer's row, pixels."""
RING = "M1,0A1,1,0,1,1,-1,0A1,1,0,1,1,1,0ZM0.55,0A0.55,0.55,0,1,0,-0.55,0A0.55,0.55,0,1,0,0.55,0Z"
"""A shape of points."""
SHAPES = ("circle", "diamond", "square", "triangle-up", "cross", "triangle-down", "triangle-right", "triangle-left")
_FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
_OTHER = "#b05fa0"
_LONGEST = 230  # pixels that the name of a layer may take

Chart = alt.LayerChart | alt.VConcatChart | alt.HConcatChart
Axis = Callable[[str], alt.X]
AnyChart = TypeVar("AnyChart", alt.LayerChart, alt.VConcatChart, alt.HConcatChart)


def rows(values: Sequence[Mapping[str, Any]]) -> alt.Chart:
    """A chart of data without marks yet, a mapping for each mark."""
    return alt.Chart(alt.InlineData(values=[dict(row) for row in values]))


def layered(*charts: alt.Chart, height: int) -> alt.LayerChart:
    """Charts on the same axes, together exactly as wide as the page or the picture."""
    fitted = alt.AutoSizeParams(type="fit-x", contains="padding")
    together: alt.LayerChart = alt.layer(*charts, autosize=fitted, width=WIDTH, height=height)  # type: ignore[assignment]
    return styled(together)


def styled(chart: AnyChart) -> AnyChart:
    """The chart in the common style."""
    text: Any = {"labelColor": INK, "titleColor": INK, "labelFontSize": 11, "titleFontSize": 12}
    text["titleFontWeight"] = "normal"
    lines: Any = dict.fromkeys(("domainColor", "tickColor"), "rgba(128,128,128,0.6)")
    return chart.configure(
        font=_FONT,
        padding=4,
        axis=alt.AxisConfig(**text, **lines, gridColor="rgba(128,128,128,0.25)", labelFlush=False),
        legend=alt.LegendConfig(
            **text, orient="top", direction="horizontal", title=None, titleLimit=0, offset=8, symbolOpacity=1,
            labelLimit=alt.ExprRef("max(width - 30, 150)"), columns=alt.ExprRef("width < 420 ? 2 : 6"),
            symbolBaseFillColor=INK, symbolBaseStrokeColor=INK,
        ),
        text=alt.MarkConfig(fontSize=11, fill=INK),
        title=alt.TitleConfig(color=INK, fontSize=12, fontWeight="normal", anchor="start", frame="group"),
        view=alt.ViewConfig(stroke=None),
    )  # fmt: skip


# ---- parts -------------------------------------------------------------------------------------------------------


def by_layer(gaps: bool = True, names: bool = True) -> alt.Y:
    """An axis with a row for each layer, the first on top."""
    axis = alt.Axis(
        title=None, labelFontSize=10, labelLimit=_LONGEST, ticks=False, labelPadding=4, grid=False, labels=names
    )
    scale = alt.Scale(paddingInner=0.25, paddingOuter=0.15) if gaps else alt.Scale(padding=0)
    return alt.Y("layer:N", sort=None, axis=axis, scale=scale)


def axis_of(title: str, scale: alt.Scale, **options: Any) -> Axis:
    """The same horizontal axis for several fields."""
    axis = alt.Axis(title=title or None, **options)
    return lambda field: alt.X(field, axis=axis, scale=scale)


def tip(field: str, title: str, form: str = "") -> alt.Tooltip:
    """A line of what hovering tells."""
    return alt.Tooltip(field, title=title, format=form) if form else alt.Tooltip(field, title=title)


def dots(chart: alt.Chart, size: int = 60, **options: Any) -> alt.Chart:
    """The chart with points as marks."""
    return chart.mark_point(filled=True, opacity=1, size=size, **options)


def hits(chart: alt.Chart) -> alt.Chart:
    """Unseen marks to hover over: a finger is wider than a point."""
    return chart.mark_point(filled=True, opacity=0, size=260)


def dashed(chart: alt.Chart, **options: Any) -> alt.Chart:
    """The chart with dashed lines as marks."""
    return chart.mark_rule(strokeDash=[5, 4], strokeWidth=1.3, **options)


def series(colors: Mapping[str, str], shapes: Sequence[str]) -> tuple[alt.Scale, alt.Scale]:
    """Scales of colour and of shape for several series that share a legend.

    Args:
        colors: of the series by their names, in the order of the legend.
        shapes: likewise.
    """
    names = list(colors)
    return alt.Scale(domain=names, range=list(colors.values())), alt.Scale(domain=names, range=list(shapes))


def log_domain(values: Iterable[float]) -> tuple[float, float]:
    """Where a logarithmic axis of such values begins and ends, with some room at both ends."""
    known = [max(value, 1e-12) for value in values]
    spread = max(max(known) / min(known), 2)
    return min(known) / spread**0.12, max(known) * spread**0.06


def log_axis(title: str, low: float, high: float) -> Axis:
    """A logarithmic axis with powers of ten, and as many marks between them as make three."""
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    short = "format(datum.value, datum.value < 1 ? '~g' : '~s')"
    return axis_of(title, scale, values=log_ticks(low, high), labelExpr=short)


def log_ticks(low: float, high: float) -> list[float]:
    """Marks of a logarithmic axis."""
    found: list[float] = []
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps: tuple[Sequence[float], ...] = (
        (1,),
        (1, 2, 5),
        (1, 1.5, *range(2, 10)),
        [one / 10 for one in range(10, 100)],
    )
    for within in steps:
        found = [tick for decade in decades for step in within if low <= (tick := step * 10.0**decade) <= high]
        if len(found) > 2:
            break
    return found


def color_of(bound: str) -> str:
    """Of what binds a layer; accelerators of one's own may have other words for it."""
    return COLORS.get(bound, _OTHER)


def kind_name(engine: str) -> str:
    """What legends call a kind of compute engine."""
    return "streams" if engine == "stream" else f"{engine} engines"


def kind_colors(engines: Iterable[str]) -> dict[str, str]:
    """The colours of some kinds by the names that legends have for them, always in the same order."""
    present = set(engines)
    listed = [*(kind for kind in KINDS if kind in present), *sorted(present - set(KINDS))]
    return {kind_name(kind): KINDS.get(kind, _OTHER) for kind in listed}
