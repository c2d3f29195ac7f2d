"""Sparse layers, the rules that place them, and what they measure."""

import hass_train.torchvision_shim  # noqa: F401 - timm imports torchvision
from hass_train.sparsity.convert import LayerRule, sparse_layers, sparsify
from hass_train.sparsity.layers import Mode, SparseConv2d, SparseLayer, SparseLinear
from hass_train.sparsity.statistics import calibrate, running_profile
from hass_train.sparsity.step import SearchStep, apply_masks, watching

__all__ = [
    "LayerRule",
    "Mode",
    "SearchStep",
    "SparseConv2d",
    "SparseLayer",
    "SparseLinear",
    "apply_masks",
    "calibrate",
    "running_profile",
    "sparse_layers",
    "sparsify",
    "watching",
]
