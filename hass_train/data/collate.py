"""Stacks images and labels into batches, and refuses those that a network could not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hass_train.runtime.errors import UserError


@dataclass(frozen=True)
class Collate:
    """The `collate_fn` of a data module's loaders.

    Args:
        name: name of the data set, for messages.
        classes: number of labels.
        shape: (channels, height, width) of one image.
    """

    name: str
    classes: int
    shape: tuple[int, int, int]

    def __call__(self, samples: Sequence[Any]) -> tuple[Tensor, Tensor]:
        """Stack (image, label) pairs into (n, channels, height, width) float32 images and (n,) int64 labels.

        Raises:
            UserError: a sample is no pair, an image has another type or shape, or a label is no class.
        """
        try:
            images, labels = zip(*samples, strict=True)
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.name} gives a {_kind(samples[0])}; pairs of (image, label) are wanted") from error
        for image in images:
            self._check_image(image)
        try:
            numbers = torch.stack([torch.as_tensor(label) for label in labels])
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(
                f"{self.name} gives labels such as {labels[0]!r}; whole numbers from 0 are wanted"
            ) from error
        self.check_labels(numbers)
        return torch.stack(images), numbers.long()

    def _check_image(self, image: Any) -> None:
        if not isinstance(image, Tensor):
            raise UserError(
                f"{self.name} gives a {_kind(image)} for an image; a tensor is wanted, as torchvision's "
                "v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]) makes it"
            )
        if image.dtype != torch.float32:
            raise UserError(
                f"{self.name} gives images of {image.dtype}; torch.float32 is wanted, as torchvision's "
                "v2.ToDtype(torch.float32, scale=True) makes it"
            )
        if image.shape != self.shape:
            raise UserError(
                f"{self.name} gives an image of {list(image.shape)}, and its input_size is {list(self.shape)} "
                "(channels, height, width); they must be the same"
            )

    def check_labels(self, labels: Tensor) -> None:
        """Check labels.

        Args:
            labels: (n,).

        Raises:
            UserError: a label is not a whole number of 0 … classes − 1.
        """
        if labels.ndim != 1 or labels.is_floating_point() or labels.is_complex():
            raise UserError(
                f"{self.name} gives labels of {labels.dtype} and shape {list(labels.shape[1:])}; single whole numbers "
                "are wanted"
            )
        wrong = labels[(labels < 0) | (labels >= self.classes)]
        if len(wrong):
            raise UserError(
                f"{self.name} has a label {int(wrong[0])}; it has {self.classes} classes, from 0 to {self.classes - 1}"
            )


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
