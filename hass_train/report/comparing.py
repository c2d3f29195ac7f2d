"""Compare the runs in some directories: write the page and the table, and print who is on the front."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hass_train.report.comparison_page import PAGE, TABLE, save_comparison
from hass_train.report.console import print_comparison, print_files, report_console
from hass_train.results.comparison import Comparison
from hass_train.runtime.errors import UserError


def compare_runs(folders: Iterable[Path], output: Path) -> None:
    """Write and print a comparison.

    Args:
        folders: runs, sweeps, or directories that hold some.
        output: directory to write into; it holds no comparison yet.

    Raises:
        UserError: the output holds a comparison or cannot be written to, or there is nothing to compare.
    """
    if any((output / name).exists() for name in (PAGE, TABLE)):
        raise UserError(f"{output} already holds a comparison; choose another --output, or leave it out")
    compared, console = Comparison.of(folders), report_console()
    try:
        files = save_comparison(output, compared)
    except OSError as error:
        raise UserError(f"{output} cannot be written to: {error.strerror}; choose another --output") from error
    print_comparison(compared, console)
    print_files(files, console)
