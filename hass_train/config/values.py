"""Checks of single values of a configuration: the types that classes declare, and bounds."""

from __future__ import annotations

import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from hass_train.runtime.errors import TYPES_IN_WORDS, UserError

LARGEST = 10**12
"""The largest number that a configuration may hold; a larger one is a typing error that would end in an overflow."""


def check_values(config: Any, path: str = "") -> None:
    """Check every number of a dataclass against the bounds of its field (`hass_train.config.schema.within`).

    Args:
        config: the dataclass; dataclasses within it are checked too.
        path: its key with a final dot, for messages.

    Raises:
        UserError: a number is infinite or NaN, beyond `LARGEST`, or out of the bounds of its field.
    """
    for item in fields(config):
        value, where = getattr(config, item.name), f"{path}{item.name}"
        if is_dataclass(value):
            check_values(value, f"{where}.")
        elif isinstance(value, (int, float)):
            check_number(value, where)
            low, high = item.metadata.get("low", -math.inf), item.metadata.get("high", math.inf)
            if not low <= value <= high:
                bounds = f"be ≥ {low:g}" if high == math.inf else f"lie in [{low:g}, {high:g}]"
                raise UserError(f"{where} is {value}; it must {bounds}")


def check_number(value: float, where: str) -> None:
    """Check that a number is finite and not beyond `LARGEST`.

    Args:
        value: the number.
        where: its key, for messages.

    Raises:
        UserError: the number is infinite, NaN or too large.
    """
    if not math.isfinite(value):
        raise UserError(f"{where} is {value}; it must be a finite number")
    if abs(value) > LARGEST:
        raise UserError(f"{where} is {value:.4g}; it must be at most {LARGEST:.0e}")


def check_arguments(path: str, section: Mapping[str, Any], target: Callable[..., Any]) -> None:
    """Check values against the types that a class or function declares for its arguments.

    Args:
        path: the key of the section, for messages.
        section: arguments by name; names that begin with _ belong to Hydra.
        target: the class or function.

    Raises:
        UserError: a value is of another type, or a number is refused by `check_number`.
    """
    hints = _hints(target)
    for key, value in section.items():
        where = f"{path}.{key}"
        if key in hints and not _fits(value, hints[key]):
            wanted = " or ".join(TYPES_IN_WORDS[one] for one in _plain(hints[key])) or str(hints[key])
            raise UserError(f"{where} is {value!r}; it must be {wanted}")
        if isinstance(value, (int, float)) and not key.startswith("_"):
            check_number(value, where)


def without_password(text: str) -> str:
    """Replace the passwords of URLs in a text, before it is stored, printed or uploaded."""
    return re.sub(r"(://[^:/@\s]+):[^@\s]*@", r"\1:***@", text)


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    function = target.__init__ if inspect.isclass(target) else target  # type: ignore[misc]
    try:
        return typing.get_type_hints(function)
    except Exception:  # names that are imported for type checkers only: such a class is not checked
        return {}


def _plain(hint: Any) -> list[type]:
    parts = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return [one for one in parts if one in TYPES_IN_WORDS]


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value fits a declared type; any value fits a type that is more than plain types and lists."""
    if hint is Any:
        return True
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in typing.get_args(hint))
    if value is None:
        return hint is type(None) or hint not in TYPES_IN_WORDS
    if hint is bool or isinstance(value, bool):
        return isinstance(value, bool) and (hint is bool or hint not in TYPES_IN_WORDS)
    if hint is int:
        return isinstance(value, int)
    if hint is float:
        return isinstance(value, (int, float))
    if hint is str:
        return isinstance(value, str)
    if hint is type(None):
        return False
    return typing.get_origin(hint) not in (tuple, list, Sequence) or isinstance(value, (list, tuple))
