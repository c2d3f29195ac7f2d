"""Where the operands of a network's layers are not zero on given images: the input of the simulator."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hass_train.hardware.dataflow.simulator.packing import NonZeros
from hass_train.sparsity.layers import SparseLayer
from hass_train.sparsity.statistics import pad


def observe_nonzeros(model: nn.Module, layers: Iterable[str], images: Tensor) -> dict[str, NonZeros]:
    """Run images through a network and note which words of each layer's input and weights are not zero.

    Args:
        model: a network with sparse layers, or a dense one whose activation thresholds are hooks (`gate_activations` of
            `hass_train.export.weights`); its training mode is restored.
        layers: the names of convolutions and linear layers.
        images: (n, channels, height, width) on the model's device.

    Returns:
        The non-zero words by layer. Inputs are (n, height, width, channels) with their padding, weights
        (filters, channels, Kh, Kw); a linear layer has height, Kh and Kw 1, and its tokens as width.

    Raises:
        ValueError: the model has no layer of a given name.
    """
    modules = dict(model.named_modules())
    found: dict[str, NonZeros] = {}
    hooks = []

    def note(name: str, layer: nn.Module, x: Tensor) -> None:
        weight: Tensor = layer.weight  # type: ignore[assignment]
        if isinstance(layer, SparseLayer):
            x, weight = layer.gated_input(x), layer.gated_weight()
        read = pad(layer, x).movedim(1, -1) if isinstance(layer, nn.Conv2d) else x.reshape(len(x), 1, -1, x.shape[-1])
        present = (read != 0).detach()
        kernels = (weight != 0).detach().reshape(*weight.shape[:2], *(weight.shape[2:] or (1, 1)))
        found[name] = NonZeros(present.contiguous().cpu().numpy(), kernels.cpu().numpy())

    for name in layers:
        if name not in modules:
            raise ValueError(f"the model has no layer {name!r}")
        layer = modules[name]
        hooks.append(layer.register_forward_pre_hook(lambda module, inputs, name=name: note(name, module, inputs[0])))
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)
    return found
