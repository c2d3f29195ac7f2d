"""Replaces the layers of a model by sparse ones, as rules say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hass_train.hardware.workload import Workload
from hass_train.runtime.errors import UserError
from hass_train.sparsity.layers import SparseLayer
from hass_train.sparsity.matching import FIRST, LAST, check_used, matches
from hass_train.sparsity.pattern import Pattern
from hass_train.sparsity.sparse_classes import SPARSE_CLASSES

OWN_KEYS = (
    "weight_threshold", "activation_threshold", "mask", "mode", "activation_scale", "activation_density",
    "frozen_threshold", "turn",
)  # fmt: skip
"""What sparse layers add to the parameters and buffers of the layers that they replace."""


@dataclass(frozen=True, slots=True)
class LayerRule:
    """Says which operands of some layers may become sparse.

    Args:
        match: the layers: a glob on module paths, `@first` (those that read the image), `@last` (the classifiers, of
            which a distilled network has two), or a class name (`Conv2d`, `Linear`).
        weight: whether their weights are pruned.
        activation: whether their inputs are gated.
    """

    match: str
    weight: bool = True
    activation: bool = True


def sparsify(
    model: nn.Module,
    rules: Mapping[str, LayerRule],
    pattern: Pattern | None = None,
    workload: Workload | None = None,
) -> nn.Module:
    """Turn a model's convolutions and linear layers into sparse ones, in place.

    Here the layers of the model and the operations of the hardware are brought together: layers that are no compute
    operation, since they are not called with images or since another module reads their weights, stay as they are.

    Args:
        model: any torch module.
        rules: the rules by name, in order; for each layer the last one that matches holds. Layers that no rule
            matches, or whose rule allows nothing, are left out of the search but still measured.
        pattern: how weights are grouped for pruning; unstructured by default.
        workload: the model, traced. Without it every layer is taken to be called once, in the order of the modules.

    Returns:
        The same model.

    Raises:
        UserError: a rule matches nothing, a rule allows sparsity in a layer whose class has no sparse version, two
            layers share their weights, or nothing in the model may become sparse.
    """
    layers = _layers_of(model, workload)
    order = list(layers)
    ends = {FIRST: {order[0]}, LAST: {order[-1]}}
    if workload is not None:
        ends = {FIRST: {*workload.first_layers}, LAST: {*workload.last_layers}}
    used: set[str] = set()
    for name, module in layers.items():
        allowed = LayerRule("", weight=False, activation=False)
        for key, rule in rules.items():
            if matches(rule, name, module, ends):
                allowed = rule
                used.add(key)
        operations = (name,) if workload is None else workload.uses[name]
        sparse_class = SPARSE_CLASSES.get(type(module))
        if sparse_class is not None:
            sparse_class.from_dense(module, allowed.weight, allowed.activation, pattern, operations)
        elif allowed.weight or allowed.activation:
            raise UserError(
                f"layer {name} is a {type(module).__name__}, which has no sparse version; leave it dense with "
                f"+sparsity.rules.other='{{match: {name}, weight: false, activation: false}}'"
            )
    check_used("sparsity", rules, used, order)
    if not any(layer.prune_weights or layer.gate_activations for _, layer in sparse_layers(model)):
        raise UserError(
            "sparsity.rules leave no layer that may become sparse; allow weight or activation in one of them"
        )
    return model


def _layers_of(model: nn.Module, workload: Workload | None) -> dict[str, nn.Module]:
    """The convolutions and linear layers of a model that are compute operations, by their paths.

    Raises:
        UserError: there are none, or two of them share their weights, which two masks would prune.
    """
    layers: dict[str, nn.Module] = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
        and not isinstance(module, SparseLayer)
        and (workload is None or name in workload.uses)
    }
    if not layers:
        raise UserError(f"{type(model).__name__} has no convolution or linear layer to make sparse")
    owners: dict[int, str] = {}
    for name, module in layers.items():
        first = owners.setdefault(id(module.weight), name)
        if first != name:
            raise UserError(f"layers {first} and {name} share their weights, which only one module may prune")
    return layers


def sparse_layers(model: nn.Module) -> Iterator[tuple[str, SparseLayer]]:
    """The sparse layers of a model with their paths."""
    for name, module in model.named_modules():
        if isinstance(module, SparseLayer):
            yield name, module


def own_keys(model: nn.Module) -> set[str]:
    """The keys of the model's state dict that its sparse layers have added."""
    modules = model.named_modules(remove_duplicate=False)  # a layer that two blocks share has keys under both names
    return {f"{name}.{key}" for name, module in modules if isinstance(module, SparseLayer) for key in OWN_KEYS}


def sparsity_of(model: nn.Module) -> float:
    """The fraction of zeros among the weights of all layers that may be pruned."""
    layers = [layer for _, layer in sparse_layers(model) if layer.prune_weights]
    whole = sum(layer.weight.numel() for layer in layers)
    return 1 - sum(layer.weight_density() * layer.weight.numel() for layer in layers) / whole


def link_norms(model: nn.Module, image: Tensor) -> None:
    """Set `batch_norms` of every sparse layer whose output goes directly into batch-norms.

    The pairs are found by running the model once.

    Args:
        model: a network with sparse layers; its training mode is restored.
        image: (1, channels, height, width) an image of any content, on the model's device.
    """
    makers: dict[int, tuple[SparseLayer, Tensor]] = {}  # keeps the output alive, so that its id is not reused
    hooks = []
    for _, layer in sparse_layers(model):
        hooks.append(layer.register_forward_hook(lambda one, _, out: makers.update({id(out): (one, out)})))
    for norm in model.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            hooks.append(norm.register_forward_pre_hook(lambda one, inputs: _follow(makers.get(id(inputs[0])), one)))
    training = model.training
    try:
        with torch.no_grad():
            model.eval()(image)
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)


def _follow(maker: tuple[SparseLayer, Tensor] | None, norm: nn.Module) -> None:
    if maker is not None and norm not in maker[0].batch_norms:
        maker[0].batch_norms = (*maker[0].batch_norms, norm)
