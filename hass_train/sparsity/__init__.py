"""Sparse layers: the patterns they prune by, the rules that choose them, and measurements of their sparsity."""

from hass_train.sparsity.balanced import Balanced
from hass_train.sparsity.block import Block
from hass_train.sparsity.channel import Channel
from hass_train.sparsity.convert import OWN_KEYS, LayerRule, link_norms, own_keys, sparse_layers, sparsify, sparsity_of
from hass_train.sparsity.layers import SparseLayer
from hass_train.sparsity.mode import Mode
from hass_train.sparsity.nm import NM
from hass_train.sparsity.pattern import Grouped, Pattern, ranked
from hass_train.sparsity.sparse_classes import SparseConv2d, SparseLinear
from hass_train.sparsity.statistics import calibrate, running_profile
from hass_train.sparsity.step import SearchStep, apply_masks, masks_hold, watching
from hass_train.sparsity.thresholds import raw_threshold
from hass_train.sparsity.unstructured import Unstructured

__all__ = [
    "NM",
    "OWN_KEYS",
    "Balanced",
    "Block",
    "Channel",
    "Grouped",
    "LayerRule",
    "Mode",
    "Pattern",
    "SearchStep",
    "SparseConv2d",
    "SparseLayer",
    "SparseLinear",
    "Unstructured",
    "apply_masks",
    "calibrate",
    "link_norms",
    "masks_hold",
    "own_keys",
    "ranked",
    "raw_threshold",
    "running_profile",
    "sparse_layers",
    "sparsify",
    "sparsity_of",
    "watching",
]
