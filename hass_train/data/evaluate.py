"""The accuracy of a network on a split of the data."""

from __future__ import annotations

import torch
from torch import nn

from hass_train.data import ImageData
from hass_train.data.base import placed


def accuracy(model: nn.Module, data: ImageData, split: str, batches: int | None = None) -> tuple[float, int]:
    """Measure the accuracy of a network in evaluation mode.

    Args:
        model: a classifier of images; its training mode is restored.
        data: the data module.
        split: `train`, `val` or `test`.
        batches: limit on the number of batches; None = no limit.

    Returns:
        The fraction of images that are classified correctly, and the number of images.
    """
    training, right, seen = model.training, 0, 0
    model.eval()
    try:
        with torch.no_grad():
            for index, (images, labels) in enumerate(data.statistics_dataloader(split)):
                if batches is not None and index >= batches:
                    break
                logits = model(placed(images, model))
                right += int((logits.argmax(1).cpu() == labels).sum())
                seen += len(labels)
    finally:
        model.train(training)
    return right / seen, seen
