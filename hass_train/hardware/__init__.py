"""Analytical accelerator models. Imports no Lightning, timm, Hydra or W&B; usable from a notebook."""

from hass_train.hardware.accelerator import WIDTHS, Accelerator
from hass_train.hardware.aie.array import AieArray
from hass_train.hardware.aie.model import AieAccelerator
from hass_train.hardware.dataflow.model import DataflowAccelerator
from hass_train.hardware.dataflow.options import DataflowOptions
from hass_train.hardware.device import Device, load_device
from hass_train.hardware.estimate import CannotFit, Energy, Estimate, LayerEstimate, Resources
from hass_train.hardware.families import ai_engine_array, fpga
from hass_train.hardware.profile import LayerSparsity, SparsityProfile
from hass_train.hardware.structure import Blocks, Structure
from hass_train.hardware.trace import UnsupportedOperation, trace
from hass_train.hardware.workload import Operation, OperationKind, Workload

__all__ = [
    "WIDTHS",
    "Accelerator",
    "AieAccelerator",
    "AieArray",
    "Blocks",
    "CannotFit",
    "DataflowAccelerator",
    "DataflowOptions",
    "Device",
    "Energy",
    "Estimate",
    "LayerEstimate",
    "LayerSparsity",
    "Operation",
    "OperationKind",
    "Resources",
    "SparsityProfile",
    "Structure",
    "UnsupportedOperation",
    "Workload",
    "ai_engine_array",
    "fpga",
    "load_device",
    "trace",
]
