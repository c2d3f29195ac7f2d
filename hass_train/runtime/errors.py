"""Errors that a user can cause, which are reported in one line, without a traceback, with exit status 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

TYPES_IN_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
"""Types of plain values, as messages say them."""
_FEW = 12  # choices that are all named where none is similar


class UserError(Exception):
    """An error of the user. Its message is one line: what is wrong, with which value, and what would work instead."""

    def __str__(self) -> str:
        """The message; names and values that a user gives may have line breaks, which become spaces."""
        return " ".join(super().__str__().splitlines())


def suggested(word: str, choices: Iterable[str]) -> str:
    """Return what a message about an unknown name adds: the most similar choice, or all choices where none is similar
    and there are few. The unknown name itself is never suggested."""
    known = sorted({*choices} - {word, ""})
    if not known:
        return ""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.0 if len(known) > _FEW else 0.4)
    return f"; did you mean {close[0]!r}?" if close else f"; choose from {', '.join(known)}"


def unknown(kind: str, word: str, choices: Iterable[str]) -> UserError:
    """Make a UserError for a name that does not exist, which suggests the nearest one that does.

    Args:
        kind: what the name would be a name of, such as "timm model".
        word: the name.
        choices: the names that exist.
    """
    return UserError(f"there is no {kind} {word!r}{suggested(word, choices)}")
