"""The report's six charts, each defined once: pages draw them interactively, papers get them as pictures.

`panels` says what to see in them.
"""

from __future__ import annotations

import math
from itertools import accumulate, pairwise
from typing import Any

import altair as alt

from hass_train.hardware.resources import LABELS, LIMITS
from hass_train.report.look import (
    BANDS,
    COLORS,
    GRAY,
    RING,
    ROW,
    WIDTH,
    Axis,
    Chart,
    axis_of,
    by_layer,
    color_of,
    dashed,
    dots,
    hits,
    kind_colors,
    kind_name,
    layered,
    log_axis,
    log_domain,
    rows,
    series,
    styled,
    tip,
)  # fmt: skip
from hass_train.report.stacks import MOST_SHOWN, stacks
from hass_train.results.record import Column, Record

_MANY = 6000
"""Cells of a heat map beyond which a page draws it as a bitmap."""
_DENSE = "dense network"
_PALE = 0.45
"""Opacity of bars of layers that no compute engine binds."""
_TINT = 0.22
"""Of every other layer in a stack, so that one sees where it ends."""


def history(record: Record) -> Chart:
    """Accuracy, speed-up and λ by epoch (without one, pair sparsity), as far as logged, with the phases as bands."""
    plots = []
    logged = [(*curve, record.history.series(curve[0])) for curve in record.curves]
    curves = [curve for curve in logged if curve[-1][0] or curve[0] == "hw/speedup"]
    scale = alt.Scale(domain=[0.5, max(record.history.epochs) + 0.7], nice=False)
    for number, (key, title, color, log) in enumerate(curves):
        last = number == len(curves) - 1
        x = axis_of("epoch" if last else "", scale, labels=last, ticks=last, tickMinStep=1)
        axis = alt.Axis(title=title, minExtent=34, tickCount=4)
        y = alt.Y("value:Q", axis=axis, scale=alt.Scale(zero=False, padding=8))
        table = rows([{"epoch": epoch, "value": value} for epoch, value in zip(*log, strict=True)])
        curve = table.encode(x=x("epoch:Q"), y=y, tooltip=[tip("epoch:Q", "epoch"), tip("value:Q", title, ".4~g")])
        seen = [curve.mark_line(color=COLORS[color]), dots(curve, 28, color=COLORS[color]), hits(curve)]
        layers = [*_phases(record, x, named=number == 0), *_level(record, key, x, y), *_final(record, key, x, y)]
        layers += seen if log[0] else []
        plots.append(alt.layer(*layers, width=WIDTH - 61, height=(200, 180, 120)[number]))
    return styled(alt.vconcat(*plots, spacing=12))


def _phases(record: Record, x: Axis, named: bool) -> list[alt.Chart]:
    """Bands behind a row of the history, and above the first their names."""
    table = rows([
        {"phase": str(one.phase), "color": BANDS[one.phase], "epoch": (one.first + one.last) / 2,
         "from": one.first - 0.5, "to": one.last + 0.5}
        for one in record.history.stretches
    ])  # fmt: skip
    bands = table.mark_rect().encode(x=x("from:Q"), x2="to:Q", color=alt.Color("color:N", scale=None))
    names = table.mark_text(baseline="bottom").encode(x=x("epoch:Q"), y=alt.value(-4), text="phase:N")
    return [bands, names] if named else [bands]


def _level(record: Record, key: str, x: Axis, y: alt.Y) -> list[alt.Chart]:
    """A dashed line across a row of the history, with its name at the left end."""
    accuracy, goal = record.result.dense.val_acc, record.wanted_speedup
    name, value, color = ("dense", accuracy, "dense") if key == "val/acc" else ("goal", goal, "limit")
    if value is None or key not in ("val/acc", "hw/speedup"):
        return []
    table = rows([{"epoch": 0.55, "value": value, "name": name}]).encode(y=y, tooltip=tip("value:Q", name, ".4~g"))
    words = table.mark_text(align="left", dx=3, dy=-7).encode(x=x("epoch:Q"), text="name:N")
    return [dashed(table, color=COLORS[color]), words]


def _final(record: Record, key: str, x: Axis, y: alt.Y) -> list[alt.Chart]:
    """The final network's speed-up."""
    if key != "hw/speedup":
        return []
    end = rows([{"epoch": max(record.history.epochs), "value": record.result.gain.throughput}])
    mark = dots(end, 120, shape="diamond", color=COLORS["searched"])
    return [mark.encode(x=x("epoch:Q"), y=y, tooltip=tip("value:Q", "final speed-up", ".4~g"))]


def trials(record: Record) -> Chart:
    """The front of a search by trials, the one it chose, and the dense and the final network."""
    result, spent = record.result, record.result.spent
    front = [
        {"kind": "trials", "what": f"trial {one.number}", "rate": one.throughput_ips, "accuracy": one.val_acc,
         "chosen": one.number == spent.chosen} for one in spent.front
    ]  # fmt: skip
    chosen = [{**one, "kind": "chosen"} for one in front if one["chosen"]]
    networks = [
        {"kind": kind, "what": f"the {kind} network", "rate": one.estimate.throughput_ips, "accuracy": one.val_acc}
        for kind, one in (("dense", result.dense), ("recovered", result.sparse))
    ]
    x = axis_of("images/s", alt.Scale(zero=False, padding=12), format=",.0f", tickCount=6)("rate:Q")
    y = alt.Y("accuracy:Q", axis=alt.Axis(title="validation accuracy"), scale=alt.Scale(zero=False, padding=12))
    kinds = {"trials": "weights", "chosen": "activations", "dense": "dense", "recovered": "searched"}
    inks = {kind: COLORS[name] for kind, name in kinds.items()}
    colors, shapes = series(inks, ("circle", "triangle-up", "square", "diamond"))
    size = alt.when(alt.datum.kind == "trials").then(alt.value(45)).otherwise(alt.value(130))
    tips = [tip("what:N", "of"), tip("rate:Q", "images/s", ",.0f"), tip("accuracy:Q", "validation accuracy", ".4f")]
    marks = rows([*front, *chosen, *networks]).encode(
        x=x, y=y, color=alt.Color("kind:N", scale=colors), shape=alt.Shape("kind:N", scale=shapes), tooltip=tips
    )
    line = rows(front).mark_line(interpolate="step-before", color=COLORS["weights"]).encode(x=x, y=y)
    return layered(line, dots(marks).encode(size=size), height=320)


def pipeline(record: Record) -> Chart:
    """Each layer's interval against the pipeline's, searched and dense.

    Colours say the kinds of compute engine, and pale bars what is not bound by them; on an array, which has one kind,
    colours say what binds a layer.
    """
    layers = record.layers
    data = [
        {"layer": layer.name, "cycles": layer.cycles, "dense": layer.dense_cycles, "bound": layer.bound,
         "urgency": layer.urgency, "engine": kind_name(layer.engine), "reason": layer.reason,
         "opacity": 1.0 if record.sequential or layer.bound == "compute" else _PALE} for layer in layers
    ]  # fmt: skip
    designs: tuple[tuple[str, Column, str], ...] = (("dense", "dense", "dense"), ("searched", "sparse", "limit"))
    lines = [
        {"whose": f"the {name} pipeline", "cycles": record.interval(column), "color": COLORS[color]}
        for name, column, color in designs
        if record.parts(column) == 1 and not record.sequential
    ]
    intervals = [record.interval(column) for _, column, _ in designs]
    low, high = log_domain([*intervals, *(c for layer in layers for c in (layer.cycles, layer.dense_cycles))])
    x = log_axis("cycles an image" + (" (dashed: pipeline)" if lines else ""), low, high)
    bounds = list(dict.fromkeys(layer.bound for layer in layers))
    if record.sequential:
        field, inks = "bound", {bound: color_of(bound) for bound in bounds}
    else:
        field, inks = "engine", kind_colors(layer.engine for layer in layers)
        waiting = " or ".join(bound for bound in bounds if bound != "compute")
        inks |= {f"bound by {waiting} (pale)": GRAY} if waiting else {}
    colors, shapes = series(inks | {_DENSE: COLORS["dense"]}, [*["square"] * len(inks), RING])
    prefix = "'bound by ' + " if record.sequential else ""
    legend = alt.Legend(labelExpr=f"datum.label == '{_DENSE}' ? datum.label : {prefix}datum.label", title=None)
    color = alt.Color(f"{field}:N", scale=colors, legend=legend)
    cycles, dense_cycles = tip("cycles:Q", "cycles", ",.0f"), tip("dense:Q", "dense", ",.0f")
    tips = [tip("layer:N", "layer"), cycles, dense_cycles, tip("bound:N", "bound by")]
    if any(layer.reason for layer in layers):
        tips.append(tip("reason:N", "engines"))
    if any(layer.urgency > 1 for layer in layers):
        tips.append(tip("urgency:Q", "times faster than the rest"))
    table = rows(data).encode(y=by_layer())
    pale = alt.Opacity("opacity:Q", scale=None)
    bars = table.mark_bar().encode(x=x("cycles:Q"), x2=alt.X2Datum(low), color=color, opacity=pale, tooltip=tips)
    dense = table.transform_calculate(**{field: f"'{_DENSE}'"}).encode(x=x("dense:Q"), tooltip=[tips[0], dense_cycles])
    return layered(
        bars,
        *(
            dashed(rows([line]), color=line["color"]).encode(x=x("cycles:Q"), tooltip=[tip("whose:N", "of"), cycles])
            for line in lines
        ),
        dots(dense).encode(color=color, shape=alt.Shape(f"{field}:N", scale=shapes, legend=legend)),
        hits(dense),
        height=ROW * len(layers),
    )


def densities(record: Record) -> Chart:
    """Densities of weights, activations and pairs, over the layer's share of the interval."""
    kinds = ("weights", "activations", "pairs")
    data = [
        {"layer": layer.name, "share": layer.share, "weights": layer.weight_density,
         "activations": layer.activation_density, "pairs": layer.pair_density} for layer in record.layers
    ]  # fmt: skip
    bar = f"share of the {'time' if record.sequential else 'interval'}"
    scale = alt.Scale(domain=[0, 1.03], nice=False)
    x = axis_of("fraction that is not zero", scale, tickCount=10, format=".1f")
    inks = {bar: GRAY, **{kind: COLORS[kind] for kind in kinds}}
    colors, shapes = series(inks, ["square", "square", "circle", "diamond"])
    tips = [tip("layer:N", "layer"), *(tip(f"{kind}:Q", kind, ".3f") for kind in kinds), tip("share:Q", bar, ".1%")]
    table = rows(data).encode(y=by_layer(), tooltip=tips)
    color = alt.Color("kind:N", scale=colors)
    marks = dots(table.transform_fold(list(kinds), as_=["kind", "density"]), 50)
    return layered(
        table.mark_bar().encode(x=x("share:Q"), color=alt.ColorDatum(bar)),
        marks.encode(x=x("density:Q"), color=color, shape=alt.Shape("kind:N", scale=shapes)),
        height=ROW * len(data),
    )


def resources(record: Record) -> Chart:
    """Every resource of both designs, stacked from the layers, those of a kind of engine together, with the limit."""
    pieces: list[dict[str, Any]] = []
    kinds: list[dict[str, Any]] = []
    ends: list[dict[str, Any]] = []
    limits = record.limits
    both = {"dense": stacks(record, "dense"), "searched": stacks(record, "sparse")}
    for resource in LIMITS:
        for label, design in both.items():
            stack, row, limit = design[resource], f"{LABELS[resource]}, {label}", limits.get(resource, 0.0)
            shown = stack.upto(MOST_SHOWN)
            for engine in dict.fromkeys(stack.engines):
                start = stack.engines.index(engine)
                end = start + stack.engines.count(engine)
                kind = {"row": row, "kind": kind_name(engine), "whole": sum(stack.shares[start:end])}
                if not kind["whole"]:
                    continue
                kinds.append({**kind, "to": sum(shown[:end])})
                tops = accumulate(shown[start:end], initial=sum(shown[:start]))
                pieces += [
                    {**kind, "layer": stack.pieces[k], "share": stack.shares[k], "from": low, "to": high,
                     "tint": _TINT * (k % 2)}
                    for k, (low, high) in enumerate(pairwise(tops), start) if stack.shares[k]
                ]  # fmt: skip
            whole = f"{sum(stack.shares):.0%}" + ("" if limit else " *")
            ends.append({"row": row, "whole": whole, "limit": limit or None})
    title = "of the device; red: limit" + ("" if len(limits) == len(LIMITS) else "; * does not count")
    x = axis_of(title, alt.Scale(domain=[0, MOST_SHOWN + 0.4], nice=False), values=[0, 0.5, 1], format=".0%")
    axis = alt.Axis(title=None, ticks=False, labelLimit=0, labelPadding=4)
    y = alt.Y("row:N", sort=[end["row"] for end in ends], axis=axis)
    colors, _ = series(kind_colors(engine for design in both.values() for engine in design["dsp"].engines), ())
    color = alt.Color("kind:N", scale=colors, legend=alt.Legend(title=None))
    tips = [tip("layer:N", "layer"), tip("share:Q", "share", ".2%"), tip("kind:N", "engines"),
            tip("whole:Q", "all of the kind", ".2%"), tip("row:N", "of")]  # fmt: skip
    bars = rows(kinds[::-1]).mark_bar().encode(x=x("to:Q").stack(None), y=y, color=color)  # each from zero: no seams
    tints = rows(pieces).mark_bar(color="white").encode(
        x=x("from:Q"), x2="to:Q", y=y, opacity=alt.Opacity("tint:Q", scale=None), tooltip=tips
    )  # fmt: skip
    table = rows(ends).encode(y=y)
    limit = table.mark_tick(color=COLORS["limit"], thickness=2, size=25, opacity=1)
    return layered(
        bars,
        tints,
        table.mark_text(align="left", dx=6).encode(x=alt.XDatum(MOST_SHOWN), text="whole:N"),
        limit.encode(x=x("limit:Q"), tooltip=tip("limit:Q", "limit", ".0%")),
        height=26 * len(ends),
    )


def prices(record: Record) -> Chart:
    """Prices by layer and epoch as a heat map."""
    epochs, grid, least = record.prices
    data = [
        {"layer": layer.name, "epoch": epochs, "price": row} for layer, row in zip(record.layers, grid, strict=True)
    ]
    decades = range(math.ceil(math.log10(least)), math.floor(math.log10(1000 * least)) + 1)
    x = axis_of("epoch", alt.Scale(padding=0), labelAngle=0, values=epochs[:: max(1, len(epochs) // 10)])
    legend = alt.Legend(title="price: −∂ log(throughput)/∂ density", gradientLength=200, gradientThickness=10,
                        values=[10.0**decade for decade in decades], format="~g")  # fmt: skip
    scale = alt.Scale(type="log", scheme="viridis", domain=[least, 1000 * least], clamp=True)
    cells = rows(data).transform_flatten(["epoch", "price"]).transform_calculate(shown=f"max(datum.price, {least!r})")
    chart = layered(
        cells.mark_rect(strokeWidth=0.5, stroke=alt.ExprRef("scale('color', datum.shown)")).encode(
            x=x("epoch:O"), y=by_layer(gaps=False), color=alt.Color("shown:Q", legend=legend, scale=scale),
            tooltip=[tip("layer:N", "layer"), tip("epoch:O", "epoch"), tip("price:Q", "price", ".4f")],
        ),
        height=ROW * len(data),
    )  # fmt: skip
    if len(epochs) * len(grid) > _MANY:
        chart.usermeta = {"embedOptions": {"renderer": "canvas"}}
    return chart
