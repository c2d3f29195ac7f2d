"""Errors that a user can cause, which are reported in one line, without a traceback, with exit status 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """An error of the user. Its message is one line: what is wrong, with which value, and what would work instead."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """The choice that is most similar to a word, for error messages; empty if there are no choices."""
    known = sorted(choices)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.0)
    return close[0] if close else ""


def unknown(kind: str, word: str, choices: Iterable[str]) -> UserError:
    """Make a UserError for a name that does not exist, which suggests the nearest one that does.

    Args:
        kind: what the name would be a name of, such as "timm model".
        word: the name.
        choices: the names that exist.
    """
    guess = nearest(word, choices)
    return UserError(f"there is no {kind} {word!r}" + (f"; did you mean {guess!r}?" if guess else ""))
