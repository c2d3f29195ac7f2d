"""Lightning callbacks of a search run. They import `hass_train`, never the other way round."""

import hass_train.torchvision_shim  # noqa: F401 - before anything imports torchvision

# isort: split
from callbacks.board import Board
from callbacks.checkpoints import Checkpoints
from callbacks.hardware_penalty import HardwarePenalty
from callbacks.phases import Phases
from callbacks.progress import Progress
from callbacks.signals import Signals
from callbacks.sparsity_monitor import SparsityMonitor

__all__ = ["Board", "Checkpoints", "HardwarePenalty", "Phases", "Progress", "Signals", "SparsityMonitor"]
