"""Headless Chromium, where the machine has one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WIDE, NARROW = 1400, 390
_LABELS = """(chart) => [...chart.querySelectorAll('svg.marks text')].filter((text) =>
  text.textContent.trim() && text.getBoundingClientRect().width > 0 && getComputedStyle(text).opacity > 0)"""
CLIPPED = f"""() => [...document.querySelectorAll('.chart')].flatMap((chart) => {{
  const labels = {_LABELS}, whole = chart.getBoundingClientRect();
  return labels(chart).filter((text) => {{
    const box = text.getBoundingClientRect();
    return text.textContent.endsWith('…') || box.left < whole.left - 1 || box.right > whole.right + 1
      || box.top < whole.top - 1 || box.bottom > whole.bottom + 1;
  }}).map((text) => text.textContent);
}})"""
"""Labels of charts that stick out of their chart, or are cut short."""
OVERLAPPING = f"""() => [...document.querySelectorAll('.chart')].flatMap((chart) => {{
  const labels = {_LABELS}, texts = labels(chart);
  const boxes = texts.map((text) => text.getBoundingClientRect()), found = [];
  for (let a = 0; a < boxes.length; a++) for (let b = a + 1; b < boxes.length; b++) {{
    const wide = Math.min(boxes[a].right, boxes[b].right) - Math.max(boxes[a].left, boxes[b].left);
    const high = Math.min(boxes[a].bottom, boxes[b].bottom) - Math.max(boxes[a].top, boxes[b].top);
    if (wide > 2 && high > 0.4 * Math.min(boxes[a].height, boxes[b].height))
      found.push(`${{chart.id}}: ${{texts[a].textContent}} | ${{texts[b].textContent}}`);
  }}
  return found;
}})"""
"""Pairs of labels of the same chart that cover each other."""


def chromium() -> str | None:
    """Where Chromium is; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def opened(path: Path, width: int, dark: bool = False) -> Iterator[tuple[Any, list[str]]]:
    """A page from disk, all its charts drawn, and what its console has complained of.

    Args:
        path: of the HTML file.
        width: of the window, pixels.
        dark: whether the reader prefers dark pages.
    """
    program = chromium()
    if program is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    said: list[str] = []
    with api.sync_playwright() as play:
        arguments = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-quic"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        browser = play.chromium.launch(executable_path=program, args=arguments)
        try:
            page = browser.new_page(
                viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", offline=True
            )
            page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.goto(path.absolute().as_uri())
            page.wait_for_selector("body[data-drawn=yes]", timeout=60_000)
            yield page, said
        finally:
            browser.close()


def hovered(page: Any, marks: str, place: int = 0) -> str:
    """What a chart tells when the mouse stands on a mark.

    Args:
        page: opened.
        marks: selector of marks.
        place: which of them.
    """
    mark = page.locator(marks).nth(place)
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    page.mouse.move(0, 0)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=2)
    page.wait_for_selector("#vg-tooltip-element.visible", timeout=10_000)
    return str(page.inner_text("#vg-tooltip-element"))
