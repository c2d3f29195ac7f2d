"""Tiles of zero weights, which the schedule of dense compute engines leaves out.

The engines of a layer compute a tile of i input channels × o filters at once. Where blocks of zeros fill a tile, no
engine has anything to do for any pixel, and the schedule, which is known before an image is seen, goes on to the next.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class ZeroTiles:
    """The tiles of a layer that hold nothing but zero weights.

    A tile whose sides neither divide a block's sides nor are multiples of them cuts blocks in ways that hardly ever
    leave it empty, so it counts as full. So does every tile of a grouped convolution.

    Args:
        layer: convolution or linear layer.
        sparsity: its sparsity, which says what blocks are zero or, where that is not known yet, how many.
    """

    def __init__(self, layer: Operation, sparsity: LayerSparsity) -> None:
        self._live: NDArray[np.bool_] | None = None
        self._density, self._size = 1.0, (1, 1)
        self._known: dict[tuple[int, int], float] = {}
        structure = sparsity.structure
        if structure is not None and layer.groups == 1:
            if structure.blocks is not None:
                self._live = np.array([[one == "1" for one in row] for row in structure.blocks.live])
                self._size, self._density = structure.blocks.size, structure.blocks.density
            elif structure.block is not None:
                self._size, self._density = structure.block, sparsity.weight_density

    @property
    def any(self) -> bool:
        """Whether any tile may be left out."""
        return self._density < 1

    def kept_fraction(self, i: Ints, o: Ints) -> Floats:
        """The fraction of tiles that hold a non-zero weight.

        Args:
            i, o: input channels and filters of a tile, as arrays that broadcast.

        Returns:
            An array of their common shape.
        """
        i, o = np.broadcast_arrays(np.asarray(i), np.asarray(o))
        if not self.any:
            return np.ones(i.shape)
        pairs, place = np.unique(np.stack([i.ravel(), o.ravel()], 1), axis=0, return_inverse=True)
        return np.array([self._kept_fraction(int(a), int(b)) for a, b in pairs])[place].reshape(i.shape)

    def _kept_fraction(self, i: int, o: int) -> float:
        """`kept_fraction` of tiles of one size."""
        rows, columns = (
            1 if size % fold == 0 else fold // size if fold % size == 0 else 0
            for fold, size in zip((o, i), self._size, strict=True)
        )
        if not rows or not columns:
            return 1.0
        if (rows, columns) not in self._known:
            live = self._live
            if live is None:
                return 1 - (1 - self._density) ** (rows * columns)
            missing = -live.shape[0] % rows, -live.shape[1] % columns
            padded = np.pad(live, ((0, missing[0]), (0, missing[1])))
            shape = (padded.shape[0] // rows, rows, padded.shape[1] // columns, columns)
            self._known[rows, columns] = float(padded.reshape(shape).any((1, 3)).mean())
        return self._known[rows, columns]
