"""Where the operands of a network's layers are not zero on given images: the input of the simulator."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from hass_train.hardware.dataflow.simulator.packing import NonZeros
from hass_train.hardware.workload import Workload
from hass_train.sparsity.layers import SparseLayer
from hass_train.sparsity.padding import pad


def observe_nonzeros(
    model: nn.Module, workload: Workload, layers: Collection[str], images: Tensor
) -> dict[str, NonZeros]:
    """Run images through a network and note which words of each layer's input and weights are not zero.

    Args:
        model: a network with sparse layers, or a dense one whose activation thresholds are hooks (`gate_activations` of
            `hass_train.export.weights`); its training mode is restored.
        workload: the same network, traced.
        layers: the names of its compute layers to look at.
        images: (n, channels, height, width) on the model's device.

    Returns:
        The non-zero words by layer. Inputs are (n, height, width, channels) with their padding, weights
        (filters, channels, Kh, Kw); a linear layer has height, Kh and Kw 1, and its tokens as width.

    Raises:
        ValueError: the workload has no compute layer of a given name, or the model no such module.
    """
    modules = dict(model.named_modules())
    found: dict[str, NonZeros] = {}
    hooks = []

    def note(name: str, layer: nn.Module, x: Tensor) -> None:
        weight: Tensor = layer.weight  # type: ignore[assignment]
        if isinstance(layer, SparseLayer):
            x, weight = layer.gated_input(x), layer.stored_weight(name)
        read = pad(layer, x).movedim(1, -1) if isinstance(layer, nn.Conv2d) else x.reshape(len(x), 1, -1, x.shape[-1])
        present = (read != 0).detach()
        kernels = (weight != 0).detach().reshape(*weight.shape[:2], *(weight.shape[2:] or (1, 1)))
        if name in layers:
            found[name] = NonZeros(present.contiguous().cpu().numpy(), kernels.cpu().numpy())

    owners = {name: path for path, names in workload.uses.items() for name in names}
    if unknown := [name for name in layers if owners.get(name) not in modules]:
        raise ValueError(f"the model has no layer {unknown[0]!r}")
    for path in dict.fromkeys(owners[name] for name in layers):
        names = iter(workload.uses[path])  # one for each call
        hooks.append(
            modules[path].register_forward_pre_hook(
                lambda layer, inputs, names=names: note(next(names), layer, inputs[0])
            )
        )
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
