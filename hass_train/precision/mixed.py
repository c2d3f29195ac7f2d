"""Bits of weights layer by layer: how much fewer of them change the answers, and which to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor

from hass_train.hardware.dataflow.exploration.knapsack import quiet
from hass_train.precision.quantisers import Quantisers

_TIE = 1e-6  # what a unit of error costs where bits gain nothing: then more are better


@torch.no_grad()
def output_errors(quantisers: Quantisers, images: Tensor, choices: Sequence[int]) -> dict[str, dict[int, float]]:
    """Measure how far the answers are off if a single layer's weights have fewer bits.

    Args:
        quantisers: of a calibrated network, whose bits are the present ones again afterwards.
        images: (n, channels, height, width).
        choices: bits that a layer's weights may have.

    Returns:
        For each free layer and each choice the squared error of the answers, as a fraction of their variance over
        classes. What all classes have in common counts in neither, since it changes no decision.
    """
    model, present = quantisers.model, quantisers.layer_bits()
    training = model.training
    model.eval()
    try:
        exact = _centred(model(images))
        energy = max(float(exact.square().sum()), 1e-30)
        errors: dict[str, dict[int, float]] = {}
        for name, now in present.items():
            errors[name] = {}
            for bits in choices:
                if bits == now:
                    errors[name][bits] = 0.0
                    continue
                quantisers.set_layer_bits({name: bits})
                errors[name][bits] = float((_centred(model(images)) - exact).square().sum()) / energy
            quantisers.set_layer_bits({name: now})
    finally:
        quantisers.set_layer_bits(present)
        model.train(training)
    return errors


def _centred(logits: Tensor) -> Tensor:
    """Answers (n, classes), float64, less their mean over classes."""
    wide = logits.double()
    return wide - wide.mean(1, keepdim=True)


def choose_bits(
    gains: Mapping[str, Mapping[int, float]], errors: Mapping[str, Mapping[int, float]], most: float
) -> dict[str, int]:
    """Choose the bits of each layer that gain most together: a multiple-choice knapsack, solved exactly.

    Args:
        gains: by layer and bits, log of the throughput gained.
        errors: by layer and bits, what the answers are off; 0 for one of a layer's choices.
        most: the largest sum of errors.

    Returns:
        The bits by layer.
    """
    if not errors:
        return {}
    items = [(layer, bits) for layer, choices in errors.items() for bits in choices]
    worth = np.array([gains[layer][bits] for layer, bits in items])
    cost = np.array([errors[layer][bits] for layer, bits in items])
    worth = np.where(np.isfinite(worth), worth, -1e6)  # a width for which there is no design
    layers = list(errors)
    one_each = np.zeros((len(layers), len(items)))
    for column, (layer, _) in enumerate(items):
        one_each[layers.index(layer), column] = 1
    limits = [LinearConstraint(one_each, 1, 1), LinearConstraint(cost[None], -np.inf, most)]
    with quiet():
        found = milp(
            _TIE * cost - worth, integrality=np.ones(len(items)), bounds=Bounds(0, 1), constraints=limits,
            options={"mip_rel_gap": 0.0},
        )  # fmt: skip
    if found.x is None:
        raise RuntimeError(f"no bits were found: {found.message}")
    return {layer: bits for (layer, bits), taken in zip(items, found.x, strict=True) if taken > 0.5}
