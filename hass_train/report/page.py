"""Pages: one HTML file with everything in it, to be opened from disk, on a phone, years later."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import vl_convert
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from hass_train.report.panels import Panel
from hass_train.runtime.files import AnyPath, write_text


@dataclass(frozen=True)
class Card:
    """One headline figure; `mood` is `good`, `bad` or empty."""

    label: str
    value: str
    note: str = ""
    mood: str = ""


@dataclass(frozen=True)
class Cell:
    """What a cell shows, what it is sorted by where that is something else, and what a mouse at rest is told."""

    text: str
    value: float | None = None
    tip: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table.

    Args:
        name: for the anchor.
        title, caption: above it.
        heads: of the columns.
        rows: equally long.
        words: columns that hold words, not numbers.
        sortable: by a click on a column's head.
    """

    name: str
    title: str
    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    words: Collection[int] = (0,)
    sortable: bool = False


@dataclass(frozen=True)
class Block:
    """Text as it is, such as a command or a configuration; `folded` is shown on a click."""

    title: str
    text: str
    folded: bool = False


@dataclass(frozen=True)
class Page:
    """A whole page, from top to bottom."""

    title: str
    subtitle: str
    cards: Sequence[Card]
    panels: Sequence[Panel]
    tables: Sequence[Sheet]
    blocks: Sequence[Block] = ()


def save_page(path: AnyPath, page: Page) -> None:
    """Write a page, whole or not at all."""
    charts = {panel.name: panel.chart.to_dict() for panel in page.panels}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_asset("page.html"))
    css, script, library = (Markup(one) for one in (_asset("page.css"), _asset("page.js"), _packed_library()))  # noqa: S704 - own files
    text = template.render(page=page, css=css, script=script, charts=_in_script(charts), library=library)
    write_text(path, text)


def _in_script(data: Any) -> Markup:
    """JSON that no name of a layer can end the script element with."""
    return Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))  # noqa: S704 - escaped here


def _asset(name: str) -> str:
    return files("hass_train.report").joinpath("assets", name).read_text()


@cache
def _packed_library() -> str:
    """Vega, Vega-Lite and vega-embed, which draw the charts in a browser."""
    code = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return base64.b64encode(gzip.compress(code.encode(), mtime=0)).decode()
