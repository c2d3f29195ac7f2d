"""Accuracy of a network on a split."""

from __future__ import annotations

import torch
from torch import nn

from hass_train.data import ImageData


def accuracy(model: nn.Module, data: ImageData, split: str, batches: int | None = None) -> tuple[float, int]:
    """Fraction of a split that a network classifies rightly, in evaluation mode, and of how many images.

    Args:
        model: any classifier; its mode is left as it was.
        data: the split's owner.
        split: `train`, `val` or `test`.
        batches: at most so many; None = all.
    """
    device = next(model.parameters()).device
    training, right, seen = model.training, 0, 0
    model.eval()
    try:
        with torch.no_grad():
            for index, (images, labels) in enumerate(data.statistics_dataloader(split)):
                if batches is not None and index >= batches:
                    break
                logits = model(images.to(device).contiguous(memory_format=torch.channels_last))
                right += int((logits.argmax(1).cpu() == labels).sum())
                seen += len(labels)
    finally:
        model.train(training)
    return right / seen, seen
