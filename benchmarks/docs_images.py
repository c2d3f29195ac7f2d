"""The pictures of README and docs, from real runs: `make docs-images`.

Runs the commands of docs/tutorial.md that have not been run before (half an hour on two cores), then takes the charts
of its 4× search, and what headless Chromium shows of its report and of the comparison. Everything goes to docs/images/.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from hass_train.report.comparison_page import PAGE
from hass_train.report.figures import FOLDER
from hass_train.report.html import REPORT
from tests.browser import NARROW, WIDE, chromium, opened

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
RUNS = ROOT / "runs" / "tutorial"
SHOWN = RUNS / "sweep" / "2-mobilenetv3-zcu104"
ENDED = ("result.json", "accuracy.json", "estimate.json", "sweep.csv", PAGE)
"""A command that left one of these behind has ended."""
CHARTS = ("history", "pipeline", "layers", "resources", "prices")


def commands() -> list[list[str]]:
    """The tutorial's commands, as words."""
    text = (ROOT / "docs" / "tutorial.md").read_text()
    return [shlex.split(block) for block in re.findall(r"```sh\n(.*?)\n```", text, re.DOTALL)]


def show(path: Path, name: str, clip: tuple[int, int, int], dark: bool = False) -> None:
    """A picture of the head of a page.

    Args:
        path: of the HTML file.
        name: of the picture.
        clip: what to take of it: where it begins from the left, its width and its height, pixels.
        dark: whether the reader prefers dark pages.
    """
    left, width, height = clip
    with opened(path, NARROW if width == NARROW else WIDE, dark) as (page, _):
        box = {"x": left, "y": 0, "width": width, "height": height}
        page.screenshot(path=IMAGES / f"{name}.png", clip=box, full_page=True)


def main() -> None:
    """Run what is missing, and draw."""
    if chromium() is None:
        raise SystemExit("error: no Chromium here; on Debian: apt-get install chromium")
    for words in commands():
        output = ROOT / next(word.partition("=")[2] or word for word in reversed(words) if "runs/tutorial" in word)
        if any((output / name).is_file() for name in ENDED):
            continue
        if output.exists():  # killed half-way
            output.rename(output.with_name(f"{output.name}.broken-{int(time.time())}"))
        print("->", shlex.join(words), flush=True)
        subprocess.run([sys.executable, *words[1:]], cwd=ROOT, check=True)
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name in CHARTS:
        shutil.copyfile(SHOWN / FOLDER / f"{name}.png", IMAGES / f"{name}.png")
    show(SHOWN / REPORT, "report", (60, 1280, 960))
    show(SHOWN / REPORT, "report-phone", (0, NARROW, 1300), dark=True)
    show(RUNS / "comparison" / PAGE, "compare", (60, 1280, 900))
    for picture in sorted(IMAGES.iterdir()):
        print(picture.relative_to(ROOT))


if __name__ == "__main__":
    main()
