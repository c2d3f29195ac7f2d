"""Compiling loops over arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called, and keep the code for other processes where a folder can be written.

    In a read-only installation, without a home that can be written, it is compiled anew in every process.
    """
    try:
        return njit(cache=True)(function)
    except RuntimeError:  # so numba says that there is no such folder
        return njit(function)
