"""HASS-Train: hardware-aware sparsity search for dataflow accelerators, in one training run."""

__version__ = "0.1.0"
