"""Lets a CPU build of torch import a torchvision that was built for CUDA (architecture, decision 10).

Such a torchvision fails at import because its compiled library cannot be loaded and nobody declares the two operators
that it registers shapes for. Declaring their schemas is enough for everything this project (and timm) uses. Where
torchvision loads by itself, nothing happens. Import this module before timm or torchvision.
"""

from __future__ import annotations

import sys

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: torch.library.Library | None = None  # operators vanish with the object that declared them


def ensure_torchvision() -> None:
    """Import torchvision, declaring its two missing operators if the import fails for want of them."""
    global _declared
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error) or _declared is not None:
            raise
        _declared = torch.library.Library("torchvision", "DEF")
        for schema in _SCHEMAS:
            _declared.define(schema)
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        import torchvision  # noqa: F401


ensure_torchvision()
