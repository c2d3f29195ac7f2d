"""Write the integer networks of finished runs as ONNX, or what other tools read of their designs:
`python -m hass_train.export RUN_DIR… [--for fpgaconvnet|finn|hls4ml]`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hass_train.runtime.errors import UserError, unknown
from hass_train.runtime.files import AnyPath
from hass_train.runtime.terminal import Parser, fail

TOOLS = ("onnx", "fpgaconvnet", "finn", "hls4ml")
Writer = Callable[[AnyPath], list[Path]]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command; exits with status 2 and one line for what a user can cause."""
    parser = Parser(prog="python -m hass_train.export", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR", help="directory of a run that has integers")
    parser.add_argument(
        "--for", dest="tool", default="onnx", metavar="TOOL",
        help="who reads the files: onnx (default), fpgaconvnet (annotated ONNX and config.json), finn (folding "
        "configuration) or hls4ml (configuration); the last two belong to model.qonnx.onnx, which is written too",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    for folder in given.runs:
        try:
            written = writer(given.tool)(folder)
        except UserError as error:
            fail(str(error))
        except OSError as error:
            fail(f"{folder} cannot be written to: {error.strerror}")
        print("\n".join(map(str, written)))


def writer(tool: str) -> Writer:
    """What writes the files of a tool into a run's directory and returns their paths.

    Raises:
        UserError: there is no such tool.
    """
    from hass_train.export.finn import save_finn
    from hass_train.export.fpgaconvnet.config import save_fpgaconvnet
    from hass_train.export.hls4ml import save_hls4ml
    from hass_train.export.onnx import save_run

    writers: dict[str, Writer] = {
        "onnx": save_run,
        "fpgaconvnet": save_fpgaconvnet,
        "finn": lambda folder: [*save_finn(folder), *save_run(folder)],
        "hls4ml": lambda folder: [*save_hls4ml(folder), *save_run(folder)],
    }
    if tool not in writers:
        raise unknown("tool", tool, TOOLS)
    return writers[tool]


if __name__ == "__main__":
    main()
