"""Networks as files: weights as safetensors with timm's keys, and activation thresholds in sparsity.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.export.initial import initialise
from hass_train.precision import state_keys
from hass_train.runtime.errors import UserError
from hass_train.runtime.files import WEIGHTS, AnyPath
from hass_train.sparsity import own_keys, sparse_layers
from hass_train.sparsity.mode import Mode
from hass_train.sparsity.sparse_classes import SPARSE_CLASSES

DENSE_WEIGHTS, SPARSE_WEIGHTS, SPARSITY = "dense.safetensors", WEIGHTS, "sparsity.json"


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's state dict with timm's keys alone, contiguous and on the CPU. Tensors under several names are copied,
    since safetensors files cannot share them."""
    own, taken, state = own_keys(model) | state_keys(model), set[int](), dict[str, Tensor]()
    for key, value in model.state_dict().items():
        if key not in own:
            plain = value.detach().cpu().contiguous()
            state[key] = plain.clone() if plain.data_ptr() in taken else plain
            taken.add(plain.data_ptr())
    return state


def save_dense(model: nn.Module, path: AnyPath) -> None:
    """Write a network's weights so that the plain timm model loads them."""
    save_file(plain_state(model), path)


def save_sparse(model: nn.Module, folder: AnyPath, model_settings: dict[str, Any]) -> None:
    """Write a frozen network as `model.safetensors`, where masked weights are exactly zero, and `sparsity.json`.

    Args:
        model: a network with frozen sparse layers.
        folder: the directory to write into.
        model_settings: the arguments of `timm.create_model`, for those who load the network.
    """
    folder = Path(folder)
    save_dense(model, folder / SPARSE_WEIGHTS)
    layers = {
        name: {
            "weight_density": layer.weight_density(),
            "nonzero_weights": int(torch.count_nonzero(layer.weight)),
            "weights": layer.weight.numel(),
            "activation_threshold": layer.activation_level(),
        }
        for name, layer in sparse_layers(model)
    }
    about = "inputs x of a layer with |x| <= activation_threshold are taken as 0; weights are masked already"
    text = json.dumps({"schema": 1, "about": about, "model": model_settings, "layers": layers}, indent=1)
    (folder / SPARSITY).write_text(text)


def load_sparse(model: nn.Module, folder: AnyPath) -> nn.Module:
    """Turn a dense timm model into the frozen network of a run, with sparse layers, in place.

    Args:
        model: the model that `sparsity.json` describes.
        folder: the run's directory.

    Raises:
        UserError: a file is missing, or does not fit the model.
    """
    folder = Path(folder)
    try:
        layers = json.loads((folder / SPARSITY).read_text())["layers"]
        initialise(model, folder / SPARSE_WEIGHTS, key="run")
        modules = dict(model.named_modules())
        for name, about in layers.items():
            layer = SPARSE_CLASSES[type(modules[name])].from_dense(modules[name], True, True, operations=(name,))
            layer.mask.copy_(layer.weight != 0)
            layer.frozen_threshold.fill_(float(about["activation_threshold"]))
            layer.mode.fill_(int(Mode.FROZEN))
            layer.synchronize()
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"{folder} does not hold the network of a search.py run ({first})") from error
    return model


def gate_activations(model: nn.Module, folder: AnyPath) -> nn.Module:
    """Apply the activation thresholds of `sparsity.json` to a dense timm model, by hooks on the inputs of its layers.

    With the weights of `model.safetensors` it then computes the same as the network of the run.

    Args:
        model: the model that `sparsity.json` describes; it is changed in place and returned.
        folder: the run's directory.

    Raises:
        UserError: there is no such run.
    """
    try:
        layers = json.loads((Path(folder) / SPARSITY).read_text())["layers"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder} holds no {SPARSITY} of a search.py run ({error})") from error
    modules = dict(model.named_modules())
    for name, layer in layers.items():
        level = layer["activation_threshold"]
        if level > 0:
            modules[name].register_forward_pre_hook(lambda _, inputs, level=level: F.hardshrink(inputs[0], level))
    return model
