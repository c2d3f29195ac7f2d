"""Evaluates a trial: applies thresholds in place, measures accuracy and sparsity, and estimates the hardware."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hass_train.data.evaluate import accuracy
from hass_train.search.subject import Subject
from hass_train.search.trials.trial import Trial
from hass_train.sparsity import sparse_layers
from hass_train.sparsity.thresholds import raw_threshold
from hass_train.sparsity.unstructured import sample

WEIGHT, ACTIVATION = "weight", "activation"
_SPARSITY_IMAGES = 64


class Evaluator:
    """Evaluates thresholds of one trained network.

    Thresholds are named `LAYER/weight` and `LAYER/activation`. Their units are the typical score of the layer's pattern
    (mean |w| if it is unstructured) and the mean |x| of its input. The latter is measured on validation images rather
    than taken from training, so that equal weights give equal trials in every process.

    Args:
        subject: the network, in the search mode.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.layers = dict(sparse_layers(subject.model))
        self.names = [
            f"{name}/{kind}"
            for name, layer in self.layers.items()
            for kind, allowed in ((WEIGHT, layer.prune_weights), (ACTIVATION, layer.gate_activations))
            if allowed
        ]
        # the largest weight threshold of layers whose pattern has one
        self.reach = {
            name: layer.pattern.max_threshold
            for name, layer in self.layers.items()
            if layer.pattern.max_threshold is not None
        }
        self._magnitudes = self._measure_inputs()
        self._known: dict[tuple[float, ...], Trial] = {}

    def apply(self, thresholds: Mapping[str, float]) -> None:
        """Set the thresholds of the layers by name; those that are not named become 0."""
        for name, layer in self.layers.items():
            for kind in (WEIGHT, ACTIVATION):
                with torch.no_grad():
                    raw = raw_threshold(thresholds.get(f"{name}/{kind}", 0.0))
                    getattr(layer, f"{kind}_threshold").copy_(raw)

    def most(self, name: str, usual: float) -> float:
        """The largest value to try for a threshold.

        Args:
            name: name of the threshold.
            usual: the value for thresholds on magnitudes, which have no maximum; thresholds on ranks of groups have.
        """
        layer, _, kind = name.rpartition("/")
        return self.reach.get(layer, usual) if kind == WEIGHT else usual

    def evaluate(self, thresholds: Mapping[str, float], number: int = 0) -> Trial:
        """Apply thresholds, and measure what they achieve; equal thresholds are measured only once.

        Args:
            thresholds: the thresholds by name; those that are not named are 0.
            number: number of the trial.

        Raises:
            CannotFit: no design of the network fits the device.
        """
        key = tuple(round(float(thresholds.get(name, 0.0)), 9) for name in self.names)
        if key in self._known:
            return Trial(**{**self._known[key].to_dict(), "number": number, "seconds": 0.0, "images": 0})
        started, question = time.monotonic(), self.subject.question
        self.apply(thresholds)
        right, images = accuracy(self.subject.model, self.subject.data, "val")
        looked_at = min(_SPARSITY_IMAGES, self.subject.calibration_images)
        profile = self.subject.profile(looked_at)
        estimate = question.quick.unpriced(question.workload, profile)
        trial = Trial(
            number, right, estimate.throughput_ips, estimate.area,
            profile.pair_sparsity(question.workload), time.monotonic() - started, images + looked_at,
            estimate.latency_ms, estimate.energy_j,
        )  # fmt: skip
        self._known[key] = trial
        return trial

    def at_sparsity(self, weight: float, activation: float) -> dict[str, float]:
        """The thresholds, by name, that zero these fractions of the weights and of the inputs of every layer."""
        found = {}
        for name, layer in self.layers.items():
            if layer.prune_weights:
                level = layer.pattern.level_at(layer.weight, layer.kernel_groups, weight)
                found[f"{name}/{WEIGHT}"] = level / float(layer.weight_scale())
            if layer.gate_activations:
                sizes = self._magnitudes[name]
                found[f"{name}/{ACTIVATION}"] = float(sizes.quantile(activation) / layer.activation_scale.cpu())
        return found

    def _measure_inputs(self) -> dict[str, Tensor]:
        """Measure the activation scale of every layer, and return a sample of its inputs' magnitudes, by layer."""
        self.apply({})
        seen: dict[str, list[Tensor]] = {name: [] for name in self.layers}
        hooks = [layer.register_forward_pre_hook(_keep(seen[name])) for name, layer in self.layers.items()]
        model, data = self.subject.model, self.subject.data
        training = model.training
        model.eval()
        try:
            with torch.no_grad():
                for images in data.images("val", model, images=_SPARSITY_IMAGES):
                    model(images)
        finally:
            for hook in hooks:
                hook.remove()
            model.train(training)
        magnitudes = {name: torch.cat(parts) for name, parts in seen.items()}
        for name, layer in self.layers.items():
            layer.activation_scale.fill_(float(magnitudes[name].mean()))
            layer.synchronize()
        return magnitudes


def _keep(parts: list[Tensor]) -> Any:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        parts.append(sample(inputs[0].detach().abs()))

    return hook
