"""Single values of a configuration: the type that a class declares, and bounds that hold for all."""

from __future__ import annotations

import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from hass_train.runtime.errors import UserError

LARGEST = 10**12
"""No whole number of a configuration is larger; what is, is a slip of the finger that ends in an overflow."""
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def check_values(config: Any, path: str = "") -> None:
    """Check every number of typed objects against the bounds that its field has (`hass_train.config.schema.within`).

    Args:
        config: a dataclass; inner ones are checked too.
        path: of it, for messages.

    Raises:
        UserError: a number that is infinite or none, one beyond `LARGEST`, or one out of its field's bounds.
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
    """Raise UserError for a number that is infinite or none, or one beyond `LARGEST`."""
    if not math.isfinite(value):
        raise UserError(f"{where} is {value}; it must be a finite number")
    if abs(value) > LARGEST:
        raise UserError(f"{where} is {value:.4g}; it must be at most {LARGEST:.0e}")


def check_arguments(path: str, section: Mapping[str, Any], target: Callable[..., Any]) -> None:
    """Check values against the types that a class or function declares for its arguments.

    Args:
        path: of the section, for messages.
        section: arguments by name; what begins with _ is Hydra's.
        target: class or function.

    Raises:
        UserError: a value of another type, or a number that `check_number` refuses.
    """
    hints = _hints(target)
    for key, value in section.items():
        where = f"{path}.{key}"
        if key in hints and not _fits(value, hints[key]):
            wanted = " or ".join(_WORDS[one] for one in _plain(hints[key])) or str(hints[key])
            raise UserError(f"{where} is {value!r}; it must be {wanted}")
        if isinstance(value, (int, float)) and not key.startswith("_"):
            check_number(value, where)


def without_password(text: str) -> str:
    """URLs in a text without the passwords they hold; for what is stored, printed and uploaded."""
    return re.sub(r"(://[^:/@\s]+):[^@\s]*@", r"\1:***@", text)


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    function = target.__init__ if inspect.isclass(target) else target  # type: ignore[misc]
    try:
        return typing.get_type_hints(function)
    except Exception:  # names that exist for type checkers alone: such a class is not checked
        return {}


def _plain(hint: Any) -> list[type]:
    parts = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return [one for one in parts if one in _WORDS]


def _fits(value: Any, hint: Any) -> bool:
    """Whether a plain value may be of a declared type; declarations that say more than plain types fit everything."""
    if hint is Any:
        return True
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_fits(value, one) for one in typing.get_args(hint))
    if value is None:
        return hint is type(None) or hint not in _WORDS
    if hint is bool or isinstance(value, bool):
        return isinstance(value, bool) and (hint is bool or hint not in _WORDS)
    if hint is int:
        return isinstance(value, int)
    if hint is float:
        return isinstance(value, (int, float))
    if hint is str:
        return isinstance(value, str)
    if hint is type(None):
        return False
    return typing.get_origin(hint) not in (tuple, list, Sequence) or isinstance(value, (list, tuple))
