"""The integer network of a run as files."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from hass_train.precision import IntegerNetwork, quantisers_of
from hass_train.precision.integer_network import INTEGERS, INTEGERS_JSON
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import AnyPath


def save_integers(model: nn.Module, folder: AnyPath, onnx: bool) -> list[Path]:
    """Write the integers of a network, if it computes with them, and return the paths of the files.

    Args:
        model: the network.
        folder: the run's directory.
        onnx: whether to write ONNX models too.

    Raises:
        UserError: a layer's accumulator could overflow, or ONNX cannot be written.
    """
    if quantisers_of(model) is None:
        return []
    network, names = IntegerNetwork.of(model), [INTEGERS, INTEGERS_JSON]
    network.save(folder)
    if onnx:
        from hass_train.export.onnx import MODEL, QONNX_MODEL, save_onnx

        save_onnx(network, folder)
        names += [MODEL, QONNX_MODEL]
    return [Path(folder) / name for name in names]


def load_integers(folder: AnyPath, why: str) -> IntegerNetwork:
    """Read the integer network of a finished run.

    Args:
        folder: the run's directory.
        why: who needs integers, for the message.

    Raises:
        UserError: the network computes with floating-point numbers, or a file is damaged; one line.
    """
    if not (Path(folder) / INTEGERS_JSON).is_file():  # as finished runs of other precisions have
        raise UserError(
            f"{folder} was made with precision=float, and {why}; make them with python search.py precision=int8 "
            f"init_from={folder}, and what else the run was given"
        )
    return IntegerNetwork.load(folder)
