"""Bank-balanced sparsity: every bank of a filter keeps equally many weights (Cao et al., FPGA 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from hass_train.hardware.structure import Structure
from hass_train.sparsity.group_ranks import GroupRanks


@dataclass(frozen=True)
class Balanced(GroupRanks):
    """In every filter, each bank of M weights keeps the k largest; a layer's threshold chooses its k from M to 1.

    A bank is the whole kernel of some consecutive input channels, what one compute engine takes in a round, so that
    engines side by side have equally many weights to multiply. A layer with fewer channels than a bank (depthwise
    convolutions have one for each filter) has banks of all its channels. Where the channels of a bank do not divide
    those of the layer, the last bank is smaller and keeps min(k, its size) weights: none ever keeps more than k.

    Args:
        channels: input channels of a bank of 1×1 convolutions and linear layers, M = channels.
        window_channels: input channels of a bank of larger kernels, M = Kh·Kw·window_channels.
        pull: SR-STE's decay of pruned weights in the search, as in `Grouped`.

    Raises:
        ValueError: a number of channels is below 1, or the pull lies outside [0, 1).
    """

    whole_kernel: ClassVar[bool] = True

    channels: int = 16
    window_channels: int = 1
    pull: float = 2e-4

    def __post_init__(self) -> None:
        for name in ("channels", "window_channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; a bank has at least 1 input channel")
        super().__post_init__()

    @property
    def least(self) -> int:
        """See `GroupRanks`: no bank is ever empty."""
        return 1

    def group_channels(self, weight: Tensor) -> int:
        """See `GroupRanks`."""
        return min(self.window_channels if weight[0, 0].numel() > 1 else self.channels, weight.shape[1])

    def structure(self, mask: Tensor, groups: int) -> Structure:
        """See `Pattern`: k is the number of weights that the fullest bank keeps."""
        return Structure(bank=(self._fullest(mask), self.group_channels(mask)))

    def promise(self, weight: Tensor, groups: int, density: float) -> Structure:
        """See `Pattern`."""
        return Structure(bank=(self._kept(weight, groups, density), self.group_channels(weight)))

    def __str__(self) -> str:
        return f"balanced banks of {self.channels} channels ({self.window_channels} of larger kernels)"
