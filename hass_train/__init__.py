"""HASS-Train: hardware-aware sparsity search for dataflow accelerators, in one training run."""

from hass_train.runtime import torchvision_shim

__version__ = "0.1.0"

torchvision_shim.install()  # before anybody imports torchvision
