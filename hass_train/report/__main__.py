"""Write the report of finished runs again, without training: `python -m hass_train.report RUN_DIR…`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from hass_train.runtime.errors import UserError
from hass_train.runtime.terminal import Parser, fail


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; exits with status 2 and one line for what a user can cause."""
    parser = Parser(prog="python -m hass_train.report", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR", help="directory of a search.py run that ended")
    parser.add_argument("--page-only", action="store_true", help="leave out the charts as PNG and PDF")
    given = parser.parse_args(arguments)

    from hass_train.report.console import print_files, report_console
    from hass_train.report.figures import save_figures
    from hass_train.report.html import save_report
    from hass_train.results.record import Record

    for folder in given.runs:
        try:
            record = Record.read(folder)
        except UserError as error:
            fail(str(error))
        try:
            figures = [] if given.page_only else save_figures(record)
            print_files([save_report(record), *figures], report_console())
        except OSError as error:
            fail(f"{folder} cannot be written to: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
