"""What designs of a layer cost that does not depend on its sparsity: worked out once for every shape of layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BYTES = 2**29  # of all costs that are kept


class KnownCosts:
    """The costs of those designs of one shape of layers that were asked for before.

    Args:
        cells: how many designs there could be.
        columns: how many numbers each costs.
    """

    def __init__(self, cells: int, columns: int) -> None:
        self._place = np.full(cells, -1, np.int32)
        self._values = np.empty((columns, 0))

    def of(self, cells: Ints, worked_out: Callable[[Ints], Floats]) -> Floats:
        """(columns, n) the costs of some designs.

        Args:
            cells: (n,) their numbers, each once.
            worked_out: gives (columns, k) costs of (k,) designs not asked for yet, by their places in `cells`.
        """
        missing = np.flatnonzero(self._place[cells] < 0)
        if len(missing):
            self._place[cells[missing]] = np.arange(len(missing)) + self._values.shape[1]
            self._values = np.concatenate([self._values, worked_out(missing)], axis=1)
        return self._values.take(self._place[cells], axis=1)

    @property
    def size(self) -> int:
        """Bytes."""
        return self._place.nbytes + self._values.nbytes


_KNOWN: LRUCache[tuple[object, ...], KnownCosts] = LRUCache(_BYTES, getsizeof=lambda known: known.size)


def known_costs(
    key: tuple[object, ...], cells: int, columns: int, asked: Ints, worked_out: Callable[[Ints], Floats]
) -> Floats:
    """The costs of some designs; see `KnownCosts`.

    Args:
        key: what they depend on.
        cells, columns: of all designs.
        asked, worked_out: arguments of `KnownCosts.of`.
    """
    known = _KNOWN.pop(key, None) or KnownCosts(cells, columns)
    found = known.of(asked, worked_out)
    if known.size <= _BYTES:
        _KNOWN[key] = known
    return found
