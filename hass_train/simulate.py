"""Play the design of a finished run on its validation images: `python -m hass_train.simulate RUN_DIR`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from hass_train.runtime.errors import UserError
from hass_train.runtime.terminal import Parser, fail


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; exits with status 2 and one line for what a user can cause."""
    parser = Parser(prog="python -m hass_train.simulate", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help="directory of a search.py run that ended")
    parser.add_argument("--images", type=int, default=8, help="validation images to play (default 8)")
    parser.add_argument("--size", action="store_true", help="find the smallest FIFOs that keep the interval too")
    given = parser.parse_args(arguments)

    from hass_train.report.console import report_console  # late, so that typing errors are told at once
    from hass_train.report.simulation import print_simulation, save_simulation
    from hass_train.training.replay import simulate_run

    console = report_console()
    try:
        with console.status("simulating") as status:
            found = simulate_run(given.run, given.images, given.size, lambda what: status.update(f"simulating {what}"))
    except UserError as error:
        fail(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    print_simulation(found, save_simulation(given.run, found), console)


if __name__ == "__main__":
    main(sys.argv[1:])
