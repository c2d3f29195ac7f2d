"""Initiations that dense engines leave out: those in which every block of weights is zero.

A layer's engines compute a tile of i input channels × o filters at once. Where blocks of zeros fill a tile, no engine
of it has anything to do for any pixel, and the schedule, known before an image is seen, goes on to the next one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hass_train.hardware.profile import LayerSparsity
from hass_train.hardware.workload import Operation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Skips:
    """How many tiles of a layer are left.

    Tiles whose sides neither divide a block's nor are multiples of it cut blocks in ways that hardly ever leave them
    empty; they count as full, and so does everything in grouped convolutions.

    Args:
        layer: convolution or linear layer.
        sparsity: of its weights: which blocks hold anything or, of blocks that are not known yet, how many.
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
        """Whether there is anything to leave out."""
        return self._density < 1

    def left(self, i: Ints, o: Ints) -> Floats:
        """Fraction of tiles that hold anything.

        Args:
            i, o: input channels and filters of tiles; arrays that broadcast.

        Returns:
            Of their common shape.
        """
        i, o = np.broadcast_arrays(np.asarray(i), np.asarray(o))
        if not self.any:
            return np.ones(i.shape)
        pairs, place = np.unique(np.stack([i.ravel(), o.ravel()], 1), axis=0, return_inverse=True)
        return np.array([self._of(int(a), int(b)) for a, b in pairs])[place].reshape(i.shape)

    def _of(self, i: int, o: int) -> float:
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
