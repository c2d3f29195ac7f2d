"""The pictures of README and docs, from real runs: `make docs-images`.

Runs the commands of docs/tutorial.md that have not been run before (half an hour on two cores), then takes the charts of
its 4× search, and what headless Chromium shows of its report and of the comparison. Everything goes to docs/images/.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from hass_train.report.comparison import PAGE
from hass_train.report.figures import FOLDER
from hass_train.report.html import REPORT
from tests.browser import NARROW, WIDE, opened

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
RUNS = ROOT / "runs" / "tutorial"
SHOWN = RUNS / "sweep" / "2-mobilenetv3-zcu104"
CHARTS = ("history", "pipeline", "layers", "resources", "prices")


def commands() -> list[list[str]]:
    """The tutorial's commands, as words."""
    text = (ROOT / "docs" / "tutorial.md").read_text()
    return [shlex.split(block) for block in re.findall(r"```sh\n(.*?)\n```", text, re.DOTALL)]


def main() -> None:
    """Run what is missing, and draw."""
    for words in commands():
        output = next(word.partition("=")[2] or word for word in reversed(words) if "runs/tutorial" in word)
        if (ROOT / output).exists():
            continue
        print("->", shlex.join(words), flush=True)
        subprocess.run([sys.executable, *words[1:]], cwd=ROOT, check=True)
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name in CHARTS:
        shutil.copyfile(SHOWN / FOLDER / f"{name}.png", IMAGES / f"{name}.png")
    with opened(SHOWN / REPORT, WIDE) as (page, _):
        page.screenshot(path=IMAGES / "report.png", clip={"x": 60, "y": 0, "width": 1280, "height": 960}, full_page=True)
    with opened(SHOWN / REPORT, NARROW, dark=True) as (page, _):
        page.screenshot(path=IMAGES / "report-phone.png", clip={"x": 0, "y": 0, "width": NARROW, "height": 1300},
                        full_page=True)  # fmt: skip
    with opened(RUNS / "comparison" / PAGE, WIDE) as (page, _):
        page.screenshot(path=IMAGES / "compare.png", clip={"x": 60, "y": 0, "width": 1280, "height": 900}, full_page=True)
    for picture in sorted(IMAGES.iterdir()):
        print(picture.relative_to(ROOT))


if __name__ == "__main__":
    main()
