"""Compare runs: `python -m hass_train.compare RUN_DIR…` writes one page and one table about all of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from hass_train.cli import Parser, fail
from hass_train.runtime.errors import UserError


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; exits with status 2 and one line for what a user can cause."""
    parser = Parser(prog="python -m hass_train.compare", description=__doc__)
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="RUN_DIR", help="runs, sweeps, or directories that hold some"
    )
    parser.add_argument(
        "--output", type=Path, help="directory of compare.html and compare.csv (runs/comparisons/DATE/TIME)"
    )
    given = parser.parse_args(arguments)

    from hass_train.report.comparison_page import PAGE, TABLE, save_comparison
    from hass_train.report.console import print_comparison, print_files, report_console
    from hass_train.results.comparison import Comparison

    output = given.output or Path("runs") / "comparisons" / f"{datetime.now():%Y-%m-%d/%H-%M-%S}"
    if any((output / name).exists() for name in (PAGE, TABLE)):
        fail(f"{output} already holds a comparison; choose another --output, or leave it out")
    try:
        compared = Comparison.of(given.folders)
    except UserError as error:
        fail(str(error))
    console = report_console()
    try:
        files = save_comparison(output, compared)
    except OSError as error:
        fail(f"{output} cannot be written to: {error.strerror}; choose another --output")
    print_comparison(compared, console)
    print_files(files, console)


if __name__ == "__main__":
    main(sys.argv[1:])
