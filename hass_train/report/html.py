"""report.html: what one search found, why, and how to repeat it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from hass_train.hardware.resources import LABELS
from hass_train.report import columns
from hass_train.report.build import COLUMNS, built_rows, limit, verdict
from hass_train.report.page import Block, Card, Cell, Page, Sheet, save_page
from hass_train.report.panels import panels
from hass_train.results.record import Record

REPORT = "report.html"


def save_report(record: Record) -> Path:
    """Write a run's report.html.

    Returns:
        Its path.
    """
    path = record.folder / REPORT
    save_page(path, Page(
        record.title, _subtitle(record), _cards(record), panels(record),
        [_comparison(record), *_built(record), _design(record)], _blocks(record),
    ))  # fmt: skip
    return path


def _subtitle(record: Record) -> str:
    result = record.result
    shape = "×".join(map(str, result.model.input_size))
    return (
        f"{shape}, {result.model.macs / 1e6:,.1f} M multiply-accumulates, {result.model.params / 1e6:,.2f} "
        f"M parameters; engine: {result.engine}, seed {result.seed}"
    )


def _cards(record: Record) -> list[Card]:
    result = record.result
    dense, sparse, gain, goal = result.dense, result.sparse, result.gain, result.goal
    before, after = dense.estimate, sparse.estimate
    drop = 100 * gain.accuracy_drop
    lost = f"{drop:.2f} points lost" if drop >= 0 else f"{-drop:.2f} points gained"
    energy = after.energy.total_j / before.energy.total_j
    cards = [
        Card("throughput", f"{gain.throughput:.2f}×",
             f"{before.throughput_ips:,.0f} → {after.throughput_ips:,.0f} images/s"),
        Card("test accuracy", f"{sparse.test_acc:.4f}", f"from {dense.test_acc:.4f}: {lost}"),
        Card("efficiency", f"{gain.efficiency:.2f}×",
             f"{before.efficiency:.2f} → {after.efficiency:.2f} images/s per {columns.unit_of(after)}"),
        Card("energy an image", f"{energy:.0%}", "of the dense design's; an estimate"),
        Card("pairs left", f"{1 - sparse.pair_sparsity:.1%}",
             f"weights {1 - sparse.weight_sparsity:.1%}, activations {1 - sparse.activation_sparsity:.1%}"),
    ]  # fmt: skip
    if goal.met is not None:
        verdict = ("met", "good") if goal.met else ("not met", "bad")
        cards.append(Card("goal", verdict[0], record.goal, verdict[1]))
    if record.beyond:
        listed = ", ".join(f"{LABELS[name]} {share:.0%}" for name, share in record.beyond.items())
        cards.append(Card("fits the device", "no", f"{listed} of what there is: not among hw.limits", "bad"))
    if result.simulation is not None:
        cards.append(Card("simulated", f"{result.simulation.error:+.1%}", "interval against the analytical one"))
    return cards


def _comparison(record: Record) -> Sheet:
    heads = ["", *(name.replace("\n", ", ") for name in columns.COLUMNS)]
    rows = [[Cell(label), *map(Cell, cells)] for label, cells in columns.rows(record.result)]
    caption = (
        "The dense network gains something on sparse engines already, from the zeros of its activations; what the "
        "search made is the step from the second column to the third."
    )
    return Sheet("designs", "Three designs", caption, heads, rows)


def _built(record: Record) -> list[Sheet]:
    """Estimated, simulated, verified, synthesised and placed side by side, where something was built."""
    if record.build is None or record.build.generate is None:
        return []
    caption = (
        "One replica, as the model estimates it, as it was simulated, as Verilator played its RTL on validation "
        "images, and as it was synthesised and placed; the last images/s are at the clock that was reached. "
        + " ".join(filter(None, (verdict(record.build), limit(record.build))))
    )
    rows = [[Cell(label), *map(Cell, cells)] for label, cells in built_rows(record.build)]
    return [Sheet("accelerator", "Built", caption, ["", *COLUMNS], rows)]


@dataclass(frozen=True)
class _Column:
    """A column of the table of layers.

    Args:
        head: its heading.
        cell: makes a cell from a row of layers.csv.
        words: whether the cells hold words, not numbers.
    """

    head: str
    cell: Callable[[Mapping[str, str]], Cell]
    words: bool = False


def _words(head: str, key: str) -> _Column:
    return _Column(head, lambda row: Cell(row[key].replace("_", "-")), words=True)


def _numbers(head: str, key: str, form: str) -> _Column:
    """A column of numbers, empty where a row (or a run of an older version) has none."""
    return _Column(head, lambda row: Cell(format(float(row[key]), form), float(row[key])) if row.get(key) else Cell(""))


def _engine(row: Mapping[str, str]) -> Cell:
    """The kind of compute engine, and its variant where the kind has several; tables of older versions have none."""
    by_lanes = " by lanes" if row["engine"] == "weight" and row.get("lanes") == "True" else ""
    in_luts = " in LUTs" if row.get("multiplier") == "lut" else ""
    return Cell(f"{row['engine']}{by_lanes}{in_luts}", tip=row.get("reason", ""))


def _reasoned(record: Record) -> bool:
    """Whether it is known why layers have their kinds of compute engine."""
    return any(row.get("reason") for row in record.rows)


def _columns(record: Record) -> list[_Column]:
    """The columns of the table of layers; to add one, add it here and to `hass_train.report.files.save_layers`."""
    return [
        _Column("layer", lambda row: Cell(row["layer"]), words=True), _words("kind", "kind"),
        _Column("compute engine", _engine, words=True), _numbers("cycles", "interval_cycles", ",.0f"),
        _words("bound by", "bound"),
        *(_numbers(f"{kind} density", f"{kind}_density", ".3f") for kind in ("weight", "activation", "pair")),
        _numbers("price", "price", ".3f"),
        *(_numbers(name, f"fold_{name}", ".0f") for name in record.folds),
        _numbers("block density", "block_density", ".3f") if record.sequential
        else _numbers("cycles an initiation", "initiation_interval", ".2f"),
        _numbers("DSPs", "dsp", ",.0f"), _numbers("block RAMs", "bram18", ",.0f"),
        _numbers("UltraRAMs", "uram", ",.0f"), _numbers("LUTs", "lut", ",.0f"), _words("weights in", "weights_in"),
        *([_Column("why this engine", lambda row: Cell(row["reason"]), words=True)] if _reasoned(record) else []),
    ]  # fmt: skip


def _design(record: Record) -> Sheet:
    """Every operation with its folds and costs."""
    columns = _columns(record)
    title, caption = "The design, layer by layer", (
        "Folds: i input channels, o filters and g groups in parallel, m channels bundled into one dot product, N "
        "multipliers of a compute engine, q and p pixels read and written a cycle, s streams. Click a head to sort."
    )  # fmt: skip
    if record.sequential:
        title, caption = "The layers, one after another", (
            "Tiles of a core's loop: rows, columns and input channels of the map, and filters; pieces: that a column's "
            "rows are cut into so that its memory tile holds them. Click a head to sort."
        )  # fmt: skip
    rows = [[column.cell(row) for column in columns] for row in record.rows]
    words = [place for place, column in enumerate(columns) if column.words]
    return Sheet("design", title, caption, [column.head for column in columns], rows, words, True)


def _blocks(record: Record) -> list[Block]:
    result = record.result
    seconds = "\n".join(f"{name:<9} {value:8,.0f} s" for name, value in result.wall_s.items())
    configuration = yaml.safe_dump(dict(result.config), sort_keys=False, width=1000)
    versions = "\n".join(f"{name} {version}" for name, version in result.versions.items())
    return [
        *([Block("The command", result.command)] if result.command else []),
        Block("Where the time went", seconds),
        Block("The configuration", configuration.replace(str(result.config["paths"]["output"]), "RUN_DIR"), True),
        Block("Versions", versions, folded=True),
    ]
