"""The handwritten digits that come with scikit-learn: real images without a download."""

from __future__ import annotations

from typing import Any

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn import functional as F
from torch.utils.data import Dataset
from torchvision.transforms import v2

from hass_train.data.base import ImageData, TensorImages, with_channels

_SPLIT_SEED = 0  # the split is part of the data set: the same whatever the run's seed


class Digits(ImageData):
    """1,797 grey 8×8 digits, enlarged. The stratified split, 60/20/20, is the same for every seed.

    Args:
        batch_size, workers, seed: see `ImageData`.
        size: height and width in pixels after enlarging.
        augment: whether to shift training images at random, by up to a sixteenth of their size.
    """

    CONVERTS = True

    def __init__(
        self, batch_size: int = 64, workers: int = 0, seed: int = 0, size: int = 32, augment: bool = True
    ) -> None:
        super().__init__("digits", 10, (1, size, size), batch_size, workers, seed)
        self.augment = augment

    def load(self) -> dict[str, Dataset[Any]]:
        digits = load_digits()
        size = self.input_size[1]
        images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16.0
        images = F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
        images = with_channels((images - images.mean()) / images.std(), self.input_size[0])
        labels = torch.tensor(digits.target, dtype=torch.long)
        rest, test = train_test_split(range(len(labels)), test_size=0.2, stratify=labels, random_state=_SPLIT_SEED)
        train, val = train_test_split(rest, test_size=0.25, stratify=labels[rest], random_state=_SPLIT_SEED)
        shift = v2.RandomCrop(size, padding=max(size // 16, 1), fill=float(images.min())) if self.augment else None
        return {
            "train": TensorImages(images[train], labels[train], shift),
            "val": TensorImages(images[val], labels[val]),
            "test": TensorImages(images[test], labels[test]),
        }
