"""Networks as files: weights as safetensors with timm's keys, and activation thresholds in sparsity.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from hass_train.runtime.errors import UserError
from hass_train.sparsity import sparse_layers
from hass_train.sparsity.mode import Mode
from hass_train.sparsity.sparse_classes import SPARSE_CLASSES

DENSE_WEIGHTS, SPARSE_WEIGHTS, SPARSITY = "dense.safetensors", "model.safetensors", "sparsity.json"
_OWN_KEYS = (
    "weight_threshold", "activation_threshold", "mask", "mode", "activation_scale", "activation_density",
    "frozen_threshold", "turn",
)  # fmt: skip


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's state dict with timm's keys alone, contiguous and on the CPU."""
    own = {f"{name}.{key}" for name, _ in sparse_layers(model) for key in _OWN_KEYS}
    return {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items() if key not in own}


def save_dense(model: nn.Module, path: Path) -> None:
    """Write a network's weights so that the plain timm model loads them."""
    save_file(plain_state(model), path)


def save_sparse(model: nn.Module, folder: Path, model_settings: dict[str, Any]) -> None:
    """Write a frozen network as `model.safetensors`, where masked weights are exactly zero, and `sparsity.json`.

    Args:
        model: a network with frozen sparse layers.
        folder: the directory to write into.
        model_settings: the arguments of `timm.create_model`, for those who load the network.
    """
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


def load_weights(path: Path, key: str = "init_from") -> dict[str, Tensor]:
    """Read the state dict of a safetensors file or of a checkpoint of this project, with timm's keys alone.

    Args:
        path: the file.
        key: the key of the configuration that named the file, for error messages.

    Raises:
        UserError: there is no such file, or it is neither.
    """
    if not path.is_file():
        raise UserError(f"{key}: there is no file {path}")
    if path.suffix == ".safetensors":
        try:
            weights: dict[str, Tensor] = load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{key}: {path} is no readable safetensors file") from error
        return weights
    state = plain_content(path, key).get("state_dict")
    if not isinstance(state, dict):
        raise UserError(f"{key}: {path} is no checkpoint: it has no state_dict")
    inner = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    return {name: value for name, value in inner.items() if name.rsplit(".", 1)[-1] not in _OWN_KEYS}


def plain_content(path: Path, key: str) -> dict[str, Any]:
    """Read a checkpoint of any program, provided that it holds nothing but plain data and tensors.

    Args:
        path: the file.
        key: the key of the configuration that named the file, for error messages.

    Raises:
        UserError: the file cannot be read, or loading it would run code, which is refused.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of arbitrary content can cause any error
        code = "GLOBAL" in str(error)  # pickle's opcode for a function or class, which torch's message names
        what = "holds more than plain data and is refused" if code else "is no readable checkpoint"
        raise UserError(f"{key}: {path} {what}") from error
    if not isinstance(content, dict):
        raise UserError(f"{key}: {path} is no checkpoint")
    return content


def load_sparse(model: nn.Module, folder: Path) -> nn.Module:
    """Turn a dense timm model into the frozen network of a run, with sparse layers, in place.

    Args:
        model: the model that `sparsity.json` describes.
        folder: the run's directory.

    Raises:
        UserError: a file is missing, or does not fit the model.
    """
    try:
        layers = json.loads((folder / SPARSITY).read_text())["layers"]
        model.load_state_dict(load_weights(folder / SPARSE_WEIGHTS, "run"))
        modules = dict(model.named_modules())
        for name, about in layers.items():
            layer = SPARSE_CLASSES[type(modules[name])].from_dense(modules[name], True, True)
            layer.mask.copy_(layer.weight != 0)
            layer.frozen_threshold.fill_(float(about["activation_threshold"]))
            layer.mode.fill_(int(Mode.FROZEN))
            layer.synchronize()
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"{folder} does not hold the network of a search.py run ({first})") from error
    return model


def gate_activations(model: nn.Module, folder: Path) -> nn.Module:
    """Apply the activation thresholds of `sparsity.json` to a dense timm model, by hooks on the inputs of its layers.

    With the weights of `model.safetensors` it then computes the same as the network of the run.

    Args:
        model: the model that `sparsity.json` describes; it is changed in place and returned.
        folder: the run's directory.
    """
    layers = json.loads((folder / SPARSITY).read_text())["layers"]
    modules = dict(model.named_modules())
    for name, layer in layers.items():
        level = layer["activation_threshold"]
        if level > 0:
            modules[name].register_forward_pre_hook(lambda _, inputs, level=level: F.hardshrink(inputs[0], level))
    return model
