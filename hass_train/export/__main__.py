"""Write the integer networks of finished runs as ONNX: `python -m hass_train.export RUN_DIR…`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hass_train.runtime.errors import UserError
from hass_train.runtime.terminal import Parser, fail


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; exits with status 2 and one line for what a user can cause."""
    parser = Parser(prog="python -m hass_train.export", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR", help="directory of a run that has integers")
    given = parser.parse_args(arguments)

    from hass_train.export.onnx import MODEL, QONNX_MODEL, save_onnx
    from hass_train.precision import IntegerNetwork

    for folder in given.runs:
        try:
            save_onnx(IntegerNetwork.load(folder), folder)
        except UserError as error:
            fail(str(error))
        except OSError as error:
            fail(f"{folder} cannot be written to: {error.strerror}")
        print(f"{folder / MODEL}\n{folder / QONNX_MODEL}")


if __name__ == "__main__":
    main()
