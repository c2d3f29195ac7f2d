"""Charts as files, without a browser: PNG, and PDF in vectors with text as text."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import vl_convert
from PIL import Image

from hass_train.report.look import Chart
from hass_train.report.panels import panels
from hass_train.results.record import Record
from hass_train.runtime.files import AnyPath, replacing

FOLDER = "figures"
_PRINTED = 7.2 * 72
"""Width on paper, points: that of a page of two columns."""
_SIZE = re.compile(r'width="([\d.]+)" height="([\d.]+)"')
_ENTRIES = re.compile(rb"(?:^ +/\w+ \d+ 0 R\n){2,}", re.MULTILINE)


def save_figures(record: Record) -> list[Path]:
    """Draw every chart that the run has something to show in into its folder of figures; which files they are."""
    folder = record.folder / FOLDER
    return [path for panel in panels(record) for path in save_chart(panel.chart, folder / panel.name, pdf=True)]


def save_chart(chart: Chart, path: AnyPath, pdf: bool = False) -> list[Path]:
    """Draw a chart; equal charts give equal files.

    Args:
        chart: to draw.
        path: of the pictures, without an ending.
        pdf: whether to draw a PDF beside the PNG.

    Returns:
        Which files were written.
    """
    drawn = vl_convert.vegalite_to_svg(chart.to_dict(), allowed_base_urls=[])
    pictures = {"png": _png(drawn)} | ({"pdf": _pdf(drawn)} if pdf else {})
    path = Path(path)
    files = {path.with_name(f"{path.name}.{ending}"): content for ending, content in pictures.items()}
    for file, content in files.items():
        with replacing(file) as partly:
            partly.write_bytes(content)
    return list(files)


def _png(drawn: str) -> bytes:
    """Two dots for each pixel, without transparency: a third of the size."""
    packed = BytesIO()
    Image.open(BytesIO(vl_convert.svg_to_png(drawn, scale=2))).convert("RGB").save(packed, "png")
    return packed.getvalue()


def _pdf(drawn: str) -> bytes:
    """As wide as a page's text; the entries of dictionaries are put in order, since the converter shuffles them."""

    def printed(size: re.Match[str]) -> str:
        width, height = map(float, size.groups())
        return f'width="{_PRINTED}" height="{_PRINTED * height / width}"'

    content = vl_convert.svg_to_pdf(_SIZE.sub(printed, drawn, count=1))
    return _ENTRIES.sub(lambda lines: b"".join(sorted(lines[0].splitlines(keepends=True))), content)
