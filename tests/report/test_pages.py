"""Pages in headless Chromium, as wide as a desk's screen and as a phone: drawn, clean, legible, and they react."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from hass_train.report.comparison_page import save_comparison
from hass_train.report.html import REPORT, save_report
from hass_train.report.panels import panels
from hass_train.results.comparison import Comparison
from hass_train.results.history import METRICS
from hass_train.results.record import Record
from tests.browser import CLIPPED, NARROW, OVERLAPPING, WIDE, hovered, opened

DRAWN = """() => [...document.querySelectorAll('.chart')].filter(
  one => one.querySelector('.mark-rect.role-mark path, .mark-symbol.role-mark path')
).map(one => one.id)"""
EMPTY = "() => [...document.querySelectorAll('.card .value, td:first-child')].filter(one => !one.innerText).length"
WIDTHS = pytest.mark.parametrize(("width", "dark"), [(WIDE, False), (NARROW, True)])


def check_clean(page: Path, width: int, dark: bool, charts: list[str]) -> None:
    """Everything drawn, nothing clipped or covered, nothing to scroll sideways, no word on the console."""
    with opened(page, width, dark) as (browser, said):
        assert browser.evaluate(DRAWN) == charts
        assert browser.evaluate("() => document.documentElement.scrollWidth") <= width
        assert browser.evaluate(CLIPPED) == []
        assert browser.evaluate(OVERLAPPING) == []
        assert browser.evaluate(EMPTY) == 0
        assert said == []


@WIDTHS
def test_a_report_is_clean(seen: Path, record: Record, width: int, dark: bool) -> None:
    check_clean(seen / REPORT, width, dark, [panel.name for panel in panels(record)])


@pytest.mark.nightly
@WIDTHS
def test_the_report_of_a_real_network_is_clean(run: tuple[Path, object], width: int, dark: bool) -> None:
    """MobileNetV3 has 52 layers with long names; its page is as small as docs/report.md says."""
    assert (run[0] / REPORT).stat().st_size < 1_000_000
    names = [panel.name for panel in panels(Record.read(run[0]))]
    check_clean(run[0] / REPORT, width, dark, names)


@WIDTHS
def test_a_comparison_is_clean(seen: Path, tmp_path: Path, width: int, dark: bool) -> None:
    for name in ("a", "b"):
        shutil.copytree(seen, tmp_path / name)
    page, _ = save_comparison(tmp_path, Comparison.of([tmp_path]))
    check_clean(page, width, dark, ["throughput-digits", "efficiency-digits"])


def test_text_can_be_read_by_day_and_by_night(seen: Path) -> None:
    for dark in (False, True):
        with opened(seen / REPORT, WIDE, dark) as (page, _):
            ground, ink = page.evaluate(
                "() => [getComputedStyle(document.body).backgroundColor, "
                "getComputedStyle(document.querySelector('.role-axis-label text')).fill]"
            )
            shades = [sum(map(int, color[4:-1].split(","))) / 3 for color in (ground, ink)]
            assert abs(shades[0] - shades[1]) > 120
            assert (shades[0] < shades[1]) == dark
            page.emulate_media(color_scheme="light" if dark else "dark")  # the sun sets while one reads
            page.wait_for_function(
                "before => getComputedStyle(document.querySelector('.role-axis-label text')).fill !== before", arg=ink
            )


def test_hovering_tells_the_numbers(seen: Path, record: Record) -> None:
    first, last = record.layers[0], record.history.series("val/acc")
    with opened(seen / REPORT, WIDE) as (page, said):
        told = {
            name: hovered(page, f"#{name} {marks}")
            for name, marks in (
                ("history", ".mark-symbol.role-mark path"), ("pipeline", ".mark-rect.role-mark path"),
                ("layers", ".mark-rect.role-mark path"), ("prices", ".mark-rect.role-mark path"),
            )
        }  # fmt: skip
        stacked = hovered(page, "#resources .mark-rect.role-mark path")
        assert said == []
    for words in (str(last[0][0]), f"{last[1][0]:.4g}"):
        assert words in told["history"]
    cycles = [f"{math.floor(one + 0.5):,}" for one in (first.cycles, first.dense_cycles)]  # as browsers round halves
    for words in (first.name, *cycles, first.bound):
        assert words in told["pipeline"]
    for words in (first.name, f"{first.weight_density:.3f}", f"{first.pair_density:.3f}", f"{first.share:.1%}"):
        assert words in told["layers"]
    epochs, grid, _ = record.prices
    for words in (first.name, str(epochs[0]), f"{grid[0][0]:.4f}"):
        assert words in told["prices"]
    assert "%" in stacked


def test_names_are_shown_as_they_are(record: Record, tmp_path: Path) -> None:
    odd = "</script><b>x"
    shutil.copytree(record.folder, tmp_path / "run")
    for name in ("result.json", "layers.csv", METRICS):
        file = tmp_path / "run" / name
        file.write_text(file.read_text().replace("conv1.0", odd))
    with opened(save_report(Record.read(tmp_path / "run")), WIDE) as (page, said):
        assert odd in page.evaluate(
            "() => [...document.querySelectorAll('#pipeline text')].map(one => one.textContent)"
        )
        assert odd in hovered(page, "#pipeline .mark-rect.role-mark path")
        assert page.evaluate("() => document.querySelectorAll('b').length") == 0
        assert said == []


def test_charts_follow_the_window(seen: Path) -> None:
    with opened(seen / REPORT, WIDE) as (page, said):
        page.set_viewport_size({"width": NARROW, "height": 900})
        page.wait_for_function(
            "() => [...document.querySelectorAll('.chart')].every("
            "one => Math.abs(one.querySelector('.marks').getBoundingClientRect().width - one.clientWidth) < 2)"
        )
        assert page.evaluate("() => document.documentElement.scrollWidth") <= NARROW
        assert said == []


def test_the_design_table_sorts(seen: Path, record: Record) -> None:
    with opened(seen / REPORT, WIDE) as (page, said):
        head = page.locator("#design th", has_text="cycles").first
        column = (
            "() => [...document.querySelectorAll('#design tbody tr')].map(row => Number(row.cells[3].dataset.value))"
        )
        cycles = [float(row["interval_cycles"]) for row in record.rows]
        assert page.evaluate(column) == cycles
        head.locator("button").click()
        assert page.evaluate(column) == sorted(cycles, reverse=True)
        assert head.get_attribute("aria-sort") == "descending"
        head.locator("button").click()
        assert page.evaluate(column) == sorted(cycles)
        page.locator("#design th button").first.click()
        page.locator("#design th button").first.click()
        names = page.evaluate(
            "() => [...document.querySelectorAll('#design tbody tr')].map(row => row.cells[0].innerText)"
        )
        assert sorted(names) == sorted(row["layer"] for row in record.rows)
        assert names == sorted(names, key=str.lower)
        assert said == []
