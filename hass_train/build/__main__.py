"""Build the accelerator of a finished run: RTL, verified, synthesised, placed: `python -m hass_train.build RUN_DIR`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from hass_train.results.build import STAGES
from hass_train.runtime.errors import UserError
from hass_train.runtime.terminal import Parser, fail


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; exits with status 2 and one line for what a user can cause, and with 1 where words differ."""
    parser = Parser(prog="python -m hass_train.build", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help="directory of a search.py run that ended")
    parser.add_argument(
        "--stages", help=f"some of {','.join(STAGES)}, with commas; by default all that the device allows"
    )
    parser.add_argument("--images", type=int, default=32, help="validation images that verify plays (32)")
    parser.add_argument("--probe", action="store_true", help="compare the streams between layers too")
    given = parser.parse_args(arguments)

    from hass_train.build.stages import Wanted, build  # late, so that typing errors are told at once
    from hass_train.report.build import print_build
    from hass_train.report.console import report_console
    from hass_train.training.replay import validation_images

    console = report_console()
    try:
        stages = None if given.stages is None else tuple(filter(None, given.stages.split(",")))
        wanted = Wanted(stages, given.images, given.probe)
        with console.status("reading the run") as status:
            images = lambda count: validation_images(given.run, count)  # noqa: E731 - short
            found = build(given.run, wanted, images, lambda what: status.update(what))
    except UserError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or given.run} cannot be written: {error.strerror or error}")
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)
    print_build(found, given.run, console)
    if found.verify is not None and found.verify.mismatch:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
