"""Compare runs: `python -m hass_train.compare RUN_DIR…` writes one page and one table about all of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from hass_train.runtime.errors import UserError
from hass_train.runtime.terminal import Parser, fail

_RUNS = "runs, sweeps, or directories that hold some"
_OUTPUT = "directory of compare.html and compare.csv (runs/comparisons/DATE/TIME)"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; exits with status 2 and one line for what a user can cause."""
    parser = Parser(prog="python -m hass_train.compare", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="RUN_DIR", help=_RUNS)
    parser.add_argument("--output", type=Path, help=_OUTPUT)
    given = parser.parse_args(arguments)

    from hass_train.report.comparing import compare_runs  # late, so that typing errors are told at once

    try:
        compare_runs(given.folders, given.output)
    except UserError as error:
        fail(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
