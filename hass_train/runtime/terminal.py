"""Commands that are not Hydra's: their arguments, and errors in one line with exit status 2."""

from __future__ import annotations

import argparse
import os
import sys
from typing import NoReturn


def fail(message: str) -> NoReturn:
    """Print an error message in one line, and exit with status 2."""
    tell(message)
    sys.exit(2)


class Parser(argparse.ArgumentParser):
    """Parser of command lines that are not Hydra's; errors are reported in the same way."""

    def error(self, message: str) -> NoReturn:
        """Print the message in one line, and exit with status 2."""
        fail(message)


def tell(message: str) -> None:
    """Print an error message in one line; of a run's processes the first one does."""
    if int(os.environ.get("LOCAL_RANK", "0")):
        return  # the first process prints it
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
