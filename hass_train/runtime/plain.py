"""Converts dataclasses to plain data for JSON, and back, for the results that a run writes and reads."""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Any, TypeVar

from cattrs import BaseValidationError, Converter, transform_error
from cattrs.errors import StructureHandlerNotFoundError
from cattrs.gen import make_dict_unstructure_fn, override

from hass_train.runtime.errors import TYPES_IN_WORDS

T = TypeVar("T")
_CONVERTER = Converter()


def to_plain(value: Any) -> Any:
    """Convert a dataclass to plain data for JSON: dictionaries, sequences, numbers and text."""
    return _CONVERTER.unstructure(value)


def from_plain(data: Any, kind: type[T]) -> T:
    """Make a dataclass from plain data, the inverse of `to_plain`.

    Args:
        data: plain data, such as `json.loads` returns.
        kind: the dataclass to make. Keys that are not among its fields are ignored.

    Raises:
        ValueError: a key is missing, or a value is of another type than its field; one line that names the key.
    """
    try:
        return _CONVERTER.structure(data, kind)
    except (BaseValidationError, StructureHandlerNotFoundError) as error:
        what, _, where = transform_error(error, path="", format_exception=_told)[0].partition(" @ ")
        raise ValueError(f"{where.removeprefix('.')} {what}") from error


def layout(also: Collection[str] = (), without: Collection[str] = ()) -> Callable[[type[T]], type[T]]:
    """Decorate a dataclass whose plain data differs from its fields.

    Args:
        also: properties to write as well, for readers without this package; they are ignored when they are read back.
        without: fields that are not written; they have their default when the data is read back.
    """

    def register(kind: type[T]) -> type[T]:
        def make(_: type) -> Callable[[Any], dict[str, Any]]:
            left_out: Any = {name: override(omit=True) for name in without}
            fields = make_dict_unstructure_fn(kind, _CONVERTER, **left_out)
            return lambda value: {**fields(value), **{name: to_plain(getattr(value, name)) for name in also}}

        # a factory, since annotations can be resolved only when the module is complete
        _CONVERTER.register_unstructure_hook_factory(lambda asked: asked is kind, make)
        return kind

    return register


def _told(error: BaseException, _: type | None) -> str:
    """What is wrong with a value; the caller adds where it is."""
    if isinstance(error, KeyError):
        return "is missing"
    return str(error) if isinstance(error, ValueError) else "has another form"  # such as a list instead of an object


def _register(kind: type, allowed: tuple[type, ...]) -> None:
    """Register how a plain value is read: only if it is of an allowed type, so that text never becomes a number.

    JSON does not distinguish 3 from 3.0, so a whole number may come as a float, and a float as a whole number.
    """

    def read(value: Any, _: type) -> Any:
        whole = kind is not int or not isinstance(value, float) or value.is_integer()
        if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool) or not whole:
            raise ValueError(f"is {str(value)[:40]!r}; it must be {TYPES_IN_WORDS[kind]}")
        return kind(value)

    _CONVERTER.register_structure_hook(kind, read)


_register(int, (int, float))
_register(float, (int, float))
_register(bool, (bool,))
_register(str, (str,))


def _choice(value: Any, kind: type[StrEnum]) -> StrEnum:
    """A choice from its text."""
    if value not in [*kind]:
        raise ValueError(f"is {str(value)[:40]!r}; it must be one of {', '.join(kind)}")
    return kind(value)


_CONVERTER.register_structure_hook(StrEnum, _choice)
