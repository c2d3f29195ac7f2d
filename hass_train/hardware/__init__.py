"""Analytical accelerator models. Imports no Lightning, timm, Hydra or W&B; usable from a notebook."""

from hass_train.hardware.aie.array import AieArray
from hass_train.hardware.aie.model import AieAccelerator
from hass_train.hardware.dataflow.model import DataflowAccelerator
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.device import Device, load_device
from hass_train.hardware.estimate import CannotFit, Estimate, HardwareModel, LayerEstimate
from hass_train.hardware.profile import LayerSparsity, SparsityProfile
from hass_train.hardware.structure import Blocks, Structure
from hass_train.hardware.trace import UnsupportedOperation, trace
from hass_train.hardware.workload import Operation, OperationKind, Workload

__all__ = [
    "AieAccelerator",
    "AieArray",
    "Blocks",
    "CannotFit",
    "DataflowAccelerator",
    "DataflowOptions",
    "Device",
    "Estimate",
    "HardwareModel",
    "LayerEstimate",
    "LayerSparsity",
    "Operation",
    "OperationKind",
    "SparsityProfile",
    "Structure",
    "UnsupportedOperation",
    "Workload",
    "load_device",
    "trace",
]
