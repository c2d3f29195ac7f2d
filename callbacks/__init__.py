"""Lightning callbacks of a search run. They import `hass_train`, never the other way round."""

from callbacks.board import Board
from callbacks.checkpoints import Checkpoints
from callbacks.hardware_penalty import HardwarePenalty
from callbacks.phases import Phases
from callbacks.progress import Progress
from callbacks.signals import Signals
from callbacks.sparsity_monitor import SparsityMonitor

__all__ = ["Board", "Checkpoints", "HardwarePenalty", "Phases", "Progress", "Signals", "SparsityMonitor"]
