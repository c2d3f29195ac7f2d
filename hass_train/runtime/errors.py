"""Errors that a user can cause: one line each, exit status 2, no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What is wrong, with which value, and the nearest thing that would work, in one line."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """The choice most like the word, for error messages; empty if there are none.

    Names that are one edit or a part away are found first; otherwise whatever is least unlike.
    """
    known = sorted(choices)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.0)
    return close[0] if close else ""


def unknown(kind: str, word: str, choices: Iterable[str]) -> UserError:
    """A UserError for a name that does not exist, with the nearest one that does."""
    guess = nearest(word, choices)
    return UserError(f"there is no {kind} {word!r}" + (f"; did you mean {guess!r}?" if guess else ""))
