"""Compare the runs in some directories: write the page and the table, and print who is on the front."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from hass_train.report.comparison_page import PAGE, TABLE, save_comparison
from hass_train.report.console import print_comparison, print_files, report_console
from hass_train.results.comparison import Comparison
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import make_next


def compare_runs(folders: Iterable[Path], output: Path | None = None) -> None:
    """Write and print a comparison.

    Args:
        folders: runs, sweeps, or directories that hold some.
        output: directory to write into; it holds no comparison yet. None for a new one, runs/comparisons/DATE/TIME.

    Raises:
        UserError: the output holds a comparison or cannot be written to, or there is nothing to compare.
    """
    if output is not None and (output / TABLE).exists():
        raise _taken(output)
    compared, console = Comparison.of(folders), report_console()
    folder = output or Path("runs") / "comparisons" / f"{datetime.now():%Y-%m-%d/%H-%M-%S}"
    try:
        if output is None:
            folder = make_next(folder)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / PAGE).touch(exist_ok=False)  # of several processes only one succeeds
        files = save_comparison(folder, compared)
    except FileExistsError as error:
        raise _taken(folder) from error
    except OSError as error:
        raise UserError(f"{folder} cannot be written to: {error.strerror}; choose another --output") from error
    print_comparison(compared, console)
    print_files(files, console)


def _taken(output: Path) -> UserError:
    return UserError(f"{output} already holds a comparison; choose another --output, or leave it out")
